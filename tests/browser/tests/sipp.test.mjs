// Desk phones, played by sipp over UDP and TCP, and a browser: calls, cancels and messages cross the server both ways.
import { after, before, test } from "node:test";
import { launchBrowser } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { Server } from "../harness/server.mjs";
import { freePort, runSipp, startSipp } from "../harness/sipp.mjs";
import { Softphone } from "../harness/softphone.mjs";

let server;
let browser;
let ada;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
  ada = await Softphone.open(browser, server, "ada");
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

for (const transport of ["udp", "tcp"]) {
  const start = async (t, name, options) => {
    const sipp = await startSipp(name, { server, transport, ...options });
    t.after(() => sipp.stop());
    return sipp;
  };

  test(`${transport} → browser: rings, is answered, the browser hangs up`, async (t) => {
    const sipp = await start(t, "uac_call", { service: "ada" });
    await ada.reaches("is called", ({ call }) => call.state === "incoming" && call.remote === "sipp");
    await ada.press("Answer");
    await ada.inCall();
    await ada.press("Hang up");
    await sipp.ended;
    await ada.idle();
    ada.soundPage();
  });

  test(`browser → ${transport}: rings, is answered, the phone hangs up`, async (t) => {
    const port = await freePort();
    const service = `desk-${transport}`;
    await runSipp("register", { server, service, port, keys: { contact_transport: transport } });
    const sipp = await start(t, "uas_call", { service, port });
    await sipp.listening();
    await ada.call(service);
    await sipp.ended;
    await ada.reaches("has had its call", ({ call, lastCall }) => call.state === "idle" && lastCall?.remote === service && lastCall.by === "the other side");
    ada.soundPage();
  });

  test(`${transport} → browser: a call is taken back while it rings`, async (t) => {
    const sipp = await start(t, "uac_cancel", { service: "ada" });
    await sipp.ended;
    await ada.idle();
  });

  test(`${transport} → browser: a message`, async () => {
    const before = (await ada.messages()).length;
    await runSipp("uac_message", { server, transport, service: "ada" });
    await until("ada has it", async () => (await ada.messages()).slice(before).some(({ peer, text }) => peer === "sipp" && text.startsWith("Hello from sipp")));
  });
}
