// The page API: one function per call, and the live socket that reconnects by itself.
import type { Answer, Container, LiveEvent, Message, OptionGroup, Option, Values, View, WorkspaceState } from "./types";
import { t } from "./texts";

/** The workspace or the app behind it said no. */
export class Refusal extends Error {}

// What people read at Slack when an app does not answer; a bare error name alone would tell them nothing.
const spoken = (error: string): string =>
  /^[a-z_]+$/.test(error) ? t("We had some trouble connecting. Try again? ({error})", { error }) : error;

async function read<T>(response: Response): Promise<T> {
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) throw new Error(body?.error ?? t("The workspace answered {status}.", { status: response.status }));
  // A submit that is refused field by field is an answer to show, not a failure.
  if (body.ok === false && !body.response_action) throw new Refusal(spoken(body.error ?? "unknown_error"));
  return body as T;
}

const get = async <T>(path: string, query: Record<string, string>): Promise<T> =>
  read<T>(await fetch(`lab/api/${path}?${new URLSearchParams(query)}`));

const post = async <T>(path: string, body: object): Promise<T> =>
  read<T>(
    await fetch(`lab/api/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }),
  );

export type SubmitAnswer = { response_action?: string; errors?: Record<string, string>; view?: View };
export type OptionsAnswer = { error?: string; options?: Option[]; option_groups?: OptionGroup[] };

export const api = {
  state: (as: string) => get<WorkspaceState>("state", { as }),
  history: (as: string, channel: string) => get<{ messages: Message[] }>("history", { as, channel }),
  view: (as: string) => get<{ view: View | null }>("view", { as }),
  react: (as: string, channel: string, ts: string, name: string) => post<object>("react", { as, channel, ts, name }),
  say: (as: string, channel: string, text: string, thread_ts?: string) =>
    post<object>("say", { as, channel, text, ...(thread_ts ? { thread_ts } : {}) }),
  action: (as: string, container: Container, block_id: string, element: Answer, action_id: string, values: Values) =>
    post<object>("action", { as, container, block_id, action_id, element, state: { values } }),
  options: (as: string, container: Container, block_id: string, action_id: string, value: string) =>
    post<OptionsAnswer>("options", { as, container, block_id, action_id, value }),
  submit: (as: string, view_id: string, values: Values) =>
    post<SubmitAnswer>("view_submit", { as, view_id, state: { values } }),
  close: (as: string, view_id: string) => post<object>("view_close", { as, view_id }),
  home: (as: string) => post<{ view: View | null }>("home", { as }),
  complete: (as: string, text: string) => post<{ suggestions: string[] }>("complete", { as, text }),
};

const FIRST_DELAY = 250;
const LONGEST_DELAY = 4000;

/** Listens as `as` until the returned function is called; `onLink(true)` follows every (re)connection. */
export function listen(as: string, onEvent: (event: LiveEvent) => void, onLink: (up: boolean) => void): () => void {
  let socket: WebSocket | null = null;
  let timer = 0;
  let delay = FIRST_DELAY;
  let ended = false;

  const open = () => {
    const url = new URL(`lab/api/live?as=${encodeURIComponent(as)}`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    socket = new WebSocket(url);
    socket.onopen = () => {
      delay = FIRST_DELAY;
      onLink(true);
    };
    socket.onmessage = (frame) => onEvent(JSON.parse(frame.data) as LiveEvent);
    socket.onclose = () => {
      if (ended) return;
      onLink(false);
      timer = window.setTimeout(open, delay);
      delay = Math.min(delay * 2, LONGEST_DELAY);
    };
  };
  open();
  return () => {
    ended = true;
    window.clearTimeout(timer);
    socket?.close();
  };
}
