// The shapes that travel between the page and the workspace's page API (/lab/api/…).

export interface Person {
  id: string;
  name: string;
  real_name: string;
  title?: string;
  locale?: string;
}

export interface Channel {
  id: string;
  name: string;
  purpose?: string;
}

export interface SlashCommand {
  command: string;
  description?: string;
  usage_hint?: string;
}

export interface WorkspaceState {
  me: Person;
  team: { id?: string; name: string };
  people: Person[];
  channels: Channel[];
  commands: SlashCommand[];
  app: { name: string; user_id: string };
  apps_connected: number;
}

/** Block Kit is open-ended: what a block holds beyond its type is read where it is drawn. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Open = { [key: string]: any };
export type Block = Open & { type: string; block_id?: string };
export type BlockElement = Open & { type: string; action_id?: string };
export type TextObject = { type: "plain_text" | "mrkdwn"; text: string; emoji?: boolean };
export type Option = { text: TextObject; value: string; description?: TextObject; url?: string };
export type OptionGroup = { label?: TextObject; options: Option[] };
export type ConfirmObject = {
  title?: TextObject;
  text?: TextObject;
  confirm?: TextObject;
  deny?: TextObject;
  style?: "primary" | "danger";
};

/** What a person answered in one element, in the form Slack puts it into `actions` and `state.values`. */
export type Answer = Open & { type: string };
export type Values = Record<string, Record<string, Answer>>;

export interface FileInfo {
  id: string;
  name?: string;
  title?: string;
  mimetype?: string;
  size?: number;
  url_private?: string;
  permalink?: string;
  alt_txt?: string;
}

export interface Message {
  ts: string;
  channel: string;
  user?: string;
  username?: string;
  is_bot?: boolean;
  text?: string;
  blocks?: Block[];
  attachments?: Open[];
  thread_ts?: string;
  reply_count?: number;
  edited?: { ts?: string; user?: string } | boolean;
  ephemeral?: boolean;
  reactions?: { name: string; count?: number; users?: string[] }[];
  files?: FileInfo[];
}

export interface View {
  id: string;
  type: "modal" | "home";
  title?: TextObject;
  submit?: TextObject;
  close?: TextObject;
  blocks: Block[];
  previous_view_id?: string | null;
  hash?: string;
  /** What the workspace has of the answers, so that a reloaded page goes on where it was. */
  state?: { values: Values };
}

export type Container = { type: "message"; channel: string; ts: string } | { type: "view"; view_id: string };

export type LiveEvent =
  | { type: "message" | "message_changed" | "message_deleted"; channel: string; message?: Message; ts?: string }
  | { type: "view"; view: View | null }
  | { type: "home"; view: View | null }
  | { type: "reaction"; channel: string; message?: Message; ts?: string }
  | { type: "apps"; connected: number };
