// Every client with every client over every transport: JsSIP and SIP.js in Chromium, baresip as a desk phone,
// sipp with its scripts.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { PAIR_CASES, over, pair, talk } from "../cases/pair.mjs";
import { SIPP_CASES, SIPP_TRANSPORTS, sippCalls, sippIsCalled } from "../cases/sipp.mjs";
import { TRANSFER_CASES, attended, blind, couples, refused, triples } from "../cases/transfer.mjs";
import { until } from "../harness/conditions.mjs";
import { Findings } from "../harness/findings.mjs";
import { CLIENTS, KINDS, Scene, nextKind, words } from "../harness/scene.mjs";

/** Cases at a time. */
const AT_ONCE = { concurrency: 3, timeout: 400_000 };

const pairs = new Findings("caller → callee", PAIR_CASES);
const transfers = new Findings("transferor → transferee", TRANSFER_CASES);
const scripts = new Findings("caller → callee", SIPP_CASES);
const waits = new Findings("caller → callee", ["no answer", "session timer", "PRACK"]);

const found = () => [pairs, scripts, waits, transfers].map((findings) => findings.table()).join("\n\n");

let scene;
before(async () => {
  scene = await Scene.open();
});
after(async () => {
  await scene?.close();
  console.log(`\n${found()}\n`);
});

test("SIP.js's keepalive (CRLFCRLF every 2 s) is answered", async (t) => {
  const frames = await scene.tab.watch(t);
  const [otto] = await scene.phones(t, { client: "SIP.js", transport: "ws" });
  const count = (list, text) => list.filter((frame) => frame === text).length;
  await until("two keepalives are answered", () => count(frames.sent, "\r\n\r\n") >= 2 && count(frames.received, "\r\n") >= 2, { within: 15_000 });
  assert.ok((await otto.state()).connected);
});

test("a session is refreshed by UPDATE before it is over (RFC 4028)", async (t) => {
  const timed = (transport) => ({ client: "JsSIP", transport, session: 4 });
  const [a, b] = await scene.phones(t, timed("ws"), timed("wss"));
  await waits.play("session timer", a, b, undefined, async () => {
    await talk(a, b);
    // The callee refreshes it.
    await a.reaches("is sent three refreshes", ({ calls }) => calls[0].refreshed >= 3);
    await b.hangUp();
    await over(b, a);
    await scene.records.ended(a, b, { cause: "hangup", by: "callee", between: ["answered"] });
  });
});

test("180 is acknowledged by PRACK where both want that (RFC 3262)", async (t) => {
  const frames = await scene.tab.watch(t);
  const reliable = (transport) => ({ client: "SIP.js", transport, reliable: true });
  const [a, b] = await scene.phones(t, reliable("ws"), reliable("wss"));
  await waits.play("PRACK", a, b, undefined, async () => {
    await talk(a, b);
    assert.ok(frames.received.some((frame) => frame.startsWith(`PRACK sip:`)));
    await a.hangUp();
    await over(a, b);
    await scene.records.ended(a, b, { cause: "hangup", by: "caller", between: ["answered"] });
  });
});

test("each calls each", AT_ONCE, async (t) => {
  const all = KINDS.flatMap((one) => KINDS.map((two) => [one, two]));
  await Promise.all(all.map(([one, two]) => t.test(words([one, two]), (its) => pair(its, scene, pairs, one, two))));
});

test("each transfers each to each", AT_ONCE, async (t) => {
  const play = (act, phones) => phones.map((kinds) => t.test(`${act.name}: ${words(kinds)}`, (its) => act(its, scene, transfers, kinds)));
  await Promise.all([...play(blind, triples()), ...play(refused, couples()), ...play(attended, triples())]);
});

test("sipp calls each and is called by each", AT_ONCE, async (t) => {
  const all = SIPP_TRANSPORTS.flatMap((transport) => CLIENTS.map((client) => [transport, nextKind(client)]));
  await Promise.all(all.flatMap(([transport, kind]) => [
    t.test(`sipp ${transport} → ${words([kind])}`, (its) => sippCalls(its, scene, scripts, transport, kind)),
    t.test(`${words([kind])} → sipp ${transport}`, (its) => sippIsCalled(its, scene, scripts, transport, kind)),
  ]));
});

test("nobody answers: 408 for the caller, CANCEL for the callee, whoever they are", async (t) => {
  const hasty = await Scene.open('[timers]\nring_timeout = "1s"', scene);
  t.after(() => hasty.close());
  const couples = CLIENTS.flatMap((one) => CLIENTS.map((two) => [one, two].map(nextKind)));
  await Promise.all(couples.map(async (kinds) => {
    const [a, b] = await hasty.phones(t, ...kinds);
    await waits.play("no answer", a, b, undefined, async () => {
      await a.call(b.uri);
      await b.reachesCall("incoming");
      await Promise.all([a.reachesCall("over"), b.reachesCall("over")]);
      assert.equal((await a.state()).calls[0].status, 408);
      await hasty.records.ended(a, b, { cause: "no_answer", by: "server", status: 408 });
    });
  }));
  await hasty.complete();
});

test("every call was recorded as it was, and none is left", () => scene.complete());

test("sipway why tells what became of a call", async () => {
  const { data } = scene.server.events.events.find(({ type, data }) => type === "call.ended" && data.holds === 2);
  const told = (await scene.server.why(data.call)).trim().split("\n");
  assert.deepEqual(told.map((line) => line.split(" ")[1]), ["started", "answered", "held", "resumed", "held", "resumed", "ended"].map((what) => `call.${what}`));
  assert.ok(told.at(-1).includes(data.call), told.at(-1));
});

test("docs/CLIENTS.md says what was found (UPDATE_CLIENTS=1 makes it so)", async () => {
  const file = new URL("../../../docs/CLIENTS.md", import.meta.url);
  const text = await readFile(file, "utf8");
  const [head, tail] = [text.indexOf("-->\n", text.indexOf("<!-- found")) + 4, text.indexOf("<!-- end -->")];
  if (process.env.UPDATE_CLIENTS) return writeFile(file, `${text.slice(0, head)}\n${found()}\n\n${text.slice(tail)}`);
  assert.equal(text.slice(head, tail).trim(), found());
});
