// baresip as a desk phone, one process each: told what to do over its control socket (ctrl_tcp: JSON in
// netstrings), watched by the events that come there and by the SIP messages that it prints.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { callState, phoneState } from "../pages/call-state.js";
import { until } from "./conditions.mjs";
import { Phone } from "./phone.mjs";
import { freePort } from "./ports.mjs";
import { takeMessages } from "./sip-trace.mjs";

const START_MS = 20_000;
const MODULES = ["g711", "aubridge"];
const APPLICATIONS = ["account", "contact", "menu", "ctrl_tcp"];

/** Named by its address, baresip takes the loopback for an interface; otherwise it wants any other. */
const config = (control) => `poll_method epoll
sip_listen 127.0.0.1:0
net_interface 127.0.0.1
call_max_calls 10
audio_player aubridge,phone
audio_source aubridge,phone
audio_alert aubridge,alert
ringback_disabled yes
statmode_default off
module_path /usr/lib/baresip/modules
${MODULES.map((name) => `module ${name}.so\n`).join("")}${APPLICATIONS.map((name) => `module_app ${name}.so\n`).join("")}ctrl_tcp_listen 127.0.0.1:${control}
`;

const userOf = (uri) => /sips?:([^@;>]+)/.exec(uri)?.[1];
const HELD = /^a=(sendonly|inactive)\r?$/m;

export class BaresipPhone extends Phone {
  cannot = {
    press: "baresip sends keys in the media alone (RFC 4733)",
    update: "baresip knows no UPDATE",
    transferTo: "baresip knows no attended transfer",
    replace: "baresip takes no part: as transferee it puts Replaces into the Request-URI, as target it knows none",
  };
  #state = phoneState();
  #calls = new Map(); // by Call-ID
  #address;
  #folder;
  #process;
  #control;
  #printed = ""; // the last of it
  #offers = false; // whether what it offered last holds the other side

  /**
   * Starts a phone; it registers by itself.
   * @param {{transport: "udp"|"tcp"|"tls", name: string, address: string, friend?: string, domain?: string,
   * login?: {user: string, password: string}}} who
   *   `address`: `host:port` of the server; `friend`: the user it can write to; `domain`: of its address,
   *   `localhost` unless said; `login`: the name and password that it proves
   */
  static async open({ address, friend, login, ...who }) {
    const phone = new BaresipPhone({ client: "baresip", ...who });
    phone.#address = address;
    const control = await freePort();
    phone.#folder = await mkdtemp(join(tmpdir(), "sipway-baresip-"));
    const file = (name, text) => writeFile(join(phone.#folder, name), text);
    await file("config", config(control));
    await file("accounts", `<${phone.uri};transport=${phone.transport}>;${login ? `auth_user=${login.user};auth_pass=${login.password}` : "auth_pass=none"};outbound="sip:${address};transport=${phone.transport}";regint=600\n`);
    await file("contacts", friend ? `<sip:${friend}@localhost>\n` : "");
    phone.#process = spawn("baresip", ["-s", "-f", phone.#folder], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [phone.#process.stdout, phone.#process.stderr]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (text) => {
        phone.#printed = (phone.#printed + text).slice(-30_000);
        const taken = takeMessages(rest + text);
        rest = taken.rest;
        taken.messages.forEach((message) => phone.#passed(message));
      });
    }
    try {
      await once(phone.#process, "spawn");
    } catch (error) {
      throw new Error(`baresip did not start (apt-get install baresip-core): ${error.message}`);
    }
    phone.#control = await until(`baresip ${phone.name} takes orders`, () => connected(control), { within: START_MS, evidence: () => phone.#printed });
    phone.#listen();
    return phone;
  }

  #listen() {
    let rest = Buffer.alloc(0);
    this.#control.on("error", () => {}); // its end is seen elsewhere
    this.#control.on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        const colon = rest.indexOf(":");
        const length = Number(rest.subarray(0, Math.max(colon, 0)));
        if (colon < 0 || rest.length < colon + length + 2) return;
        const told = JSON.parse(String(rest.subarray(colon + 1, colon + 1 + length)));
        rest = rest.subarray(colon + length + 2);
        if (told.event) this.#happened(told);
      }
    });
  }

  #order(command, params) {
    const text = JSON.stringify({ command, params });
    this.#control.write(`${Buffer.byteLength(text)}:${text},`);
  }

  /** An event of a call. */
  #happened({ type, direction, peeruri, id, param = "" }) {
    if (!id) return;
    if (!this.#calls.has(id)) {
      const fresh = direction === "outgoing" && this.#state.calls.find((call) => call.direction === "out" && !call.id);
      const call = fresh || callState(direction === "outgoing" ? "out" : "in", userOf(peeruri));
      call.id = id;
      if (!fresh) this.#state.calls.push(call);
      this.#calls.set(id, call);
    }
    const call = this.#calls.get(id);
    switch (type) {
      case "CALL_RINGING":
      case "CALL_PROGRESS":
        if (call.now === "calling") call.now = "ringing";
        break;
      case "CALL_ESTABLISHED":
        call.now = "active";
        break;
      case "CALL_DTMF_START":
        call.keys += param;
        break;
      case "CALL_CLOSED": {
        const status = Number(/^\d{3}/.exec(param)?.[0]) || undefined;
        Object.assign(call, { now: "over", status, endedBy: status || /by peer/.test(param) ? "other" : "us" });
      }
    }
  }

  /** A SIP message that it sent or received. */
  #passed({ from, startLine, header, body }) {
    const received = from === this.#address;
    const [number, method] = (header("CSeq") ?? "").split(" ");
    const call = this.#calls.get(header("Call-ID"));
    const status = Number(/^SIP\/2\.0 (\d+)/.exec(startLine)?.[1]);
    if (!received) {
      if (!status && method === "INVITE") this.#offers = HELD.test(body);
    } else if (status) {
      if (method === "REGISTER" && status === 200) this.#state.registered = header("Expires") !== "0";
      if (method === "REFER") call?.transfer.push(status);
      if (method === "INVITE" && status === 200 && call) call.held = this.#offers;
    } else if (method === "MESSAGE") {
      this.#state.messages.push({ from: userOf(header("From")), text: body });
    } else if (method === "NOTIFY") {
      call?.transfer.push(Number(/^SIP\/2\.0 (\d+)/.exec(body)?.[1]));
    } else if (method === "INVITE" && /;tag=/.test(header("To")) && call && call.lastOffer !== number) {
      Object.assign(call, { lastOffer: number, heldByOther: HELD.test(body), refreshed: call.refreshed + 1 });
    }
  }

  state() {
    return structuredClone(this.#state);
  }

  evidence() {
    return { state: this.#state, printed: this.#printed.split(/\r?\n/) };
  }

  call(target) {
    this.#state.calls.push(callState("out", userOf(target)));
    this.#order("dial", target);
  }

  answer = () => this.#order("accept");
  hangUp = () => this.#order("hangup");
  /** It knows one way to say no. */
  refuse = () => this.#order("hangup");
  hold = () => this.#order("hold");
  resume = () => this.#order("resume");
  transfer = (target) => this.#order("transfer", target);

  /** To its friend, whoever is asked for: it writes to a contact alone. */
  write = (_target, text) => this.#order("message", text);

  async close() {
    this.#control?.destroy();
    const child = this.#process;
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(hard);
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A socket to a port of this machine; none if nobody listens there. */
async function connected(port) {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return socket;
  } catch {
    return undefined;
  }
}
