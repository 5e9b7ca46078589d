// Calls between browsers and Asterisk, and through it. Media are real: WebRTC's own counts say whether they
// flow.
import assert from "node:assert/strict";
import { holdAndResume, over, talk } from "../../browser/cases/pair.mjs";
import { DOMAIN } from "../harness/house.mjs";

export const ECHO = `sip:600@${DOMAIN}`;
/** Another browser, by way of Asterisk in every recipe. */
const through = (phone) => `sip:8${phone.name}@${DOMAIN}`;

/** A browser calls Asterisk's echo and hears itself. */
export async function echo(phone) {
  await phone.call(ECHO);
  await phone.reachesCall("active");
  await hearsMore(phone);
}

/** Media still come: more than came until now. */
export async function hearsMore(phone, at = -1) {
  const { received } = await phone.sound(at);
  await phone.hears(received + 20);
}

/** Asterisk calls a browser, which answers and hears its echo. */
export async function calledByAsterisk(house, phone) {
  await house.originate(phone.name);
  await phone.reachesCall("incoming");
  await phone.answer();
  await phone.reachesCall("active");
  await hearsMore(phone);
}

/** A browser calls another one through Asterisk; both hear each other. */
export async function talkThroughAsterisk(a, b) {
  await a.call(through(b));
  await b.reachesCall("incoming");
  await b.answer();
  await Promise.all([a.reachesCall("active"), b.reachesCall("active")]);
  await Promise.all([hearsMore(a), hearsMore(b)]);
}

const ended = (house, since, words) => house.event(`call.ended ${JSON.stringify(words)}`, ({ type, data }) => type === "call.ended" && Object.entries(words).every(([key, value]) => data[key] === value), { since });

export const CALLS = {
  "a browser calls Asterisk, holds, resumes and hangs up": async (t, house) => {
    const [web1] = await house.registered(t, "web1");
    const since = house.now;
    await echo(web1);
    await web1.hold();
    await house.event("call.held", ({ type }) => type === "call.held", { since });
    await web1.resume();
    await house.event("call.resumed", ({ type }) => type === "call.resumed", { since });
    await hearsMore(web1);
    await web1.hangUp();
    const { data } = await ended(house, since, { cause: "hangup", by: "caller" });
    assert.equal(data.holds, 1);
  },
  "Asterisk calls a browser; either hangs up": async (t, house) => {
    const [web1] = await house.registered(t, "web1");
    let since = house.now;
    await calledByAsterisk(house, web1);
    await web1.hangUp();
    await ended(house, since, { cause: "hangup", by: "callee" });
    await house.asterisk.idle();
    since = house.now;
    await calledByAsterisk(house, web1);
    await house.asterisk.cli("channel request hangup all");
    await web1.reachesCall("over");
    await ended(house, since, { cause: "hangup", by: "caller" });
  },
  "a browser calls another one through Asterisk": async (t, house) => {
    const [web1, web2] = await house.registered(t, "web1", "web2");
    await talkThroughAsterisk(web1, web2);
    await web1.hold();
    await web1.resume();
    await web2.hold();
    await web2.resume();
    await Promise.all([hearsMore(web1), hearsMore(web2)]);
    await web2.hangUp();
    await Promise.all([web1.reachesCall("over"), web2.reachesCall("over")]);
  },
  "a browser calls another one by its address": async (t, house) => {
    const [web1, web2] = await house.registered(t, "web1", "web2");
    await talk(web1, web2);
    await Promise.all([hearsMore(web1), hearsMore(web2)]);
    // Asterisk answers a hold by itself, with music. Where it is not between them, the other side is told.
    if (house.register === "local") await holdAndResume(web1, web2);
    await web1.hangUp();
    await over(web1, web2);
  },
  "a browser that declines is called once": async (t, house) => {
    const [web1, web2] = await house.registered(t, "web1", "web2");
    const since = house.now;
    await web1.call(through(web2));
    await web2.reachesCall("incoming");
    await web2.refuse(486);
    const { status } = await web1.reachesCall("over");
    assert.equal(status, 486);
    await house.quiet();
    assert.equal((await web2.state()).calls.length, 1);
    assert.equal(house.server.events.events.slice(since).filter(({ type }) => type === "call.started").length, 2, "one call into Asterisk, one out of it");
  },
  "a browser calls a busy extension, and cancels a call that rings": async (t, house) => {
    const [web1] = await house.registered(t, "web1");
    let since = house.now;
    await web1.call(`sip:603@${DOMAIN}`);
    assert.equal((await web1.reachesCall("over")).status, 486);
    await ended(house, since, { cause: "rejected", by: "callee", status: 486 });
    since = house.now;
    await web1.call(`sip:604@${DOMAIN}`);
    await web1.reachesCall("ringing");
    await web1.hangUp();
    await ended(house, since, { cause: "cancelled", by: "caller" });
  },
  "a browser transfers a call at Asterisk to another one": async (t, house) => {
    const [web1, web2] = await house.registered(t, "web1", "web2");
    await talkThroughAsterisk(web1, web2);
    await web1.transfer(ECHO);
    await web1.reaches("is told 200", ({ calls }) => calls[0].transfer.at(-1) === 200);
    // JsSIP leaves the call to the transferor.
    if ((await web1.state()).calls[0].now === "active") await web1.hangUp();
    await web1.reachesCall("over");
    // It is in the same call still, and hears itself now.
    await hearsMore(web2);
    assert.equal((await web2.state()).calls.length, 1);
    await web2.hangUp();
    await web2.reachesCall("over");
  },
  "Asterisk transfers a browser to somebody else": async (t, house) => {
    const [web1] = await house.registered(t, "web1");
    await web1.call(`sip:612@${DOMAIN}`);
    await web1.reaches("is in the call that it was sent to", ({ calls }) => calls.length === 2 && calls[1].now === "active");
    await hearsMore(web1, 1);
    await web1.reachesCall("over", 0);
    await hearsMore(web1, 1);
    await web1.hangUp(1);
    await web1.reachesCall("over", 1);
  },
};
