// What the page knows: asks the API, follows its stream and comes back by itself when that is
// cut. Touches no document; whoever shows something listens to the events of `live`.

export const API = new URL("../../api/v1/", import.meta.url);

/** What the API refused, in its own words. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the answer was ${status}`);
    this.status = status;
  }
}

const path = (parts) => parts.map(encodeURIComponent).join("/");

/**
 * @param parts of the path below /api/v1, as they are: they are escaped here.
 * @param given `method`, `body` (becomes JSON), `query`, `signal`.
 * @return what the answer says; null if it says nothing.
 */
export async function ask(parts, { method = "GET", body, query = {}, signal } = {}) {
  const url = new URL(path(parts), API);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-Lbtwist"] = "1";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(url, {
    method, headers, signal, cache: "no-store", credentials: "same-origin",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let said = null;
  try {
    said = text ? JSON.parse(text) : null;
  } catch (_noJSON) {
    // A proxy in between may answer with a page of its own.
  }
  if (!answer.ok) throw new Refused(answer.status, said ?? {});
  return said;
}

/** Of servers, whose name alone does not say which. */
export const keyOf = (pool, server) => `${pool}\n${server}`;

// Seconds over which a rate is taken that the page makes itself, of a counter.
const SPAN = 5;
// When nothing has changed nothing is said; rates that are made here go down all the same.
const QUIET = 1000;
// Of the stream something comes every 15 s at the least.
const SILENCE = 20000;
const SLOWEST = 10000;

/** A counter that is looked at now and then: how much it grows in a second. */
class Growth {
  constructor() {
    this.seen = [];
  }

  /** @return per second. */
  at(now, value) {
    const seen = this.seen;
    const last = seen[seen.length - 1];
    // It was counted anew, or the clock was set.
    if (last && (now < last[0] || value < last[1])) seen.length = 0;
    seen.push([now, value]);
    while (seen.length > 2 && seen[1][0] <= now - SPAN) seen.shift();
    const [since, first] = seen[0];
    return now > since ? (value - first) / (now - since) : 0;
  }
}

// Which counters become which rates.
const GROWING = {
  failed: "failedRate", errors: "errorRate", bytesIn: "inRate", bytesOut: "outRate",
};

/** One thing: a frontend, a pool or a server. */
class Thing {
  constructor(kind, name, pool = null) {
    this.kind = kind;
    this.name = name;
    this.pool = pool;
    this._growing = new Map();
  }

  take(fields, now) {
    Object.assign(this, fields);
    for (const name of Object.keys(GROWING)) {
      if (name in fields && !this._growing.has(name)) this._growing.set(name, new Growth());
    }
    return this.grow(now);
  }

  /** @return whether a rate is another one now. */
  grow(now) {
    let other = false;
    for (const [name, growth] of this._growing) {
      const rate = growth.at(now, this[name] ?? 0);
      if (rate !== this[GROWING[name]]) other = true;
      this[GROWING[name]] = rate;
    }
    return other;
  }
}

/**
 * Events: `link` (the state of it in `link`), `state` (detail: `changed`, a Set of things;
 * `made`, whether there are others than before; `moves`, the servers in another state),
 * `denied`.
 */
export class Live extends EventTarget {
  constructor() {
    super();
    this.process = {};
    this.frontends = new Map();
    this.pools = new Map();
    this.servers = new Map();
    this.at = null;
    // When it last was certain that it is so.
    this.heard = null;
    this.link = "asking";
    this.reason = "";
    this.retryAt = null;
    this._wait = 1000;
    this._timer = null;
    this._running = null;
  }

  start() {
    if (this._running) return;
    clearTimeout(this._timer);
    this._timer = null;
    const running = new AbortController();
    this._running = running;
    this._follow(running)
      .catch((failed) => {
        if (failed instanceof Refused && (failed.status === 401 || failed.status === 403)) {
          this._running = null;
          this.dispatchEvent(new Event("denied"));
          return true;
        }
        this.reason = failed instanceof Refused ? `${failed.message}.` : "";
        return false;
      })
      .then((denied) => {
        if (this._running !== running && !denied) return;
        this._running = null;
        if (!denied) this._lost();
      });
  }

  stop() {
    clearTimeout(this._timer);
    const running = this._running;
    this._running = null;
    running?.abort();
  }

  /** Try at once, not when it is time. */
  retry() {
    if (this._running) return;
    this._wait = 1000;
    this.start();
  }

  _lost() {
    this.retryAt = Date.now() + this._wait;
    this._timer = setTimeout(() => this.start(), this._wait);
    this._wait = Math.min(this._wait * 2, SLOWEST);
    this._linked("lost");
  }

  _linked(link) {
    this.link = link;
    this.dispatchEvent(new Event("link"));
  }

  async _follow(running) {
    let silent = null;
    let quiet = null;
    const still = () => {
      if (this.at !== null) this.took({ at: this.at + QUIET / 1000 });
      quiet = setTimeout(still, QUIET);
    };
    const heard = () => {
      clearTimeout(silent);
      clearTimeout(quiet);
      silent = setTimeout(() => running.abort(), SILENCE);
      quiet = setTimeout(still, 1.5 * QUIET);
    };
    silent = setTimeout(() => running.abort(), SILENCE);
    try {
      // Not an EventSource: that hides the comments, by which alone a quiet link is told from
      // a dead one, and what was the answer if it is none.
      const answer = await fetch(new URL("events", API), {
        headers: { Accept: "text/event-stream" }, signal: running.signal, cache: "no-store",
        credentials: "same-origin",
      });
      heard();
      if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let left = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard();
        const blocks = (left + value).split("\n\n");
        left = blocks.pop();
        blocks.forEach((block) => this._told(block));
        this.heard = this.at;
      }
    } finally {
      clearTimeout(silent);
      clearTimeout(quiet);
    }
  }

  _told(block) {
    let name = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
    if (name === "state" && data.length) this.took(JSON.parse(data.join("\n")));
  }

  /** Take what the stream has said. */
  took(said) {
    const now = said.at;
    const changed = new Set();
    let made = false;
    const moves = new Set();
    this.at = now;
    Object.assign(this.process, said.process ?? {});

    const take = (things, key, fields, create) => {
      if (fields === null) {
        made = things.delete(key) || made;
        return;
      }
      let thing = things.get(key);
      if (thing === undefined) {
        thing = create();
        things.set(key, thing);
        made = true;
      }
      const was = thing.state;
      thing.take(fields, now);
      changed.add(thing);
      if (thing.kind === "server" && was !== undefined && was !== thing.state) moves.add(thing);
    };
    for (const [name, fields] of Object.entries(said.frontends ?? {})) {
      take(this.frontends, name, fields, () => new Thing("frontend", name));
    }
    for (const [name, fields] of Object.entries(said.pools ?? {})) {
      take(this.pools, name, fields, () => new Thing("pool", name));
    }
    for (const [pool, servers] of Object.entries(said.servers ?? {})) {
      if (servers === null) {
        for (const [key, one] of this.servers) {
          if (one.pool === pool) made = this.servers.delete(key) || made;
        }
        continue;
      }
      for (const [name, fields] of Object.entries(servers)) {
        take(this.servers, keyOf(pool, name), fields, () => new Thing("server", name, pool));
      }
    }
    for (const things of [this.frontends, this.pools, this.servers]) {
      for (const [key, thing] of things) {
        if (changed.has(thing)) continue;
        // What is the same as before a cut keeps its row, and the focus that may be on it.
        if (said.full) made = things.delete(key) || made;
        else if (thing.grow(now)) changed.add(thing);
      }
    }
    this._wait = 1000;
    if (this.link !== "live") this._linked("live");
    this.dispatchEvent(new CustomEvent("state", { detail: { changed, made, moves } }));
  }

  /** @return the servers of a pool. */
  serversOf(pool) {
    return [...this.servers.values()].filter((one) => one.pool === pool);
  }
}

export const live = new Live();
