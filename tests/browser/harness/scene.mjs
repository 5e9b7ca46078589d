// One server, one tab full of phones and any number of desk phones, for many cases at a time.
import assert from "node:assert/strict";
import { BaresipPhone } from "./baresip.mjs";
import { BrowserPhone, PhonePage } from "./browser-phone.mjs";
import { launchBrowser } from "./browser.mjs";
import { CallRecords } from "./call-records.mjs";
import { Server } from "./server.mjs";

/** @typedef {{client: "JsSIP"|"SIP.js"|"baresip", transport: string}} Kind */

const browserKinds = ["JsSIP", "SIP.js"].flatMap((client) => ["ws", "wss"].map((transport) => ({ client, transport })));

/** Every client over every transport that it has. */
export const KINDS = [...browserKinds, ...["udp", "tcp", "tls"].map((transport) => ({ client: "baresip", transport }))];
export const CLIENTS = [...new Set(KINDS.map(({ client }) => client))];

const turns = new Map();
/** A kind of this client, each transport in turn. */
export function nextKind(client) {
  const at = turns.get(client) ?? 0;
  turns.set(client, at + 1);
  const of = KINDS.filter((kind) => kind.client === client);
  return of[at % of.length];
}

let last = 0; // the number of the last phone

export const words = (kinds) => kinds.map(({ client, transport }) => `${client} ${transport}`).join(" → ");

export class Scene {
  #browser;

  /**
   * @param {string} [more] what else the server's configuration says
   * @param {Scene} [beside] another scene, whose tab is used
   */
  static async open(more, beside) {
    const scene = new Scene();
    scene.server = await Server.configured(more);
    try {
      if (!beside) scene.#browser = await launchBrowser();
      scene.tab = beside?.tab ?? (await PhonePage.open(scene.#browser));
    } catch (error) {
      await scene.close();
      throw error;
    }
    scene.records = new CallRecords(scene.server);
    return scene;
  }

  /**
   * Phones for one test alone, registered. Those of a browser speak plain RTP if a desk phone is among them.
   * @param {import("node:test").TestContext} t
   * @param {...Kind} kinds
   */
  async phones(t, ...kinds) {
    const names = kinds.map(({ client, transport }) => `${client.toLowerCase().replace(".", "")}-${transport}-${++last}`);
    const plain = kinds.some(({ client }) => client === "baresip");
    const opening = kinds.map(({ client, transport, ...more }, at) => {
      const who = { client, transport, name: names[at], address: this.server.ready[transport] };
      return client === "baresip" ? BaresipPhone.open({ ...who, friend: names[at ? 0 : 1] }) : BrowserPhone.open(this.tab, who, { plain, ...more });
    });
    const phones = await Promise.all(opening);
    t.after(() => Promise.all(phones.map((phone) => phone.close())));
    await Promise.all(phones.map((phone) => phone.registered()));
    return phones;
  }

  /** That all is as it was before: nothing broke, and every call was recorded as it was. */
  async complete() {
    await this.records.complete();
    assert.deepEqual(this.tab.broken, [], "no script of the page broke");
  }

  async close() {
    await this.#browser?.close();
    if (this.#browser) await this.tab?.close();
    await this.server.stop();
  }
}
