// Slack's mrkdwn as React nodes.
//
// slack-blocks-to-jsx turns mrkdwn into Markdown first, and so reads 10:30:45 as an emoji, drops lines that start with
// "#", and doubles the stars inside code. A chat about hosts is full of such text, hence this reader of Slack's own rules.
import { createContext, Fragment, useContext, type ReactNode } from "react";
import { slackDate } from "./dates";
import { emojiFor, emojiParts, withEmoji } from "./emoji";
import type { Channel, Person, TextObject } from "./types";

export interface Names {
  people: Person[];
  channels: Channel[];
  app?: { name: string; user_id: string };
  me?: string;
  openChannel: (id: string) => void;
}

export const NamesContext = createContext<Names>({ people: [], channels: [], openChannel: () => undefined });

export function personName(names: Names, id: string | undefined, otherwise?: string): string {
  if (id && names.app?.user_id === id) return names.app.name;
  const person = names.people.find((p) => p.id === id);
  return person?.real_name || person?.name || otherwise || id || "someone";
}

const plain = (text: string): string =>
  text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

function Mention({ id, label }: { id: string; label?: string }) {
  const names = useContext(NamesContext);
  const known = names.people.some((p) => p.id === id) || names.app?.user_id === id;
  return (
    <span className={`mention ${id === names.me ? "mention-me" : ""}`} data-user-id={id}>
      @{known ? personName(names, id) : label ?? id}
    </span>
  );
}

function ChannelLink({ id, label }: { id: string; label?: string }) {
  const names = useContext(NamesContext);
  const channel = names.channels.find((c) => c.id === id);
  return (
    <button type="button" className="mention mention-channel" onClick={() => names.openChannel(id)} disabled={!channel}>
      #{channel?.name ?? label ?? id}
    </button>
  );
}

export function Emoji({ name, char }: { name: string; char: string }) {
  return (
    <span className="emoji" role="img" aria-label={name} title={`:${name}:`}>
      {char}
    </span>
  );
}

const SAFE_LINK = /^(https?:|mailto:|tel:|slack:)/i;

function link(url: string, label: string | undefined, key: number): ReactNode {
  const href = plain(url);
  const words = label === undefined ? href.replace(/^mailto:/, "") : withEmoji(plain(label));
  if (!SAFE_LINK.test(href)) return <Fragment key={key}>{words}</Fragment>;
  return (
    <a key={key} href={href} target="_blank" rel="noreferrer noopener">
      {words}
    </a>
  );
}

function dateNode(body: string, fallback: string | undefined, key: number): ReactNode {
  const [, seconds, pattern, url] = body.split("^");
  const at = Number(seconds);
  const words = Number.isFinite(at) && pattern ? slackDate(at, pattern) : (fallback ?? body);
  const node = (
    <time key={key} dateTime={new Date(at * 1000).toISOString()} title={fallback && plain(fallback)}>
      {words}
    </time>
  );
  return url ? (
    <a key={key} href={url} target="_blank" rel="noreferrer noopener">
      {node}
    </a>
  ) : (
    node
  );
}

/** One <…> of Slack's: mention, channel, group, broadcast, date or link. */
function angle(inside: string, key: number): ReactNode {
  const bar = inside.indexOf("|");
  const body = bar < 0 ? inside : inside.slice(0, bar);
  const label = bar < 0 ? undefined : inside.slice(bar + 1);
  if (body.startsWith("@")) return <Mention key={key} id={body.slice(1)} label={label} />;
  if (body.startsWith("#")) return <ChannelLink key={key} id={body.slice(1)} label={label} />;
  if (body.startsWith("!date^")) return Number.isFinite(Number(body.split("^")[1])) ? dateNode(body, label, key) : label;
  if (body.startsWith("!subteam^"))
    return (
      <span key={key} className="mention">
        @{(label ?? body.slice("!subteam^".length)).replace(/^@/, "")}
      </span>
    );
  if (body.startsWith("!"))
    return (
      <span key={key} className="mention mention-me">
        @{label ?? body.slice(1)}
      </span>
    );
  return link(body, label, key);
}

// In order of precedence; a style opens after a non-word character and closes before one.
const INLINE = new RegExp(
  [
    "`(?<code>[^`\\n]+)`",
    "<(?<angle>[^<>\\n]+)>",
    "(?<![\\w:]):(?<emoji>[a-z0-9_+'-]+(?:::skin-tone-\\d)?):(?!\\w)",
    "(?<![\\w*])\\*(?<bold>(?=\\S)(?:<[^>]*>|`[^`]*`|[^*\\n])*?\\S)\\*(?![\\w*])",
    "(?<![\\w_])_(?<italic>(?=\\S)(?:<[^>]*>|`[^`]*`|:[a-z0-9_+-]+:|[^_\\n]|_(?=\\w))*?\\S)_(?![\\w_])",
    "(?<![\\w~])~(?<strike>(?=\\S)(?:<[^>]*>|`[^`]*`|[^~\\n])*?\\S)~(?![\\w~])",
  ].join("|"),
  "gi",
);

function styled(groups: Record<string, string | undefined>, whole: string, key: number): ReactNode {
  if (groups.code !== undefined) return <code key={key}>{plain(groups.code)}</code>;
  if (groups.angle !== undefined) return angle(groups.angle, key);
  if (groups.bold !== undefined) return <b key={key}>{inline(groups.bold)}</b>;
  if (groups.italic !== undefined) return <i key={key}>{inline(groups.italic)}</i>;
  if (groups.strike !== undefined) return <s key={key}>{inline(groups.strike)}</s>;
  const char = groups.emoji === undefined ? null : emojiFor(groups.emoji);
  return char ? <Emoji key={key} name={groups.emoji!} char={char} /> : whole;
}

/** One run of mrkdwn without code blocks or quotes. */
export function inline(text: string): ReactNode[] {
  const nodes: ReactNode[] = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > from) nodes.push(plain(text.slice(from, match.index)));
    nodes.push(styled(match.groups ?? {}, match[0], nodes.length));
    from = match.index + match[0].length;
  }
  if (from < text.length) nodes.push(plain(text.slice(from)));
  return nodes;
}

function quoted(lines: string[]): ReactNode[] {
  const nodes: ReactNode[] = [];
  let run: string[] = [];
  let inQuote = false;
  const flush = () => {
    if (run.length === 0) return;
    const body = inline(run.join("\n"));
    nodes.push(inQuote ? <blockquote key={nodes.length}>{body}</blockquote> : <Fragment key={nodes.length}>{body}</Fragment>);
    run = [];
  };
  for (const line of lines) {
    const match = /^(?:&gt;|>) ?(.*)$/.exec(line);
    if (!!match !== inQuote) {
      flush();
      inQuote = !!match;
    }
    run.push(match ? match[1] : line);
  }
  flush();
  return nodes;
}

/** A whole mrkdwn text. */
export function Mrkdwn({ text }: { text: string }) {
  const parts = text.split(/```\n?([\s\S]*?)\n?```/);
  return (
    <div className="mrkdwn">
      {parts.map((part, index) => {
        if (index % 2 === 1) return <pre key={index}>{plain(part)}</pre>;
        // A line break beside a code block belongs to the block.
        const trimmed = part.replace(index > 0 ? /^\n/ : /$^/, "").replace(index < parts.length - 1 ? /\n$/ : /$^/, "");
        return trimmed === "" ? null : <Fragment key={index}>{quoted(trimmed.split("\n"))}</Fragment>;
      })}
    </div>
  );
}

/** Text with :emoji: but no other markup. */
export function Plain({ text }: { text: string }) {
  return (
    <>
      {emojiParts(text).map((part, index) =>
        typeof part === "string" ? part : <Emoji key={index} name={part.name} char={part.char} />,
      )}
    </>
  );
}

export function Text({ of }: { of: TextObject | string | undefined }) {
  if (of === undefined || of === null) return null;
  if (typeof of === "string") return <Plain text={of} />;
  if (of.type === "mrkdwn") return <Mrkdwn text={of.text} />;
  return <span className="plain">{of.emoji === false ? of.text : <Plain text={of.text} />}</span>;
}

/** What a text object says, for labels and titles. */
export const words = (of: TextObject | string | undefined): string =>
  of === undefined || of === null ? "" : withEmoji(typeof of === "string" ? of : of.text);
