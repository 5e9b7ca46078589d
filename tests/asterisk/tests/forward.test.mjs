// Users who register at Asterisk through Sipway, in each of the ways in which Asterisk can learn where they
// are.
import { CALLS } from "../cases/calls.mjs";
import { ENDINGS } from "../cases/endings.mjs";
import { REFUSALS } from "../cases/refusals.mjs";
import { play } from "../harness/play.mjs";

for (const register of ["path", "auto", "contact-rewrite"]) play(register, {}, { ...CALLS, ...ENDINGS, ...REFUSALS });
