// What slack-blocks-to-jsx draws: rich text, plans, task cards, charts, Markdown, cards, video.
import { useContext, useMemo, useSyncExternalStore, type MouseEvent } from "react";
import { Message as LibraryMessage, type Block as LibraryBlock, type MessageProps } from "slack-blocks-to-jsx";
import "slack-blocks-to-jsx/dist/style.css";
import { slackDate } from "./dates";
import { emojiFor } from "./emoji";
import { Emoji, NamesContext } from "./mrkdwn";
import { SurfaceContext } from "./surface";
import type { Block, BlockElement, Open } from "./types";

export const LIBRARY_BLOCKS = [
  "rich_text",
  "plan",
  "task_card",
  "data_visualization",
  "markdown",
  "card",
  "carousel",
  "video",
  "file",
];

const hooks: MessageProps["hooks"] = {
  // The library takes the 30 of 10:30:45 for an emoji; what is none goes back to text.
  emoji: ({ name }) => {
    const char = emojiFor(name);
    return char ? <Emoji name={name} char={char} /> : `:${name}:`;
  },
  date: ({ timestamp, format, fallback }) => <time title={fallback}>{slackDate(Number(timestamp), format)}</time>,
};

function buttonWithin(node: unknown, action_id: string): BlockElement | null {
  if (typeof node !== "object" || node === null) return null;
  const open = node as Open;
  if (open.action_id === action_id) return open as BlockElement;
  for (const child of Object.values(open)) {
    const found = buttonWithin(child, action_id);
    if (found) return found;
  }
  return null;
}

/** `node` without confirm dialogs: the library would open its own, which leads nowhere. */
function unconfirmed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(unconfirmed);
  if (typeof node !== "object" || node === null) return node;
  return Object.fromEntries(
    Object.entries(node)
      .filter(([key]) => key !== "confirm")
      .map(([key, value]) => [key, unconfirmed(value)]),
  );
}

const darkness = matchMedia("(prefers-color-scheme: dark)");

function followDarkness(told: () => void) {
  darkness.addEventListener("change", told);
  return () => darkness.removeEventListener("change", told);
}

const isDark = () => darkness.matches;

export function ReadOnly({ block }: { block: Block }) {
  const names = useContext(NamesContext);
  const surface = useContext(SurfaceContext);
  const theme = useSyncExternalStore(followDarkness, isDark) ? "dark" : "light";
  const blocks = useMemo(() => [unconfirmed(block) as LibraryBlock], [block]);
  const data = useMemo(() => {
    const people = names.people.map((p) => ({ id: p.id, name: p.real_name || p.name }));
    const app = names.app ? [{ id: names.app.user_id, name: names.app.name }] : [];
    return { users: [...people, ...app], channels: names.channels.map(({ id, name }) => ({ id, name })) };
  }, [names]);

  // The library calls nobody back, but puts each action_id on its button as the DOM id.
  const onClick = (event: MouseEvent) => {
    const button = (event.target as HTMLElement).closest("button, a");
    const element = button?.id ? buttonWithin(block, button.id) : null;
    if (!element || !surface) return;
    void surface.act(block.block_id ?? "", element, {
      type: element.type,
      text: element.text,
      ...(element.value !== undefined ? { value: element.value } : {}),
    });
  };
  return (
    <div className={`library library-${block.type}`} onClick={onClick}>
      <LibraryMessage withoutWrapper theme={theme} logo="" name="" blocks={blocks} data={data} hooks={hooks} />
    </div>
  );
}
