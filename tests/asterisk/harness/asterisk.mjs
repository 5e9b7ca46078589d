// A real Asterisk in the room (in-room), with one of the recipes of docs/asterisk. Stopped by its process id.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { until } from "../../browser/harness/conditions.mjs";

const START_MS = 60_000;
const STOP_MS = 10_000;
const conf = fileURLToPath(new URL("../conf/", import.meta.url));
const recipes = new URL("../../../docs/asterisk/", import.meta.url);

function given(name) {
  if (!process.env[name]) throw new Error(`${name} is not set: run this by tests/asterisk/in-room (./test does)`);
  return process.env[name];
}

export class Asterisk {
  #process;
  #ended;

  /**
   * @param {"local"|"forward"} recipe
   * @param {Record<string, string>} [changes] lines of the recipe's pjsip.conf, each with what stands there
   * instead
   */
  static async start(recipe, changes = {}) {
    const folder = given("ROOM_FOLDER");
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
    await cp(conf, join(folder, "etc"), { recursive: true });
    for (const name of ["state/keys", "spool", "run", "log"]) await mkdir(join(folder, name), { recursive: true });
    const pjsip = Object.entries(changes).reduce((text, [line, instead]) => {
      if (!text.includes(`\n${line}\n`)) throw new Error(`${recipe}-pjsip.conf has no line "${line}"`);
      return text.replaceAll(`\n${line}\n`, `\n${instead}\n`);
    }, await readFile(new URL(`${recipe}-pjsip.conf`, recipes), "utf8"));
    await writeFile(join(folder, "etc/pjsip.conf"), pjsip);
    await cp(fileURLToPath(new URL(`${recipe}-extensions.conf`, recipes)), join(folder, "etc/recipe-extensions.conf"));
    const asterisk = new Asterisk();
    await asterisk.start();
    return asterisk;
  }

  /** Starts it (again), with what it has kept of registrations. */
  async start() {
    const command = ["--net=/run/netns/pbx", "chroot", given("ASTERISK_ROOT"), "/usr/sbin/asterisk", "-C", "/room/etc/asterisk.conf", "-f"];
    this.#process = spawn("nsenter", command, { stdio: "ignore" });
    this.#ended = once(this.#process, "exit");
    try {
      await until("Asterisk is up", async () => {
        if (this.#process.exitCode !== null) throw new Error(`Asterisk ended with ${this.#process.exitCode}`);
        return /fully booted/.test(await this.cli("core waitfullybooted").catch(() => ""));
      }, { within: START_MS, every: 100 });
      await this.cli("pjsip set logger on");
    } catch (error) {
      error.message += `\n${await this.log()}`;
      await this.kill();
      throw error;
    }
  }

  /** What it answers to a command of its console. */
  async cli(command) {
    const args = [given("ASTERISK_ROOT"), "/usr/sbin/asterisk", "-C", "/room/etc/asterisk.conf", "-rx", command];
    return (await promisify(execFile)("chroot", args)).stdout;
  }

  /** The contacts that it has for an address, as it prints them. */
  async contacts(aor) {
    const lines = (await this.cli("pjsip show contacts")).split("\n");
    return lines.flatMap((line) => /^\s*Contact:\s+(\S+)/.exec(line)?.[1] ?? []).filter((contact) => contact.startsWith(`${aor}/`));
  }

  /** Waits until it has so many contacts for an address. */
  hasContacts(aor, count, within = 15_000) {
    return until(`Asterisk has ${count} contacts of ${aor}`, async () => (await this.contacts(aor)).length === count, { within, evidence: () => this.contacts(aor) });
  }

  /**
   * Waits until the contacts of an address are on disk, where they outlive a kill. Asterisk writes them once
   * a second.
   */
  async keepsContacts(aor) {
    const names = (await this.contacts(aor)).map((contact) => /sip:([^@]+)/.exec(contact)[1].slice(0, 8));
    const files = ["astdb.sqlite3", "astdb.sqlite3-wal"].map((name) => join(given("ROOM_FOLDER"), "state", name));
    const read = async () => (await Promise.all(files.map((file) => readFile(file, "latin1").catch(() => "")))).join();
    await until(`Asterisk has the contacts of ${aor} on disk`, async () => {
      const text = await read();
      return names.every((name) => text.includes(name));
    });
  }

  /** Asterisk forgets every contact that registered. */
  forgetContacts = () => this.cli("database deltree registrar");

  /** The calls' channels that it has. */
  async channels() {
    return (await this.cli("core show channels concise")).split("\n").filter((line) => line.includes("!"));
  }

  /** Waits until it has no call. */
  idle(within = 15_000) {
    return until("Asterisk has no call", async () => (await this.channels()).length === 0, { within, evidence: () => this.channels() });
  }

  /** Its log with every SIP message, the last of it. */
  async log() {
    return (await readFile(join(given("ROOM_FOLDER"), "log/full"), "utf8").catch(() => "")).slice(-200_000);
  }

  stop = () => this.#end("SIGTERM");
  kill = () => this.#end("SIGKILL");

  async #end(signal) {
    const child = this.#process;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      const hard = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      await this.#ended;
      clearTimeout(hard);
    }
  }
}
