// What a test does with a phone of any kind. Each kind keeps `{connected, registered, calls, messages}` as
// pages/call-state.js says.
import { until } from "./conditions.mjs";

/** How long a step of a call may take on a busy machine. */
const STEP_MS = 20_000;

export class Phone {
  /** Verbs that this kind does not know, with the reason. */
  cannot = {};

  /** @param {{client: string, transport: string, name: string, domain?: string}} who */
  constructor({ client, transport, name, domain = "localhost" }) {
    Object.assign(this, { client, transport, name });
    this.aor = `${name}@${domain}`;
    this.uri = `sip:${this.aor}`;
  }

  get words() {
    return `${this.client} ${this.transport}`;
  }

  /** Waits until `holds(state)`, and returns the state. */
  reaches(what, holds, within = STEP_MS) {
    return until(`${this.words} ${this.name} ${what}`, async () => {
      const state = await this.state();
      return holds(state) && state;
    }, { within, evidence: () => this.evidence() });
  }

  evidence() {
    return this.state();
  }

  registered = () => this.reaches("registers", ({ registered }) => registered);
  /** Its newest call, or one before it, is so far: "ringing", "incoming", "active", "over". */
  reachesCall = (now, at = -1) => this.reaches(`has a call that is ${now}`, ({ calls }) => calls.at(at)?.now === now).then(({ calls }) => calls.at(at));
  hasMessage = (text) => this.reaches(`has the message "${text}"`, ({ messages }) => messages.some((message) => message.text === text));
}
