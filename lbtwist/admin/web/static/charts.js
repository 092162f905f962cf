// The last hour of one frontend or pool.

/* global uPlot */

import { byId, make, say } from "./dom.js";
import { ask, live } from "./live.js";
import { clock, count, latency, rate } from "./words.js";

const HEIGHT = 152;
const PERIOD = 10000;
const HOUR = 3600;

const CHARTS = [
  {
    title: "Requests per second", text: rate,
    series: [{ from: "rate", label: "requests/s", color: 1, fill: true }],
  },
  {
    title: "Errors per second", text: rate,
    series: [
      { from: "failed", label: "failed", color: 2, fill: true },
      { from: "errors", label: "responses 5xx", color: 3 },
    ],
  },
  {
    title: "Latency", text: latency, least: 0.1,
    series: [
      { from: "p50", label: "p50", color: 1, fill: true },
      { from: "p99", label: "p99", color: 3 },
    ],
  },
  {
    title: "Sessions and queue", text: count, whole: true,
    series: [
      { from: "active", label: "sessions", color: 1, fill: true },
      { from: "queued", label: "queued", color: 2 },
    ],
  },
];

// A canvas knows nothing of properties, so an element is asked what becomes of one.
function color(name) {
  const list = byId("charts-list");
  list.style.color = `var(${name})`;
  const found = getComputedStyle(list).color;
  list.style.color = "";
  return found;
}

const hourAndMinute = (seconds) => clock(seconds).slice(0, 5);

/** One chart: a figure, what stands above it, and uPlot. */
class Chart {
  constructor(about) {
    this.about = about;
    this.plot = null;
    this.data = null;
    this.values = about.series.map(() => make("b"));
    this.keys = about.series.map(({ label, color: series, fill }, at) =>
      make(
        "span", { class: fill ? "key area" : "key", "data-series": series },
        make("span", {}, label), this.values[at],
      ),
    );
    this.place = make("div", { class: "plot", tabindex: "0", role: "img" });
    this.when = make("span", {});
    this.element = make(
      "figure", { class: "chart" },
      make("figcaption", {}, make("h3", {}, about.title), this.keys, this.when), this.place,
    );
    this.place.addEventListener("keydown", (event) => this._moved(event));
    this.place.addEventListener("blur", () => this.plot?.setCursor({ left: -10, top: -10 }));
    new ResizeObserver(() => this._sized()).observe(this.place);
  }

  have(at, series) {
    this.data = [at, ...this.about.series.map(({ from }) => series?.[from] ?? at.map(() => null))];
    if (this.plot) this.plot.setData(this.data);
    else this.draw();
    this._tell(null);
    this.place.setAttribute("aria-label", this._summary());
  }

  /** Draw it anew, in the colours of now. */
  draw() {
    if (!this.data) return;
    this.plot?.destroy();
    const quiet = color("--quiet");
    const axis = {
      stroke: quiet, font: "12px system-ui, sans-serif",
      grid: { stroke: color("--line"), width: 1 }, ticks: { show: false },
    };
    const options = {
      width: Math.max(this.place.clientWidth, 50), height: HEIGHT, padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: "hour" }, y: false, drag: { x: false, y: false }, points: { size: 7 },
      },
      scales: {
        x: { range: () => this._hour() },
        y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.08 : this.about.least ?? 1] },
      },
      axes: [
        { ...axis, space: 64, size: 26, values: (_plot, ticks) => ticks.map(hourAndMinute) },
        {
          ...axis, size: 58, space: 34,
          // Of what is counted there are no halves.
          filter: (_plot, ticks) =>
            ticks.map((one) => (this.about.whole && one % 1 ? null : one)),
          values: (_plot, ticks) => ticks.map((one) => (one === null ? "" : this.about.text(one))),
        },
      ],
      series: [
        {},
        ...this.about.series.map(({ color: series, fill }) => {
          const stroke = color(`--chart-${series}`);
          return {
            stroke, width: 1.5, points: { show: false },
            fill: fill ? `color-mix(in srgb, ${stroke} 15%, transparent)` : undefined,
          };
        }),
      ],
      hooks: { setCursor: [(plot) => this._tell(plot.cursor.idx)] },
    };
    this.plot = new uPlot(options, this.data, this.place);
  }

  _hour() {
    const times = this.data[0];
    const end = times.length ? times[times.length - 1] : Date.now() / 1000;
    return [end - HOUR, end];
  }

  _sized() {
    const width = this.place.clientWidth;
    if (this.plot && width && width !== this.plot.width) {
      this.plot.setSize({ width, height: HEIGHT });
    }
  }

  _tell(at) {
    const [times, ...series] = this.data;
    const known = at !== null && at !== undefined && times[at] !== undefined;
    const shown = known ? at : times.length - 1;
    series.forEach((values, one) => {
      this.values[one].textContent = this.about.text(values[shown] ?? null);
    });
    this.when.textContent = known ? `at ${clock(times[at])}` : "";
  }

  _summary() {
    const [times, ...series] = this.data;
    const parts = this.about.series.map(({ label }, at) => {
      const values = series[at];
      let top = -1;
      values.forEach((value, where) => {
        if (value !== null && (top < 0 || value > values[top])) top = where;
      });
      if (top < 0) return `${label}: nothing is known`;
      const text = this.about.text;
      return `${label}: now ${text(values[values.length - 1])}, at most ${text(values[top])} at ${
        clock(times[top])}`;
    });
    return `${this.about.title}. ${parts.join(". ")}. Arrow keys go through the hour.`;
  }

  // The arrows go from one moment to the next, and say what was.
  _moved(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 }[event.key];
    if (!step || !this.plot || !this.data[0].length) return;
    event.preventDefault();
    const times = this.data[0];
    const from = this.plot.cursor.idx ?? times.length - 1;
    const at = Math.min(Math.max(from + step, 0), times.length - 1);
    this.plot.setCursor({ left: this.plot.valToPos(times[at], "x"), top: 10 });
    const said = this.about.series.map(({ label }, one) =>
      `${label} ${this.about.text(this.data[one + 1][at] ?? null)}`);
    say(`${clock(times[at])}: ${said.join(", ")}`);
  }
}

const charts = CHARTS.map((about) => new Chart(about));
const chooser = byId("subject");
let timer = null;

/** Begin. */
export function start() {
  byId("charts-list").append(...charts.map((one) => one.element));
  chooser.addEventListener("change", refresh);
  const again = () => charts.forEach((one) => one.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  document.addEventListener("themed", again);
}

let offered = "";

/** Offer the frontends and pools there are. */
export function offer() {
  const names = JSON.stringify([...live.frontends.keys(), null, ...live.pools.keys()]);
  if (names === offered) return;
  offered = names;
  const chosen = chooser.value;
  const group = (label, kind, things) => {
    const options = [...things.keys()].map((name) =>
      make("option", { value: `${kind}\n${name}` }, name));
    return make("optgroup", { label }, options);
  };
  chooser.replaceChildren(
    group("Frontends", "frontend", live.frontends), group("Pools", "pool", live.pools),
  );
  if ([...chooser.options].some((one) => one.value === chosen)) chooser.value = chosen;
  refresh();
}

/** Ask for the hour of what is chosen, and again after a while. */
export async function refresh() {
  clearTimeout(timer);
  const [kind, name] = chooser.value.split("\n");
  if (name !== undefined && !document.hidden) {
    try {
      const said = await ask(["history"], { query: { [kind]: name } });
      const series = said[`${kind}s`]?.[name];
      if (chooser.value === `${kind}\n${name}`) charts.forEach((one) => one.have(said.at, series));
    } catch (_lost) {
      // That the link is cut is shown already.
    }
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, PERIOD);
}
