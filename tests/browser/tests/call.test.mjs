// Two tabs register, talk with real WebRTC audio, hold, mute, press keys, write, hang up.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { launchBrowser } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { Server } from "../harness/server.mjs";
import { Softphone } from "../harness/softphone.mjs";

let server;
let browser;
let ada;
let bell;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
  [ada, bell] = await Promise.all(["ada", "bell"].map((name) => Softphone.open(browser, server, name)));
});
after(async () => {
  await browser?.close();
  await server?.stop();
});
afterEach(() => {
  ada.soundPage();
  bell.soundPage();
});

async function talk(caller, callee) {
  await caller.call(callee.name);
  await callee.reaches("is called", ({ call }) => call.state === "incoming" && call.remote === caller.name);
  await caller.reaches("hears it ring", ({ call }) => call.state === "ringing");
  await callee.press("Answer");
  await Promise.all([caller.inCall(), callee.inCall()]);
}

test("a person registers with the button alone", async () => {
  const context = await browser.newContext();
  const curie = new Softphone(await context.newPage(), "curie");
  await curie.page.goto(server.ready.page);
  await curie.page.getByLabel("Your name").fill("curie");
  await curie.press("Connect");
  await curie.registered();
  await curie.press("Disconnect");
  await curie.reaches("is gone", ({ connected, registered }) => !connected && !registered);
  curie.soundPage();
  await curie.close();
});

test("two tabs talk: audio flows both ways, then one hangs up", async () => {
  await talk(ada, bell);
  await Promise.all([ada.hears(50), bell.hears(50)]);
  await ada.press("Hang up");
  const [, { lastCall }] = await Promise.all([ada.idle(), bell.idle()]);
  assert.equal(lastCall.by, "the other side");
});

test("hold, resume, mute and keys reach the other tab", async () => {
  await talk(bell, ada);
  await bell.press("Hold");
  await ada.reaches("is held", ({ call }) => call.heldByRemote);
  await bell.press("Resume");
  await ada.reaches("is resumed", ({ call }) => !call.heldByRemote);
  await bell.press("Mute");
  await bell.reaches("is muted", ({ call }) => call.muted);
  await bell.press("Keypad");
  await bell.press("7");
  await until("ada sees the 7", async () => (await ada.page.locator("#tones").inputValue().catch(() => ada.page.locator("#tones").textContent())).includes("7"));
  await ada.press("Hang up");
  await Promise.all([ada.idle(), bell.idle()]);
});

test("a refused call and a cancelled call end at both sides", async () => {
  await ada.call("bell");
  await bell.reaches("is called", ({ call }) => call.state === "incoming");
  await bell.press("Reject");
  const refused = await ada.idle();
  assert.equal(refused.lastCall.code, 603);

  await ada.call("bell");
  await bell.reaches("is called", ({ call }) => call.state === "incoming");
  await ada.reaches("hears it ring", ({ call }) => call.state === "ringing");
  await ada.press("Hang up");
  await Promise.all([ada.idle(), bell.idle()]);
});

test("a call to nobody is refused at once", async () => {
  await ada.call("nobody-of-that-name");
  const { lastCall } = await ada.idle();
  assert.ok([404, 480].includes(lastCall.code), `refused with ${lastCall.code}`);
});

test("a message is delivered, an undeliverable one says why", async () => {
  const text = "Grüße & <b>ünïcödé</b> 🦉";
  await ada.write("bell", text);
  await until("bell has it", async () => (await bell.messages()).some((message) => message.direction === "in" && message.peer === "ada" && message.text === text));
  await until("ada knows", async () => (await ada.messages()).some((message) => message.text === text && message.state === "delivered"));
  await ada.write("nobody-of-that-name", "hello?");
  const failed = await until("ada knows that it failed", async () => (await ada.messages()).find((message) => message.state === "failed"));
  assert.match(failed.detail, /^4(04|80) /);
});

test("the page shows the server's facts of its flow and its events", async () => {
  const { flow } = await ada.state();
  assert.ok(await server.flow(flow), "GET /api/flows/<id> answers");
  await until("facts are shown", () => ada.page.locator("#flow dt").count());
  const mine = ada.page.locator(`#events li.mine[data-flow="${flow}"]`);
  await until("its opening is in the list", async () => (await mine.evaluateAll((lines) => lines.map((line) => line.dataset.type))).includes("flow.opened"));
});
