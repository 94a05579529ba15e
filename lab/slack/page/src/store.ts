// All messages the page has seen, by channel and ts; and what each person has read.
import type { LiveEvent, Message } from "./types";

export type Store = Record<string, Record<string, Message>>;

export type Change =
  | { type: "loaded"; channel: string; messages: Message[] }
  | { type: "cleared" }
  | Extract<LiveEvent, { channel: string }>
  | { type: "dismissed"; channel: string; ts: string };

function put(store: Store, message: Message, channel: string): Store {
  const before = store[channel]?.[message.ts];
  // A change that does not say it is ephemeral does not make it public.
  const after = { ...message, channel, ephemeral: message.ephemeral ?? before?.ephemeral };
  return { ...store, [channel]: { ...store[channel], [message.ts]: after } };
}

function drop(store: Store, channel: string, ts: string | undefined): Store {
  if (!ts) return store;
  const { [ts]: _gone, ...rest } = store[channel] ?? {};
  return { ...store, [channel]: rest };
}

export function change(store: Store, event: Change): Store {
  switch (event.type) {
    case "loaded":
      return {
        ...store,
        [event.channel]: Object.fromEntries(event.messages.map((m) => [m.ts, { ...m, channel: event.channel }])),
      };
    case "cleared":
      return {};
    case "dismissed":
      return drop(store, event.channel, event.ts);
    case "message_deleted":
      return drop(store, event.channel, event.message?.ts ?? event.ts);
    default:
      return event.message ? put(store, event.message, event.channel) : store;
  }
}

const byTime = (a: Message, b: Message): number => Number(a.ts) - Number(b.ts);
const isReply = (m: Message): boolean => m.thread_ts !== undefined && m.thread_ts !== null && m.thread_ts !== m.ts;

/** The channel's own messages and each thread's replies, oldest first. */
export function threads(store: Store, channel: string): { roots: Message[]; replies: Map<string, Message[]> } {
  const all = Object.values(store[channel] ?? {}).sort(byTime);
  const replies = new Map<string, Message[]>();
  for (const m of all.filter(isReply)) replies.set(m.thread_ts!, [...(replies.get(m.thread_ts!) ?? []), m]);
  return { roots: all.filter((m) => !isReply(m)), replies };
}

const readKey = (person: string, channel: string): string => `lab-slack-read/${person}/${channel}`;

export const lastRead = (person: string, channel: string): number =>
  Number(localStorage.getItem(readKey(person, channel)) ?? 0);

export function markRead(person: string, channel: string, store: Store): void {
  const latest = Math.max(0, ...Object.keys(store[channel] ?? {}).map(Number));
  if (latest > lastRead(person, channel)) localStorage.setItem(readKey(person, channel), String(latest));
}

/** How many messages of others this person has not read in `channel`, and how many of them name the person. */
export function unread(store: Store, person: string, channel: string): { count: number; mentions: number } {
  const since = lastRead(person, channel);
  const fresh = Object.values(store[channel] ?? {}).filter((m) => Number(m.ts) > since && m.user !== person);
  const named = fresh.filter((m) => JSON.stringify([m.text, m.blocks]).includes(`<@${person}`) || m.ephemeral);
  return { count: fresh.length, mentions: named.length };
}
