// One `sipway dev` of our own: free ports on loopback, a fresh ledger, stopped by its process id.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { EventStream } from "./events.mjs";

const LOOPBACK = "127.0.0.1:0";
const START_MS = 20_000;
const STOP_MS = 20_000;

function binary() {
  if (!process.env.SIPWAY_BIN) throw new Error("set SIPWAY_BIN to the path of the sipway binary (./test does)");
  return process.env.SIPWAY_BIN;
}

export class Server {
  /** @type {{ws: string, wss?: string, udp: string, tcp: string, ledger: string, page: string}} */
  ready;
  /** Events printed on stdout, in order. */
  printed = [];
  #process;
  #log = "";
  #ownLedger;

  /** @param {{ledger?: string}} [options] a ledger to start from; otherwise a fresh one that goes with the server */
  static async start({ ledger } = {}) {
    const server = new Server();
    server.#ownLedger = ledger ? undefined : await mkdtemp(join(tmpdir(), "sipway-browser-"));
    const listeners = ["--ws", "--wss", "--udp", "--tcp"].flatMap((flag) => [flag, LOOPBACK]);
    const args = ["dev", ...listeners, "--ledger", ledger ?? server.#ownLedger, "--json"];
    server.#process = spawn(binary(), args, { stdio: ["ignore", "pipe", "pipe"] });
    server.#process.stderr.on("data", (text) => (server.#log = (server.#log + text).slice(-8000)));
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
