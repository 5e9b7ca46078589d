// Sipway in front of Asterisk, and browsers in front of Sipway: all that a scene needs.
import { execFile } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { BrowserPhone, PhonePage } from "../../browser/harness/browser-phone.mjs";
import { launchBrowser } from "../../browser/harness/browser.mjs";
import { until } from "../../browser/harness/conditions.mjs";
import { Relay } from "../../browser/harness/relay.mjs";
import { Server, binary } from "../../browser/harness/server.mjs";
import { Asterisk } from "./asterisk.mjs";

export const DOMAIN = "pbx.test";
const SIPWAY = "10.0.0.1";
const PBX = "10.0.0.5";
const USERS = ["web1", "web2"];
/** The header field by which Asterisk knows an un-REGISTER of Sipway's. */
export const UNREGISTER_HEADER = "X-Sipway-Close";
export const UNREGISTER_SECRET = "0123456789abcdef0123456789abcdef";
/** How long a call waits for a browser whose connection ended. */
export const HOLD_SECONDS = 6;

/** What the room adds to the configuration: times are short, and the log is long. */
const MORE = `
[calls]
hold = "${HOLD_SECONDS}s"
[registrar]
offline_after = "1s"
[log]
level = "debug"
`;

/** What `sipway init` writes so that a registrar hears of connections that have ended. */
const UNREGISTER = /unregister_header = .*\nunregister_secret_file = .*\n/;

/**
 * The configuration as `sipway init` writes it, with what an operator has to put beside it. The ledger and
 * the admin API are the test's own.
 * @param {string} register
 * @param {"at-close"|"never"} unregister
 */
const configuration = (register, unregister) => async ({ folder, certificate, key }) => {
  const way = register === "local" ? "local" : "forward";
  const file = join(folder, "init.toml");
  await promisify(execFile)(binary(), ["init", "--backend", `sip:${PBX}`, "--kind", "asterisk", "--register", way, "--domain", DOMAIN, "--output", file]);
  await Promise.all([
    copyFile(certificate, join(folder, "fullchain.pem")),
    copyFile(key, join(folder, "privkey.pem")),
    writeFile(join(folder, "users.txt"), USERS.map((name) => `${name}:secret-of-${name}\n`).join(""), { mode: 0o600 }),
    writeFile(join(folder, "unregister.secret"), UNREGISTER_SECRET, { mode: 0o600 }),
  ]);
  const text = (await readFile(file, "utf8")).replaceAll(/^\[(ledger|admin)\]\n(\w.*\n)*/gm, "");
  if (!text.includes(`advertise = "${SIPWAY}"`)) throw new Error(`sipway init does not know its own address:\n${text}`);
  if (way === "local") return text + MORE;
  if (!text.includes('\nregister = "auto"\n')) throw new Error(`sipway init recommends another way than "auto":\n${text}`);
  if (!UNREGISTER.test(text)) throw new Error(`sipway init knows no header field for un-REGISTERs:\n${text}`);
  const told = unregister === "never" ? text.replace(UNREGISTER, 'unregister = "never"\n') : text;
  return told.replace('\nregister = "auto"\n', `\nregister = "${register}"\n`) + MORE;
};

export class House {
  #browser;
  #open = new Set(); // phones with a tab each

  /**
   * @param {"path"|"auto"|"contact-rewrite"|"local"} register
   * @param {Record<string, string>} [changes] of Asterisk's recipe, see Asterisk.start
   * @param {"at-close"|"never"} [unregister] whether Asterisk hears of connections that have ended
   */
  static async open(register, changes, unregister = "at-close") {
    const house = new House();
    Object.assign(house, { register, unregister });
    try {
      house.asterisk = await Asterisk.start(register === "local" ? "local" : "forward", changes);
      house.server = await Server.run(configuration(register, unregister));
      house.#browser = await launchBrowser();
      house.listeners = { wss: `${SIPWAY}:443`, tcp: `${SIPWAY}:5060`, udp: `${SIPWAY}:5060` };
    } catch (error) {
      await house.close();
      throw error;
    }
    return house;
  }

  /**
   * A browser's phone in a tab of its own, which goes with the test. It registers by itself; nobody waits for
   * that.
   * @param {import("node:test").TestContext} t
   * @param {string} name
   * @param {{password?: string, cable?: Relay}} [more] `cable`: what its connection goes through
   */
  async phone(t, name, { password = `secret-of-${name}`, cable } = {}) {
    const tab = await PhonePage.open(this.#browser);
    t.after(() => tab.close());
    const open = async () => {
      const phone = await BrowserPhone.open(tab, { client: "JsSIP", transport: "wss", name, domain: DOMAIN, address: cable?.address ?? this.listeners.wss }, { password });
      return Object.assign(phone, {
        tab,
        /** The page ends without a word. */
        closePage: () => tab.page.close(),
        reloadPage: async () => {
          await tab.page.reload();
          return open();
        },
      });
    };
    return open();
  }

  /** The same, registered, at Asterisk too if users register there. */
  async registered(t, ...names) {
    const phones = await Promise.all(names.map((name) => this.phone(t, name)));
    await Promise.all(phones.map((phone) => phone.registered()));
    return phones;
  }

  /** A cable to the server that can be cut. */
  async cable(t) {
    const cable = await Relay.to(this.listeners.wss);
    t.after(() => cable.close());
    return cable;
  }

  /** Whether users register at Asterisk. */
  get forwards() {
    return this.register !== "local";
  }

  /** Waits until nobody is registered any more: no browser of the case before has left a ghost. */
  async fresh() {
    await this.asterisk.cli("channel request hangup all");
    const bindings = async () => (await (await fetch(new URL("api/snapshot", this.server.ready.page))).json()).bindings;
    await until("nobody is registered at Sipway", async () => (await bindings()).length === 0, { within: 20_000, evidence: bindings });
    if (!this.forwards) return;
    if (this.unregister === "never") return void (await this.asterisk.forgetContacts());
    try {
      for (const name of USERS) await this.asterisk.hasContacts(name, 0);
    } catch (error) {
      await this.asterisk.forgetContacts();
      throw error;
    }
  }

  /** How Asterisk calls a browser. */
  channelOf = (name) => (this.register === "local" ? `PJSIP/sipway/sip:${name}@${DOMAIN}` : `PJSIP/${name}`);

  /** Asterisk calls a browser and gives it back what it says. */
  originate = (name) => this.asterisk.cli(`channel originate ${this.channelOf(name)} application Echo`);

  /** Waits for an event that is not older than `since` (a count of events). */
  event(what, is, { since = 0, within = 15_000 } = {}) {
    const { events } = this.server.events;
    return until(what, () => events.slice(since).find(is), { within, evidence: () => events.slice(since) });
  }

  /** How many events there are by now. */
  get now() {
    return this.server.events.events.length;
  }

  /** That no call is left anywhere, and that all calls that began ended once. */
  async quiet() {
    await this.asterisk.idle();
    await until("Sipway has no call", async () => (await this.server.calls()).length === 0, { within: 15_000, evidence: () => this.server.calls() });
    const of = (type) => this.server.events.events.filter((event) => event.type === type).map(({ data }) => data.call).sort();
    await until("every call has ended once", () => of("call.started").join() === of("call.ended").join(), { evidence: () => [of("call.started"), of("call.ended")] });
  }

  async close() {
    await this.#browser?.close();
    await this.server?.stop();
    await this.asterisk?.stop();
  }
}
