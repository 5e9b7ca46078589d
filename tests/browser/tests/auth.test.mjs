// Users who prove who they are, in real browsers and with desk phones: by a password, by a token of a login,
// by a password for a while.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BaresipPhone } from "../harness/baresip.mjs";
import { BrowserPhone, PhonePage } from "../harness/browser-phone.mjs";
import { launchBrowser } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { Server } from "../harness/server.mjs";
import { runSipp } from "../harness/sipp.mjs";

const SECRET = "0123456789abcdef0123456789abcdef";
const CLIENTS = ["JsSIP", "SIP.js"];

let folder;
let server;
let browser;
let tab;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sipway-auth-"));
  await writeFile(join(folder, "secret"), SECRET);
  await writeFile(join(folder, "users"), [...CLIENTS.map((client) => `ada-${client}:wonder land\n`), "desk:wonder\n"].join(""), { mode: 0o600 });
  const domain = (name, keys) => `[[domain]]\nname = "${name}"\n${keys}\n`;
  server = await Server.configured([
    domain("password.test", `users = "${folder}/users"`),
    domain("strong.test", `users = "${folder}/users"\nalgorithms = ["SHA-256", "MD5"]`),
    domain("token.test", `auth = "jwt"\nsecret_file = "${folder}/secret"\nleeway = "0s"`),
    domain("guests.test", `ephemeral_secret_file = "${folder}/secret"`),
  ].join(""));
  browser = await launchBrowser();
  tab = await PhonePage.open(browser);
});
after(async () => {
  await browser?.close();
  await tab?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const now = () => Math.floor(Date.now() / 1000);

function token(user, seconds) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256" })}.${part({ sub: user, exp: now() + seconds })}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

/** A phone by the address of its user; `query` goes with the WebSocket's address. */
const open = (client, name, domain, query = "", more = {}) =>
  BrowserPhone.open(tab, { client, transport: "ws", name, address: server.ready.ws }, { server: `ws://${server.ready.ws}/${query}`, uri: `sip:${name}@${domain}`, ...more });

/** Flows of a user that have ended, with why. */
const ends = (identity) => server.events.events.filter((event) => event.type === "flow.closed" && event.data.identity === identity).map((event) => event.data.cause);

for (const client of CLIENTS) {
  for (const [domain, offers] of [["password.test", "as it is out of the box"], ["strong.test", "though its library knows MD5 alone, takes the last challenge, and SHA-256 is wanted more"]]) {
    test(`${client} proves a password ${offers}`, async () => {
      const ada = await open(client, `ada-${client}`, domain, "", { password: "wonder land" });
      await ada.registered();
      assert.equal(await ada.write(`sip:nobody@${domain}`, "hello"), 404);
      await ada.close();
    });
  }

  test(`${client} with a password for a while registers, asked for it or not`, async () => {
    const name = `gil-${client}`;
    const user = `${now() + 600}:${name}`;
    const password = createHmac("sha1", SECRET).update(user).digest("base64");
    const asked = await open(client, name, "guests.test", "", { user, password });
    await asked.registered();
    await asked.close();
    const query = new URLSearchParams({ username: user, password });
    const known = await open(client, name, "guests.test", `?${query}`);
    await known.registered();
    await known.close();
  });
}

// Both read the first challenge alone, and know MD5 alone.
for (const transport of ["udp", "tcp"]) {
  test(`sipp's own [authentication] logs in over ${transport}, though it writes the server's address into the uri`, async () => {
    const login = { user: "desk", password: "wonder", domain: "password.test" };
    const options = { address: server.ready[transport], service: "desk", transport, login };
    await runSipp("login", options);
    await runSipp("message_login", options);
  });
}

for (const transport of ["udp", "tcp", "tls"]) {
  for (const user of ["desk", "desk@password.test"]) {
    test(`baresip logs in over ${transport} as ${user}`, async (t) => {
      const desk = await BaresipPhone.open({ transport, name: "desk", domain: "password.test", address: server.ready[transport], login: { user, password: "wonder" } });
      t.after(() => desk.close());
      await desk.registered();
    });
  }
}

test("baresip with a wrong password does not register", async (t) => {
  const count = async () => Number(/^sipway_wrong_credentials(?:_total)? (\d+)/m.exec(await (await fetch(new URL("metrics", server.ready.page))).text())?.[1]);
  const before = await count();
  const desk = await BaresipPhone.open({ transport: "tcp", name: "desk", domain: "password.test", address: server.ready.tcp, login: { user: "desk", password: "guess" } });
  t.after(() => desk.close());
  await until("it is refused", async () => (await count()) > before, { within: 20_000, evidence: () => desk.evidence() });
  assert.equal((await desk.state()).registered, false);
});

test("a newer token in a REGISTER keeps a connection that a token has opened, and no other", () => Promise.all(CLIENTS.map(async (client) => {
  const [name, other] = [`tess-${client}`, `tom-${client}`];
  const stays = await open(client, name, "token.test", `?access_token=${token(name, 12)}`);
  await stays.registered();
  // Its time would be over earlier than this one's.
  const goes = await open(client, other, "token.test", `?access_token=${token(other, 14)}`);
  await goes.registered();
  await stays.renew(token(name, 600));
  await until("the token of the other runs out", () => ends(`${other}@token.test`).includes("token_expired"), { within: 30_000, evidence: () => server.events.events.slice(-5) });
  assert.deepEqual(ends(`${name}@token.test`), []);
  assert.equal((await stays.state()).registered, true);
  await Promise.all([stays.close(), goes.close()]);
})));

test("a token of nobody opens nothing", async () => {
  const liar = await open("JsSIP", "liar", "token.test", `?access_token=${token("liar", 600).replace(/.$/, "~")}`);
  const refused = async () => Number(/^sipway_tokens_refused(?:_total)? (\d+)/m.exec(await (await fetch(new URL("metrics", server.ready.page))).text())?.[1]);
  await until("the handshake is refused", async () => (await refused()) > 0, { within: 20_000 });
  assert.equal((await liar.state()).connected, false);
  await liar.close();
});
