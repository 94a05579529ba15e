// What an interactive element needs from where it stands: its message or view, the answers so far, and how to send one.
import { createContext, useCallback, useContext, useMemo, useState } from "react";
import { api } from "./api";
import { defaultAnswer } from "./answers";
import type { Answer, Block, BlockElement, ConfirmObject, Container, OptionGroup, Values } from "./types";
import { t } from "./texts";

export interface Surface {
  container: Container;
  values: Values;
  errors: Record<string, string>;
  busy: string | null;
  set: (block_id: string, action_id: string, answer: Answer) => void;
  act: (block_id: string, element: BlockElement, answer: Answer) => Promise<boolean>;
  load: (block_id: string, action_id: string, query: string) => Promise<OptionGroup[]>;
}

/** Asks the person; true means "go on". */
export type Ask = (confirm: ConfirmObject) => Promise<boolean>;
export const AskContext = createContext<Ask>(async () => true);
export const TellContext = createContext<(error: string) => void>(() => undefined);
export const SurfaceContext = createContext<Surface | null>(null);

export function useSurface(): Surface {
  const surface = useContext(SurfaceContext);
  if (!surface) throw new Error("An interactive element stands outside any message or view.");
  return surface;
}

export const elementKey = (block_id: string, element: BlockElement): string =>
  `${block_id}/${element.action_id ?? ""}`;

/** Every element of `blocks` that holds an answer, with its block. */
export function answering(blocks: Block[]): { block: Block; element: BlockElement }[] {
  const of = (block: Block): BlockElement[] => {
    if (block.type === "input") return [block.element];
    if (block.type === "actions") return block.elements ?? [];
    return block.type === "section" && block.accessory ? [block.accessory] : [];
  };
  return blocks
    .flatMap((block) => of(block).map((element) => ({ block, element })))
    .filter(({ element }) => defaultAnswer(element) !== null);
}

/** `state.values` as Slack sends it: every element's answer, given or initial. */
export function stateValues(blocks: Block[], given: Values): Values {
  const values: Values = {};
  for (const { block, element } of answering(blocks)) {
    const block_id = block.block_id ?? "";
    const action_id = element.action_id ?? "";
    values[block_id] ??= {};
    values[block_id][action_id] = given[block_id]?.[action_id] ?? defaultAnswer(element)!;
  }
  return values;
}

// Answers outlive a redraw: an app may update a view, or push another on top, while somebody is typing.
const drafts = new Map<string, Values>();

export function forgetDraft(key: string): void {
  drafts.delete(key);
}

const NO_ERRORS: Record<string, string> = {};
const NO_VALUES: Values = {};

/** The surface of one message or view, seen by `as`. */
export function useNewSurface(as: string, container: Container, blocks: Block[], more: { errors?: Record<string, string>; stored?: Values } = {}): Surface {
  const { errors = NO_ERRORS, stored = NO_VALUES } = more;
  const key = `${as}/${container.type === "view" ? container.view_id : container.ts}`;
  const [shown, setShown] = useState(key);
  const [values, setValues] = useState<Values>(() => drafts.get(key) ?? stored);
  const [busy, setBusy] = useState<string | null>(null);
  const ask = useContext(AskContext);
  const tell = useContext(TellContext);
  if (shown !== key) {
    setShown(key);
    setValues(drafts.get(key) ?? stored);
  }

  const set = useCallback(
    (block_id: string, action_id: string, answer: Answer) => {
      const before = drafts.get(key) ?? stored;
      const after = { ...before, [block_id]: { ...before[block_id], [action_id]: answer } };
      drafts.set(key, after);
      setValues(after);
    },
    [key, stored],
  );

  const act = useCallback(
    async (block_id: string, element: BlockElement, answer: Answer) => {
      if (element.confirm && !(await ask(element.confirm))) return false;
      const action_id = element.action_id ?? "";
      if (defaultAnswer(element) !== null) set(block_id, action_id, answer);
      setBusy(elementKey(block_id, element));
      try {
        await api.action(as, container, block_id, answer, action_id, stateValues(blocks, drafts.get(key) ?? stored));
        return true;
      } catch (error) {
        tell(error instanceof Error ? error.message : String(error));
        return false;
      } finally {
        setBusy(null);
      }
    },
    [as, ask, blocks, container, key, set, stored, tell],
  );

  const load = useCallback(
    async (block_id: string, action_id: string, query: string) => {
      const answer = await api.options(as, container, block_id, action_id, query);
      if (answer.error) throw new Error(t("The app did not answer ({error}).", { error: answer.error }));
      return answer.option_groups ?? [{ options: answer.options ?? [] }];
    },
    [as, container],
  );

  return useMemo(
    () => ({ container, values, errors, busy, set, act, load }),
    [container, values, errors, busy, set, act, load],
  );
}
