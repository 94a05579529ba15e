// Where a person writes: commands with completion, mentions, plain messages.
import { useContext, useEffect, useId, useLayoutEffect, useRef, useState, type KeyboardEvent } from "react";
import { api, Refusal } from "./api";
import { NamesContext } from "./mrkdwn";
import { TellContext } from "./surface";
import type { SlashCommand } from "./types";
import { t } from "./texts";

const COMPLETE_AFTER_MS = 60;
const MOST_SUGGESTIONS = 10;

interface Suggestion {
  /** The whole text of the field once it is chosen. */
  text: string;
  shown: string;
  detail?: string;
}

interface Props {
  as: string;
  channel: string;
  thread_ts?: string;
  placeholder: string;
  commands: SlashCommand[];
}

function commandSuggestions(text: string, commands: SlashCommand[]): Suggestion[] {
  if (!/^\/\S*$/.test(text)) return [];
  return commands
    .filter(({ command }) => command.startsWith(text))
    .map(({ command, description, usage_hint }) => ({
      text: `${command} `,
      shown: [command, usage_hint].filter(Boolean).join(" "),
      detail: description && t(description),
    }));
}

/** A server's suggestion is the whole line, or the word that comes next. */
const wholeLine = (text: string, suggestion: string): string =>
  suggestion.startsWith("/") ? suggestion : text.replace(/\S*$/, suggestion);

const withoutRepeats = (suggestions: Suggestion[]): Suggestion[] => [
  ...new Map(suggestions.map((s) => [s.text.trim(), s] as const).reverse()).values(),
].reverse();

/** What to offer for the text before the caret. */
function useSuggestions({ as, commands, thread_ts }: Props, text: string): Suggestion[] {
  const names = useContext(NamesContext);
  const [served, setServed] = useState<{ text: string; found: string[] }>({ text: "", found: [] });
  const isCommand = text.startsWith("/") && !text.includes("\n") && !thread_ts;
  useEffect(() => {
    if (!isCommand) return;
    let stale = false;
    const timer = window.setTimeout(() => {
      api.complete(as, text).then(
        ({ suggestions }) => !stale && setServed({ text, found: suggestions }),
        () => !stale && setServed({ text, found: [] }), // Completion is a convenience: without it one types on.
      );
    }, COMPLETE_AFTER_MS);
    return () => {
      stale = true;
      window.clearTimeout(timer);
    };
  }, [as, isCommand, text]);
  const mention = /(^|\s)@([\p{L}\p{N}._-]*)$/u.exec(text);
  if (isCommand && !mention) {
    const fromServer = (served.text === text ? served.found : [])
      .map((found) => wholeLine(text, found))
      .map((line) => ({ text: line.endsWith(" ") ? line : `${line} `, shown: line }));
    return withoutRepeats([...commandSuggestions(text, commands), ...fromServer]).slice(0, MOST_SUGGESTIONS);
  }
  if (!mention) return [];
  const wanted = mention[2].toLowerCase();
  const known = [
    ...(names.app ? [{ name: names.app.name, detail: "App" }] : []),
    ...names.people.map((p) => ({ name: p.real_name || p.name, detail: p.title ? t(p.title) : "" })),
  ];
  return known
    .filter(({ name }) => name.toLowerCase().startsWith(wanted))
    .map(({ name, detail }) => ({ text: `${text.slice(0, text.length - wanted.length)}${name} `, shown: `@${name}`, detail }));
}

const escapeRegex = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** What a person wrote, with ids for @names and #channels; the workspace escapes the rest, as Slack's server does. */
export function encode(text: string, names: React.ContextType<typeof NamesContext>): string {
  const tokens = [
    ...names.people.flatMap((p) => [p.real_name, p.name].filter(Boolean).map((n) => [`@${n}`, `<@${p.id}>`] as const)),
    ...(names.app ? [[`@${names.app.name}`, `<@${names.app.user_id}>`] as const] : []),
    ...names.channels.map((c) => [`#${c.name}`, `<#${c.id}|${c.name}>`] as const),
  ].sort((a, b) => b[0].length - a[0].length);
  if (tokens.length === 0) return text;
  const ids = new Map(tokens.map(([word, id]) => [word.toLowerCase(), id]));
  const pattern = new RegExp(`(?<![\\w<])(?:${tokens.map(([word]) => escapeRegex(word)).join("|")})(?!\\w)`, "gi");
  return text.replace(pattern, (word) => ids.get(word.toLowerCase()) ?? word);
}

const STYLES: [string, string, string][] = [
  ["Bold", "*", "B"],
  ["Italic", "_", "I"],
  ["Strikethrough", "~", "S"],
  ["Code", "`", "</>"],
];

export function Composer(props: Props) {
  const { as, channel, thread_ts, placeholder, commands } = props;
  const names = useContext(NamesContext);
  const tell = useContext(TellContext);
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const [moved, setMoved] = useState(false);
  const [hidden, setHidden] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const listId = useId();
  const suggestions = useSuggestions(props, text).filter((s) => s.text.trim() !== text.trim());
  const offering = !hidden && suggestions.length > 0;

  useEffect(() => {
    setText("");
    if (!document.querySelector("dialog[open]")) field.current?.focus();
  }, [channel, thread_ts, as]);

  useLayoutEffect(() => {
    if (!field.current) return;
    field.current.style.height = "auto";
    field.current.style.height = `${field.current.scrollHeight}px`;
  }, [text]);

  const write = (next: string) => {
    setText(next);
    setActive(0);
    setMoved(false);
    setHidden(false);
  };

  const send = async () => {
    const words = text.trim();
    if (!words) return;
    const isCommand = words.startsWith("/");
    write("");
    try {
      await api.say(as, channel, encode(words, names), thread_ts);
    } catch (error) {
      // A failed command is told by Slackbot in the channel, as at Slack.
      if (isCommand && !thread_ts && error instanceof Refusal) return;
      setText((now) => now || text);
      tell((error as Error).message);
    }
  };

  const style = (mark: string) => {
    const { selectionStart: from, selectionEnd: to } = field.current!;
    setText(`${text.slice(0, from)}${mark}${text.slice(from, to)}${mark}${text.slice(to)}`);
    requestAnimationFrame(() => {
      field.current?.focus();
      field.current?.setSelectionRange(from + mark.length, to + mark.length);
    });
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (offering && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      setMoved(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      // The first key press goes to the first suggestion, which Tab would take already.
      setActive(moved || step < 0 ? (active + step + suggestions.length) % suggestions.length : active + (active === 0 && !moved ? 0 : step));
    } else if (offering && event.key === "Tab" && !event.shiftKey) {
      event.preventDefault();
      write(suggestions[active].text);
    } else if (offering && event.key === "Escape") {
      event.preventDefault();
      setHidden(true);
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      // A whole command is sent as it stands; a begun word, or a chosen suggestion, is completed first.
      const begun = /^\/\S*$/.test(text) ? !commands.some((c) => c.command === text) : /(^|\s)@\S*$/.test(text);
      if (offering && (moved || begun)) write(suggestions[active].text);
      else void send();
    }
  };

  return (
    <div className="composer">
      {offering && (
        <div className="suggestions">
          <div className="popup-label">{text.startsWith("/") ? t("Commands") : t("People and apps")}</div>
          <ul role="listbox" id={listId} aria-label={t("Suggestions")}>
            {suggestions.map((suggestion, index) => (
              <li
                key={suggestion.text}
                id={`${listId}-${index}`}
                role="option"
                aria-selected={index === active}
                className={index === active ? "active" : ""}
                onMouseDown={(event) => event.preventDefault()}
                onClick={() => write(suggestion.text)}
              >
                <b>{suggestion.shown}</b>
                {suggestion.detail && <small>{suggestion.detail}</small>}
              </li>
            ))}
          </ul>
          <div className="popup-note" aria-hidden="true">
            <kbd>Tab</kbd> {t("to complete,")} <kbd>↑</kbd> <kbd>↓</kbd> {t("to choose")}
          </div>
        </div>
      )}
      <div className="composer-tools" role="toolbar" aria-label={t("Formatting")}>
        {STYLES.map(([name, mark, face]) => (
          <button key={name} type="button" className={`icon style-${name.toLowerCase()}`} aria-label={t(name)} title={t(name)} onClick={() => style(mark)}>
            {face}
          </button>
        ))}
      </div>
      <textarea
        ref={field}
        rows={1}
        role="combobox"
        aria-label={placeholder}
        aria-expanded={offering}
        aria-controls={listId}
        aria-autocomplete="list"
        aria-activedescendant={offering ? `${listId}-${active}` : undefined}
        placeholder={placeholder}
        value={text}
        onChange={(event) => write(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <div className="composer-foot">
        <button
          type="button"
          className="icon"
          aria-label={t("Slash command")}
          title={t("Slash command")}
          disabled={thread_ts !== undefined}
          onClick={() => {
            write("/");
            field.current?.focus();
          }}
        >
          /
        </button>
        <button
          type="button"
          className="icon"
          aria-label={t("Mention someone")}
          title={t("Mention someone")}
          onClick={() => {
            write(text && !/\s$/.test(text) ? `${text} @` : `${text}@`);
            field.current?.focus();
          }}
        >
          @
        </button>
        <button type="button" className={`send ${text.trim() ? "ready" : ""}`} aria-label={t("Send")} disabled={!text.trim()} onClick={() => void send()}>
          <svg viewBox="0 0 20 20" width="16" height="16" fill="currentColor" aria-hidden="true">
            <path d="M2.5 2.6 18 10 2.5 17.4 4.6 11 11 10 4.6 9z" />
          </svg>
        </button>
      </div>
    </div>
  );
}
