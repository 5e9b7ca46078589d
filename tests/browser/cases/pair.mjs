// What two phones do with each other.
import assert from "node:assert/strict";

export async function ring(a, b) {
  await a.call(b.uri);
  await b.reachesCall("incoming");
  await a.reachesCall("ringing");
}

export async function talk(a, b) {
  await ring(a, b);
  await b.answer();
  await Promise.all([a.reachesCall("active"), b.reachesCall("active")]);
}

/** One holds the other and lets go. */
export async function holdAndResume(holder, other) {
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
export async function over(by, other, at = -1) {
  const [mine, theirs] = await Promise.all([by.reachesCall("over", at), other.reachesCall("over", at)]);
  assert.deepEqual([mine.endedBy, theirs.endedBy], ["us", "other"]);
}

export const PAIR_CASES = ["call", "hold", "keys", "hang up", "busy", "cancel", "message", "UPDATE"];

/**
 * All of it, one phone calling the other.
 * @param {import("node:test").TestContext} t
 * @param {import("../harness/scene.mjs").Scene} scene
 * @param {import("../harness/findings.mjs").Findings} findings
 */
export async function pair(t, scene, findings, one, two) {
  const { records } = scene;
  const [a, b] = await scene.phones(t, one, two);
  const play = (name, act, why) => findings.play(name, a, b, why, act);

  await play("call", async () => {
    await talk(a, b);
    // Between browsers with real sound; and keys within it could be sent (RFC 4733).
    if (!a.hears || !b.hears || a.plain) return;
    await Promise.all([a.hears(), b.hears()]);
    assert.ok((await a.sound()).telephoneEvent);
  });
  await play("hold", async () => {
    await holdAndResume(a, b);
    await holdAndResume(b, a);
  });
  await play("keys", async () => {
    if (!a.cannot.press) await pressKeys(a, b, "17#");
    if (!b.cannot.press) await pressKeys(b, a, "*0");
  }, a.cannot.press && b.cannot.press);
  await play("UPDATE", async () => {
    const before = (await b.state()).calls.at(-1).refreshed;
    await a.update();
    await b.reaches("is sent an UPDATE", ({ calls }) => calls.at(-1).refreshed > before);
  }, a.cannot.update ?? b.cannot.update);
  await play("hang up", async () => {
    await a.hangUp();
    await over(a, b);
    const held = ["held", "resumed"];
    const { holds } = await records.ended(a, b, { cause: "hangup", by: "caller", between: ["answered", ...held, ...held] });
    assert.equal(holds, 2);
    await talk(a, b);
    await b.hangUp();
    await over(b, a);
    await records.ended(a, b, { cause: "hangup", by: "callee", between: ["answered"] });
  });
  await play("busy", async () => {
    await ring(a, b);
    await b.refuse(486);
    await over(b, a);
    assert.equal((await a.state()).calls.at(-1).status, 486);
    await records.ended(a, b, { cause: "rejected", by: "callee", status: 486 });
  });
  await play("cancel", async () => {
    await ring(a, b);
    await a.hangUp();
    await over(a, b);
    await records.ended(a, b, { cause: "cancelled", by: "caller", status: 487 });
  });
  await play("message", async () => {
    const text = `Grüße von ${a.name} 🦉`;
    const status = await a.write(b.uri, text);
    await b.hasMessage(text);
    if (status !== undefined) assert.equal(status, 200);
  });
}
