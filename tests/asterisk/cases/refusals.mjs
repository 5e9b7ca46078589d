// Who must not get in: a user with a wrong password, and an unauthenticated client that knows the set-up of
// Sipway and Asterisk.
import assert from "node:assert/strict";
import { UnauthenticatedClient } from "../harness/unauthenticated-client.mjs";
import { DOMAIN, UNREGISTER_HEADER, UNREGISTER_SECRET } from "../harness/house.mjs";
import { ECHO, calledByAsterisk } from "./calls.mjs";

/**
 * The header field that proves an un-REGISTER of Sipway's, with the true secret, as an unauthenticated client
 * could try to smuggle it in.
 */
const FROM = "the name of Asterisk's endpoint";
const forged = (name = UNREGISTER_HEADER, secret = UNREGISTER_SECRET) => ({
  "no header": [],
  [FROM]: [],
  "the header": [`${name}: ${secret}`],
  "lower case": [`${name.toLowerCase()}:${secret}`],
  "upper case, blanks before the colon": [`${name.toUpperCase()} \t : ${secret}`],
  "folded value": [`${name}:\r\n ${secret}`],
  "folded before the colon": [`${name}\r\n : ${secret}`],
  "twice": [`${name}: x`, `${name}: ${secret}`],
  "in a folded field": [`Subject: x\r\n ${name}: ${secret}`],
  "behind a bare CR": [`Subject: x\r${name}: ${secret}`],
  "behind a bare LF": [`Subject: x\n${name}: ${secret}`],
  "behind a NUL": [`Subject: x\0\r\n${name}: ${secret}`],
});

export const REFUSALS = {
  "a wrong password registers nobody and calls nobody": async (t, house) => {
    const since = house.now;
    const web1 = await house.phone(t, "web1", { password: "wrong" });
    const { refused } = await web1.reaches("is refused", ({ refused: status }) => status);
    assert.ok([401, 403].includes(refused), `${refused}`);
    if (house.forwards) await house.asterisk.hasContacts("web1", 0);
    await web1.call(ECHO);
    const { status } = await web1.reachesCall("over");
    assert.ok(status === undefined || status >= 400, `${status}`);
    assert.deepEqual(house.server.events.events.slice(since).filter(({ type }) => ["binding.added", "call.answered"].includes(type)), []);
    assert.deepEqual(await house.asterisk.channels(), []);
  },
  "an unauthenticated client unregisters nobody": async (t, house) => {
    const [web1] = await house.registered(t, "web1");
    if (house.forwards) await house.asterisk.hasContacts("web1", 1);
    const since = house.now;
    for (const transport of ["wss", "tcp", "udp"]) {
      for (const [how, fields] of Object.entries(forged())) {
        const unauthenticated = await UnauthenticatedClient.open(transport, house.listeners[transport]);
        const status = await unauthenticated.register("web1", ["Contact: *", "Expires: 0", ...fields], how === FROM ? "sipway-close" : "web1");
        unauthenticated.close();
        // Some spellings are no SIP: refused, dropped, or the connection is closed.
        assert.ok(status === undefined || status >= 400, `${how} over ${transport}: ${status}`);
      }
    }
    assert.deepEqual(house.server.events.events.slice(since).filter(({ type }) => type === "binding.removed"), []);
    if (house.forwards) await house.asterisk.hasContacts("web1", 1);
    await calledByAsterisk(house, web1);
    await web1.hangUp();
    await web1.reachesCall("over");
  },
  "an unauthenticated client calls nobody": async (t, house) => {
    await house.registered(t, "web1");
    const since = house.now;
    for (const transport of ["wss", "tcp", "udp"]) {
      for (const whom of ["600", "web1"]) {
        const unauthenticated = await UnauthenticatedClient.open(transport, house.listeners[transport]);
        const status = await unauthenticated.ask("INVITE", `sip:${whom}@${DOMAIN}`, "web2", [`Contact: <sip:web2@10.0.0.3>`, `${UNREGISTER_HEADER}: ${UNREGISTER_SECRET}`]);
        unauthenticated.close();
        assert.ok([401, 403, 407].includes(status), `${whom} over ${transport}: ${status}`);
      }
    }
    assert.deepEqual(house.server.events.events.slice(since).filter(({ type }) => type === "call.answered"), []);
    assert.deepEqual(await house.asterisk.channels(), []);
  },
};
