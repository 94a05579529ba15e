// The whole page: who looks, where, and everything that happens live.
import { useCallback, useEffect, useMemo, useReducer, useRef, useState, type Dispatch, type SetStateAction } from "react";
import { api, listen } from "./api";
import { AppHead, ChannelView } from "./channel";
import { setLocale } from "./dates";
import { Asking } from "./dialog";
import { NamesContext, type Names } from "./mrkdwn";
import { isDirect, MenuButton, Sidebar } from "./sidebar";
import { change, markRead } from "./store";
import type { LiveEvent, View, WorkspaceState } from "./types";
import { HomeTab, Modal } from "./view";
import { setTexts, t } from "./texts";

interface Where {
  as: string;
  channel: string;
  thread: string | null;
}

// Whose eyes a bare address opens: the workspace takes a name for an id, and answers with the id.
const FIRST_PERSON = "ana";

/** #as=U0ANA&channel=C0OPS&thread=… : a link shows exactly what its sender saw. */
function readHash(): Where {
  const hash = new URLSearchParams(location.hash.slice(1));
  return { as: hash.get("as") ?? "", channel: hash.get("channel") ?? "", thread: hash.get("thread") };
}

function useWhere(): [Where, (next: Partial<Where>) => void] {
  const [where, setWhere] = useState(readHash);
  useEffect(() => {
    const follow = () => setWhere(readHash());
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  const go = useCallback((next: Partial<Where>) => {
    const { as, channel, thread } = { ...readHash(), thread: null, ...next };
    location.hash = new URLSearchParams({ as, channel, ...(thread ? { thread } : {}) }).toString();
  }, []);
  return [where, go];
}

/** Everything one person sees, loaded and kept up to date. */
function useWorkspace(as: string) {
  const [state, setState] = useState<WorkspaceState | null>(null);
  const [store, apply] = useReducer(change, {});
  const [view, setView] = useState<View | null>(null);
  const [home, setHome] = useState<View | null>(null);
  const [linked, setLinked] = useState(true);
  const [problem, setProblem] = useState<string | null>(null);
  const [ready, setReady] = useState("");
  const loads = useRef(new Set<LiveEvent[]>());

  const onEvent = useCallback((event: LiveEvent) => {
    loads.current.forEach((meanwhile) => meanwhile.push(event));
    if (event.type === "view") return setView(event.view);
    if (event.type === "home") return setHome(event.view);
    if (event.type === "apps") return setState((now) => now && { ...now, apps_connected: event.connected });
    apply(event);
  }, []);

  const load = useCallback(async () => {
    const meanwhile: LiveEvent[] = [];
    loads.current.add(meanwhile);
    const isWanted = () => loads.current.has(meanwhile);
    try {
      const fresh = await api.state(as);
      const { view } = await api.view(as);
      if (!isWanted()) return;
      setLocale(fresh.me.locale);
      setTexts(fresh.me.locale);
      setState(fresh);
      setView(view);
      const histories = await Promise.all(fresh.channels.map(({ id }) => api.history(as, id)));
      if (!isWanted()) return;
      histories.forEach(({ messages }, at) => apply({ type: "loaded", channel: fresh.channels[at].id, messages }));
      setProblem(null);
      setReady(as);
    } catch (error) {
      if (isWanted()) setProblem((error as Error).message);
    } finally {
      // What the socket brought since then is newer than these answers, or the same.
      if (loads.current.delete(meanwhile)) meanwhile.forEach(onEvent);
    }
  }, [as, onEvent]);

  useEffect(() => {
    apply({ type: "cleared" });
    setView(null);
    setHome(null);
    // Load after each connection: what happened while nobody listened is in the history.
    const end = listen(as, onEvent, (up) => {
      setLinked(up);
      if (up) void load();
    });
    return () => {
      end();
      loads.current.clear(); // what is still asked for somebody else is of no use
    };
  }, [as, load, onEvent]);

  return { state, store, apply, view, setView, home, setHome, linked, problem, ready: ready === as };
}

interface HomeProps {
  state: WorkspaceState;
  home: View | null;
  setHome: Dispatch<SetStateAction<View | null>>;
  onTab: (place: string) => void;
}

function AppHome({ state, home, setHome, onTab }: HomeProps) {
  const as = state.me.id;
  useEffect(() => {
    // The app may publish while it is told that somebody looks; the live socket brings that, perhaps before this answer.
    api.home(as).then(({ view }) => setHome((now) => now ?? view), () => undefined);
  }, [as, setHome]);
  return (
    <main className="channel" aria-label={t("{name} home", { name: state.app.name })}>
      <AppHead app={state.app} tab="home" direct={state.channels.find(isDirect)} onTab={onTab} />
      <div className="messages" tabIndex={0} aria-label={t("App Home")}>
        <HomeTab as={as} view={home} appName={state.app.name} />
      </div>
    </main>
  );
}

function Banner({ linked, problem, state }: { linked: boolean; problem: string | null; state: WorkspaceState | null }) {
  const words = !linked
    ? t("Connection lost. Reconnecting…")
    : (problem ?? (state && state.apps_connected === 0 ? t("{name} is not connected: commands and buttons will not be answered.", { name: state.app.name }) : null));
  return (
    <div role="status" className={words ? "banner" : "sr-only"}>
      {words}
    </div>
  );
}

export function App() {
  const [where, go] = useWhere();
  const { state, store, apply, view, setView, home, setHome, linked, problem, ready } = useWorkspace(where.as || FIRST_PERSON);
  const me = state?.me.id ?? "";
  const place = where.channel || state?.channels[0]?.id || "";
  const channel = state?.channels.find((c) => c.id === place);
  const [menu, setMenu] = useState(false);

  useEffect(() => setMenu(false), [me, place]);

  useEffect(() => {
    if (state && !where.as) go({ as: state.me.id, channel: place });
  }, [state, where.as, go, place]);

  useEffect(() => {
    if (me && place !== "home" && document.visibilityState === "visible") markRead(me, place, store);
  }, [me, place, store]);

  useEffect(() => {
    const here = place === "home" ? state?.app.name : channel && (isDirect(channel) ? state?.app.name : `#${channel.name}`);
    if (state) document.title = `${here ?? ""} – ${state.team.name}`;
  }, [state, place, channel]);

  const names = useMemo<Names>(
    () => ({
      people: state?.people ?? [],
      channels: state?.channels ?? [],
      app: state?.app,
      me,
      openChannel: (id) => go({ channel: id }),
    }),
    [state, me, go],
  );
  const choose = useCallback(
    (id: string) => {
      setMenu(false); // also when it is the place where we are already
      go({ channel: id });
    },
    [go],
  );
  const onTab = useCallback((channel: string) => go({ channel }), [go]);
  const onThread = useCallback((thread: string | null) => go({ thread }), [go]);
  const onDismiss = useCallback((id: string, ts: string) => apply({ type: "dismissed", channel: id, ts }), [apply]);
  // The socket may already have brought the next view, drawn or not, by the time a submit or a close is answered.
  const onView = useCallback(
    (answered: string) => (next: View | null) => setView((now) => (now?.id === answered ? next : now)),
    [setView],
  );

  if (!state || (where.as && me !== where.as && !problem))
    return (
      <div className="loading" role="status">
        {problem ?? t("Loading…")}
      </div>
    );
  return (
    <NamesContext.Provider value={names}>
      <Asking>
        <Banner linked={linked} problem={problem} state={state} />
        <div
          className={`page ${where.thread ? "with-thread" : ""} ${menu ? "with-menu" : ""}`}
          data-ready={ready}
          onKeyDown={(event) => menu && event.key === "Escape" && setMenu(false)}
        >
          <MenuButton state={state} store={store} place={place} open={menu} onOpen={setMenu} />
          <Sidebar state={state} store={store} place={place} onPlace={choose} onPerson={(as) => go({ as })} />
          {place === "home" ? (
            <AppHome key={me} state={state} home={home} setHome={setHome} onTab={onTab} />
          ) : channel ? (
            <ChannelView state={state} store={store} channel={channel} thread={where.thread} onThread={onThread} onDismiss={onDismiss} onTab={onTab} />
          ) : (
            <main className="empty">{t("There is no channel {place} here. Choose one on the left.", { place })}</main>
          )}
        </div>
        {view && <Modal as={me} view={view} onView={onView(view.id)} />}
      </Asking>
    </NamesContext.Provider>
  );
}
