// The last exchanges that failed, with their causes in words.

import { arrange, byId, make, mark, show } from "./dom.js";
import { ask } from "./live.js";
import { moment } from "./words.js";

const MOST = 60;
// So many of them without being asked for more.
const FEW = 12;
const SELDOM = 3000;

const keyOf = (one) => `${one.at}\n${one.frontend}\n${one.number}\n${one.request}`;

let rows = new Map();
let known = [];
let wanted = "";
let all = false;
let asked = 0;
let timer = null;

function rowOf(one) {
  const where = [one.frontend, [one.pool, one.server].filter(Boolean).join("/")];
  const [host, port] = one.client ?? [];
  const cause = [make("div", {}, one.text)];
  if (one.reason && !one.text.includes(one.reason)) {
    cause.push(make("div", { class: "quiet" }, one.reason));
  }
  if (one.rule && !one.text.includes(one.rule)) {
    cause.push(make("div", { class: "quiet" }, `rule: ${one.rule}`));
  }
  if (one.advice) {
    cause.push(make("details", {}, make("summary", { class: "quiet" }, "What to do"), one.advice));
  }
  const from = host ? `${host}${port ? `:${port}` : ""}` : "";
  return make(
    "tr", {},
    make("td", { class: "time" }, moment(one.at)),
    make("td", { class: "where" }, where.filter(Boolean).join(" → ")),
    make(
      "td", { class: "request" }, one.request || "no request",
      make("div", { class: "quiet" }, from),
    ),
    make("td", { class: "number" }, one.status ? String(one.status) : "none"),
    make("td", { class: "cause" }, cause),
  );
}

function render() {
  const fresh = new Map();
  for (const one of known) {
    const said = [one.frontend, one.pool, one.server, one.request, one.text, ...(one.client ?? [])];
    if (wanted && !said.join(" ").toLowerCase().includes(wanted)) continue;
    const key = keyOf(one);
    fresh.set(key, rows.get(key) ?? rowOf(one));
  }
  rows = fresh;
  const shown = [...rows.values()].slice(0, all ? MOST : FEW);
  arrange(byId("failures-rows"), shown);
  byId("failures-more").hidden = rows.size <= FEW;
  show(byId("failures-more"), all ? "Show fewer" : `Show all ${rows.size}`);
  byId("failures-none").hidden = rows.size > 0;
  byId("failures-none").textContent = known.length ? "None that matches." : "Nothing has failed.";
  byId("failures-frame").hidden = !rows.size;
}

byId("failures-more").addEventListener("click", () => {
  all = !all;
  render();
});

/** Show those alone in which this stands. */
export function filter(text) {
  wanted = text;
  render();
}

/** Ask again, though not too often. */
export function refresh() {
  if (timer !== null) return;
  const wait = Math.max(0, asked + SELDOM - Date.now());
  timer = setTimeout(async () => {
    timer = null;
    asked = Date.now();
    try {
      known = (await ask(["failures"], { query: { limit: MOST } })).failures;
      render();
      mark(byId("failures"), "aria-busy", null);
    } catch (_lost) {
      // That the link is cut is shown already.
    }
  }, wait);
}
