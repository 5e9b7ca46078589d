// Desk phones, played by sipp over UDP and TCP, and a browser: calls, cancels and messages cross the server both ways.
import { after, before, test } from "node:test";
import { launchBrowser } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { Server } from "../harness/server.mjs";
import { freePort } from "../harness/ports.mjs";
import { runSipp, startSipp } from "../harness/sipp.mjs";
import { Softphone } from "../harness/softphone.mjs";

let server;
let browser;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A tab for one test alone. */
async function openTab(t, name) {
  const tab = await Softphone.open(browser, server, name);
  t.after(() => tab.close());
  return tab;
}

async function sipp(t, scenario, options) {
  const run = await startSipp(scenario, { server, ...options });
  t.after(() => run.stop());
  return run;
}

/** A phone that is registered and waits for one call; `ended` is the end of that call. */
const waitingPhone = {
  async udp(t, service) {
    const port = await freePort();
    await runSipp("register", { server, service, port });
    const phone = await sipp(t, "uas_call", { service, port });
    await phone.listening();
    return phone;
  },
  // Its calls come over the connection on which it registered, and which it keeps.
  async tcp(t, service) {
    const phone = await sipp(t, "stay", { transport: "tcp", service, outOfCall: "uas_call" });
    const registered = ({ type, data }) => type === "binding.added" && data.aor === `${service}@localhost`;
    await until(`${service} is registered`, () => server.events.events.some(registered));
    return phone;
  },
};

for (const transport of ["udp", "tcp"]) {
  test(`${transport} → browser: rings, is answered, the browser hangs up`, async (t) => {
    const ada = await openTab(t, `ada-${transport}`);
    const phone = await sipp(t, "uac_call", { transport, service: ada.name });
    await ada.reaches("is called", ({ call }) => call.state === "incoming" && call.remote === "sipp");
    await ada.press("Answer");
    await ada.inCall();
    await ada.press("Hang up");
    await phone.ended;
    await ada.idle();
    ada.soundPage();
  });

  test(`browser → ${transport}: rings, is answered, the phone hangs up`, async (t) => {
    const bob = await openTab(t, `bob-${transport}`);
    const service = `desk-${transport}`;
    const phone = await waitingPhone[transport](t, service);
    await bob.call(service);
    await phone.ended;
    await bob.reaches("has had its call", ({ call, lastCall }) => call.state === "idle" && lastCall?.remote === service && lastCall.by === "the other side");
    bob.soundPage();
  });

  test(`${transport} → browser: a call is taken back while it rings`, async (t) => {
    const cleo = await openTab(t, `cleo-${transport}`);
    const phone = await sipp(t, "uac_cancel", { transport, service: cleo.name });
    await phone.ended;
    await cleo.idle();
    cleo.soundPage();
  });

  test(`${transport} → browser: a message`, async (t) => {
    const dora = await openTab(t, `dora-${transport}`);
    await runSipp("uac_message", { server, transport, service: dora.name });
    await until("dora has it", async () => (await dora.messages()).some(({ peer, text }) => peer === "sipp" && text.startsWith("Hello from sipp")));
    dora.soundPage();
  });
}
