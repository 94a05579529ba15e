// One combobox for every select of Block Kit: searchable, single or multiple, static or loaded while typing.
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { createPortal } from "react-dom";
import { words } from "./mrkdwn";
import type { Option, OptionGroup } from "./types";
import { t } from "./texts";

const LOAD_AFTER_MS = 150;
const POPUP_HEIGHT = 260;

interface Props {
  label: string;
  placeholder: string;
  chosen: Option[];
  many: boolean;
  limit?: number;
  groups?: OptionGroup[];
  load?: (query: string) => Promise<OptionGroup[]>;
  minQuery?: number;
  disabled?: boolean;
  autoFocus?: boolean;
  invalid?: boolean;
  describedBy?: string;
  inputId?: string;
  onChange: (chosen: Option[]) => void;
}

function matching(groups: OptionGroup[], query: string): OptionGroup[] {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return groups;
  const fits = (option: Option) =>
    `${words(option.text)} ${words(option.description)}`.toLowerCase().includes(wanted);
  return groups.map((group) => ({ ...group, options: group.options.filter(fits) })).filter((g) => g.options.length > 0);
}

/** What the list offers for `query`, and why it may be empty. */
function useOffered({ groups, load, minQuery = 0 }: Props, query: string, open: boolean): [OptionGroup[], string] {
  const [loaded, setLoaded] = useState<OptionGroup[]>([]);
  const [note, setNote] = useState("");
  useEffect(() => {
    if (!load || !open) return;
    if (query.length < minQuery) {
      setLoaded([]);
      const n = minQuery - query.length;
      setNote(n === 1 ? t("Type 1 more character to search.") : t("Type {n} more characters to search.", { n }));
      return;
    }
    let stale = false;
    setNote(t("Loading…"));
    const timer = window.setTimeout(() => {
      load(query).then(
        (found) => {
          if (stale) return;
          setLoaded(found);
          setNote(found.some((group) => group.options.length > 0) ? "" : t("No results"));
        },
        (error: Error) => {
          if (stale) return;
          setLoaded([]);
          setNote(error.message);
        },
      );
    }, LOAD_AFTER_MS);
    return () => {
      stale = true;
      window.clearTimeout(timer);
    };
  }, [load, minQuery, open, query]);
  if (load) return [loaded, note];
  const found = matching(groups ?? [], query);
  return [found, found.length ? "" : t("No results")];
}

/** Where the popup fits: under the field, or above it when the window ends. */
function usePlace(open: boolean, field: React.RefObject<HTMLElement | null>) {
  const [place, setPlace] = useState<React.CSSProperties>({});
  useLayoutEffect(() => {
    if (!open || !field.current) return;
    const follow = () => {
      const box = field.current!.getBoundingClientRect();
      const above = box.bottom + POPUP_HEIGHT > window.innerHeight && box.top > POPUP_HEIGHT;
      setPlace({
        left: box.left,
        width: Math.max(box.width, 220),
        ...(above ? { bottom: window.innerHeight - box.top + 4 } : { top: box.bottom + 4 }),
      });
    };
    follow();
    window.addEventListener("scroll", follow, true);
    window.addEventListener("resize", follow);
    return () => {
      window.removeEventListener("scroll", follow, true);
      window.removeEventListener("resize", follow);
    };
  }, [open, field]);
  return place;
}

export function Picker(props: Props) {
  const { label, placeholder, chosen, many, limit, disabled, onChange } = props;
  const [open, setOpen] = useState(false);
  const [query, setQuery] = useState("");
  const [active, setActive] = useState(0);
  const field = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const listId = useId();
  const [groups, note] = useOffered(props, query, open);
  const flat = useMemo(() => groups.flatMap((group) => group.options), [groups]);
  const place = usePlace(open, field);
  const single = many ? undefined : chosen[0];
  const isChosen = (option: Option) => chosen.some((c) => c.value === option.value);

  const close = () => {
    setOpen(false);
    setQuery("");
  };
  const show = () => {
    if (disabled || open) return;
    setOpen(true);
    setActive(Math.max(0, flat.findIndex(isChosen)));
  };
  const choose = (option: Option) => {
    if (!many) {
      onChange([option]);
      return close();
    }
    if (isChosen(option)) return onChange(chosen.filter((c) => c.value !== option.value));
    if (limit === undefined || chosen.length < limit) onChange([...chosen, option]);
    setQuery("");
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) return show();
      const step = event.key === "ArrowDown" ? 1 : -1;
      setActive((at) => (flat.length ? (at + step + flat.length) % flat.length : 0));
    } else if (event.key === "Enter" && open) {
      event.preventDefault();
      if (flat[active]) choose(flat[active]);
    } else if (event.key === "Escape" && open) {
      // Escape closes the list, not the dialog around it.
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "Backspace" && many && query === "" && chosen.length) {
      onChange(chosen.slice(0, -1));
    }
  };

  useEffect(() => {
    document.getElementById(`${listId}-${active}`)?.scrollIntoView({ block: "nearest" });
  }, [active, listId, open]);

  return (
    <div className={`picker ${open ? "picker-open" : ""} ${props.invalid ? "invalid" : ""}`} ref={field}>
      {many &&
        chosen.map((option) => (
          <span className="picker-token" key={option.value}>
            {words(option.text)}
            <button
              type="button"
              aria-label={t("Remove {name}", { name: words(option.text) })}
              onClick={() => onChange(chosen.filter((c) => c.value !== option.value))}
            >
              ×
            </button>
          </span>
        ))}
      <input
        ref={input}
        id={props.inputId}
        role="combobox"
        aria-label={label}
        aria-expanded={open}
        aria-controls={listId}
        aria-autocomplete="list"
        aria-activedescendant={open && flat[active] ? `${listId}-${active}` : undefined}
        aria-invalid={props.invalid || undefined}
        aria-describedby={props.describedBy}
        autoComplete="off"
        autoFocus={props.autoFocus}
        disabled={disabled}
        value={open ? query : single ? words(single.text) : ""}
        placeholder={single ? words(single.text) : many && chosen.length ? "" : placeholder}
        onChange={(event) => {
          setQuery(event.target.value);
          setActive(0);
          setOpen(true);
        }}
        onClick={show}
        onBlur={close}
        onKeyDown={onKeyDown}
      />
      <span className="picker-caret" aria-hidden="true" />
      {open &&
        createPortal(
          <div className="popup" style={place} onMouseDown={(event) => event.preventDefault()}>
            <ul role="listbox" id={listId} aria-label={label} aria-multiselectable={many || undefined}>
              {groups.map((group, g) => (
                <li key={g} role="presentation">
                  {group.label && <div className="popup-label">{words(group.label)}</div>}
                  <ul role="presentation">
                    {group.options.map((option) => {
                      const index = flat.indexOf(option);
                      return (
                        <li
                          key={option.value}
                          id={`${listId}-${index}`}
                          role="option"
                          aria-selected={isChosen(option)}
                          className={index === active ? "active" : ""}
                          onMouseEnter={() => setActive(index)}
                          onClick={() => choose(option)}
                        >
                          <span>{words(option.text)}</span>
                          {option.description && <small>{words(option.description)}</small>}
                        </li>
                      );
                    })}
                  </ul>
                </li>
              ))}
            </ul>
            {note && <div className="popup-note">{note}</div>}
          </div>,
          // Within an open dialog the rest of the page is inert, so the list belongs into the dialog.
          field.current?.closest("dialog") ?? document.body,
        )}
    </div>
  );
}
