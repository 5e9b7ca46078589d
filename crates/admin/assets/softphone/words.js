// Events of the server as sentences, and everything that they are made of: names, times, causes.
// Nothing here touches the page.

import { CALL_AUTHOR, CALL_CAUSE, CERTAINTY, CLOSE_CODE, FLOW_AUTHOR, FLOW_CAUSE, REMOVAL_CAUSE, SHORT_FLOW_CAUSE } from "./causes.js";

/** A word of the server's that has no sentence here, still readable. */
const plain = (word) => (typeof word === "string" && word ? word.replaceAll("_", " ") : "a cause that was not told");

const text = (value) => (typeof value === "string" || typeof value === "number" ? String(value) : "");

/** What a percent-encoded text says; a broken one is shown as it is. */
export function decoded(encoded) {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

/** The name of a user: of an address-of-record, a SIP URI, or a side of a call. Empty if there is none. */
export function nameOf(who) {
  const uri = text(who !== null && typeof who === "object" ? (who.aor ?? who.uri ?? who.display) : who);
  const bare = uri.replace(/^<?sips?:/i, "").replace(/[;>].*$/, "");
  return decoded(bare.includes("@") ? bare.slice(0, bare.lastIndexOf("@")) : bare) || bare.replace(/^@/, "");
}

// ---- times: one clock, that of the server, in UTC as in its terminal and in `sipway why`
// ------------------------------------

/** `13:05:12.123`; empty if it is no time. */
export function clockTime(when, { millis = true } = {}) {
  const date = new Date(when ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(11, millis ? 23 : 19);
}

/** A length of time, from milliseconds. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return "a time that was not told";
  if (ms < 1000) return `${Number(ms.toFixed(ms < 10 ? 1 : 0))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60 ? `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `1:05`, from seconds. */
export const minutes = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

function span(data) {
  if (Number.isFinite(data.duration_ms)) return `, after ${duration(data.duration_ms)}`;
  const length = Date.parse(data.closed_at) - Date.parse(data.opened_at);
  return Number.isFinite(length) ? `, after ${duration(length)}` : "";
}

// ---- connections
// ---------------------------------------------------------------------------------------------------------------

/** The flow an event is about, if it is about one. */
export function flowOf(event) {
  const { flow } = event.data ?? {};
  return (typeof flow === "string" && flow) || (event.type?.startsWith("flow.") ? event.subject : undefined);
}

/** Why a connection ended, in a few words. */
export function shortCause({ cause, code } = {}) {
  if (cause === "close_frame" && (code === 1001 || code === undefined)) return "page closed";
  return SHORT_FLOW_CAUSE[cause] ?? plain(cause);
}

function closed(data, calls) {
  const names = [...new Set((Array.isArray(data.bindings) ? data.bindings : []).map(nameOf).filter(Boolean))].join(", ");
  const talks = (Array.isArray(data.calls) ? data.calls : []).map((call) => calls?.otherSide(call, data.flow)).filter(Boolean);
  const midCall = talks.length ? `, in a call with ${[...new Set(talks)].join(", ")}` : data.calls_total > 0 ? ", in a call" : "";
  const code = data.code ? ` (${[data.code, CLOSE_CODE[data.code]].filter(Boolean).join(": ")})` : "";
  const reason = text(data.reason) ? `, “${data.reason}”` : "";
  const sure = CERTAINTY[data.certainty] ? `; ${CERTAINTY[data.certainty]}` : "";
  const by = FLOW_AUTHOR[data.by] ?? "was closed";
  return `${names ? `${names}’s connection` : "A connection"} ${by}${midCall}: ${FLOW_CAUSE[data.cause] ?? plain(data.cause)}${code}${reason}${span(data)}${sure}`;
}

// ---- calls
// ---------------------------------------------------------------------------------------------------------------------

const STATUS = { 404: "there is no such user", 408: "there was no answer", 480: "not online", 486: "busy", 487: "given up", 488: "no sound in common", 503: "the server has no room", 600: "busy", 603: "declined" };

/** A status of SIP with its meaning. */
export const statusWords = (status) => (status ? `${status}${STATUS[status] ? `: ${STATUS[status]}` : ""}` : "");

/**
 * Why a call ended, as the end of "…: ".
 * @param {object} data of `call.ended`
 * @param {{caller: string, callee: string, lost?: string}} names of the sides ("you" for one's own), and why
 * a connection was lost
 */
export function endWords(data, { caller, callee, lost }) {
  const who = { caller, callee }[data.by] || CALL_AUTHOR[data.by] || "somebody";
  const more = data.cause === "flow_lost" ? lost : statusWords(data.status);
  const filled = { who, whose: who === "you" ? "your" : `${who}’s`, detail: more ? ` (${more})` : "" };
  return CALL_CAUSE[data.cause]?.replace(/\{(\w+)\}/g, (_, name) => filled[name]) ?? plain(data.cause);
}

function ofCall(event, data, calls) {
  const known = calls?.of(data.call_id) ?? {};
  const caller = nameOf(data.caller) || known.caller || "";
  const callee = nameOf(data.callee) || known.callee || "";
  const [one, other] = data.by === "callee" ? [callee, caller] : [caller, callee];
  switch (event.type) {
    case "call.started":
      return `${caller || "Somebody"} calls ${callee || "somebody"}`;
    case "call.answered":
      return `${callee || "The called side"} answered${caller ? ` ${caller}’s call` : ""}${Number.isFinite(data.ring_ms) ? `, after ${duration(data.ring_ms)}` : ""}`;
    case "call.held":
      return `${one || "One side"} put ${other || "the other"} on hold`;
    case "call.resumed":
      return `${one || "One side"} took ${other || "the other"} back from hold`;
    default: {
      const talked = data.answered_at && Number.isFinite(data.talk_ms) ? `, after ${duration(data.talk_ms)} of talk` : "";
      const names = { caller: caller || "the caller", callee: callee || "the called side", lost: known.lost?.why };
      return `The call from ${names.caller} to ${names.callee} ended: ${endWords(data, names)}${talked}`;
    }
  }
}

/**
 * One event as one readable line.
 * @param {object} event a CloudEvent
 * @param {import("./call-fates.js").CallFates} [calls] what was told of calls before
 */
export function inWords(event, calls) {
  const data = event.data ?? {};
  const who = nameOf(data.aor) || nameOf(event.subject) || "Somebody";
  switch (event.type) {
    case "node.started": {
      const recovered = data.flows_recovered ?? 0;
      const before = recovered ? `; ${recovered} ${recovered === 1 ? "connection" : "connections"} of the run before closed as crashed` : "";
      return `Server started${text(data.version) ? `, version ${data.version}` : ""}${before}`;
    }
    case "node.stopped":
      return "Server stopped";
    case "ledger.trimmed":
      return `Old events were dropped from the ledger${Number.isFinite(data.records) ? `: ${data.records}` : ""}`;
    case "audit.differed":
      return `The audit found a difference: ${text(data.evidence) || plain(data.kind)}`;
    case "flow.opened":
      return `A connection was opened${text(data.transport) ? ` over ${data.transport}` : ""}${text(data.remote) ? ` from ${data.remote}` : ""}`;
    case "flow.closed":
      return closed(data, calls);
    case "binding.added":
      return `${who} registered`;
    case "binding.removed":
      return `${who}’s registration is gone: ${REMOVAL_CAUSE[data.cause] ?? plain(data.cause)}`;
    case "user.online":
      return `${who} is online`;
    case "user.offline":
      return `${who} is offline${Number.isFinite(data.duration_ms) ? `, after ${duration(data.duration_ms)}` : ""}`;
    case "call.started":
    case "call.answered":
    case "call.held":
    case "call.resumed":
    case "call.ended":
      return ofCall(event, data, calls);
    default:
      return [text(event.type) || "An event", text(event.subject)].filter(Boolean).join(" ");
  }
}
