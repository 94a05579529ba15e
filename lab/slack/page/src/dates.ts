// Times as a person in one locale reads them, including Slack's <!date^…> formats.

let locale = "en-US";

/** Every time on the page follows the person who looks at it. */
export function setLocale(name: string | undefined): void {
  locale = name ?? "en-US";
}

const format = (at: Date, options: Intl.DateTimeFormatOptions): string =>
  new Intl.DateTimeFormat(locale, options).format(at);

export const clock = (ts: string): string =>
  format(new Date(Number(ts) * 1000), { hour: "numeric", minute: "2-digit" });

export const fullTime = (ts: string): string =>
  format(new Date(Number(ts) * 1000), { dateStyle: "full", timeStyle: "medium" });

function dayDistance(at: Date): number {
  const midnight = (d: Date) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  return Math.round((midnight(at) - midnight(new Date())) / 86_400_000);
}

function relativeDay(days: number): string {
  return new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(days, "day");
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** "Today", "Yesterday" or the date: the divider between two days of messages. */
export function dayName(ts: string): string {
  const at = new Date(Number(ts) * 1000);
  const days = dayDistance(at);
  if (days === 0 || days === -1) return capital(relativeDay(days));
  return format(at, { weekday: "long", month: "long", day: "numeric" });
}

function ago(at: Date): string {
  const seconds = Math.round((at.getTime() - Date.now()) / 1000);
  const steps: [Intl.RelativeTimeFormatUnit, number][] = [
    ["day", 86_400],
    ["hour", 3600],
    ["minute", 60],
  ];
  const words = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const [unit, size] = steps.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return words.format(Math.trunc(seconds / size), unit as Intl.RelativeTimeFormatUnit);
}

const DATE_STYLES: Record<string, Intl.DateTimeFormatOptions> = {
  date: { year: "numeric", month: "long", day: "numeric" },
  date_short: { year: "numeric", month: "short", day: "numeric" },
  date_long: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  day_divider_pretty: { weekday: "long", month: "long", day: "numeric" },
};

function dateToken(name: string, at: Date): string | null {
  if (name === "date_num") return at.toISOString().slice(0, 10);
  if (name === "time") return format(at, { hour: "numeric", minute: "2-digit" });
  if (name === "time_secs") return format(at, { hour: "numeric", minute: "2-digit", second: "2-digit" });
  if (name === "ago") return ago(at);
  const days = dayDistance(at);
  if (name.endsWith("_pretty") && Math.abs(days) <= 1) return relativeDay(days);
  const style = DATE_STYLES[name] ?? DATE_STYLES[name.replace(/_pretty$/, "")];
  return style ? format(at, style) : null;
}

/** Slack's date format string filled in for `seconds` (Unix time); an unknown token stays as written. */
export function slackDate(seconds: number, pattern: string): string {
  const at = new Date(seconds * 1000);
  return pattern.replace(/\{(\w+)\}/g, (whole, name: string) => dateToken(name, at) ?? whole);
}
