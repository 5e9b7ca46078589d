// kill -9 of the server: the next run closes what was open, and the page comes back by itself.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { launchBrowser } from "../harness/browser.mjs";
import { until } from "../harness/conditions.mjs";
import { Server } from "../harness/server.mjs";
import { Softphone } from "../harness/softphone.mjs";

test("closes that a killed server could not write are written by the next one", async (t) => {
  const ledger = await mkdtemp(join(tmpdir(), "sipway-crash-"));
  t.after(() => rm(ledger, { recursive: true, force: true }));
  const browser = await launchBrowser();
  t.after(() => browser.close());

  const first = await Server.start({ ledger });
  t.after(() => first.stop());
  const phones = [await Softphone.open(browser, first, "ada"), await Softphone.open(browser, first, "bell")];
  const flows = await Promise.all(phones.map(async (phone) => (await phone.state()).flow));
  await first.kill();

  const second = await Server.start({ ledger });
  t.after(() => second.stop());
  for (const flow of flows) {
    const all = () => [...second.printed, ...second.events.events].filter((event) => event.type === "flow.closed" && event.data.flow === flow);
    const [closed] = await until(`the close of ${flow}`, () => all().length && all(), { evidence: () => second.printed });
    assert.deepEqual([closed.data.by, closed.data.cause, closed.data.certainty], ["node", "node_crash", "journal_replay"]);
    assert.ok(Date.parse(closed.data.closed_at_earliest) <= Date.parse(closed.data.closed_at), "closed in an interval");
    assert.equal(new Set(all().map((event) => event.id)).size, 1, "one close record");
  }
  // A flow of the new run can never be mistaken for one of the old.
  const carol = await Softphone.open(browser, second, "carol");
  assert.ok(!flows.includes((await carol.state()).flow));
});
