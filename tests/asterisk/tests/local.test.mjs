// Users who register at Sipway, with Asterisk as one trunk.
import { CALLS } from "../cases/calls.mjs";
import { ENDINGS } from "../cases/endings.mjs";
import { REFUSALS } from "../cases/refusals.mjs";
import { play } from "../harness/play.mjs";

play("local", {}, { ...CALLS, ...ENDINGS, ...REFUSALS });
