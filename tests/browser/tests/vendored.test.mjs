// The checked-in jssip.min.js is the pinned npm release and nothing else.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { bundleJsSip, vendoredFile } from "../bundle-jssip.mjs";

test("the softphone's JsSIP is the bundle of the pinned release", async () => {
  const [checkedIn, fresh] = await Promise.all([readFile(vendoredFile, "utf8"), bundleJsSip()]);
  assert.ok(checkedIn === fresh, "jssip.min.js differs: run `node bundle-jssip.mjs` in tests/browser");
});

test("the lock file names no download address", async () => {
  const lock = await readFile(new URL("../package-lock.json", import.meta.url), "utf8");
  assert.ok(!/"resolved"|https?:\/\/[^"]*\.tgz/.test(lock));
});
