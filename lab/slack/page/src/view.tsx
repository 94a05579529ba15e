// An app's views: a modal with its form and errors, and the App Home tab.
import { useContext, useEffect, useMemo, useRef, useState, type FormEvent } from "react";
import { isEmpty } from "./answers";
import { api, type SubmitAnswer } from "./api";
import { Blocks } from "./blocks";
import { Dialog } from "./dialog";
import { words } from "./mrkdwn";
import { forgetDraft, stateValues, SurfaceContext, TellContext, useNewSurface } from "./surface";
import type { Answer, Block, BlockElement, Container, Values, View } from "./types";
import { t } from "./texts";

const NO_BLOCKS: Block[] = [];

type Errors = Record<string, string>;

function problem(element: BlockElement, answer: Answer | undefined, optional: boolean): string | null {
  if (!answer || isEmpty(answer)) return optional ? null : t("Please complete this required field.");
  const value: string | undefined = typeof answer.value === "string" ? answer.value : undefined;
  if (value === undefined) return null;
  if (element.min_length !== undefined && value.length < element.min_length)
    return t("Please enter at least {n} characters.", { n: element.min_length });
  if (element.type !== "number_input") return null;
  const number = Number(value);
  if (Number.isNaN(number)) return t("Please enter a number.");
  if (!element.is_decimal_allowed && !Number.isInteger(number)) return t("Please enter a whole number.");
  if (element.min_value !== undefined && number < Number(element.min_value))
    return t("Must be {least} or more.", { least: element.min_value });
  if (element.max_value !== undefined && number > Number(element.max_value))
    return t("Must be {most} or less.", { most: element.max_value });
  return null;
}

/** What Slack's client refuses by itself, before the app is asked. */
export function fieldErrors(blocks: Block[], values: Values): Errors {
  const errors: Errors = {};
  for (const block of blocks.filter((b) => b.type === "input")) {
    const element = block.element as BlockElement;
    const found = problem(element, values[block.block_id ?? ""]?.[element.action_id ?? ""], block.optional === true);
    if (found) errors[block.block_id ?? ""] = found;
  }
  return errors;
}

interface ModalProps {
  as: string;
  view: View;
  /** Follows the app's answer to a submit; null closes this view. */
  onView: (next: View | null) => void;
}

/** A modal tells its own troubles: what lies under an open dialog can neither be read out nor pressed. */
export function Modal(props: ModalProps) {
  const [trouble, setTrouble] = useState<string | null>(null);
  const { id } = props.view;
  useEffect(() => setTrouble(null), [id]);
  return (
    <TellContext.Provider value={setTrouble}>
      <ModalForm {...props} trouble={trouble} />
    </TellContext.Provider>
  );
}

function ModalForm({ as, view, onView, trouble }: ModalProps & { trouble: string | null }) {
  const container = useMemo<Container>(() => ({ type: "view", view_id: view.id }), [view.id]);
  const [errors, setErrors] = useState<Errors>({});
  const [sending, setSending] = useState(false);
  const surface = useNewSurface(as, container, view.blocks, { errors, stored: view.state?.values });
  const tell = useContext(TellContext);
  const form = useRef<HTMLFormElement>(null);

  useEffect(() => {
    setErrors({});
    const first = form.current?.querySelector<HTMLElement>("[autofocus], input, textarea, select");
    first?.focus();
  }, [view.id]);

  const complain = (found: Errors) => {
    setErrors(found);
    // Slack brings the first field that is wrong into sight.
    const [first] = Object.keys(found);
    if (first) form.current?.querySelector<HTMLElement>(`[data-block-id="${CSS.escape(first)}"] :is(input, textarea)`)?.focus();
  };

  const close = async () => {
    forgetDraft(`${as}/${view.id}`);
    try {
      await api.close(as, view.id);
    } catch (error) {
      tell((error as Error).message);
    }
    onView(null);
  };

  const follow = (answer: SubmitAnswer) => {
    if (answer.response_action === "errors") return complain(answer.errors ?? {});
    forgetDraft(`${as}/${view.id}`);
    onView(answer.view ?? null);
  };

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const values = stateValues(view.blocks, surface.values);
    const found = fieldErrors(view.blocks, values);
    complain(found);
    if (Object.keys(found).length > 0 || sending) return;
    setSending(true);
    try {
      follow(await api.submit(as, view.id, values));
    } catch (error) {
      tell((error as Error).message);
    } finally {
      setSending(false);
    }
  };

  /** A complaint goes away as soon as its field is worked on. */
  const mend = (event: FormEvent) => {
    const block = (event.target as HTMLElement).closest<HTMLElement>("[data-block-id]")?.dataset.blockId;
    if (block !== undefined && block in errors) setErrors(Object.fromEntries(Object.entries(errors).filter(([id]) => id !== block)));
  };

  return (
    <Dialog title={words(view.title)} className="modal" onClose={() => void close()} onBack={view.previous_view_id ? () => void close() : undefined}>
      <form ref={form} onSubmit={(event) => void submit(event)} onInput={mend} noValidate>
        <SurfaceContext.Provider value={surface}>
          <div className="dialog-body">
            <Blocks key={view.id} blocks={view.blocks} />
          </div>
        </SurfaceContext.Provider>
        <div role="alert">{trouble !== null && <p className="dialog-trouble">{trouble}</p>}</div>
        <footer className="dialog-foot">
          <button type="button" className="button" onClick={() => void close()}>
            {words(view.close) || (view.submit ? t("Cancel") : t("Close"))}
          </button>
          {view.submit && (
            <button type="submit" className="button button-primary" disabled={sending} aria-busy={sending}>
              {sending && <span className="spinner" aria-hidden="true" />}
              {words(view.submit)}
            </button>
          )}
        </footer>
      </form>
    </Dialog>
  );
}

export function HomeTab({ as, view, appName }: { as: string; view: View | null; appName: string }) {
  const id = view?.id ?? "";
  const container = useMemo<Container>(() => ({ type: "view", view_id: id }), [id]);
  const surface = useNewSurface(as, container, view?.blocks ?? NO_BLOCKS, { stored: view?.state?.values });
  if (!view)
    return (
      <div className="empty">
        <p>{t("{name} has not published a home view for you yet.", { name: appName })}</p>
      </div>
    );
  return (
    <SurfaceContext.Provider value={surface}>
      <div className="home-view">
        <Blocks blocks={view.blocks} />
      </div>
    </SurfaceContext.Provider>
  );
}
