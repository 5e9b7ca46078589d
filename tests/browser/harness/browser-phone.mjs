// Phones on JsSIP and SIP.js, many in one tab.
import { until } from "./conditions.mjs";
import { Phone } from "./phone.mjs";
import { servePages } from "./pages.mjs";

/** The tab they live in. */
export class PhonePage {
  #broken = [];

  static async open(browser) {
    const tab = new PhonePage();
    tab.pages = await servePages();
    // The server's certificate for wss is its own.
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    tab.page = await context.newPage();
    tab.page.on("pageerror", (error) => tab.#broken.push(error.stack ?? String(error)));
    await tab.page.goto(new URL("phones.html", tab.pages.url).href);
    return tab;
  }

  /** What scripts of the page threw. */
  get broken() {
    return this.#broken;
  }

  /**
   * What passes over its WebSockets from now on.
   * @param {import("node:test").TestContext} t
   * @returns {Promise<{sent: string[], received: string[]}>}
   */
  async watch(t) {
    const frames = { sent: [], received: [] };
    const watcher = await this.page.context().newCDPSession(this.page);
    t.after(() => watcher.detach());
    await watcher.send("Network.enable");
    watcher.on("Network.webSocketFrameSent", ({ response }) => frames.sent.push(response.payloadData));
    watcher.on("Network.webSocketFrameReceived", ({ response }) => frames.received.push(response.payloadData));
    return frames;
  }

  async close() {
    await this.page.context().close().catch(() => {}); // the browser may be gone already
    await this.pages.close();
  }
}

export class BrowserPhone extends Phone {
  cannot = this.client === "SIP.js" ? { update: "SIP.js knows no UPDATE" } : {};
  #tab;

  /**
   * Opens a phone; it registers by itself.
   * @param {PhonePage} tab
   * @param {{client: "JsSIP"|"SIP.js", transport: "ws"|"wss", name: string, address: string, domain?:
   * string}} who `address`: `host:port` of the server
   */
  static async open(tab, { address, ...who }, more = {}) {
    const phone = new BrowserPhone(who);
    phone.#tab = tab;
    phone.plain = more.plain ?? false;
    const options = { server: `${who.transport}://${address}/`, uri: phone.uri, ...more };
    await tab.page.evaluate(([id, client, given]) => globalThis.phones.open(id, client, given), [phone.name, phone.client, options]);
    return phone;
  }

  state() {
    return this.#tab.page.evaluate((id) => globalThis.phones.state(id), this.name);
  }

  #tell(verb, ...given) {
    return this.#tab.page.evaluate(([id, what, with_]) => globalThis.phones.tell(id, what, ...with_), [this.name, verb, given]);
  }

  call = (target) => this.#tell("call", target);
  answer = (at = -1) => this.#tell("answer", at);
  refuse = (status, at = -1) => this.#tell("refuse", at, status);
  hangUp = (at = -1) => this.#tell("hangUp", at);
  hold = (at = -1) => this.#tell("hold", at);
  resume = (at = -1) => this.#tell("resume", at);
  press = (key, at = -1) => this.#tell("press", at, key);
  playKey = (key, at = -1) => this.#tell("playKey", at, key);
  update = (at = -1) => this.#tell("update", at);
  sound = (at = -1) => this.#tell("sound", at);
  transfer = (target, at = -1) => this.#tell("transfer", at, target);
  transferTo = (other, target, at = -1) => this.#tell("transferTo", at, other, target);
  write = (target, text) => this.#tell("write", target, text);
  renew = (token) => this.#tell("renew", token);
  reconnect = () => this.#tell("reconnect");

  /** Hears the other side, over WebRTC's own count. */
  async hears(least = 20) {
    await until(`${this.words} ${this.name} receives more than ${least} packets`, async () => (await this.sound()).received > least, { within: 20_000, evidence: () => this.evidence() });
  }

  async evidence() {
    return { state: await this.state(), broken: this.#tab.broken };
  }

  close = () => this.#tab.page.evaluate((id) => globalThis.phones.close(id), this.name);
}
