// What the server knows, on the page: the facts of this tab's flow, and the live events, in words.
// Everything here is optional for the phone: a server without these endpoints leaves the panels empty.
import { clockTime, duration, flowOf, inWords } from "./words.js";

const MOST_EVENTS = 200;
const POLL_MS = 2000;
const REMEMBERED_FLOWS = "sipway.flows";

/** Endings a person brought about on purpose; anything else is shown as trouble. */
const CALM = new Set(["close_frame", "admin", "replaced", "drain", "shutdown"]);

function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1_000_000 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1_000_000).toFixed(1)} MB`;
}

/** A key of the server's JSON as a label: `opened_at` → "Opened". */
function label(path) {
  const words = path.join(" ").replace(/_(at|ms|us)\b/g, "").replace(/[_.]/g, " ").replace(/\brtt\b/, "round trip").replace(/\baddr\b/, "address").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The server's clock, as far as an answer's `Date` tells it: it may be another machine's. */
const serverNow = (response) => Date.parse(response.headers.get("date") ?? "") || Date.now();

function factText(key, value, now) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" && /bytes/.test(key)) return bytes(value);
  if (typeof value === "number" && /_us$|micros$/.test(key)) return duration(value / 1000);
  if (typeof value === "number" && /_ms$/.test(key)) return duration(value);
  if (typeof value === "number" && key === "expires_in") return duration(value * 1000);
  if (typeof value === "string" && /_at$|time/.test(key) && clockTime(value)) {
    // `Date` counts whole seconds.
    const age = Math.max(0, Math.round((now - Date.parse(value)) / 1000));
    return `${clockTime(value)} UTC (${age < 60 ? `${age} s` : duration(age * 1000)} ago)`;
  }
  if (Array.isArray(value)) return value.map((item) => factText(key, item, now)).join(", ") || "none";
  if (typeof value === "object") return Object.entries(value).map(([name, part]) => `${name.replaceAll("_", " ")} ${factText(name, part, now)}`).join(", ");
  return String(value);
}

/**
 * Any JSON object as label/value rows; objects within it as one row each, or as rows of their own if they are
 * large.
 */
export function factRows(value, now = Date.now(), path = []) {
  return Object.entries(value).flatMap(([key, inner]) => {
    const here = [...path, key];
    if (Array.isArray(inner)) {
      if (inner.length === 0) return [[label(here), "none"]];
      return inner.map((item, index) => [index ? "" : label(here), bindingText(item, now)]);
    }
    if (inner !== null && typeof inner === "object") {
      const small = Object.values(inner).every((part) => part === null || typeof part !== "object") && Object.keys(inner).length <= 3;
      return small ? [[label(here), factText(key, inner, now)]] : factRows(inner, now, here);
    }
    return [[label(here), factText(key, inner, now)]];
  });
}

function bindingText(item, now) {
  if (item !== null && typeof item === "object" && item.aor) {
    const left = Number.isFinite(item.expires_in) ? `, refreshed within ${duration(item.expires_in * 1000)}` : "";
    return `${item.aor}${item.contact ? `  →  ${item.contact}` : ""}${left}`;
  }
  return factText("", item, now);
}

/** The panel with the server's facts about one flow. */
export class FlowPanel {
  #list;
  #hint;
  #flow;
  #timer;

  constructor(list, hint) {
    this.#list = list;
    this.#hint = hint;
  }

  /** Follows a flow from now on; `undefined` stops and leaves the last facts, dimmed. */
  follow(flow) {
    clearTimeout(this.#timer);
    this.#flow = flow;
    if (flow) this.#poll(flow);
    else this.#ended(this.#list.hidden ? undefined : "This connection has ended. Last seen:");
  }

  async #poll(flow) {
    const response = await fetch(`/api/flows/${encodeURIComponent(flow)}`, { cache: "no-store" }).catch(() => undefined);
    const facts = response?.ok ? await response.json().catch(() => undefined) : undefined;
    if (this.#flow !== flow) return;
    if (facts) this.#draw(facts, serverNow(response));
    else this.#ended(response ? "The server does not know this connection any more." : "The server does not answer.");
    this.#timer = setTimeout(() => this.#poll(flow), POLL_MS);
  }

  #draw(facts, now) {
    const rows = factRows(facts, now).flatMap(([name, text]) => {
      const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      detail.textContent = text;
      detail.classList.toggle("id", /^(Id|Flow|Flow id|Bindings|Contact|Call ids|User agent)?$/.test(name));
      return [term, detail];
    });
    this.#list.replaceChildren(...rows);
    this.#list.classList.remove("gone");
    this.#list.hidden = false;
    this.#hint.textContent = "";
  }

  #ended(words) {
    this.#list.classList.add("gone");
    if (words) this.#hint.textContent = words;
  }
}

/**
 * The live event list. Calls `onEvent` once for each event, however often the stream repeats it, with the
 * Call-IDs of the calls that it concerns.
 */
export class EventList {
  #list;
  #light;
  #onEvent;
  #calls;
  #seen = new Set();
  #mine = new Set(JSON.parse(sessionStorage.getItem(REMEMBERED_FLOWS) ?? "[]"));
  #caughtUp = false;

  /** @param {import("./call-fates.js").CallFates} calls is told of every event before it is shown */
  constructor(list, light, calls, onEvent) {
    this.#list = list;
    this.#light = light;
    this.#calls = calls;
    this.#onEvent = onEvent;
  }

  open() {
    const source = new EventSource("/api/events");
    source.onopen = () => {
      this.#lit("yes", "Live");
      // What the server replays on connecting is history; only what comes later is announced.
      setTimeout(() => (this.#caughtUp = true), 500);
    };
    source.onerror = () => {
      const ended = source.readyState === EventSource.CLOSED;
      this.#lit(ended ? "no" : "wait", ended ? "Not available" : "Reconnecting");
    };
    source.onmessage = (message) => this.#take(message.data);
    // Some servers name each event by its type; take those as well.
    for (const type of ["node.started", "node.stopped", "ledger.trimmed", "audit.differed", "flow.opened", "flow.closed", "binding.added", "binding.removed", "user.online", "user.offline", "call.started", "call.answered", "call.held", "call.resumed", "call.ended"]) {
      source.addEventListener(type, (message) => this.#take(message.data));
    }
  }

  /** Marks a flow, and all its events, as this tab's; remembered over a reload. */
  claim(flow) {
    this.#mine.add(flow);
    sessionStorage.setItem(REMEMBERED_FLOWS, JSON.stringify([...this.#mine].slice(-20)));
    for (const line of this.#list.children) line.classList.toggle("mine", this.#mine.has(line.dataset.flow));
  }

  #lit(on, words) {
    this.#light.dataset.on = on;
    this.#light.querySelector("span").textContent = words;
  }

  #take(text) {
    let event;
    try {
      event = JSON.parse(text);
    } catch {
      return;
    }
    if (this.#seen.has(event.id)) return;
    this.#seen.add(event.id);
    const concerned = this.#calls.take(event);
    this.#list.prepend(this.#line(event));
    while (this.#list.children.length > MOST_EVENTS) {
      this.#seen.delete(this.#list.lastElementChild.dataset.id);
      this.#list.lastElementChild.remove();
    }
    this.#onEvent(event, concerned);
  }

  #line(event) {
    const line = document.createElement("li");
    const flow = flowOf(event);
    line.dataset.id = event.id ?? "";
    line.dataset.type = event.type ?? "";
    if (flow) line.dataset.flow = flow;
    line.classList.toggle("mine", this.#mine.has(flow));
    line.classList.toggle("closed", event.type === "flow.closed");
    line.classList.toggle("calm", CALM.has(event.data?.cause));
    line.classList.toggle("fresh", this.#caughtUp);
    line.title = [event.time, event.id && `id ${event.id}`].filter(Boolean).join("  ");
    const time = document.createElement("time");
    time.dateTime = event.time ?? "";
    time.textContent = clockTime(event.time);
    const words = document.createElement("span");
    words.className = "line";
    words.textContent = inWords(event, this.#calls);
    const kind = document.createElement("span");
    kind.className = "kind";
    kind.textContent = [event.type, flow].filter(Boolean).join("  ");
    words.append(kind);
    line.append(time, words);
    return line;
  }
}
