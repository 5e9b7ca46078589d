// Transfers: a phone sends the one it talks with to a third (RFC 3515, RFC 5589).
import assert from "node:assert/strict";
import { CLIENTS, nextKind } from "../harness/scene.mjs";
import { over, talk } from "./pair.mjs";

export const TRANSFER_CASES = ["blind", "and is told", "refused", "attended"];

/** Transferor and transferee of every client each, and some target. */
export const couples = () => CLIENTS.flatMap((a) => CLIENTS.map((b, at) => [a, b, CLIENTS[(CLIENTS.indexOf(a) + at) % CLIENTS.length]].map(nextKind)));

/** Transferor, transferee and target, of every client each; the transports take turns. */
export const triples = () => CLIENTS.flatMap((a) => CLIENTS.flatMap((b) => CLIENTS.map((c) => [a, b, c].map(nextKind))));

/** The last that a transferor was told of its transfer. */
const told = (phone, status) => phone.reaches(`is told ${status}`, ({ calls }) => calls[0].transfer.at(-1) === status);

const deaf = (a, b) => (a.client === "baresip" && b.client === "SIP.js" ? "SIP.js ends the subscription with its first NOTIFY, and baresip hears no more than that" : undefined);

/** The transferor's first call ends, by itself or because he hangs up. */
async function partings(a, b) {
  if ((await a.state()).calls[0].now === "active") await a.hangUp(0);
  await Promise.all([a.reachesCall("over", 0), b.reachesCall("over", 0)]);
}

/** `a` and `b` talk; `a` sends `b` to `c`. */
export async function blind(t, scene, findings, kinds) {
  const { records } = scene;
  const [a, b, c] = await scene.phones(t, ...kinds);
  const play = (name, act, why) => findings.play(name, a, b, why, act);
  await talk(a, b);
  await play("blind", async () => {
    await a.transfer(c.uri);
    await c.reaches("is called by the transferee", ({ calls }) => calls.at(-1)?.now === "incoming" && calls.at(-1).remote === b.name);
    await c.answer();
    await Promise.all([c.reachesCall("active"), b.reachesCall("active")]);
  });
  await play("and is told", () => told(a, 200), deaf(a, b));
  await partings(a, b);
  await records.ended(a, b, { cause: "hangup", by: "caller", between: ["answered"] });
  await c.hangUp();
  await over(c, b);
  await records.ended(b, c, { cause: "hangup", by: "callee", between: ["answered"] });
}

/** `a` and `b` talk; `a` sends `b` to `c`, who has no time: they go on talking. */
export async function refused(t, scene, findings, kinds) {
  const { records } = scene;
  const [a, b, c] = await scene.phones(t, ...kinds);
  await findings.play("refused", a, b, deaf(a, b), async () => {
    await talk(a, b);
    await a.transfer(c.uri);
    await c.reachesCall("incoming");
    await c.refuse(486);
    await b.reachesCall("over", 1);
    await told(a, 486);
    await records.ended(b, c, { cause: "rejected", by: "callee", status: 486 });
    // baresip hangs up whatever comes of it.
    const stays = a.client !== "baresip";
    if (stays) {
      assert.equal((await b.state()).calls[0].now, "active");
      await b.hangUp(0);
    }
    await b.reachesCall("over", 0);
    await records.ended(a, b, { cause: "hangup", by: stays ? "callee" : "caller", between: ["answered"] });
  });
}

/** `a` holds `b`, talks with `c`, and puts `b` in its own place there. */
export async function attended(t, scene, findings, kinds) {
  const { records } = scene;
  const [a, b, c] = await scene.phones(t, ...kinds);
  const why = a.cannot.transferTo ?? b.cannot.replace ?? c.cannot.replace;
  await findings.play("attended", a, b, why, async () => {
    await talk(a, b);
    await a.hold();
    await b.reaches("is held", ({ calls }) => calls[0].heldByOther);
    await talk(a, c);
    await a.transferTo(1, c.uri, 0);
    await c.reaches("has the transferee instead", ({ calls }) => calls.length === 2 && calls[0].now === "over" && calls[1].now === "active" && calls[1].remote === b.name);
    await b.reaches("has its call", ({ calls }) => calls.length === 2 && calls[1].now === "active");
    await told(a, 200);
    await a.reachesCall("over", 1);
    await partings(a, b);
    await records.ended(a, b, { cause: "hangup", by: "caller", between: ["answered", "held"] });
    await records.ended(a, c, { cause: "hangup", by: "callee", between: ["answered"] });
    await c.hangUp();
    await over(c, b);
    await records.ended(b, c, { cause: "hangup", by: "callee", between: ["answered"] });
  });
}
