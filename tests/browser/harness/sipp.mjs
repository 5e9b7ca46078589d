// sipp runs with a scenario of tests/sipp, one call each, on loopback.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./conditions.mjs";
import { freePort } from "./ports.mjs";

const LOOPBACK = "127.0.0.1";
const LIMIT_SECONDS = 30;
const scenario = (name) => fileURLToPath(new URL(`../../sipp/${name}.xml`, import.meta.url));

/** Whether some process holds the port: bound (udp) or listening (tcp). */
async function isHeld(transport, port) {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = (await readFile(`/proc/net/${transport}`, "utf8")).split("\n").map((row) => row.trim().split(/\s+/));
  return rows.some(([, local, , state]) => local?.endsWith(wanted) && (transport === "udp" || state === "0A"));
}

/**
 * One run of sipp.
 * @param {string} name the scenario
 * @param {{address: string, service: string, transport: "udp"|"tcp", port?: number, outOfCall?: string,
 * media?: "secure"|"plain", login?: {user: string, password: string, domain: string}}} options
 *   `address`: `host:port` of the server; `outOfCall`: the scenario for requests that belong to no call of
 *   the first; `media`: what its SDP speaks of, DTLS as browsers want it or plain RTP; `login`: what its
 *   `[authentication]` proves, and the domain that scenarios call `[domain]`
 * @returns {Promise<{ended: Promise<void>, listening: () => Promise<void>, stop: () => Promise<void>}>}
 * `ended` rejects, with the messages
 *   seen, when the scenario did not go through
 */
export async function startSipp(name, { address, service, transport, port, outOfCall, media = "secure", login }) {
  const folder = await mkdtemp(join(tmpdir(), "sipway-sipp-"));
  const at = port ?? (await freePort());
  const [messages, errors] = [join(folder, "messages"), join(folder, "errors")];
  const more = outOfCall ? ["-oocsf", scenario(outOfCall)] : [];
  const keys = media === "secure" ? ["-key", "proto", "UDP/TLS/RTP/SAVPF", "-key", "payload", "111"] : ["-key", "proto", "RTP/AVP", "-key", "payload", "0"];
  const known = login ? ["-au", login.user, "-ap", login.password, "-key", "domain", login.domain] : [];
  const args = [address, "-sf", scenario(name), "-s", service, "-i", LOOPBACK, "-p", String(at), "-t", transport === "tcp" ? "t1" : "u1", "-m", "1", "-l", "1",
    "-timeout", `${LIMIT_SECONDS}s`, "-timeout_error", "-nostdin", "-trace_msg", "-message_file", messages, "-trace_err", "-error_file", errors, ...keys, ...known, ...more];
  const child = spawn("sipp", args, { cwd: folder, stdio: "ignore" });
  const exit = new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`sipp did not start (apt-get install sip-tester): ${error.message}`)));
    child.once("exit", (code, signal) => resolve(code ?? signal));
  });
  const tidy = () => rm(folder, { recursive: true, force: true });
  const ended = exit.then(async (code) => {
    const seen = async (file) => (await readFile(file, "utf8").catch(() => "")).slice(-12_000);
    const report = code === 0 ? "" : `sipp ${name} over ${transport} ended with ${code}\n${await seen(errors)}\n${await seen(messages)}`;
    await tidy();
    if (report) throw new Error(report);
  });
  ended.catch(() => {}); // whoever waits for it is told
  return {
    ended,
    listening: () => until(`sipp listens on ${transport} ${at}`, () => isHeld(transport, at)),
    async stop() {
      child.kill("SIGKILL");
      await ended.catch(() => {});
    },
  };
}

export async function runSipp(name, options) {
  await (await startSipp(name, options)).ended;
}
