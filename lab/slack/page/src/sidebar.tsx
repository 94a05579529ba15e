// The left column: channels with their unread marks, the app, and whose eyes the page looks through.
import { Avatar } from "./avatar";
import { unread, type Store } from "./store";
import type { Channel, Person, WorkspaceState } from "./types";
import { t } from "./texts";

interface Props {
  state: WorkspaceState;
  store: Store;
  place: string;
  onPlace: (place: string) => void;
  onPerson: (id: string) => void;
}

export const isDirect = (channel: Channel): boolean => /^[DG]/.test(channel.id);

function ChannelRow({ channel, as, store, here, onOpen }: { channel: Channel; as: string; store: Store; here: boolean; onOpen: () => void }) {
  const { count, mentions } = unread(store, as, channel.id);
  const fresh = !here && count > 0;
  return (
    <li>
      <button type="button" className={`row ${here ? "here" : ""} ${fresh ? "unread" : ""}`} aria-current={here ? "page" : undefined} onClick={onOpen}>
        <span className="row-mark" aria-hidden="true">
          #
        </span>
        <span className="row-name">{channel.name}</span>
        {fresh && mentions > 0 && (
          <span className="badge" aria-label={t("{mentions} for you", { mentions })}>
            {mentions}
          </span>
        )}
        {fresh && <span className="sr-only">{t("{count} unread", { count })}</span>}
      </button>
    </li>
  );
}

function People({ people, me, onPerson }: { people: Person[]; me: string; onPerson: (id: string) => void }) {
  return (
    <fieldset className="people">
      <legend>{t("View as")}</legend>
      {people.map((person) => (
        <label key={person.id} className={`row person ${person.id === me ? "here" : ""}`}>
          <input type="radio" name="view-as" value={person.id} checked={person.id === me} onChange={() => onPerson(person.id)} />
          <Avatar id={person.id} name={person.real_name || person.name} size={28} />
          <span className="person-name">
            {person.real_name || person.name}
            {person.title && <small>{t(person.title)}</small>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}

/** In a narrow window: opens the sidebar, and says that something unread is behind it. */
export function MenuButton({ state, store, place, open, onOpen }: { state: WorkspaceState; store: Store; place: string; open: boolean; onOpen: (open: boolean) => void }) {
  const fresh = state.channels.some(({ id }) => id !== place && unread(store, state.me.id, id).count > 0);
  return (
    <>
      <button type="button" className={`icon menu-button ${fresh ? "unread" : ""}`} aria-label={fresh ? t("Channels and people, unread messages") : t("Channels and people")} aria-expanded={open} aria-controls="sidebar" onClick={() => onOpen(!open)}>
        ☰
      </button>
      <button type="button" className="scrim" aria-label={t("Close the list of channels")} onClick={() => onOpen(false)} />
    </>
  );
}

export function Sidebar({ state, store, place, onPlace, onPerson }: Props) {
  const rows = (channels: Channel[]) =>
    channels.map((channel) => (
      <ChannelRow key={channel.id} channel={channel} as={state.me.id} store={store} here={place === channel.id} onOpen={() => onPlace(channel.id)} />
    ));
  const direct = state.channels.find(isDirect);
  const inApp = place === "home" || place === direct?.id;
  const waiting = direct && !inApp ? unread(store, state.me.id, direct.id).count : 0;
  return (
    <nav className="sidebar" id="sidebar" aria-label={t("Workspace")}>
      <h1>{state.team.name}</h1>
      <div className="sidebar-scroll">
        <h2>{t("Channels")}</h2>
        <ul>{rows(state.channels.filter((c) => !isDirect(c)))}</ul>
        <h2>{t("Apps")}</h2>
        <ul>
          <li>
            <button type="button" className={`row ${inApp ? "here" : ""} ${waiting ? "unread" : ""}`} aria-current={inApp ? "page" : undefined} onClick={() => onPlace("home")}>
              <Avatar id={state.app.user_id} name={state.app.name} bot size={20} />
              <span className="row-name">{state.app.name}</span>
              {waiting > 0 && (
                <span className="badge" aria-label={t("{count} unread", { count: waiting })}>
                  {waiting}
                </span>
              )}
              <span className={`presence ${state.apps_connected > 0 ? "on" : ""}`} role="img" aria-label={state.apps_connected > 0 ? t("connected") : t("not connected")} />
            </button>
          </li>
        </ul>
      </div>
      <People people={state.people} me={state.me.id} onPerson={onPerson} />
    </nav>
  );
}
