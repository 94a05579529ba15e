// Dialogs on the browser's own <dialog>: it keeps the focus inside, gives it back, and closes on Escape.
import { useCallback, useEffect, useId, useRef, useState, type ReactNode } from "react";
import { Text, words } from "./mrkdwn";
import { AskContext, TellContext, type Ask } from "./surface";
import type { ConfirmObject } from "./types";
import { t } from "./texts";

interface Props {
  title: ReactNode;
  className?: string;
  onClose: () => void;
  onBack?: () => void;
  closeLabel?: string;
  children: ReactNode;
}

export function Dialog({ title, className, onClose, onBack, closeLabel, children }: Props) {
  const titleId = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    const node = dialog.current!;
    node.showModal();
    return () => {
      node.close();
      // The element may have been redrawn or disabled meanwhile; then the browser's choice stands.
      if (before?.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className={`dialog ${className ?? ""}`}
      aria-labelledby={titleId}
      onCancel={(event) => {
        if (event.target !== dialog.current) return;
        event.preventDefault();
        onClose();
      }}
    >
      <header className="dialog-head">
        {onBack && (
          <button type="button" className="icon" aria-label={t("Back")} onClick={onBack}>
            ‹
          </button>
        )}
        <h2 id={titleId}>{title}</h2>
        <button type="button" className="icon" aria-label={closeLabel ?? t("Close")} onClick={onClose}>
          ×
        </button>
      </header>
      {children}
    </dialog>
  );
}

interface Question {
  confirm: ConfirmObject;
  answer: (yes: boolean) => void;
}

function ConfirmDialog({ question: { confirm, answer } }: { question: Question }) {
  return (
    <Dialog title={words(confirm.title) || t("Are you sure?")} className="confirm" onClose={() => answer(false)}>
      <div className="dialog-body">
        <Text of={confirm.text} />
      </div>
      <footer className="dialog-foot">
        <button type="button" className="button" onClick={() => answer(false)}>
          {words(confirm.deny) || t("Cancel")}
        </button>
        <button
          type="button"
          autoFocus
          className={`button ${confirm.style === "danger" ? "button-danger-solid" : "button-primary"}`}
          onClick={() => answer(true)}
        >
          {words(confirm.confirm) || t("Yes")}
        </button>
      </footer>
    </Dialog>
  );
}

const NOTICE_MS = 8000;

/** Gives everything inside a way to ask the person, and to tell them what went wrong. */
export function Asking({ children }: { children: ReactNode }) {
  const [question, setQuestion] = useState<Question | null>(null);
  const [notice, setNotice] = useState<string | null>(null);
  const ask = useCallback<Ask>(
    (confirm) =>
      new Promise((resolve) => {
        const answer = (yes: boolean) => {
          setQuestion(null);
          resolve(yes);
        };
        setQuestion({ confirm, answer });
      }),
    [],
  );
  useEffect(() => {
    if (notice === null) return;
    const timer = window.setTimeout(() => setNotice(null), NOTICE_MS);
    return () => window.clearTimeout(timer);
  }, [notice]);
  return (
    <AskContext.Provider value={ask}>
      <TellContext.Provider value={setNotice}>
        {children}
        {question && <ConfirmDialog question={question} />}
        <div className="toasts" role="alert">
          {notice !== null && (
            <div className="toast">
              {notice}
              <button type="button" className="icon" aria-label={t("Dismiss")} onClick={() => setNotice(null)}>
                ×
              </button>
            </div>
          )}
        </div>
      </TellContext.Provider>
    </AskContext.Provider>
  );
}
