// Every way in which a browser goes: exactly one flow.closed, with the cause that is true, after everything
// else about the flow.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchBrowser, launchBrowserProcess } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { Server } from "../harness/server.mjs";
import { Softphone } from "../harness/softphone.mjs";

const CLOSE_WITHIN_MS = 2000;

let server;
let browser;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The whole story of a flow that has ended: opened, registered, removed, closed; each once. */
async function story(flow, within = CLOSE_WITHIN_MS) {
  const closed = await server.events.closed(flow, within);
  // A later event of another flow shows that nothing about this one is still on its way.
  const witness = await Softphone.open(browser, server, "witness");
  const { flow: seen } = await witness.state();
  await until("the witness is in the stream", () => server.events.of(seen).some((event) => event.type === "binding.added"));
  await witness.close();
  const kinds = server.events.of(flow).map((event) => event.type).filter((type) => /^(flow|binding)\./.test(type));
  assert.deepEqual(kinds, ["flow.opened", "binding.added", "binding.removed", "flow.closed"], "each once and in this order");
  const ids = server.events.of(flow).map((event) => event.id);
  assert.equal(new Set(ids).size, ids.length, "no event twice");
  assert.equal(await server.flow(flow), undefined, "the flow table has let go of it");
  return closed.data;
}

const ended = ({ by, cause, code, certainty }) => ({ by, cause, code, certainty });
const goingAway = { by: "client", cause: "close_frame", code: 1001, certainty: "observed" };

test("the tab is closed", async () => {
  const phone = await Softphone.open(browser, server, "ada");
  const { flow } = await phone.state();
  await phone.page.close();
  assert.deepEqual(ended(await story(flow)), goingAway);
  await phone.close();
});

test("the tab is reloaded: the old flow closes, the new one stays registered", async () => {
  const phone = await Softphone.open(browser, server, "bell");
  const { flow: old } = await phone.state();
  await phone.page.reload();
  const { flow: fresh } = await phone.reaches("registers anew", (state) => state.registered && state.flow !== old);
  assert.deepEqual(ended(await story(old)), goingAway);
  const caller = await Softphone.open(browser, server, "caller");
  await caller.write("bell", "still there?");
  await until("the message reaches the new page", async () => (await phone.messages()).some((message) => message.direction === "in"));
  assert.ok(await server.flow(fresh), "the new flow is open");
  await Promise.all([phone.close(), caller.close()]);
});

test("the browser context is closed", async () => {
  const phone = await Softphone.open(browser, server, "curie");
  const { flow } = await phone.state();
  await phone.close();
  assert.deepEqual(ended(await story(flow)), goingAway);
});

test("the tab's process crashes", async () => {
  const phone = await Softphone.open(browser, server, "darwin");
  const { flow } = await phone.state();
  const crashed = new Promise((resolve) => phone.page.once("crash", resolve));
  await Promise.all([crashed, phone.page.goto("chrome://crash").catch(() => {})]);
  assert.deepEqual(ended(await story(flow)), goingAway);
  await phone.close();
});

test("the person disconnects", async () => {
  const phone = await Softphone.open(browser, server, "edison");
  const { flow } = await phone.state();
  await phone.press("Disconnect");
  const { by, cause, certainty } = await story(flow);
  assert.deepEqual({ by, cause, certainty }, { by: "client", cause: "close_frame", certainty: "observed" });
  await phone.close();
});

test("the browser is killed: no Close frame, and the cause says so", async () => {
  const doomed = await launchBrowserProcess();
  const phone = await Softphone.open(doomed.browser, server, "fermat");
  const { flow } = await phone.state();
  await doomed.kill();
  const { by, cause, code, certainty } = await story(flow);
  assert.deepEqual({ by, cause, code, certainty }, { by: "client", cause: "eof", code: undefined, certainty: "observed" });
});

test("a tab that dies in a call ends the call for the other one", async () => {
  const [caller, callee] = await Promise.all(["gauss", "hopper"].map((name) => Softphone.open(browser, server, name)));
  await caller.call("hopper");
  await callee.reaches("is called", ({ call }) => call.state === "incoming");
  const { flow } = await callee.state();
  await callee.page.close();
  assert.deepEqual(ended(await story(flow)), goingAway);
  const { lastCall } = await caller.reaches("is told that nobody answers", ({ call }) => call.state === "idle", 5000);
  assert.ok(lastCall.code >= 400, `told ${lastCall.code}`);
  await Promise.all([caller.close(), callee.close()]);
});

test("a hang-up towards a dead tab is answered within three seconds", async () => {
  const [caller, callee] = await Promise.all(["joule", "kepler"].map((name) => Softphone.open(browser, server, name)));
  await caller.call("kepler");
  await callee.reaches("is called", ({ call }) => call.state === "incoming");
  await callee.press("Answer");
  await Promise.all([caller.inCall(), callee.inCall()]);
  const { flow } = await callee.state();
  const answers = [];
  const devtools = await caller.page.context().newCDPSession(caller.page);
  await devtools.send("Network.enable");
  devtools.on("Network.webSocketFrameReceived", ({ response }) => answers.push(response.payloadData));
  await callee.page.close();
  await server.events.closed(flow);
  await caller.press("Hang up");
  await until("the BYE is answered", () => answers.some((text) => /^SIP\/2\.0 [2-6]/.test(text) && /CSeq: \d+ BYE/.test(text)), { within: 3000 });
  await Promise.all([caller.close(), callee.close()]);
});
