// Calls outlive connections: a network that goes and comes back, a page that is loaded anew in mid-call.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { BrowserPhone, PhonePage } from "../harness/browser-phone.mjs";
import { launchBrowser } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { Relay } from "../harness/relay.mjs";
import { Server } from "../harness/server.mjs";
import { Softphone } from "../harness/softphone.mjs";

// The hold, and some air for a busy machine.
const LOST_WITHIN_MS = 45_000;

let server;
let browser;
let tab; // phones on SIP.js
let relay;
let bell;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
  tab = await PhonePage.open(browser);
  relay = await Relay.to(server.ready.ws);
  bell = await Softphone.open(browser, server, "bell");
});
beforeEach(() => relay.mend());
after(async () => {
  await browser?.close();
  await tab?.close();
  relay?.close();
  await server?.stop();
});

/** A softphone whose WebSocket goes through the relay. */
async function behindTheRelay(name) {
  const context = await browser.newContext();
  const phone = new Softphone(await context.newPage(), name);
  await phone.page.route("**/api/dev", async (route) => {
    const response = await route.fetch();
    const told = await response.json();
    await route.fulfill({ response, json: { ...told, ws: `ws://${relay.address}/` } });
  });
  await phone.page.goto(server.pageOf(name));
  await phone.registered();
  return phone;
}

const ofCall = (call) => server.events.events.filter((event) => event.data?.call === call);

/** The call that this user is in by now, as the server recorded it. */
function started(user) {
  const look = () => server.events.events.findLast((event) => event.type === "call.started" && event.data.caller.aor.startsWith(`${user}@`));
  return until(`${user}'s call is recorded`, look);
}

/** Waits for the one end of a call. */
async function ended(call, within = 5000) {
  const look = () => ofCall(call).find((event) => event.type === "call.ended");
  const { data } = await until(`call.ended of ${call}`, look, { within, evidence: () => server.events.events.slice(-12) });
  assert.equal(ofCall(call).filter((event) => event.type === "call.ended").length, 1);
  return data;
}

async function talk(caller) {
  await caller.call("bell");
  await bell.reaches("is called", ({ call }) => call.state === "incoming" && call.remote === caller.name);
  await bell.press("Answer");
  await Promise.all([caller.inCall(), bell.inCall()]);
  await Promise.all([caller.hears(20), bell.hears(20)]);
  return (await started(caller.name)).data.call;
}

test("JsSIP: the network goes in mid-call and comes back, and hanging up reaches the new flow", async () => {
  const ada = await behindTheRelay("ada");
  const call = await talk(ada);
  const { flow } = await ada.state();
  relay.cut();
  const closed = await server.events.closed(flow, 5000);
  assert.equal(closed.data.calls_total, 1);
  relay.mend();
  await ada.reaches("registers anew by itself", (state) => state.registered && state.flow && state.flow !== flow, 30_000);
  assert.equal((await ada.state()).call.state, "active");
  await bell.press("Hang up");
  const { lastCall } = await ada.idle();
  assert.equal(lastCall.by, "the other side");
  await bell.idle();
  const end = await ended(call);
  assert.deepEqual([end.cause, end.by, end.moves], ["hangup", "callee", 1]);
  ada.soundPage();
  await ada.close();
});

test("JsSIP: who came back hangs up over the new flow", async () => {
  const ada = await behindTheRelay("ada");
  const call = await talk(ada);
  const { flow } = await ada.state();
  relay.cut();
  await server.events.closed(flow, 5000);
  relay.mend();
  await ada.reaches("registers anew by itself", (state) => state.registered && state.flow && state.flow !== flow, 30_000);
  await ada.press("Hang up");
  const { lastCall } = await bell.idle();
  assert.equal(lastCall.by, "the other side");
  const end = await ended(call);
  assert.deepEqual([end.cause, end.by, end.moves], ["hangup", "caller", 1]);
  await ada.close();
});

test("SIP.js: the network goes in mid-call and comes back, and the call goes on over it", async () => {
  const otto = await BrowserPhone.open(tab, { client: "SIP.js", transport: "ws", name: "otto", address: relay.address });
  await otto.registered();
  await otto.call("sip:bell@localhost");
  await bell.reaches("is called", ({ call }) => call.state === "incoming" && call.remote === "otto");
  await bell.press("Answer");
  await bell.inCall();
  await otto.reachesCall("active");
  const { call, caller } = (await started("otto")).data;
  relay.cut();
  await server.events.closed(caller.flow, 5000);
  relay.mend();
  await otto.reconnect();
  await otto.registered();
  await bell.press("Hang up");
  await bell.idle();
  await otto.reachesCall("over");
  const end = await ended(call);
  assert.deepEqual([end.cause, end.by, end.moves], ["hangup", "callee", 1]);
  await otto.close();
});

test("a page loaded anew in mid-call: the other side can hang up at once", async () => {
  const ada = await Softphone.open(browser, server, "ada");
  const call = await talk(ada);
  const { flow } = await ada.state();
  await ada.page.reload();
  assert.equal((await server.events.closed(flow, 5000)).data.calls_total, 1);
  await bell.press("Hang up");
  await bell.idle();
  const end = await ended(call);
  assert.deepEqual([end.cause, end.by], ["hangup", "callee"]);
  await ada.close();
});

test("a page loaded anew in mid-call is another user agent: after the hold the other side is told", { timeout: 120_000 }, async () => {
  const ada = await Softphone.open(browser, server, "ada");
  const call = await talk(ada);
  const { flow } = await ada.state();
  await ada.page.reload();
  await ada.reaches("registers anew", (state) => state.registered && state.flow && state.flow !== flow);
  const { lastCall } = await bell.reaches("is in no call", (state) => state.call.state === "idle", LOST_WITHIN_MS);
  assert.equal(lastCall.by, "the other side");
  const end = await ended(call);
  assert.deepEqual([end.cause, end.by], ["flow_lost", "caller"]);
  await ada.close();
});
