// The softphone page as a person uses it: buttons by their names; its state by `window.softphone`.
import assert from "node:assert/strict";
import { until } from "./conditions.mjs";

export class Softphone {
  #broken = [];

  constructor(page, name) {
    this.page = page;
    this.name = name;
    page.on("pageerror", (error) => this.#broken.push(error.stack ?? String(error)));
  }

  /** Opens the page in a context of its own and waits until it is registered. */
  static async open(browser, server, name) {
    const context = await browser.newContext();
    const phone = new Softphone(await context.newPage(), name);
    await phone.page.goto(server.pageOf(name));
    await phone.registered();
    return phone;
  }

  /** `{connected, registered, flow, call, lastCall, …}` */
  state() {
    return this.page.evaluate(() => structuredClone(globalThis.softphone.state));
  }

  messages() {
    return this.page.evaluate(() => globalThis.softphone.messages.map(({ direction, peer, text, state, detail }) => ({ direction, peer, text, state, detail })));
  }

  /** Waits until `holds(state)`. */
  async reaches(what, holds, within = 15_000) {
    try {
      return await until(`${this.name}: ${what}`, async () => {
        const state = await this.state();
        return holds(state) && state;
      }, { within, evidence: () => this.state() });
    } catch (error) {
      if (this.#broken.length) error.message += `\npage errors: ${this.#broken.join("\n")}`;
      throw error;
    }
  }

  /** Waits for the registration; returns the flow id that the server gave. */
  async registered() {
    const { flow } = await this.reaches("registers", (state) => state.registered);
    assert.ok(flow, "the 200 to REGISTER carries Sipway-Flow");
    return flow;
  }

  inCall = () => this.reaches("is in a call", ({ call }) => call.state === "active");
  idle = () => this.reaches("is in no call", ({ call }) => call.state === "idle");

  async call(name) {
    await this.page.getByLabel("Call whom").fill(name);
    await this.page.getByRole("button", { name: "Call", exact: true }).click();
  }

  async press(name) {
    await this.page.getByRole("button", { name, exact: true }).click();
  }

  async write(name, text) {
    await this.page.getByLabel("To", { exact: true }).fill(name);
    await this.page.getByLabel("Text", { exact: true }).fill(text);
    await this.press("Send");
  }

  /** Sees more than `least` audio packets come in, over WebRTC's own count. */
  hears(least = 50) {
    return this.reaches(`receives more than ${least} packets`, ({ call }) => call.packetsReceived > least && call.packetsSent > least, 20_000);
  }

  /** Fails when the page threw. */
  soundPage() {
    assert.deepEqual(this.#broken, [], "no script error on the page");
  }

  close = () => this.page.context().close();
}
