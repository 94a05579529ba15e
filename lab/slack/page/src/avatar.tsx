// A person's or app's picture: initials on a colour that stays theirs.

const COLOURS = ["#2c6e9b", "#8f4a7d", "#3c7a52", "#b0602b", "#5a55a8", "#a23e48", "#2f7f86", "#7a6a1f"];

function colourOf(id: string): string {
  let sum = 0;
  for (const char of id) sum = (sum * 31 + char.charCodeAt(0)) >>> 0;
  return COLOURS[sum % COLOURS.length];
}

const initials = (name: string): string =>
  name
    .split(/\s+/)
    .filter(Boolean)
    .slice(0, 2)
    .map((word) => word[0].toUpperCase())
    .join("");

export function Avatar({ id, name, bot, size = 36 }: { id: string; name: string; bot?: boolean; size?: number }) {
  const style = { width: size, height: size, fontSize: size * 0.4, background: bot ? undefined : colourOf(id) };
  return (
    <span className={`avatar ${bot ? "avatar-bot" : ""}`} style={style} aria-hidden="true">
      {bot ? (
        <svg viewBox="0 0 24 24" width="62%" height="62%" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round">
          <rect x="4" y="4" width="16" height="6" rx="1.5" />
          <rect x="4" y="14" width="16" height="6" rx="1.5" />
          <path d="M7.5 7h.01M7.5 17h.01M11 7h5M11 17h5" />
        </svg>
      ) : (
        initials(name)
      )}
    </span>
  );
}
