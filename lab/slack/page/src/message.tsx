// One message: who, when, what, and its buttons, reactions, files and thread.
import { memo, useContext, useMemo } from "react";
import { api } from "./api";
import { Avatar } from "./avatar";
import { Attachment, Blocks, Picture } from "./blocks";
import { clock, fullTime } from "./dates";
import { emojiFor } from "./emoji";
import { Mrkdwn, NamesContext, personName } from "./mrkdwn";
import { SurfaceContext, TellContext, useNewSurface } from "./surface";
import type { Container, FileInfo, Message } from "./types";
import { t } from "./texts";

const NO_BLOCKS: never[] = [];

export interface MessageProps {
  as: string;
  message: Message;
  replies?: Message[];
  /** Follows a message of the same author within minutes: no picture and name again. */
  compact?: boolean;
  onThread?: (ts: string) => void;
  onDismiss?: (ts: string) => void;
}

function File({ file }: { file: FileInfo }) {
  const name = file.title || file.name || file.id;
  const source = file.url_private ?? file.permalink ?? `files/${file.id}`;
  if (file.mimetype?.startsWith("image/")) return <Picture src={source} alt={file.alt_txt ?? name} title={name} />;
  return (
    <a className="file" href={source} target="_blank" rel="noreferrer noopener">
      <span className="file-icon" aria-hidden="true">
        ⎙
      </span>
      <span>
        <b>{name}</b>
        <small>{file.mimetype ?? t("file")}</small>
      </span>
    </a>
  );
}

function useReact(as: string, { channel, ts }: Message): (name: string) => void {
  const tell = useContext(TellContext);
  return (name) => void api.react(as, channel, ts, name).catch((error: Error) => tell(error.message));
}

const QUICK_REACTIONS = ["white_check_mark", "eyes", "+1"];

function Tools({ as, message, onThread }: { as: string; message: Message; onThread: (ts: string) => void }) {
  const react = useReact(as, message);
  return (
    <div className="message-tools" role="toolbar" aria-label={t("Message actions")}>
      {QUICK_REACTIONS.map((name) => (
        <button key={name} type="button" className="icon emoji" aria-label={t("React with {name}", { name })} title={`:${name}:`} onClick={() => react(name)}>
          {emojiFor(name)}
        </button>
      ))}
      <button type="button" className="icon" aria-label={t("Reply in thread")} title={t("Reply in thread")} onClick={() => onThread(message.ts)}>
        <svg viewBox="0 0 20 20" width="16" height="16" fill="none" stroke="currentColor" strokeWidth="1.5" aria-hidden="true">
          <path d="M3 4.5h14v9H9l-3.5 3v-3H3z" strokeLinejoin="round" />
          <path d="M6.5 8h7M6.5 10.5h4" strokeLinecap="round" />
        </svg>
      </button>
    </div>
  );
}

function Reactions({ message, as }: { message: Message; as: string }) {
  const names = useContext(NamesContext);
  const react = useReact(as, message);
  if (!message.reactions?.length) return null;
  return (
    <ul className="reactions" aria-label={t("Reactions")}>
      {message.reactions.map(({ name, users = [], count }) => (
        <li key={name}>
          <button
            type="button"
            className={users.includes(as) ? "mine" : ""}
            aria-pressed={users.includes(as)}
            title={users.map((id) => personName(names, id)).join(", ")}
            onClick={() => react(name)}
          >
            <span className="emoji" role="img" aria-label={name}>
              {emojiFor(name) ?? `:${name}:`}
            </span>
            {count ?? users.length}
          </button>
        </li>
      ))}
    </ul>
  );
}

function ThreadBar({ replies, count, onOpen }: { replies: Message[]; count: number; onOpen: () => void }) {
  const names = useContext(NamesContext);
  const authors = [...new Map(replies.map((reply) => [reply.user ?? "", reply])).values()].slice(0, 4);
  const last = replies.at(-1);
  return (
    <button type="button" className="thread-bar" onClick={onOpen}>
      {authors.map((reply) => (
        <Avatar key={reply.user} id={reply.user ?? ""} name={authorName(names, reply)} bot={reply.is_bot} size={22} />
      ))}
      <b>{count === 1 ? t("1 reply") : t("{count} replies", { count })}</b>
      {last && <span>{t("Last reply at {time}", { time: clock(last.ts) })}</span>}
    </button>
  );
}

type NamesValue = React.ContextType<typeof NamesContext>;
export const authorName = (names: NamesValue, message: Message): string =>
  (message.is_bot && message.username) || personName(names, message.user, message.username);

function Body({ as, message }: { as: string; message: Message }) {
  const { channel, ts } = message;
  const container = useMemo<Container>(() => ({ type: "message", channel, ts }), [channel, ts]);
  const blocks = message.blocks ?? NO_BLOCKS;
  const surface = useNewSurface(as, container, blocks);
  const edited = message.edited ? <small className="edited">{t("(edited)")}</small> : null;
  return (
    <SurfaceContext.Provider value={surface}>
      {blocks.length > 0 ? (
        <>
          <Blocks blocks={blocks} />
          {edited && <div>{edited}</div>}
        </>
      ) : (
        <div className="message-text">
          {message.text && <Mrkdwn text={message.text} />} {edited}
        </div>
      )}
      {message.attachments?.map((attachment, index) => <Attachment key={index} attachment={attachment} />)}
      {message.files?.map((file) => <File key={file.id} file={file} />)}
    </SurfaceContext.Provider>
  );
}

export const MessageRow = memo(function MessageRow(props: MessageProps) {
  const { as, message, compact, onThread, onDismiss } = props;
  const names = useContext(NamesContext);
  const name = authorName(names, message);
  const replies = props.replies ?? [];
  const count = Math.max(message.reply_count ?? 0, replies.length);
  const time = (
    <time className="time" dateTime={new Date(Number(message.ts) * 1000).toISOString()} title={fullTime(message.ts)}>
      {clock(message.ts)}
    </time>
  );
  return (
    <article
      className={`message ${compact ? "compact" : ""} ${message.ephemeral ? "ephemeral" : ""}`}
      aria-label={`${name}, ${clock(message.ts)}`}
      data-ts={message.ts}
      data-user={message.user}
    >
      {message.ephemeral && (
        <div className="ephemeral-note">
          <svg viewBox="0 0 20 20" width="14" height="14" fill="none" stroke="currentColor" strokeWidth="1.5" aria-hidden="true">
            <path d="M1.8 10S4.6 4.8 10 4.8 18.2 10 18.2 10 15.4 15.2 10 15.2 1.8 10 1.8 10Z" />
            <circle cx="10" cy="10" r="2.4" />
          </svg>
          {t("Only visible to you")}
        </div>
      )}
      <div className="gutter">{compact ? time : <Avatar id={message.user ?? ""} name={name} bot={message.is_bot} />}</div>
      <div className="message-main">
        {!compact && (
          <div className="byline">
            <b className="author">{name}</b>
            {message.is_bot && <span className="app-badge">APP</span>}
            {time}
          </div>
        )}
        <Body as={as} message={message} />
        <Reactions message={message} as={as} />
        {onThread && count > 0 && <ThreadBar replies={replies} count={count} onOpen={() => onThread(message.ts)} />}
        {message.ephemeral && onDismiss && (
          <button type="button" className="link dismiss" onClick={() => onDismiss(message.ts)}>
            {t("Dismiss message")}
          </button>
        )}
      </div>
      {onThread && !message.ephemeral && <Tools as={as} message={message} onThread={onThread} />}
    </article>
  );
});
