// SIP.js beside JsSIP on the same server: registers, calls, is called, writes.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchBrowser } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { servePages } from "../harness/pages.mjs";
import { Server } from "../harness/server.mjs";
import { Softphone } from "../harness/softphone.mjs";

const DOMAIN = "localhost";

let server;
let browser;
let pages;
let ada; // the softphone page, JsSIP
let other; // the SIP.js page

const client = (name, ...args) => other.evaluate(([method, given]) => globalThis.client[method](...given).then?.(() => undefined), [name, args]);
const sipjs = () => other.evaluate(() => globalThis.client.state);
const reaches = (what, holds, within) => until(`SIP.js ${what}`, async () => holds(await sipjs()), { within, evidence: sipjs });

before(async () => {
  [server, browser, pages] = await Promise.all([Server.start(), launchBrowser(), servePages()]);
  ada = await Softphone.open(browser, server, "ada");
  other = await (await browser.newContext()).newPage();
  await other.goto(new URL("sipjs.html", pages.url).href);
  await client("register", `ws://${server.ready.ws}/`, "otto", DOMAIN);
  await reaches("registers", (state) => state.registered);
});
after(async () => {
  await browser?.close();
  await pages?.close();
  await server?.stop();
});

async function audioBothWays() {
  await ada.inCall();
  await reaches("is in the call", (state) => state.call === "active");
  await ada.hears(50);
  await until("SIP.js hears", async () => (await other.evaluate(() => globalThis.client.packetsReceived())) > 50);
}

test("SIP.js calls JsSIP", async () => {
  await client("call", `sip:ada@${DOMAIN}`);
  await ada.reaches("is called", ({ call }) => call.state === "incoming" && call.remote === "otto");
  await ada.press("Answer");
  await audioBothWays();
  await client("hangup");
  await ada.idle();
});

test("JsSIP calls SIP.js", async () => {
  await ada.call("otto");
  await reaches("is called", (state) => state.call === "incoming");
  await client("answer");
  await audioBothWays();
  await ada.press("Hang up");
  await reaches("is in no call", (state) => state.call === "idle");
});

test("messages go both ways", async () => {
  await client("write", `sip:ada@${DOMAIN}`, "from SIP.js");
  await until("ada has it", async () => (await ada.messages()).some((message) => message.text === "from SIP.js"));
  await ada.write("otto", "from JsSIP");
  await reaches("has it", (state) => state.messages.includes("from JsSIP"));
  await until("ada knows", async () => (await ada.messages()).some((message) => message.text === "from JsSIP" && message.state === "delivered"));
});

test("its keepalive (CRLFCRLF every 2 s) is answered: the connection stays", async () => {
  const watcher = await other.context().newCDPSession(other);
  await watcher.send("Network.enable");
  let pings = 0;
  let pongs = 0;
  watcher.on("Network.webSocketFrameSent", ({ response }) => (pings += response.payloadData === "\r\n\r\n"));
  watcher.on("Network.webSocketFrameReceived", ({ response }) => (pongs += response.payloadData === "\r\n"));
  await until("two keepalives are answered", () => pings >= 2 && pongs >= 2, { within: 15_000, evidence: () => ({ pings, pongs }) });
  assert.ok((await sipjs()).registered);
});
