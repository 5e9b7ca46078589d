// A machine that falls asleep says nothing at all: only the server's ping finds out.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { launchBrowserProcess } from "../harness/browser.mjs";
import { Server } from "../harness/server.mjs";
import { Softphone } from "../harness/softphone.mjs";

// Ping after 25 s of silence, 10 s to answer, and some air for a busy machine.
const FOUND_WITHIN_MS = 45_000;

/** A process and all that descend from it, as `ps` sees them now. */
function family(root) {
  const rows = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n").map((row) => row.trim().split(/\s+/).map(Number));
  const found = [root];
  for (const pid of found) found.push(...rows.filter(([, parent]) => parent === pid).map(([child]) => child));
  return found;
}

test("a browser that is stopped is found by the ping, and woken it registers again", { timeout: 120_000 }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const sleeper = await launchBrowserProcess();
  t.after(() => sleeper.kill());
  const phone = await Softphone.open(sleeper.browser, server, "ada");
  const { flow } = await phone.state();

  const pids = family(sleeper.process.pid);
  const signal = (name) => pids.forEach((pid) => {
    try {
      process.kill(pid, name);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  });
  signal("SIGSTOP");
  let closed;
  try {
    closed = await server.events.closed(flow, FOUND_WITHIN_MS);
  } finally {
    signal("SIGCONT");
  }
  assert.deepEqual([closed.data.by, closed.data.cause, closed.data.certainty], ["network", "ping_timeout", "observed"]);
  await phone.reaches("registers anew by itself", (state) => state.registered && state.flow !== flow, 30_000);
  assert.equal(server.events.of(flow).filter((event) => event.type === "flow.closed").length, 1);
});
