// Other settings of Asterisk that operators have.
import { CALLS } from "../cases/calls.mjs";
import { ENDINGS } from "../cases/endings.mjs";
import { play } from "../harness/play.mjs";

/** Those in which it matters what Asterisk makes of a contact and of a route. */
const some = (...words) => Object.fromEntries(Object.entries({ ...CALLS, ...ENDINGS }).filter(([name]) => words.some((word) => name.includes(word))));
const ROUTED = some("holds, resumes", "either hangs up", "through Asterisk", "survives the reset");
const KEPT = some("either hangs up", "survives the reset", "is reloaded", "is closed is registered");

play("path", { "rewrite_contact=no": "rewrite_contact=yes" }, ROUTED);
play("auto", { "rewrite_contact=no": "rewrite_contact=yes" }, ROUTED);
play("auto", { "support_path=yes": "support_path=no" }, ROUTED);
play("contact-rewrite", { "support_path=yes": "support_path=no", "rewrite_contact=no": "rewrite_contact=yes" }, ROUTED);
for (const register of ["path", "auto"]) play(register, { "max_contacts=5": "max_contacts=1\nremove_existing=yes" }, KEPT);
// Asterisk keeps the contact of a connection that has ended: the device's next connection has the same.
for (const register of ["auto", "contact-rewrite"]) play(register, {}, some("survives the reset"), "never");
