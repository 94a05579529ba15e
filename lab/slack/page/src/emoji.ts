// Emoji names as Slack writes them, to characters.
import * as nodeEmoji from "node-emoji";

// Slack's names that node-emoji's list spells otherwise.
const SLACK_NAMES: Record<string, string> = {
  large_green_circle: "🟢",
  large_yellow_circle: "🟡",
  large_orange_circle: "🟠",
  large_red_square: "🟥",
  large_green_square: "🟩",
  large_yellow_square: "🟨",
  thumbsup_all: "👍",
  man_in_business_suit_levitating: "🕴",
};

/** The character(s) for `name` (without colons), or null where it is no emoji (as in 10:30:45). */
export function emojiFor(name: string): string | null {
  const bare = name.replace(/::skin-tone-\d$/, "");
  return SLACK_NAMES[bare] ?? nodeEmoji.get(bare) ?? null;
}

export type EmojiPart = string | { name: string; char: string };

/** `text` cut at every known :name:; what only looks like one (10:30:45) stays text. */
export function emojiParts(text: string): EmojiPart[] {
  const parts: EmojiPart[] = [];
  const names = /:([a-z0-9_+'-]+)(?=:)/gi;
  let from = 0;
  for (let match = names.exec(text); match; match = names.exec(text)) {
    const char = emojiFor(match[1]);
    if (!char) continue;
    if (match.index > from) parts.push(text.slice(from, match.index));
    parts.push({ name: match[1], char });
    from = match.index + match[0].length + 1;
    names.lastIndex = from;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}

/** Text with every known :name: replaced. */
export const withEmoji = (text: string): string =>
  emojiParts(text)
    .map((part) => (typeof part === "string" ? part : part.char))
    .join("");
