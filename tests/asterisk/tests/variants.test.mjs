// Other settings of Asterisk that operators have.
import { CALLS } from "../cases/calls.mjs";
import { ENDINGS } from "../cases/endings.mjs";
import { play } from "../harness/play.mjs";

/** Those in which it matters what Asterisk makes of a contact and of a route. */
const some = (...words) => Object.fromEntries(Object.entries({ ...CALLS, ...ENDINGS }).filter(([name]) => words.some((word) => name.includes(word))));
const ROUTED = some("holds, resumes", "either hangs up", "through Asterisk", "survives the reset");
const KEPT = some("either hangs up", "survives the reset", "is reloaded", "is closed is registered");

play("auto", { "support_path=yes": "support_path=no" }, ROUTED);
for (const register of ["path", "auto"]) play(register, { "max_contacts=5": "max_contacts=1\nremove_existing=yes" }, KEPT);
