// Names that lead to one user agent (RFC 5627): JsSIP makes them the Contacts of its calls, so every request
// within one is sent to such a name.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { holdAndResume, over, talk } from "../cases/pair.mjs";
import { TRANSFER_CASES, attended } from "../cases/transfer.mjs";
import { Findings } from "../harness/findings.mjs";
import { Scene, words } from "../harness/scene.mjs";

const JSSIP = ["ws", "wss", "ws"].map((transport) => ({ client: "JsSIP", transport }));

let scene;
before(async () => {
  scene = await Scene.open('[registrar]\ngruu = "public"');
});
after(() => scene?.close());

const contact = (message) => message.match(/^Contact: (.*)\r$/m)?.[1];

test("JsSIP calls, holds and hangs up, from both ends, with GRUUs for Contacts", async (t) => {
  const frames = await scene.tab.watch(t);
  const [a, b] = await scene.phones(t, ...JSSIP.slice(0, 2));
  const sent = (method, by) => frames.sent.filter((frame) => frame.startsWith(`${method} `) && frame.includes(`\r\nFrom: <${by.uri}>`));
  for (const [caller, callee] of [[a, b], [b, a]]) {
    await talk(caller, callee);
    assert.match(contact(sent("INVITE", caller)[0]), new RegExp(`^<sip:${caller.aor};gr=urn:uuid:[-0-9a-f]+[;>]`));
    const [ack] = sent("ACK", caller);
    const gruu = ack.split(" ")[1];
    assert.match(gruu, new RegExp(`^sip:${callee.aor};gr=urn:uuid:`));
    await holdAndResume(caller, callee);
    await holdAndResume(callee, caller);
    await callee.hangUp();
    await over(callee, caller);
    const held = ["held", "resumed"];
    await scene.records.ended(caller, callee, { cause: "hangup", by: "callee", between: ["answered", ...held, ...held] });
    // Whoever has the name of a user agent can call it by that.
    await caller.call(gruu);
    await callee.reachesCall("incoming");
    await callee.answer();
    await Promise.all([caller.reachesCall("active"), callee.reachesCall("active")]);
    await caller.hangUp();
    await over(caller, callee);
    await scene.records.ended(caller, callee, { cause: "hangup", by: "caller", between: ["answered"] });
  }
  // They got them under the Contact that they had registered.
  const byes = frames.received.filter((frame) => frame.startsWith("BYE "));
  assert.equal(byes.length, 4);
  for (const bye of byes) assert.match(bye, /^BYE sip:\S+\.invalid;transport=\S+ /);
});

test("a call goes from one JsSIP to another by Replaces", (t) => attended(t, scene, new Findings(words(JSSIP), TRANSFER_CASES), JSSIP));

test("every call was recorded as it was, and none is left", () => scene.complete());
