// Every client with every client over every transport: JsSIP and SIP.js in Chromium, baresip as a desk phone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BaresipPhone } from "../harness/baresip.mjs";
import { BrowserPhone, PhonePage } from "../harness/browser-phone.mjs";
import { launchBrowser } from "../harness/browser.mjs";
import { CallRecords } from "../harness/call-records.mjs";
import { until } from "../harness/conditions.mjs";
import { Findings } from "../harness/findings.mjs";
import { Server } from "../harness/server.mjs";

const BROWSERS = ["JsSIP", "SIP.js"];
const KINDS = [
  ...BROWSERS.flatMap((client) => ["ws", "wss"].map((transport) => ({ client, transport }))),
  ...["udp", "tcp", "tls"].map((transport) => ({ client: "baresip", transport })),
];
/** Pairs at a time. */
const AT_ONCE = 3;

const findings = new Findings(["call", "hold", "keys", "hang up", "busy", "cancel", "message"]);

let server;
let browser;
let tab;
let records;

before(async () => {
  server = await Server.configured();
  browser = await launchBrowser();
  tab = await PhonePage.open(browser);
  records = new CallRecords(server);
});
after(async () => {
  await browser?.close();
  await tab?.close();
  await server?.stop();
  console.log(`\n${findings.table()}\n`);
});

let last = 0;

/** Phones for one test alone, registered. They speak with each other. */
async function openPhones(t, ...kinds) {
  const names = kinds.map(({ client, transport }) => `${client.toLowerCase().replace(".", "")}-${transport}-${++last}`);
  const plain = kinds.some(({ client }) => client === "baresip");
  const phones = await Promise.all(kinds.map(({ client, transport, ...more }, at) => {
    const who = { client, transport, name: names[at], address: server.ready[transport] };
    return BROWSERS.includes(client) ? BrowserPhone.open(tab, who, { plain, ...more }) : BaresipPhone.open({ ...who, friend: names[at ? 0 : 1] });
  }));
  t.after(() => Promise.all(phones.map((phone) => phone.close())));
  await Promise.all(phones.map((phone) => phone.registered()));
  return phones;
}

async function ring(a, b) {
  await a.call(b.uri);
  await b.reachesCall("incoming");
  await a.reachesCall("ringing");
}

async function talk(a, b) {
  await ring(a, b);
  await b.answer();
  await Promise.all([a.reachesCall("active"), b.reachesCall("active")]);
}

/** One holds the other and lets go. */
async function holdAndResume(holder, other) {
  await holder.hold();
  await Promise.all([
    holder.reaches("holds", ({ calls }) => calls.at(-1).held),
    other.reaches("is held", ({ calls }) => calls.at(-1).heldByOther),
  ]);
  await holder.resume();
  await Promise.all([
    holder.reaches("does not hold", ({ calls }) => !calls.at(-1).held),
    other.reaches("is not held", ({ calls }) => !calls.at(-1).heldByOther),
  ]);
}

async function pressKeys(from, to, keys) {
  for (const key of keys) {
    await from.press(key);
    await to.reaches(`hears ${key}`, ({ calls }) => calls.at(-1).keys.endsWith(key));
  }
  assert.equal((await to.state()).calls.at(-1).keys, keys);
}

/** Both have had their call; `by` ended it. */
async function over(by, other) {
  const [mine, theirs] = await Promise.all([by.reachesCall("over"), other.reachesCall("over")]);
  assert.deepEqual([mine.endedBy, theirs.endedBy], ["us", "other"]);
}

async function pair(t, one, two) {
  const [a, b] = await openPhones(t, one, two);
  const play = (name, act, why) => findings.play(name, a, b, why, act);

  await play("call", async () => {
    await talk(a, b);
    // Between browsers with real sound.
    if (a.hears && b.hears && !a.plain) await Promise.all([a.hears(), b.hears()]);
  });
  await play("hold", async () => {
    await holdAndResume(a, b);
    await holdAndResume(b, a);
  });
  await play("keys", async () => {
    await pressKeys(a, b, "17#");
    if (!b.cannot.press) await pressKeys(b, a, "*0");
  }, a.cannot.press);
  await play("hang up", async () => {
    await a.hangUp();
    await over(a, b);
    const held = ["held", "resumed"];
    await records.ended(a, b, { cause: "hangup", by: "caller", between: ["answered", ...held, ...held] });
    await talk(a, b);
    await b.hangUp();
    await over(b, a);
    await records.ended(a, b, { cause: "hangup", by: "callee", between: ["answered"] });
  });
  await play("busy", async () => {
    await ring(a, b);
    await b.refuse(486);
    const { status } = await a.reachesCall("over");
    assert.equal(status, 486);
    await b.reachesCall("over");
    await records.ended(a, b, { cause: "rejected", by: "callee", status: 486 });
  });
  await play("cancel", async () => {
    await ring(a, b);
    await a.hangUp();
    await Promise.all([a.reachesCall("over"), b.reachesCall("over")]);
    await records.ended(a, b, { cause: "cancelled", by: "caller", status: 487 });
  });
  await play("message", async () => {
    const text = `Grüße von ${a.name} 🦉`;
    const status = await a.write(b.uri, text);
    await b.hasMessage(text);
    if (status !== undefined) assert.equal(status, 200);
  });
}

const pairs = KINDS.flatMap((one) => KINDS.map((two) => [one, two]));

test("SIP.js's keepalive (CRLFCRLF every 2 s) is answered", async (t) => {
  const watcher = await tab.page.context().newCDPSession(tab.page);
  t.after(() => watcher.detach());
  await watcher.send("Network.enable");
  let [pings, pongs] = [0, 0];
  watcher.on("Network.webSocketFrameSent", ({ response }) => (pings += response.payloadData === "\r\n\r\n"));
  watcher.on("Network.webSocketFrameReceived", ({ response }) => (pongs += response.payloadData === "\r\n"));
  const [otto] = await openPhones(t, { client: "SIP.js", transport: "ws" });
  await until("two keepalives are answered", () => pings >= 2 && pongs >= 2, { within: 15_000, evidence: () => ({ pings, pongs }) });
  assert.ok((await otto.state()).connected);
});

test("each calls each", { concurrency: AT_ONCE, timeout: 400_000 }, async (t) => {
  await Promise.all(pairs.map(([one, two]) => t.test(`${one.client} ${one.transport} → ${two.client} ${two.transport}`, (its) => pair(its, one, two))));
});

test("every call was recorded as it was, and none is left", () => records.complete());

test("no script of the page broke", () => assert.deepEqual(tab.broken, []));
