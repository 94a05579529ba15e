// A channel's messages with its composer, and a thread beside it.
import { useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { Avatar } from "./avatar";
import { Composer } from "./composer";
import { dayName } from "./dates";
import { MessageRow } from "./message";
import { isDirect } from "./sidebar";
import { threads, type Store } from "./store";
import type { Channel, Message, WorkspaceState } from "./types";
import { t } from "./texts";

const COMPACT_WITHIN_S = 300;
const NEAR_BOTTOM_PX = 80;

/** Stays at the newest message unless the person has scrolled up to read. */
function useStickToBottom(newest: string | undefined, place: string) {
  const list = useRef<HTMLDivElement>(null);
  const stuck = useRef(true);
  const [behind, setBehind] = useState(false);
  const toBottom = () => {
    if (list.current) list.current.scrollTop = list.current.scrollHeight;
    stuck.current = true;
    setBehind(false);
  };
  useLayoutEffect(toBottom, [place]);
  useLayoutEffect(() => {
    if (stuck.current) toBottom();
    else setBehind(true);
  }, [newest]);
  useEffect(() => {
    // Images and fonts arrive late, and make the list longer without a new message.
    const inner = list.current?.firstElementChild;
    if (!inner) return;
    const sizes = new ResizeObserver(() => stuck.current && toBottom());
    sizes.observe(inner);
    return () => sizes.disconnect();
  }, [place]);
  const onScroll = () => {
    const node = list.current!;
    stuck.current = node.scrollHeight - node.scrollTop - node.clientHeight < NEAR_BOTTOM_PX;
    if (stuck.current) setBehind(false);
  };
  return { list, behind, toBottom, onScroll };
}

function follows(message: Message, before: Message | undefined): boolean {
  return (
    before !== undefined &&
    before.user === message.user &&
    before.username === message.username &&
    !before.ephemeral === !message.ephemeral &&
    !message.ephemeral &&
    // What opens with a header stands for itself, with its sender's name.
    message.blocks?.[0]?.type !== "header" &&
    Number(message.ts) - Number(before.ts) < COMPACT_WITHIN_S
  );
}

function Divider({ ts }: { ts: string }) {
  return (
    <div className="day" role="separator">
      <span>{dayName(ts)}</span>
    </div>
  );
}

interface ListProps {
  as: string;
  messages: Message[];
  replies?: Map<string, Message[]>;
  place: string;
  intro?: ReactNode;
  days?: boolean;
  onThread?: (ts: string) => void;
  onDismiss: (ts: string) => void;
}

function MessageList({ as, messages, replies, place, intro, days, onThread, onDismiss }: ListProps) {
  const { list, behind, toBottom, onScroll } = useStickToBottom(messages.at(-1)?.ts, place);
  return (
    <div className="messages" ref={list} onScroll={onScroll} role="log" aria-label={t("Messages")} aria-live="polite" tabIndex={0}>
      <div className="messages-inner">
        {intro}
        {messages.map((message, index) => {
          const before = messages[index - 1];
          const newDay = days && (!before || dayName(before.ts) !== dayName(message.ts));
          return (
            <div key={message.ts}>
              {newDay && <Divider ts={message.ts} />}
              <MessageRow
                as={as}
                message={message}
                replies={replies?.get(message.ts)}
                compact={!newDay && follows(message, before)}
                onThread={onThread}
                onDismiss={onDismiss}
              />
            </div>
          );
        })}
      </div>
      {behind && (
        <button type="button" className="button newer" onClick={toBottom}>
          {t("New messages ↓")}
        </button>
      )}
    </div>
  );
}

/** The head of the app's own place, with its two tabs. */
export function AppHead({ app, tab, direct, onTab }: { app: WorkspaceState["app"]; tab: string; direct?: Channel; onTab: (place: string) => void }) {
  const tabs: [string, string][] = [["home", t("Home")], ...(direct ? [[direct.id, t("Messages")] as [string, string]] : [])];
  return (
    <header className="channel-head app-head">
      <Avatar id={app.user_id} name={app.name} bot size={28} />
      <h2>{app.name}</h2>
      <span className="app-badge">APP</span>
      {tabs.map(([place, name]) => (
        <button key={place} type="button" className="tab" aria-current={place === tab ? "page" : undefined} onClick={() => onTab(place)}>
          {name}
        </button>
      ))}
    </header>
  );
}

interface Props {
  state: WorkspaceState;
  store: Store;
  channel: Channel;
  thread: string | null;
  onThread: (ts: string | null) => void;
  onDismiss: (channel: string, ts: string) => void;
  onTab: (place: string) => void;
}

export function ChannelView({ state, store, channel, thread, onThread, onDismiss, onTab }: Props) {
  const as = state.me.id;
  const direct = isDirect(channel);
  const title = direct ? state.app.name : `#${channel.name}`;
  const { roots, replies } = useMemo(() => threads(store, channel.id), [store, channel.id]);
  const root = thread ? roots.find((m) => m.ts === thread) : undefined;
  const inThread = useMemo(() => (root ? [root, ...(replies.get(root.ts) ?? [])] : []), [root, replies]);
  const dismiss = useMemo(() => (ts: string) => onDismiss(channel.id, ts), [channel.id, onDismiss]);
  return (
    <>
      <main className="channel" aria-label={direct ? t("Messages with {name}", { name: title }) : t("Channel {name}", { name: channel.name })}>
        {direct ? (
          <AppHead app={state.app} tab={channel.id} direct={channel} onTab={onTab} />
        ) : (
          <header className="channel-head">
            <h2>
              <span aria-hidden="true"># </span>
              {channel.name}
            </h2>
            {channel.purpose && <p>{t(channel.purpose)}</p>}
          </header>
        )}
        <MessageList
          as={as}
          messages={roots}
          replies={replies}
          place={`${as}/${channel.id}`}
          days
          onThread={onThread}
          onDismiss={dismiss}
          intro={
            <div className="intro">
              <h3>{title}</h3>
              <p>
                {direct
                  ? t("This is the very beginning of your conversation with {name}.", { name: title })
                  : t("This is the very beginning of {place}.", { place: title })}
              </p>
            </div>
          }
        />
        <Composer as={as} channel={channel.id} placeholder={t("Message {place}", { place: title })} commands={state.commands} />
      </main>
      {root && (
        <aside className="thread" aria-label={t("Thread")}>
          <header className="channel-head">
            <h2>{t("Thread")}</h2>
            <p>{title}</p>
            <button type="button" className="icon" aria-label={t("Close thread")} onClick={() => onThread(null)}>
              ×
            </button>
          </header>
          <MessageList as={as} messages={inThread} place={`${as}/${root.ts}`} onDismiss={dismiss} />
          <Composer as={as} channel={channel.id} thread_ts={root.ts} placeholder={t("Reply…")} commands={state.commands} />
        </aside>
      )}
    </>
  );
}
