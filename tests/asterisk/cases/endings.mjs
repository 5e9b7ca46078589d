// Browsers that go without a word, and those that come back.
import { calledByAsterisk, echo, hearsMore, talkThroughAsterisk } from "./calls.mjs";

/** Nobody is there to be called: Asterisk has no contact any more, or hears at once that there is none. */
async function isGone(house, name) {
  await house.event(`binding.removed of ${name}`, ({ type, data }) => type === "binding.removed" && data.aor.startsWith(`${name}@`));
  if (house.forwards) await house.asterisk.hasContacts(name, 0);
  else await house.originate(name);
  await house.asterisk.idle();
}

/** It is reached by exactly one way. */
async function isReached(house, phone) {
  if (house.forwards) await house.asterisk.hasContacts(phone.name, 1);
  await calledByAsterisk(house, phone);
  await phone.hangUp();
  await phone.reachesCall("over");
}

export const ENDINGS = {
  "a page that is closed is registered no more": async (t, house) => {
    const [web1] = await house.registered(t, "web1");
    if (house.forwards) await house.asterisk.hasContacts("web1", 1);
    await web1.closePage();
    await isGone(house, "web1");
  },
  "a page that is closed in calls ends them": async (t, house) => {
    const [web1, web2] = await house.registered(t, "web1", "web2");
    await talkThroughAsterisk(web1, web2);
    const since = house.now;
    await web1.closePage();
    await web2.reachesCall("over");
    await house.event("call.ended, flow_lost", ({ type, data }) => type === "call.ended" && data.cause === "flow_lost", { since });
    await isGone(house, "web1");
  },
  "a call survives the reset of its connection": async (t, house) => {
    const cable = await house.cable(t);
    const web1 = await house.phone(t, "web1", { cable });
    await web1.registered();
    await echo(web1);
    cable.cut();
    await web1.reaches("has lost its connection", ({ connected }) => !connected);
    cable.mend();
    await web1.registered();
    await hearsMore(web1);
    // What it sends within the call gets through, and so does what Asterisk sends.
    await web1.hold();
    await web1.resume();
    await hearsMore(web1);
    await house.asterisk.cli("channel request hangup all");
    await web1.reachesCall("over");
    await isReached(house, web1);
  },
  "a page that is reloaded is reached where it is now": async (t, house) => {
    const [before] = await house.registered(t, "web1");
    await isReached(house, before);
    const web1 = await before.reloadPage();
    await web1.registered();
    await isReached(house, web1);
    const again = await web1.reloadPage();
    await again.registered();
    await isReached(house, again);
  },
  "after a restart of Asterisk browsers call and are called": async (t, house) => {
    const [web1] = await house.registered(t, "web1");
    await echo(web1);
    if (house.forwards) await house.asterisk.keepsContacts("web1");
    await house.asterisk.kill();
    await house.asterisk.start();
    // Asterisk knows nothing of the call any more; the browser's BYE ends it.
    await web1.hangUp();
    await web1.reachesCall("over");
    await echo(web1);
    await web1.hangUp();
    await house.asterisk.idle();
    await isReached(house, web1);
  },
};
