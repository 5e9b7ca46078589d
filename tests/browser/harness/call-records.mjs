// What the server records of calls, held against what the phones did.
import assert from "node:assert/strict";
import { until } from "./conditions.mjs";

const RECORDED_WITHIN_MS = 10_000;

export class CallRecords {
  #server;
  #told = new Set(); // calls that a test has accounted for

  /** @param {import("./server.mjs").Server} server */
  constructor(server) {
    this.#server = server;
  }

  #events = () => this.#server.events.events.filter(({ type }) => type.startsWith("call."));

  /**
   * Waits for the end of the one call between two phones that nobody has accounted for, and holds its records
   * against what happened.
   * @param {import("./phone.mjs").Phone} caller
   * @param {import("./phone.mjs").Phone} callee who was called
   * @param {{cause: string, by: string, status?: number, between?: string[], answeredBy?:
   * import("./phone.mjs").Phone}} truth `between`: the types of
   *   its records between `call.started` and `call.ended`
   */
  async ended(caller, callee, { cause, by, status, between = [] }) {
    const ours = ({ data }) => !this.#told.has(data.call) && data.caller?.aor === caller.aor && data.callee?.aor === callee.aor;
    const words = `call.ended of ${caller.words} ${caller.name} → ${callee.words} ${callee.name}`;
    const evidence = () => this.#events().slice(-12);
    const { data } = await until(words, () => this.#events().find((event) => event.type === "call.ended" && ours(event)), { within: RECORDED_WITHIN_MS, evidence });
    this.#told.add(data.call);
    const records = this.#events().filter((event) => event.data.call === data.call);
    assert.deepEqual(records.map(({ type }) => type), ["call.started", ...between.map((type) => `call.${type}`), "call.ended"]);
    assert.deepEqual({ cause: data.cause, by: data.by, status: data.status }, { cause, by, status }, words);
    assert.equal(data.caller.transport, caller.transport);
    if (between.includes("answered")) assert.equal(data.callee.transport, callee.transport);
    assert.deepEqual(this.#events().filter((event) => event.type === "call.started" && ours(event)), [], "no other call between them");
    return data;
  }

  /** That every call recorded was one that the phones made, was recorded as ended once, and none is left. */
  async complete() {
    await until("no call is left", async () => (await this.#server.calls()).length === 0, { within: RECORDED_WITHIN_MS, evidence: () => this.#server.calls() });
    const of = (type) => this.#events().filter((event) => event.type === type).map(({ data }) => data.call).sort();
    assert.deepEqual(of("call.started"), [...this.#told].sort());
    assert.deepEqual(of("call.ended"), of("call.started"));
  }
}
