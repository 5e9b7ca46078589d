// What the softphone page says: names, one clock, why a call stalls and why it ended; in a window of 400 px,
// and over https.
import assert from "node:assert/strict";
import { request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import { after, before, test } from "node:test";
import { launchBrowser } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { Relay } from "../harness/relay.mjs";
import { Server } from "../harness/server.mjs";
import { Softphone } from "../harness/softphone.mjs";

// What a page shows that prints what is no text.
const NO_WORDS = /\[object|undefined|\bnull\b|NaN|Invalid Date/;
const LOST_WITHIN_MS = 45_000;

let server;
let browser;

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A phone in a window of its own; `options` are those of a browser context. */
async function open(name, options = {}, prepare = async () => {}) {
  const context = await browser.newContext(options);
  const phone = new Softphone(await context.newPage(), name);
  await prepare(phone.page);
  await phone.page.goto(server.pageOf(name));
  await phone.registered();
  return phone;
}

async function talk(caller, callee) {
  await caller.call(callee.name);
  await callee.reaches("is called", ({ call }) => call.state === "incoming" && call.remote === caller.name);
  await callee.press("Answer");
  await Promise.all([caller.inCall(), callee.inCall()]);
}

const textOf = (phone, id) => phone.page.locator(`#${id}`).innerText();
const lines = (phone, type) => phone.page.locator(`#events li[data-type="${type}"] .line`).evaluateAll((all) => all.map((line) => line.firstChild.textContent));

/** Fails unless it stands whole between the left and the right edge of the window. */
async function inSight(phone, id) {
  const { width } = phone.page.viewportSize();
  const box = await phone.page.locator(`#${id}`).boundingBox();
  assert.ok(box && box.x >= 0 && box.x + box.width <= width, `#${id} is at ${JSON.stringify(box)} in ${width} px`);
  const page = await phone.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(page <= width, `the page is ${page} px wide in ${width} px`);
}

test("a tab closed in a call: the other side sees it at once, for how long it waits, and at the end why", { timeout: 120_000 }, async () => {
  const ada = await open("ada");
  const bell = await open("bell", { viewport: { width: 400, height: 800 }, colorScheme: "dark" });
  await talk(ada, bell);
  await ada.page.close();
  await until("bell sees it", async () => (await textOf(bell, "call-words")) === "Connection lost (page closed), waiting", { within: 2000, evidence: () => textOf(bell, "call-words") });
  const first = Number.parseInt(await textOf(bell, "countdown"), 10);
  assert.ok(first > 20 && first <= 30, `${first} s`);
  await inSight(bell, "call-words");
  assert.equal(await textOf(bell, "light-call"), "Call with ada is interrupted");
  await until("it counts down", async () => Number.parseInt(await textOf(bell, "countdown"), 10) < first);
  await bell.reaches("is in no call", ({ call }) => call.state === "idle", LOST_WITHIN_MS);
  const why = /^Last call, with ada \(\d+:\d\d\): ada’s connection was lost \(page closed\) and ada did not come back in time\.$/;
  await until("bell sees why", async () => why.test(await textOf(bell, "last-call")), { evidence: () => textOf(bell, "last-call") });
  await inSight(bell, "last-call");
  assert.match((await lines(bell, "call.ended"))[0], /^The call from ada to bell ended: ada’s connection was lost \(page closed\) and ada did not come back in time, after /);
  assert.match((await lines(bell, "flow.closed"))[0], /^ada’s connection was closed by the client, in a call with bell: the client sent a Close frame \(1001: going away\), after /);
  bell.soundPage();
  await bell.close();
});

test("who comes back in time is in the call again, and the page says so", async () => {
  const relay = await Relay.to(server.ready.ws);
  try {
    const bell = await open("bell");
    const ada = await open("ada", {}, (page) => page.route("**/api/dev", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), ws: `ws://${relay.address}/` } });
    }));
    await talk(bell, ada);
    relay.cut();
    await until("bell sees it", async () => /^Connection lost \(.+\), waiting$/.test(await textOf(bell, "call-words")), { within: 5000 });
    await until("ada sees it", async () => (await textOf(ada, "call-words")) === "Your connection to the server is lost; trying again");
    relay.mend();
    await until("bell sees ada again", async () => (await textOf(bell, "call-words")) === "Connected", { within: 25_000, evidence: () => textOf(bell, "call-words") });
    assert.equal(await textOf(bell, "countdown"), "");
    await ada.reaches("registers anew", ({ registered }) => registered);
    await ada.press("Hang up");
    await Promise.all([ada.idle(), bell.idle()]);
    await until("bell knows who hung up", async () => /: ada hung up\.$/.test(await textOf(bell, "last-call")), { evidence: () => textOf(bell, "last-call") });
    await until("ada knows", async () => /: you hung up\.$/.test(await textOf(ada, "last-call")), { evidence: () => textOf(ada, "last-call") });
    for (const phone of [ada, bell]) {
      phone.soundPage();
      await phone.close();
    }
  } finally {
    relay.close();
  }
});

test("every line names people, and every time is by one clock", async () => {
  const options = { locale: "en-US", timezoneId: "America/New_York", viewport: { width: 400, height: 800 } };
  const [ada, bell] = await Promise.all([open("ada", options), open("bell", options)]);
  await talk(ada, bell);
  await bell.press("Hold");
  await ada.reaches("is held", ({ call }) => call.heldByRemote);
  await bell.press("Resume");
  await ada.reaches("is resumed", ({ call }) => !call.heldByRemote);
  await bell.press("Hang up");
  await Promise.all([ada.idle(), bell.idle()]);
  await ada.call("nobody-of-that-name");
  await ada.idle();
  assert.match(await textOf(ada, "last-call"), /^Last call, with nobody-of-that-name: .*\((404|480): (there is no such user|not online)\)\.$/);
  await until("the end of the call is told", async () => (await lines(ada, "call.ended")).some((line) => line.startsWith("The call from ada to bell ended: bell hung up, after ")));
  assert.ok((await lines(ada, "call.started")).includes("ada calls bell"));
  assert.match((await lines(ada, "call.answered"))[0], /^bell answered ada’s call, after /);
  assert.deepEqual([(await lines(ada, "call.held"))[0], (await lines(ada, "call.resumed"))[0]], ["bell put ada on hold", "bell took ada back from hold"]);
  await until("facts are shown", () => ada.page.locator("#flow dt").count());
  for (const phone of [ada, bell]) {
    const shown = await phone.page.evaluate(() => document.body.innerText);
    assert.doesNotMatch(shown, NO_WORDS);
    assert.doesNotMatch(shown, /\b[AP]M\b/);
    const titles = await phone.page.locator("#events li").evaluateAll((all) => all.map((line) => line.title));
    titles.forEach((title) => assert.doesNotMatch(title, NO_WORDS));
  }
  const { flow } = await ada.state();
  const opened = (await server.flow(flow)).opened_at.slice(11, 23);
  const facts = await textOf(ada, "flow");
  assert.ok(facts.includes(`${opened} UTC (`), `${opened} in ${facts}`);
  const listed = await ada.page.locator(`#events li[data-type="flow.opened"][data-flow="${flow}"] time`).textContent();
  assert.equal(listed, opened);
  await Promise.all([ada.close(), bell.close()]);
});

test("whatever a server tells makes words", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(server.ready.page);
  const types = ["node.started", "node.stopped", "ledger.trimmed", "audit.differed", "flow.opened", "flow.closed", "binding.added", "binding.removed", "user.online", "user.offline", "call.started", "call.answered", "call.held", "call.resumed", "call.ended", "something.new"];
  const party = { aor: "%zz@localhost", flow: null };
  const odd = [undefined, null, {}, { aor: null, remote: {}, transport: {}, cause: null, by: null, caller: {}, callee: null, bindings: [null, {}], calls: [null], evidence: {}, reason: {}, duration_ms: null, ring_ms: null },
    { aor: {}, caller: party, callee: party, call_id: "x", cause: "of_a_later_release", by: "moon", status: 699, calls: {}, bindings: {}, talk_ms: "x", answered_at: {} }];
  const said = await page.evaluate(async ({ types, odd }) => {
    const [{ inWords }, { CallFates }, { factRows }] = await Promise.all([import("/words.js"), import("/call-fates.js"), import("/server-view.js")]);
    const calls = new CallFates();
    const events = types.flatMap((type) => odd.flatMap((data) => [{ type, data }, { type, data, subject: null, time: "never" }]));
    const words = events.map((event) => {
      calls.take(event);
      return inWords(event, calls);
    });
    const facts = { a: null, b: { c: null, d: [1, { e: { f: null } }] }, bindings: [null, { x: { y: 1 } }, { aor: "a", contact: null }], at: "no time", opened_at: null, deep: { one: 1, two: 2, three: 3, four: { five: [] } } };
    return [...words, ...factRows(facts).flat()];
  }, { types, odd });
  assert.ok(said.length > 150);
  for (const words of said) {
    assert.equal(typeof words, "string");
    assert.doesNotMatch(words, NO_WORDS);
    assert.doesNotMatch(words, /\?/);
  }
  await context.close();
});

/** Status, headers and body of an answer, whatever the certificate. */
function ask(url, { method = "GET", headers = {} } = {}) {
  const request = url.startsWith("https:") ? secureRequest : plainRequest;
  return new Promise((resolve, reject) => {
    const asking = request(url, { method, headers, rejectUnauthorized: false, agent: false }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part)).on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() }));
    });
    asking.on("error", reject).end();
  });
}

test("the page comes over https too, to who names the server by its address", async () => {
  for (const page of [server.ready.page, server.ready.secure_page]) {
    const { status, headers, body } = await ask(page);
    assert.deepEqual([status, headers["content-type"], headers["x-content-type-options"]], [200, "text/html; charset=utf-8", "nosniff"]);
    assert.match(headers["content-security-policy"], /^default-src 'self'/);
    assert.ok(body.includes("Sipway"));
    const head = await ask(page, { method: "HEAD" });
    assert.deepEqual([head.status, head.body, head.headers["content-length"]], [200, "", String(Buffer.byteLength(body))]);
    assert.equal((await ask(new URL("jssip.min.js", page).href)).status, 200);
    assert.equal((await ask(new URL("no/such/page", page).href)).status, 404);
    assert.equal((await ask(new URL("api/dev", page).href, { headers: { host: "evil.example" } })).status, 421);
    assert.equal((await ask(page, { headers: { host: "evil.example" } })).status, 421);
    const order = { method: "DELETE", headers: { origin: "https://evil.example" } };
    assert.equal((await ask(new URL("api/flows/x.1.f1", page).href, order)).status, 403);
  }
  assert.equal((await ask(server.ready.secure_page.replace("https:", "http:"))).status, 400);
});

test("a server that is not for development has no page at ws and wss", async () => {
  const other = await Server.configured();
  try {
    for (const path of ["", "softphone.js", "api/dev", "api/flows"]) {
      for (const [url, expected] of [[`http://${other.ready.ws}/${path}`, 426], [`https://${other.ready.wss}/${path}`, 400]]) {
        const { status, body } = await ask(url);
        assert.equal(status, expected, url);
        assert.doesNotMatch(body, /<html|flows/i);
      }
    }
  } finally {
    await other.stop();
  }
});

test("over https a tab speaks wss, has the microphone, and talks with a tab over http", async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const curie = new Softphone(await context.newPage(), "curie");
  await curie.page.goto(`${server.ready.secure_page}?name=curie&auto=1`);
  const flow = await curie.registered();
  const { transport, origin } = await server.flow(flow);
  assert.deepEqual([transport, `${origin}/`], ["wss", server.ready.secure_page]);
  assert.ok(await curie.page.evaluate(() => isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia)));
  await until("its events come", () => curie.page.locator("#events li.mine").count());
  const bell = await open("bell");
  await talk(bell, curie);
  await Promise.all([curie.hears(20), bell.hears(20)]);
  await curie.press("Hang up");
  await Promise.all([curie.idle(), bell.idle()]);
  for (const phone of [curie, bell]) {
    phone.soundPage();
    await phone.close();
  }
});
