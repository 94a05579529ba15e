// The answer each kind of element holds, in Slack's own form.
import type { Answer, BlockElement, Option } from "./types";

const TEXT_INPUTS = ["plain_text_input", "email_text_input", "url_text_input", "number_input"];
const SINGLE = ["static_select", "external_select", "radio_buttons"];
const MANY = ["multi_static_select", "multi_external_select", "checkboxes"];

export const isTextInput = (type: string): boolean => TEXT_INPUTS.includes(type);
export const isSelect = (type: string): boolean => type.endsWith("_select");

// Element type → where Slack puts the chosen id, and where an app puts the initial one.
export const ID_FIELDS: Record<string, [string, string]> = {
  users_select: ["selected_user", "initial_user"],
  channels_select: ["selected_channel", "initial_channel"],
  conversations_select: ["selected_conversation", "initial_conversation"],
  multi_users_select: ["selected_users", "initial_users"],
  multi_channels_select: ["selected_channels", "initial_channels"],
  multi_conversations_select: ["selected_conversations", "initial_conversations"],
  datepicker: ["selected_date", "initial_date"],
  timepicker: ["selected_time", "initial_time"],
  datetimepicker: ["selected_date_time", "initial_date_time"],
};

/** What `element` says before anybody touched it; null where it holds no answer (a button, an overflow menu). */
export function defaultAnswer(element: BlockElement): Answer | null {
  const { type } = element;
  if (isTextInput(type)) return { type, value: element.initial_value ?? null };
  if (SINGLE.includes(type)) return { type, selected_option: element.initial_option ?? null };
  if (MANY.includes(type)) return { type, selected_options: element.initial_options ?? [] };
  if (type === "rich_text_input") return { type, rich_text_value: element.initial_value ?? null };
  const fields = ID_FIELDS[type];
  if (!fields) return null;
  return { type, [fields[0]]: element[fields[1]] ?? (type.startsWith("multi_") ? [] : null) };
}

/** Whether `answer` says nothing, as an optional input may. */
export function isEmpty(answer: Answer): boolean {
  return Object.entries(answer)
    .filter(([key]) => key !== "type")
    .every(([, value]) => value === null || value === "" || (Array.isArray(value) && value.length === 0));
}

/** `answer` with `chosen` put where Slack wants it for this type of select. */
export function selectAnswer(type: string, chosen: Option[]): Answer {
  const many = type.startsWith("multi_");
  const fields = ID_FIELDS[type];
  if (!fields) return many ? { type, selected_options: chosen } : { type, selected_option: chosen[0] ?? null };
  const ids = chosen.map((option) => option.value);
  return { type, [fields[0]]: many ? ids : (ids[0] ?? null) };
}

/** The options `answer` stands for; ids are looked up in `directory`. */
export function chosenOptions(answer: Answer, directory: Option[]): Option[] {
  const fields = ID_FIELDS[answer.type];
  if (!fields) return answer.selected_options ?? (answer.selected_option ? [answer.selected_option] : []);
  const ids: string[] = [answer[fields[0]] ?? []].flat();
  return ids.map(
    (id) => directory.find((option) => option.value === id) ?? { text: { type: "plain_text", text: id }, value: id },
  );
}
