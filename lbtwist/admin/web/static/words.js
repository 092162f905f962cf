// Numbers, times and states as people read them. Pure: nothing here touches the document.

const NOTHING = "–";

const isNone = (value) => value === null || value === undefined || Number.isNaN(value);

/** A count; big ones with three digits and a letter. */
export function count(value) {
  if (isNone(value)) return NOTHING;
  const size = Math.abs(value);
  if (size < 10000) return Math.round(value).toLocaleString("en");
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= unit) return `${short(value / unit)}${letter}`;
  }
  return String(value);
}

const short = (value) =>
  Math.abs(value) < 99.95 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(0);

/** How many in a second; less than ten with what comes after the point. */
export function rate(value) {
  if (isNone(value)) return NOTHING;
  if (value > 0 && value < 0.1) return "<0.1";
  if (value < 10 && value % 1) return value.toFixed(1);
  return count(value);
}

/** A duration, given in seconds, that is looked at as a latency. */
export function latency(seconds) {
  if (isNone(seconds)) return NOTHING;
  if (seconds === 0) return "0 ms";
  const milliseconds = seconds * 1000;
  if (milliseconds < 9.95) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  if (seconds < 99.5) return `${seconds.toFixed(seconds < 9.95 ? 2 : 1)} s`;
  return lasted(seconds);
}

/** How long something has lasted, given in seconds, in its two greatest units. */
export function lasted(seconds) {
  if (isNone(seconds)) return NOTHING;
  const left = Math.max(0, Math.floor(seconds));
  if (left < 60) return `${left} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = parts.findIndex(([unit]) => left >= unit);
  const [unit, word] = parts[at];
  const [lesser, lesserWord] = parts[at + 1];
  const rest = Math.floor((left % unit) / lesser);
  return `${Math.floor(left / unit)} ${word}${rest ? ` ${rest} ${lesserWord}` : ""}`;
}

/** Bytes, in units of 1000. */
export function bytes(value) {
  if (isNone(value)) return NOTHING;
  if (value < 1000) return `${value} B`;
  for (const [unit, word] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (value >= unit) return `${short(value / unit)} ${word}`;
  }
  return `${value} B`;
}

/** How many there are of those that there may be. */
export function of(value, most) {
  return most ? `${count(value)} / ${count(most)}` : count(value);
}

const two = (value) => String(value).padStart(2, "0");

/** The time of day, given in seconds since the epoch. */
export function clock(seconds) {
  if (isNone(seconds)) return NOTHING;
  const at = new Date(seconds * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The same with the day, if that is not today. */
export function moment(seconds, now = Date.now() / 1000) {
  const at = new Date(seconds * 1000);
  if (at.toDateString() === new Date(now * 1000).toDateString()) return clock(seconds);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(seconds)}`;
}

export const plural = (number, one, several) => `${count(number)} ${number === 1 ? one : several}`;

// What each state means, for who does not know it, and its place among the others: the worst
// comes first when they are sorted.
export const STATES = {
  DOWN: { rank: 0, kind: "bad", means: "its checks fail" },
  STOP: { rank: 1, kind: "bad", means: "it listens no more" },
  EJECTED: { rank: 2, kind: "bad", means: "too many of its requests failed, it comes back" },
  FULL: { rank: 3, kind: "warn", means: "it is at its limit of connections" },
  DRAIN: { rank: 4, kind: "warn", means: "it keeps what it has and gets nobody new" },
  LEAVING: { rank: 5, kind: "warn", means: "its source names it no more" },
  PAUSED: { rank: 6, kind: "off", means: "an administrator wants no new connections" },
  MAINT: { rank: 7, kind: "off", means: "maintenance: it gets nobody" },
  UP: { rank: 8, kind: "good", means: "it gets requests" },
  OPEN: { rank: 9, kind: "good", means: "it accepts connections" },
};

export const stateOf = (word) => STATES[word] ?? { rank: 5, kind: "off", means: "" };

/** A value of the rules language as that writes it. */
export function value(given) {
  if (given === null || given === undefined) return "nothing";
  if (given === true) return "yes";
  if (given === false) return "no";
  if (Array.isArray(given)) return `[${given.map(value).join(", ")}]`;
  return JSON.stringify(given);
}
