// What the server knows: the facts of this tab's flow, and the live events, in words.
// Everything here is optional for the phone: a server without these endpoints leaves the panels empty.

const MOST_EVENTS = 200;
const POLL_MS = 2000;
const REMEMBERED_FLOWS = "sipway.flows";

const BY = { client: "by the client", server: "by the server", network: "by the network", node: "with the server" };

/** The causes a `flow.closed` can carry, as the end of "The connection was closed by …: …". */
const CAUSE = {
  close_frame: "it sent a Close frame",
  eof: "it hung up without a Close frame, as when its process dies",
  reset: "its host reset the connection",
  ping_timeout: "nothing came back after a ping",
  tcp_timeout: "TCP gave up retransmitting",
  write_timeout: "it took no bytes for too long",
  unreachable: "its host or network became unreachable",
  protocol_error: "it broke the protocol",
  message_too_big: "it sent a message over the limit",
  invalid_payload: "it sent text that is not UTF-8",
  tls_error: "TLS failed",
  slow_reader: "it read too slowly and its queue was full",
  rate_limited: "it went over a rate limit",
  auth_failed: "its credentials were wrong too often",
  banned: "its address is banned for what was done from it",
  idle: "it was idle for too long",
  lifetime: "it reached its age limit",
  token_expired: "its credentials ran out",
  admin: "an operator closed it",
  replaced: "a newer connection of the same client took its place",
  drain: "the server is being emptied",
  shutdown: "the server was told to stop",
  internal_error: "a fault inside the server",
  node_crash: "the server process died while it was open",
  node_lost: "the server machine was lost",
};

/** WebSocket close codes (RFC 6455 §7.4.1) as people say them. */
const CODE = {
  1000: "normal",
  1001: "page closed or reloaded",
  1002: "protocol error",
  1003: "unsupported data",
  1005: "no code given",
  1006: "no Close frame",
  1007: "invalid payload",
  1008: "policy",
  1009: "too big",
  1011: "internal error",
  1012: "service restart",
  1013: "try again later",
};

/** Why a registration went, in words. */
const REMOVAL = {
  flow_closed: "its connection closed",
  unregistered: "signed off",
  expired: "not refreshed in time",
  replaced: "registered anew",
  node_crash: "the server process died",
  shutdown: "the server stopped",
};

/** Endings a person brought about on purpose; anything else is shown as trouble. */
const CALM = new Set(["close_frame", "admin", "replaced", "drain", "shutdown"]);

const show = (value) => (value === undefined || value === null || value === "" ? "?" : String(value));
const lower = (value) => (value === undefined ? "?" : String(value).toLowerCase());
const person = (uri) => (uri ? decodeURIComponent(String(uri).replace(/^<?sips?:/i, "").replace(/[@;>].*$/, "")) : undefined);

export function duration(ms) {
  if (!Number.isFinite(ms)) return "?";
  if (ms < 1000) return `${Number(ms.toFixed(ms < 10 ? 1 : 0))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60 ? `${minutes} min ${Math.round((ms % 60_000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1_000_000 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1_000_000).toFixed(1)} MB`;
}

function span(data) {
  if (Number.isFinite(data.duration_ms)) return `, after ${duration(data.duration_ms)}`;
  if (Number.isFinite(data.duration_seconds)) return `, after ${duration(data.duration_seconds * 1000)}`;
  const [from, to] = [Date.parse(data.opened_at), Date.parse(data.closed_at)];
  return Number.isFinite(to - from) ? `, after ${duration(to - from)}` : "";
}

/** The flow an event is about, if it is about one. */
export function flowOf(event) {
  const { flow, flow_id: flowId } = event.data ?? {};
  return (typeof flow === "object" && flow ? flow.id : flow) ?? flowId ?? (event.type?.startsWith("flow.") ? event.subject : undefined);
}

function heldNames(data) {
  const names = (data.bindings ?? []).map((binding) => person(typeof binding === "string" ? binding : binding.aor)).filter(Boolean);
  return [...new Set(names)].join(", ");
}

/** One event as one readable line. */
export function inWords(event) {
  const data = event.data ?? {};
  const who = person(data.aor ?? data.user) ?? person(event.subject) ?? "?";
  const caller = person(data.caller ?? data.from);
  const callee = person(data.callee ?? data.to);
  const call = caller && callee ? `${caller} → ${callee}` : show(data.call_id ?? event.subject);
  switch (event.type) {
    case "node.started": {
      const recovered = data.flows_recovered ?? 0;
      const before = recovered ? `; ${recovered} ${recovered === 1 ? "connection" : "connections"} of the run before closed as crashed` : "";
      return `Server started${data.version ? `, version ${data.version}` : ""}${before}`;
    }
    case "node.stopped":
      return "Server stopped";
    case "audit.differed":
      return `The audit found a difference: ${show(data.evidence)}`;
    case "flow.opened":
      return `A connection was opened over ${lower(data.transport)} from ${show(data.remote ?? data.remote_addr ?? data.remote_address)}`;
    case "flow.closed": {
      const names = heldNames(data);
      const code = data.code ? ` (${[data.code, CODE[data.code]].filter(Boolean).join(": ")})` : "";
      const reason = data.reason ? `, “${data.reason}”` : "";
      const sure = data.certainty && data.certainty !== "observed" ? "; found out when the server started again" : "";
      return `${names ? `${names}’s connection` : "A connection"} was closed ${BY[data.by] ?? ""}: ${CAUSE[data.cause] ?? show(data.cause)}${code}${reason}${span(data)}${sure}`;
    }
    case "binding.added":
      return `${who} registered`;
    case "binding.removed":
      return `${who}’s registration is gone: ${REMOVAL[data.cause] ?? show(data.cause)}`;
    case "user.online":
      return `${who} is online`;
    case "user.offline":
      return `${who} is offline`;
    case "call.started":
      return `${call} is ringing`;
    case "call.answered":
      return `${call} answered`;
    case "call.held":
      return `${call} on hold`;
    case "call.resumed":
      return `${call} resumed`;
    case "call.ended":
      return `${call} ended${data.cause ? `: ${String(data.cause).replaceAll("_", " ")}` : ""}${span(data)}`;
    default:
      return `${show(event.type)} ${show(event.subject)}`;
  }
}

/** A key of the server's JSON as a label: `opened_at` → "Opened". */
function label(path) {
  const words = path.join(" ").replace(/_(at|ms|us)\b/g, "").replace(/[_.]/g, " ").replace(/\brtt\b/, "round trip").replace(/\baddr\b/, "address").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function factText(key, value) {
  if (value === null || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" && /bytes/.test(key)) return bytes(value);
  if (typeof value === "number" && /_us$|micros$/.test(key)) return duration(value / 1000);
  if (typeof value === "number" && /_ms$/.test(key)) return duration(value);
  if (typeof value === "string" && /_at$|time/.test(key) && !Number.isNaN(Date.parse(value))) {
    return `${new Date(value).toLocaleTimeString()} (${duration(Date.now() - Date.parse(value))} ago)`;
  }
  return String(value);
}

const isFlat = (value) => value !== null && typeof value === "object" && Object.values(value).every((inner) => inner === null || typeof inner !== "object");

/** Any JSON object as label/value rows; small objects (`{in, out}`) become one row. */
export function factRows(value, path = []) {
  return Object.entries(value).flatMap(([key, inner]) => {
    const here = [...path, key];
    if (Array.isArray(inner)) {
      if (inner.length === 0) return [[label(here), "none"]];
      return inner.map((item, index) => [index ? "" : label(here), bindingText(item)]);
    }
    if (isFlat(inner)) {
      const parts = Object.entries(inner).map(([name, part]) => `${factText(`${key}_${name}`, part)} ${name.replaceAll("_", " ")}`);
      return Object.keys(inner).length <= 3 ? [[label(here), parts.join(" · ")]] : factRows(inner, here);
    }
    if (inner !== null && typeof inner === "object") return factRows(inner, here);
    return [[label(here), factText(key, inner)]];
  });
}

function bindingText(item) {
  if (item === null || typeof item !== "object") return String(item);
  if (item.aor) return `${item.aor}${item.contact ? `  →  ${item.contact}` : ""}`;
  return Object.entries(item).map(([key, part]) => `${key.replaceAll("_", " ")} ${factText(key, part)}`).join(", ");
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
    if (facts) this.#draw(facts);
    else this.#ended(response ? "The server does not know this connection any more." : "The server does not answer.");
    this.#timer = setTimeout(() => this.#poll(flow), POLL_MS);
  }

  #draw(facts) {
    const rows = factRows(facts).flatMap(([name, text]) => {
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

/** The live event list. Calls `onEvent` once for each event, however often the stream repeats it. */
export class EventList {
  #list;
  #light;
  #onEvent;
  #seen = new Set();
  #mine = new Set(JSON.parse(sessionStorage.getItem(REMEMBERED_FLOWS) ?? "[]"));
  #caughtUp = false;

  constructor(list, light, onEvent) {
    this.#list = list;
    this.#light = light;
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
    this.#list.prepend(this.#line(event));
    while (this.#list.children.length > MOST_EVENTS) {
      this.#seen.delete(this.#list.lastElementChild.dataset.id);
      this.#list.lastElementChild.remove();
    }
    this.#onEvent(event);
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
    line.title = `${event.time ?? ""}  id ${event.id ?? "?"}`;
    const time = document.createElement("time");
    time.dateTime = event.time ?? "";
    const when = new Date(event.time);
    time.textContent = Number.isNaN(when.getTime()) ? "" : `${when.toTimeString().slice(0, 8)}.${String(when.getMilliseconds()).padStart(3, "0")}`;
    const words = document.createElement("span");
    words.className = "line";
    words.textContent = inWords(event);
    const kind = document.createElement("span");
    kind.className = "kind";
    kind.textContent = [event.type, flow].filter(Boolean).join("  ");
    words.append(kind);
    line.append(time, words);
    return line;
  }
}
