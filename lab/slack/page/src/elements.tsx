// Every interactive element of Block Kit that the workspace understands.
import { useContext, useEffect, useId, useRef, useState, type ReactNode } from "react";
import { chosenOptions, defaultAnswer, isSelect, isTextInput, selectAnswer } from "./answers";
import { NamesContext, Text, words, type Names } from "./mrkdwn";
import { Picker } from "./picker";
import { elementKey, useSurface } from "./surface";
import type { Answer, BlockElement, Option, OptionGroup } from "./types";
import { t } from "./texts";

interface Props {
  block_id: string;
  element: BlockElement;
  /** In an input block an answer waits for submit unless the block dispatches. */
  waits?: boolean;
  label?: string;
  inputId?: string;
  invalid?: boolean;
  describedBy?: string;
}

/** The answer now, and how to give another. */
function useAnswer({ block_id, element, waits }: Props): [Answer, (answer: Answer) => void] {
  const surface = useSurface();
  const action_id = element.action_id ?? "";
  const now = surface.values[block_id]?.[action_id] ?? defaultAnswer(element) ?? { type: element.type };
  const give = (answer: Answer) => {
    if (waits) surface.set(block_id, action_id, answer);
    else void surface.act(block_id, element, answer);
  };
  return [now, give];
}

/** Whether this very element is being sent, and whether any of its message is. */
function useBusy({ block_id, element }: Props): boolean {
  return useSurface().busy === elementKey(block_id, element);
}

function Button(props: Props) {
  const { block_id, element } = props;
  const surface = useSurface();
  const busy = useBusy(props);
  const answer: Answer = {
    type: "button",
    text: element.text,
    ...(element.value !== undefined ? { value: element.value } : {}),
    ...(element.style ? { style: element.style } : {}),
    ...(element.url ? { url: element.url } : {}),
  };
  const shared = {
    className: `button ${element.style ? `button-${element.style}` : ""}`,
    "aria-label": element.accessibility_label as string | undefined,
    "data-action-id": element.action_id,
    onClick: () => void surface.act(block_id, element, answer),
  };
  const face = <Text of={element.text} />;
  if (element.url)
    return (
      <a {...shared} href={element.url} target="_blank" rel="noreferrer noopener">
        {face}
      </a>
    );
  // While one answer of a message travels, none of its other buttons may be pressed.
  return (
    <button type="button" {...shared} disabled={surface.busy !== null} aria-busy={busy}>
      {busy && <span className="spinner" aria-hidden="true" />}
      {face}
    </button>
  );
}

const asOption = (value: string, text: string, description?: string): Option => ({
  text: { type: "plain_text", text },
  value,
  ...(description ? { description: { type: "plain_text" as const, text: description } } : {}),
});

/** The people and channels a picker of this type offers. */
function directory(type: string, names: Names): Option[] {
  const people = names.people.map((p) => asOption(p.id, p.real_name || p.name, p.title));
  const channels = names.channels.map((c) => asOption(c.id, `#${c.name}`));
  if (type.endsWith("users_select")) return people;
  if (type.endsWith("channels_select")) return channels;
  return type.endsWith("conversations_select") ? [...channels, ...people] : [];
}

const EXTERNAL_MIN_QUERY = 3; // Slack's default

function Select(props: Props) {
  const { block_id, element } = props;
  const surface = useSurface();
  const names = useContext(NamesContext);
  const [answer, give] = useAnswer(props);
  const options = directory(element.type, names);
  const external = element.type.endsWith("external_select");
  const given: OptionGroup[] = element.option_groups ?? [{ options: element.options ?? options }];
  const load = useRef((query: string) => surface.load(block_id, element.action_id ?? "", query));
  load.current = (query) => surface.load(block_id, element.action_id ?? "", query);
  const [stable] = useState(() => (query: string) => load.current(query));
  return (
    <Picker
      label={props.label ?? (words(element.placeholder) || t("Select"))}
      placeholder={words(element.placeholder) || t("Select an option")}
      many={element.type.startsWith("multi_")}
      limit={element.max_selected_items}
      chosen={chosenOptions(answer, options)}
      groups={external ? undefined : given}
      load={external ? stable : undefined}
      minQuery={external ? (element.min_query_length ?? EXTERNAL_MIN_QUERY) : 0}
      disabled={surface.busy !== null}
      autoFocus={element.focus_on_load}
      invalid={props.invalid}
      describedBy={props.describedBy}
      inputId={props.inputId}
      onChange={(chosen) => give(selectAnswer(element.type, chosen))}
    />
  );
}

function Choice({ option, ...input }: { option: Option } & React.InputHTMLAttributes<HTMLInputElement>) {
  return (
    <label className="choice">
      <input {...input} value={option.value} />
      <span>
        <Text of={option.text} />
        {option.description && (
          <small>
            <Text of={option.description} />
          </small>
        )}
      </span>
    </label>
  );
}

function Radios(props: Props) {
  const name = useId();
  const [answer, give] = useAnswer(props);
  return (
    <div className="choices" role="radiogroup" aria-label={props.label ?? t("Choose one")} aria-describedby={props.describedBy}>
      {(props.element.options as Option[]).map((option) => (
        <Choice
          key={option.value}
          type="radio"
          name={name}
          option={option}
          checked={answer.selected_option?.value === option.value}
          onChange={() => give({ type: "radio_buttons", selected_option: option })}
        />
      ))}
    </div>
  );
}

function Checkboxes(props: Props) {
  const [answer, give] = useAnswer(props);
  const chosen: Option[] = answer.selected_options ?? [];
  const has = (option: Option) => chosen.some((c) => c.value === option.value);
  const toggled = (option: Option) =>
    (props.element.options as Option[]).filter((o) => (o.value === option.value ? !has(o) : has(o)));
  return (
    <div className="choices" role="group" aria-label={props.label ?? t("Choose any")} aria-describedby={props.describedBy}>
      {(props.element.options as Option[]).map((option) => (
        <Choice
          key={option.value}
          type="checkbox"
          option={option}
          checked={has(option)}
          onChange={() => give({ type: "checkboxes", selected_options: toggled(option) })}
        />
      ))}
    </div>
  );
}

function Overflow({ block_id, element }: Props) {
  const surface = useSurface();
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (open) root.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
  }, [open]);
  const step = (by: number) => {
    const items = [...(root.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    items[(at + by + items.length) % items.length]?.focus();
  };
  const choose = (option: Option) => {
    setOpen(false);
    if (option.url) window.open(option.url, "_blank", "noopener");
    void surface.act(block_id, element, { type: "overflow", selected_option: option });
  };
  return (
    <div
      className="overflow"
      ref={root}
      onBlur={(event) => !root.current?.contains(event.relatedTarget) && setOpen(false)}
      onKeyDown={(event) => {
        if (!open) return;
        if (event.key === "Escape") {
          event.preventDefault();
          setOpen(false);
          root.current?.querySelector("button")?.focus();
        }
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
          event.preventDefault();
          step(event.key === "ArrowDown" ? 1 : -1);
        }
      }}
    >
      <button
        type="button"
        className="button button-icon"
        aria-label={element.accessibility_label ?? t("More actions")}
        aria-haspopup="menu"
        aria-expanded={open}
        disabled={surface.busy !== null}
        onClick={() => setOpen(!open)}
      >
        <span aria-hidden="true">•••</span>
      </button>
      {open && (
        <div className="menu" role="menu">
          {(element.options as Option[]).map((option) => (
            <button type="button" role="menuitem" key={option.value} onClick={() => choose(option)}>
              <Text of={option.text} />
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

const HTML_INPUT: Record<string, string> = {
  email_text_input: "email",
  url_text_input: "url",
  number_input: "number",
};

function TextInput(props: Props) {
  const { block_id, element } = props;
  const surface = useSurface();
  const [answer, give] = useAnswer({ ...props, waits: true });
  const triggers: string[] = element.dispatch_action_config?.trigger_actions_on ?? ["on_enter_pressed"];
  const send = (value: string | null) => {
    if (!props.waits) void surface.act(block_id, element, { type: element.type, value });
  };
  const shared = {
    id: props.inputId,
    className: "text-input",
    placeholder: words(element.placeholder),
    "aria-label": props.label ? undefined : words(element.placeholder) || t("Text"),
    "aria-invalid": props.invalid || undefined,
    "aria-describedby": props.describedBy,
    autoFocus: element.focus_on_load as boolean | undefined,
    maxLength: element.max_length as number | undefined,
    value: answer.value ?? "",
    onChange: (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) => {
      const value = event.target.value || null;
      give({ type: element.type, value });
      if (triggers.includes("on_character_entered")) send(value);
    },
    onKeyDown: (event: React.KeyboardEvent) => {
      if (event.key !== "Enter" || props.waits || !triggers.includes("on_enter_pressed")) return;
      event.preventDefault();
      send(answer.value);
    },
  };
  if (element.multiline) return <textarea rows={4} {...shared} />;
  const step = element.is_decimal_allowed ? "any" : undefined;
  return <input type={HTML_INPUT[element.type] ?? "text"} step={step} {...shared} />;
}

/** Local time for <input type=datetime-local> from Unix seconds. */
function localDateTime(seconds: number | null): string {
  if (seconds === null) return "";
  const at = new Date(seconds * 1000);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function Moment(props: Props) {
  const { type } = props.element;
  const [answer, give] = useAnswer(props);
  const shared = {
    id: props.inputId,
    className: "text-input moment",
    "aria-label": props.label ?? (words(props.element.placeholder) || t("Date")),
    "aria-invalid": props.invalid || undefined,
    "aria-describedby": props.describedBy,
  };
  if (type === "datetimepicker")
    return (
      <input
        {...shared}
        type="datetime-local"
        value={localDateTime(answer.selected_date_time)}
        onChange={(event) => {
          const at = new Date(event.target.value).getTime() / 1000;
          give({ type, selected_date_time: Number.isFinite(at) ? at : null });
        }}
      />
    );
  const field = type === "timepicker" ? "selected_time" : "selected_date";
  return (
    <input
      {...shared}
      type={type === "timepicker" ? "time" : "date"}
      value={answer[field] ?? ""}
      onChange={(event) => give({ type, [field]: event.target.value || null })}
    />
  );
}

function FeedbackButtons({ block_id, element }: Props) {
  const surface = useSurface();
  const choices = [element.positive_button, element.negative_button].filter(Boolean);
  return (
    <>
      {choices.map((choice) => (
        <button
          key={choice.value}
          type="button"
          className="button"
          aria-label={choice.accessibility_label}
          disabled={surface.busy !== null}
          onClick={() => void surface.act(block_id, element, { type: element.type, text: choice.text, value: choice.value })}
        >
          <Text of={choice.text} />
        </button>
      ))}
    </>
  );
}

/** Rich text is written here as plain text: one section. */
function RichTextInput(props: Props) {
  const { type } = props.element;
  const [answer, give] = useAnswer(props);
  const text: string = answer.rich_text_value?.elements?.[0]?.elements?.[0]?.text ?? "";
  const asRich = (words: string) => ({
    type: "rich_text",
    elements: [{ type: "rich_text_section", elements: [{ type: "text", text: words }] }],
  });
  return (
    <textarea
      id={props.inputId}
      className="text-input"
      rows={4}
      placeholder={words(props.element.placeholder)}
      aria-invalid={props.invalid || undefined}
      aria-describedby={props.describedBy}
      value={text}
      onChange={({ target }) => give({ type, rich_text_value: target.value ? asRich(target.value) : null })}
    />
  );
}

const MOMENTS = ["datepicker", "timepicker", "datetimepicker"];

/** Any element; one the page does not know is named, and its text shown, rather than left out. */
export function Element(props: Props): ReactNode {
  const { element } = props;
  const { type } = element;
  if (type === "button" || type === "workflow_button" || type === "icon_button") return <Button {...props} />;
  if (isSelect(type)) return <Select {...props} />;
  if (isTextInput(type)) return <TextInput {...props} />;
  if (type === "radio_buttons") return <Radios {...props} />;
  if (type === "checkboxes") return <Checkboxes {...props} />;
  if (type === "overflow") return <Overflow {...props} />;
  if (MOMENTS.includes(type)) return <Moment {...props} />;
  if (type === "rich_text_input") return <RichTextInput {...props} />;
  if (type === "feedback_buttons") return <FeedbackButtons {...props} />;
  if (type === "image") return <img className="accessory-image" src={element.image_url} alt={element.alt_text ?? ""} />;
  return <span className="unknown">[{type}] {words(element.text ?? element.placeholder)}</span>;
}
