// One sipway of our own: free ports on loopback, a fresh ledger, stopped by its process id.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { until } from "./conditions.mjs";
import { EventStream } from "./events.mjs";
import { freePort } from "./ports.mjs";

const LOOPBACK = "127.0.0.1:0";
const START_MS = 20_000;
const STOP_MS = 20_000;

/** The path of sipway. */
export function binary() {
  if (!process.env.SIPWAY_BIN) throw new Error("set SIPWAY_BIN to the path of the sipway binary (./test does)");
  return process.env.SIPWAY_BIN;
}

/** A certificate for this machine, by openssl, since Node makes none. */
async function makeCertificate(folder) {
  const [certificate, key] = ["certificate.pem", "key.pem"].map((name) => join(folder, name));
  const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate];
  await promisify(execFile)("openssl", args);
  return { certificate, key };
}

export class Server {
  /**
   * @type {{ws: string, wss?: string, udp: string, tcp: string, tls?: string, ledger: string, page: string}}
   */
  ready;
  /** Events printed on stdout, in order. */
  printed = [];
  #process;
  #log = "";
  #ownLedger;

  /**
   * `sipway run` with a listener of each transport on loopback, an open domain, and what else the
   * configuration says.
   * @param {string} [more] sections in TOML
   */
  static configured(more = "") {
    return Server.run(({ certificate, key }) => {
      const secured = `certificate = "${certificate}"\nprivate_key = "${key}"\n`;
      const listener = (transport) => `[[listener]]\nname = "${transport}"\ntransport = "${transport}"\nbind = "${LOOPBACK}"\n${["wss", "tls"].includes(transport) ? secured : ""}`;
      return `[[domain]]\nname = "localhost"\nauth = "open"\n${["ws", "wss", "udp", "tcp", "tls"].map(listener).join("")}${more}\n`;
    });
  }

  /**
   * `sipway run` with a fresh ledger, an admin API on loopback, and the rest of a configuration.
   * @param {(made: {folder: string, certificate: string, key: string}) => string | Promise<string>} rest
   * gives sections in TOML; `folder` is that of the file
   */
  static async run(rest) {
    const server = new Server();
    const folder = (server.#ownLedger = await mkdtemp(join(tmpdir(), "sipway-browser-")));
    const admin = `127.0.0.1:${await freePort()}`;
    const file = join(folder, "sipway.toml");
    await writeFile(file, `[ledger]\ndirectory = "ledger"\n[admin]\nbind = "${admin}"\n${await rest({ folder, ...(await makeCertificate(folder)) })}`);
    server.#launch(["run", "--config", file]);
    server.#process.stdout.resume();
    const page = `http://${admin}/`;
    try {
      const node = await until("sipway run answers", () => server.#ask(page), { within: START_MS, evidence: () => server.#log });
      server.ready = { page, ledger: join(folder, "ledger"), ...Object.fromEntries(node.listeners.map(({ transport, address }) => [transport, address])) };
      server.events = await EventStream.open(new URL("api/events", page));
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** What the server says of itself, if it is there. */
  async #ask(page) {
    if (this.#process.exitCode !== null) throw new Error(`sipway run ended with ${this.#process.exitCode}\n${this.#log}`);
    const response = await fetch(new URL("api/node", page)).catch(() => undefined);
    return response?.ok && response.json();
  }

  #launch(args) {
    this.#process = spawn(binary(), args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#process.stderr.on("data", (text) => (this.#log = (this.#log + text).slice(-8000)));
  }

  /**
   * `sipway dev`.
   * @param {{ledger?: string}} [options] a ledger to start from; otherwise a fresh one that goes with the
   * server
   */
  static async start({ ledger } = {}) {
    const server = new Server();
    server.#ownLedger = ledger ? undefined : await mkdtemp(join(tmpdir(), "sipway-browser-"));
    const listeners = ["--ws", "--wss", "--udp", "--tcp"].flatMap((flag) => [flag, LOOPBACK]);
    const args = ["dev", ...listeners, "--ledger", ledger ?? server.#ownLedger, "--json"];
    server.#launch(args);
    try {
      await server.#becomesReady();
      server.events = await EventStream.open(new URL("api/events", server.ready.page));
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  #becomesReady() {
    return new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`sipway dev ${why}\n${this.#log}`));
      const timer = setTimeout(() => fail(`not ready within ${START_MS} ms`), START_MS);
      this.#process.once("error", (error) => fail(`did not start: ${error.message}`));
      this.#process.once("exit", (code, signal) => fail(`ended with ${code ?? signal}`));
      createInterface({ input: this.#process.stdout }).on("line", (line) => {
        if (line.startsWith("ready ")) {
          clearTimeout(timer);
          this.ready = JSON.parse(line.slice("ready ".length));
          resolve();
        } else if (line.startsWith("{")) {
          this.printed.push(JSON.parse(line));
        }
      });
    });
  }

  /** The softphone page of a user who registers at once. */
  pageOf(name) {
    const url = new URL(this.ready.page);
    url.search = new URLSearchParams({ name, auto: "1" }).toString();
    return url.href;
  }

  /** What the server says of one flow, or `undefined` when it knows none of that id. */
  async flow(id) {
    const response = await fetch(new URL(`api/flows/${encodeURIComponent(id)}`, this.ready.page));
    return response.ok ? response.json() : undefined;
  }

  /** The calls under way. */
  async calls() {
    return (await fetch(new URL("api/calls", this.ready.page))).json();
  }

  /** What `sipway why` says of something, from the ledger. */
  async why(subject) {
    return (await promisify(execFile)(binary(), ["why", subject, "--ledger", this.ready.ledger])).stdout;
  }

  /** What the server wrote to stderr lately. */
  get log() {
    return this.#log;
  }

  /** SIGKILL: no goodbye. The ledger stays if it was given. */
  async kill() {
    await this.#end("SIGKILL");
  }

  async stop() {
    await this.events?.close();
    await this.#end("SIGTERM");
    if (this.#ownLedger) await rm(this.#ownLedger, { recursive: true, force: true });
  }

  async #end(signal) {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const ended = once(child, "exit");
    child.kill(signal);
    const hard = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(hard);
  }
}
