// Plays cases one after the other in one house.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { House } from "./house.mjs";

/**
 * @param {"path"|"auto"|"contact-rewrite"|"local"} register
 * @param {Record<string, string>} changes of Asterisk's recipe, see Asterisk.start
 * @param {Record<string, (t: import("node:test").TestContext, house: House) => Promise<void>>} cases
 * @param {"at-close"|"never"} [unregister] whether Asterisk hears of connections that have ended
 */
export function play(register, changes, cases, unregister = "at-close") {
  const set = [`register = "${register}"`, ...(unregister === "never" ? ['unregister = "never"'] : []), ...Object.values(changes).map((lines) => lines.replaceAll("\n", ", "))].join(", ");
  describe(set, () => {
    let house;
    before(async () => (house = await House.open(register, changes, unregister)));
    after(() => house?.close());
    for (const [name, act] of Object.entries(cases)) {
      test(name, async (t) => {
        try {
          await house.fresh();
          await act(t, house);
          await house.quiet();
        } catch (error) {
          error.message += await kept(house, `${set} ${name}`);
          throw error;
        }
      });
    }
  });
}

/** Writes what both servers logged where it can be read afterwards. */
async function kept(house, name) {
  const folder = process.env.ROOM_LOGS;
  if (!folder) return "";
  const file = join(folder, `${name.replaceAll(/[^\w-]+/g, "-").slice(0, 120)}.log`);
  await mkdir(folder, { recursive: true });
  const events = house.server.events.events.map((event) => JSON.stringify(event)).join("\n");
  await writeFile(file, `---- Sipway\n${house.server.log}\n---- events\n${events}\n---- Asterisk\n${await house.asterisk.log()}`);
  return `\nlogs: ${file}`;
}
