// What the server's events tell of calls: who is in them, whose connection was lost and until when it is
// waited for, why they ended. By Call-ID. Nothing here touches the page.
import { nameOf, shortCause } from "./words.js";

/** Calls remembered; the oldest goes first. */
const MOST = 200;

export class CallFates {
  #calls = new Map();
  #now;

  /** How long a call waits for a side whose connection was lost, in ms. */
  holdMs = 30_000;

  /** @param {() => number} [now] a clock that only goes forward, in ms */
  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /**
   * What is known of a call: `caller` and `callee` (names), `flows` (of both), `lost` (`side`, `why`,
   * `until`), `ended` (the data of `call.ended`).
   */
  of(callId) {
    return this.#calls.get(callId);
  }

  /** The name of who is in this call besides the one on this flow. */
  otherSide(callId, flow) {
    const call = this.of(callId);
    return call && { caller: call.callee, callee: call.caller }[this.#sideOn(call, flow)];
  }

  /** Takes in an event; gives the Call-IDs of the calls that it concerns. */
  take(event) {
    const data = event.data ?? {};
    switch (event.type) {
      case "call.started":
      case "call.answered":
      case "call.ended": {
        if (typeof data.call_id !== "string") return [];
        const call = this.#remember(data.call_id);
        for (const side of ["caller", "callee"]) {
          if (!data[side]) continue;
          call[side] = nameOf(data[side]) || call[side];
          call.flows[side] = data[side].flow ?? call.flows[side];
        }
        if (event.type === "call.ended") call.ended = data;
        return [data.call_id];
      }
      case "flow.closed":
        return this.#closed(data);
      default:
        return [];
    }
  }

  /** The side that was lost is there again. */
  found(callId) {
    const call = this.of(callId);
    if (call) call.lost = undefined;
  }

  /** Whole seconds that a lost side is still waited for. */
  secondsLeft({ until }) {
    return Math.max(0, Math.ceil((until - this.#now()) / 1000));
  }

  #closed(data) {
    const named = new Set(Array.isArray(data.calls) ? data.calls : []);
    // The event names some of many calls.
    for (const [callId, call] of this.#calls) if (!call.ended && this.#sideOn(call, data.flow)) named.add(callId);
    for (const callId of named) {
      const call = this.#remember(callId);
      if (!call.ended) call.lost = { side: this.#sideOn(call, data.flow), why: shortCause(data), until: this.#now() + this.holdMs };
    }
    return [...named];
  }

  #sideOn(call, flow) {
    return flow === undefined ? undefined : ["caller", "callee"].find((side) => call.flows[side] === flow);
  }

  #remember(callId) {
    const known = this.#calls.get(callId);
    if (known) return known;
    const call = { caller: "", callee: "", flows: {}, lost: undefined, ended: undefined };
    this.#calls.set(callId, call);
    if (this.#calls.size > MOST) this.#calls.delete(this.#calls.keys().next().value);
    return call;
  }
}
