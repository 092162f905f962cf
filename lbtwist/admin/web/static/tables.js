// The two live tables. An event of the stream renders the rows that it says something of, and
// of these the ones near the screen at once, the others a few at a time; of a row only the
// cells that read otherwise.

import { arrange, make, mark, show, written } from "./dom.js";
import { live } from "./live.js";
import { bytes, count, latency, of, rate, stateOf } from "./words.js";

// Of the rows nobody sees, so many are brought up to date with each event.
const UNSEEN = 30;

const zero = (value) => (value ? "" : "zero");
const busy = (one) => Math.max(one.active ?? 0, one.sessions ?? 0);

/** Of HTTP what was answered with 5xx, of TCP what ended badly, in a second. */
export function errors(one) {
  const mode = one.kind === "server" ? live.pools.get(one.pool)?.mode : one.mode;
  return (mode === "tcp" ? one.failedRate : one.errorRate) ?? null;
}

const middle = (one) => one.latency?.p50 ?? null;

/** @return how many came in a second: requests, in mode tcp sessions. */
export const requestsOf = (one) =>
  (one.mode === "tcp" ? one.rate : one.requestRate ?? one.rate) ?? null;

// A column: what it is called, what its cells say, what it is sorted by, and how it looks.
const NAME = { key: "name", label: "Name", sort: (one) => one.name };
const STATE = { key: "state", label: "State", sort: (one) => stateOf(one.state).rank };
const NUMBERS = {
  rate: {
    key: "rate", label: "Requests/s", short: "req/s",
    title: "Requests, or sessions in mode tcp, in a second",
    sort: (one) => requestsOf(one), text: (one) => rate(requestsOf(one)),
  },
  errors: {
    key: "errors", label: "Errors/s", short: "err/s",
    title: "Responses 5xx, or sessions that failed in mode tcp, in a second",
    sort: errors, text: (one) => rate(errors(one)), look: (one) => (errors(one) ? "hot" : "zero"),
  },
  failed: {
    key: "failed", label: "Failed/s", wide: true, narrow: false,
    title: "Exchanges that ended otherwise than in good order, in a second: refused, broken off",
    sort: (one) => one.failedRate ?? null, text: (one) => rate(one.failedRate),
    look: (one) => zero(one.failedRate),
  },
  middle: {
    key: "middle", label: "p50", narrow: "frontend",
    title: "Half of the requests took so long or less",
    sort: middle, text: (one) => latency(middle(one)),
  },
  high: {
    key: "high", label: "p99", title: "Of a hundred requests 99 took so long or less",
    sort: (one) => one.latency?.p99 ?? null, text: (one) => latency(one.latency?.p99 ?? null),
  },
  sessions: {
    key: "sessions", label: "Sessions", short: "sessions",
    title: "Exchanges that run now, and how many may",
    sort: busy, text: (one) => of(busy(one), one.limit), look: (one) => zero(busy(one)),
  },
  queue: {
    key: "queue", label: "Queue", short: "queue", title: "Exchanges that wait for a free slot",
    sort: (one) => one.queued ?? null, text: (one) => count(one.queued),
    look: (one) => (one.queued ? "hot" : "zero"),
  },
};

export const FRONTENDS = [
  NAME, STATE, NUMBERS.rate, NUMBERS.errors, NUMBERS.failed, NUMBERS.middle, NUMBERS.high,
  {
    ...NUMBERS.sessions, label: "Connections", short: "connections",
    title: "Connections of clients, and how many may be",
  },
  {
    key: "in", label: "In/s", title: "Bytes from clients in a second", wide: true, narrow: false,
    sort: (one) => one.inRate, text: (one) => bytes(Math.round(one.inRate ?? 0)),
    look: (one) => zero(one.inRate),
  },
  {
    key: "out", label: "Out/s", title: "Bytes to clients in a second", wide: true, narrow: false,
    sort: (one) => one.outRate, text: (one) => bytes(Math.round(one.outRate ?? 0)),
    look: (one) => zero(one.outRate),
  },
];

export const SERVERS = [
  NAME, STATE, NUMBERS.rate, NUMBERS.errors, NUMBERS.failed, NUMBERS.middle, NUMBERS.high,
  NUMBERS.sessions, NUMBERS.queue,
  {
    key: "weight", label: "Weight", title: "The share of a server",
    sort: (one) => one.weight, narrow: false,
    text: (one) => (one.kind === "server" ? String(one.weight ?? "") : ""),
  },
  {
    key: "check", label: "Last check", title: "What the last check has found", wide: true,
    narrow: false, start: true, sort: (one) => one.check ?? "",
    text: (one) => (one.kind === "server" ? one.check ?? "" : ""),
  },
];

/** @return a state as its shape and word; `told(thing)` has it say how it is now. */
export function badge() {
  const word = make("span", { class: "word" });
  const more = make("span", { class: "quiet" });
  const element = make("span", { class: "state" }, word, more);
  element.tell = (thing) => {
    const { kind, means } = stateOf(thing.state);
    mark(element, "data-state", thing.state);
    mark(element, "data-kind", kind);
    mark(element, "title", means);
    show(word, thing.state ?? "");
    show(more, furtherOf(thing));
  };
  return element;
}

function furtherOf(thing) {
  if (thing.kind === "pool") return `${thing.usable ?? 0}/${thing.servers ?? 0}`;
  if (thing.kind !== "server") return "";
  if (thing.state === "DRAIN") return busy(thing) ? `${count(busy(thing))} left` : "empty";
  return /\d+\/\d+/.exec(thing.status ?? "")?.[0] ?? "";
}

/** One row. */
class Row {
  constructor(thing, columns, opened) {
    this.thing = thing;
    this.columns = columns;
    this.near = false;
    this.stale = true;
    const pool = thing.kind === "pool";
    const about = { type: "button", class: pool ? "name fold" : "name", tabindex: "-1" };
    this.opener =
      thing.kind === "frontend"
        ? make("span", {}, thing.name)
        : make("button", { ...about, click: () => opened(thing) }, thing.name);
    this.aside = make("span", { class: "aside" });
    this.badge = badge();
    this.cells = columns.map((column) => {
      if (column.key === "name") {
        const scope = pool ? "rowgroup" : "row";
        return make("th", { role: "rowheader", scope }, this.opener, this.aside);
      }
      const off = column.narrow === false || (column.narrow && column.narrow !== thing.kind);
      const looks = [
        column.key === "state" || column.start ? "" : "number", column.wide && "wide",
        off && "narrow-off",
      ];
      const cell = make("td", {
        role: "cell", class: looks.filter(Boolean).join(" "),
        "data-label": column.short ?? column.label,
      });
      if (column.key === "state") cell.append(this.badge);
      return cell;
    });
    this.base = this.cells.map((cell) => cell.className);
    this.element = make("tr", { role: "row", class: thing.kind }, this.cells);
    this.element.row = this;
    this.opener.row = this;
  }

  render() {
    this.stale = false;
    const { thing, cells, base } = this;
    let other = false;
    this.badge.tell(thing);
    show(this.aside, asideOf(thing));
    this.columns.forEach((column, at) => {
      if (!column.text) return;
      if (show(cells[at], column.text(thing))) other = true;
      const look = column.look?.(thing) ?? "";
      const wanted = look ? `${base[at]} ${look}` : base[at];
      if (cells[at].className !== wanted) cells[at].className = wanted;
    });
    if (other) written.rows += 1;
  }
}

function asideOf(thing) {
  if (thing.kind === "server") {
    const said = [thing.address, thing.backup && "backup", thing.role];
    return said.filter(Boolean).join(" · ");
  }
  if (thing.kind === "pool") return [thing.balance, thing.mode].filter(Boolean).join(" · ");
  return [(thing.binds ?? []).join(" "), thing.mode].filter(Boolean).join(" · ");
}

function compare(column, down) {
  return (one, other) => {
    const [a, b] = [column.sort(one.thing), column.sort(other.thing)];
    const [none, noOther] = [a === null || a === undefined, b === null || b === undefined];
    // What is not known is last, whichever way it goes.
    if (none || noOther) return none - noOther;
    const found =
      typeof a === "string" || typeof b === "string"
        ? String(a).localeCompare(String(b), "en", { numeric: true })
        : a - b;
    return down ? -found : found;
  };
}

/**
 * A table of rows in groups; each group is one `tbody`.
 */
export class LiveTable {
  /**
   * @param element the table.
   * @param sorting the select that sorts where there is no room for headers.
   * @param opened is called with the thing whose name was chosen.
   */
  constructor(element, columns, sorting, opened) {
    this.element = element;
    this.columns = columns;
    this.opened = opened;
    this.rows = new Map();
    this.bodies = new Map();
    this.folded = new Set();
    this.sorted = null;
    this.matches = () => true;
    this.current = null;
    // Within a frame that scrolls by itself, too.
    const margins = { rootMargin: "400px", scrollMargin: "400px" };
    this._near = new IntersectionObserver((seen) => this._came(seen), margins);
    this._head(sorting);
    element.addEventListener("keydown", (event) => this._moved(event));
    element.addEventListener("focusin", (event) => {
      if (event.target.row) this._chosen(event.target);
    });
  }

  _head(sorting) {
    this._heads = this.columns.map((column) => {
      const side = column.key === "name" || column.key === "state" || column.start ? "" : "number";
      const button = make("button", { type: "button", title: column.title }, column.label);
      button.addEventListener("click", () => this.sortBy(column));
      const wide = column.wide ? " wide" : "";
      return make("th", { role: "columnheader", scope: "col", class: side + wide }, button);
    });
    this.element.append(
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, this._heads)),
    );
    this._sorting = sorting;
    sorting.append(make("option", { value: "" }, "as written"));
    this.columns.forEach((column) => {
      sorting.append(make("option", { value: column.key }, column.label));
    });
    sorting.addEventListener("change", () => {
      this.sorted = null;
      const column = this.columns.find((one) => one.key === sorting.value);
      if (column) this.sortBy(column);
      else this._resorted();
    });
  }

  /** Names and states begin with the first, numbers with the greatest; then the other way. */
  sortBy(column) {
    const first = !(column.key === "name" || column.key === "state");
    if (this.sorted?.column !== column) this.sorted = { column, down: first, first };
    else if (this.sorted.down === this.sorted.first) this.sorted.down = !first;
    else this.sorted = null;
    this._resorted();
  }

  _resorted() {
    this.columns.forEach((column, at) => {
      const way = this.sorted?.down ? "descending" : "ascending";
      mark(this._heads[at], "aria-sort", this.sorted?.column === column ? way : null);
    });
    this._sorting.value = this.sorted?.column.key ?? "";
    this.lay();
  }

  /**
   * @param groups of things, each with what heads it, or null, first.
   */
  have(groups) {
    const things = new Set();
    this._groups = groups.map(({ head, members }) => {
      const rows = members.map((thing) => this._rowOf(thing, things));
      return { key: head?.name ?? "", head: head && this._rowOf(head, things), rows };
    });
    for (const [thing, row] of this.rows) {
      if (things.has(thing)) continue;
      this._near.unobserve(row.element);
      this.rows.delete(thing);
      if (this.current === row.opener) this.current = null;
    }
    this.lay();
  }

  _rowOf(thing, things) {
    things.add(thing);
    let row = this.rows.get(thing);
    if (row === undefined) {
      row = new Row(thing, this.columns, this.opened);
      this.rows.set(thing, row);
      row.render();
      this._near.observe(row.element);
    }
    return row;
  }

  /** Put what is to be seen in its order. */
  lay() {
    if (!this._groups) return;
    let groups = this._groups;
    const order = this.sorted && compare(this.sorted.column, this.sorted.down);
    if (order && groups.every((one) => one.head)) {
      groups = [...groups].sort((one, other) => order(one.head, other.head));
    }
    const bodies = [];
    this.shown = 0;
    for (const { key, head, rows } of groups) {
      const whole = head && this.matches(head.thing);
      let seen = rows.filter((row) => this.matches(row.thing, whole));
      if (!seen.length && !whole) continue;
      this.shown += seen.length;
      if (order) seen = [...seen].sort(order);
      const open = !this.folded.has(key);
      if (head) mark(head.opener, "aria-expanded", open);
      let body = this.bodies.get(key);
      if (!body) this.bodies.set(key, (body = make("tbody", { role: "rowgroup" })));
      const shown = open ? seen : [];
      arrange(body, [...(head ? [head] : []), ...shown].map((row) => row.element));
      bodies.push(body);
    }
    const focused = this.element.contains(document.activeElement) && document.activeElement;
    arrange(this.element, [this.element.tHead, ...bodies]);
    // Moving an element takes the focus from it.
    if (focused && focused !== document.activeElement && this.element.contains(focused)) {
      focused.focus();
    }
    if (!this.current || !this.element.contains(this.current)) {
      this._chosen(this.element.querySelector("tbody button"));
    }
  }

  /** Fold a group, or unfold it. */
  fold(key) {
    if (!this.folded.delete(key)) this.folded.add(key);
    this.lay();
  }

  /** Show what has changed. */
  update(changed) {
    for (const thing of changed) {
      const row = this.rows.get(thing);
      if (!row) continue;
      if (row.near) row.render();
      else row.stale = true;
    }
    let left = UNSEEN;
    for (const row of this.rows.values()) {
      if (!row.stale || row.near) continue;
      row.render();
      left -= 1;
      if (!left) break;
    }
  }

  /** Sort again by numbers that have changed, unless somebody is about to choose a row. */
  settle() {
    if (!this.sorted || this.element.matches(":hover, :focus-within")) return;
    this.lay();
  }

  _came(seen) {
    for (const { target, isIntersecting } of seen) {
      target.row.near = isIntersecting;
      if (isIntersecting && target.row.stale) target.row.render();
    }
  }

  _chosen(button) {
    if (this.current) this.current.tabIndex = -1;
    this.current = button;
    if (button) button.tabIndex = 0;
  }

  // One stop of the tab key for all rows; the arrows go from one to the next.
  _moved(event) {
    if (!event.target.row || event.ctrlKey || event.altKey || event.metaKey) return;
    const buttons = [...this.element.querySelectorAll("tbody button")];
    const at = buttons.indexOf(event.target);
    const next = {
      ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1,
      PageDown: Math.min(at + 12, buttons.length - 1), PageUp: Math.max(at - 12, 0),
    }[event.key];
    if (next === undefined || !buttons[next]) return;
    event.preventDefault();
    buttons[next].focus();
    buttons[next].scrollIntoView({ block: "nearest" });
  }
}
