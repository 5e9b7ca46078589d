// Waiting: always for a condition, never for a time.
import { setTimeout as pause } from "node:timers/promises";

/**
 * Calls `look` until it returns something truthy, and returns that.
 * @param {string} what the condition in words, for the failure message
 * @param {() => unknown} look
 * @param {{within?: number, every?: number, evidence?: () => unknown}} [options] times in ms; `evidence` is
 * printed on failure
 */
export async function until(what, look, { within = 10_000, every = 25, evidence } = {}) {
  const deadline = performance.now() + within;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() > deadline) {
      const shown = evidence ? `\n${JSON.stringify(await evidence(), null, 1)}` : "";
      throw new Error(`not within ${within} ms: ${what}${shown}`);
    }
    await pause(every);
  }
}
