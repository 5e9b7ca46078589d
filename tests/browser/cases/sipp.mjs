// A phone that does as its script says (sipp, tests/sipp), with each client, in both roles.
import assert from "node:assert/strict";
import { until } from "../harness/conditions.mjs";
import { freePort } from "../harness/ports.mjs";
import { Relay } from "../harness/relay.mjs";
import { runSipp, startSipp } from "../harness/sipp.mjs";

export const SIPP_TRANSPORTS = ["udp", "tcp", "tls"];
export const SIPP_CASES = ["hang up", "busy", "cancel", "message"];

let last = 0;

/** Who it is, for the table and the records. */
const sipp = (transport, name) => ({ client: "sipp", transport, name, words: `sipp ${transport}`, aor: `${name}@localhost`, uri: `sip:${name}@localhost` });

/**
 * The scenario's runs against this server over this transport. Debian's sipp knows no TLS: its TCP goes into
 * it.
 */
async function over(t, scene, transport, phone) {
  const secured = transport === "tls";
  const relay = secured && (await Relay.to(scene.server.ready.tls, { secured }));
  if (relay) t.after(() => relay.close());
  const how = { address: relay ? relay.address : scene.server.ready[transport], transport: transport === "udp" ? "udp" : "tcp", media: phone.client === "baresip" ? "plain" : "secure" };
  return {
    async start(scenario, more) {
      const run = await startSipp(scenario, { ...how, ...more });
      t.after(() => run.stop());
      return run;
    },
    run: (scenario, more) => runSipp(scenario, { ...how, ...more }),
  };
}

/** sipp calls and writes to a phone. */
export async function sippCalls(t, scene, findings, transport, kind) {
  const [phone] = await scene.phones(t, kind);
  const caller = sipp(transport, "sipp");
  const line = await over(t, scene, transport, phone);
  const service = phone.name;
  const play = (name, act) => findings.play(name, caller, phone, undefined, act);
  const rings = () => phone.reaches("is called", ({ calls }) => calls.at(-1)?.now === "incoming" && calls.at(-1).remote === "sipp");

  await play("hang up", async () => {
    const call = await line.start("uac_call", { service });
    await rings();
    await phone.answer();
    await phone.reachesCall("active");
    await phone.hangUp();
    await call.ended;
    await phone.reachesCall("over");
    await scene.records.ended(caller, phone, { cause: "hangup", by: "callee", between: ["answered"] });
  });
  await play("busy", async () => {
    const call = await line.start("uac_busy", { service });
    await rings();
    await phone.refuse(486);
    await call.ended;
    await phone.reachesCall("over");
    await scene.records.ended(caller, phone, { cause: "rejected", by: "callee", status: 486 });
  });
  await play("cancel", async () => {
    await line.run("uac_cancel", { service });
    await phone.reachesCall("over");
    await scene.records.ended(caller, phone, { cause: "cancelled", by: "caller", status: 487 });
  });
  await play("message", async () => {
    await line.run("uac_message", { service });
    await phone.reaches("has the message", ({ messages }) => messages.some(({ from, text }) => from === "sipp" && text.startsWith("Hello from sipp")));
  });
}

/** A phone calls sipp, which is registered. */
export async function sippIsCalled(t, scene, findings, transport, kind) {
  const [phone] = await scene.phones(t, kind);
  const line = await over(t, scene, transport, phone);
  const play = (name, act) => {
    const callee = sipp(transport, `script-${transport}-${++last}`);
    return findings.play(name, phone, callee, undefined, () => act(callee));
  };
  const waits = async (callee, scenario) => {
    const service = callee.name;
    if (transport === "udp") {
      const port = await freePort();
      await line.run("register", { service, port });
      const run = await line.start(scenario, { service, port });
      await run.listening();
      return run;
    }
    // Its calls come over the connection on which it registered, and which it keeps.
    const run = await line.start("stay", { service, outOfCall: scenario });
    await until(`${service} is registered`, () => scene.server.events.events.some(({ type, data }) => type === "binding.added" && data.aor === callee.aor));
    return run;
  };

  await play("hang up", async (callee) => {
    const script = await waits(callee, "uas_call");
    await phone.call(callee.uri);
    await script.ended;
    const { endedBy } = await phone.reachesCall("over");
    assert.equal(endedBy, "other");
    await scene.records.ended(phone, callee, { cause: "hangup", by: "callee", between: ["answered"] });
  });
  await play("busy", async (callee) => {
    const script = await waits(callee, "uas_busy");
    await phone.call(callee.uri);
    const { status } = await phone.reachesCall("over");
    assert.equal(status, 486);
    await script.ended;
    await scene.records.ended(phone, callee, { cause: "rejected", by: "callee", status: 486 });
  });
  await play("cancel", async (callee) => {
    const script = await waits(callee, "uas_cancelled");
    await phone.call(callee.uri);
    await phone.reachesCall("ringing");
    await phone.hangUp();
    await phone.reachesCall("over");
    await script.ended;
    await scene.records.ended(phone, callee, { cause: "cancelled", by: "caller", status: 487 });
  });
}
