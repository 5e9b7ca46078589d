// A phone on JsSIP.
import JsSIP from "jssip";
import { callState, openSound, phoneState, soundOf } from "./call-state.js";
import { fromPlain, toPlain } from "./plain-rtp.js";

export class JsSipPhone {
  state = phoneState();
  #ua;
  #sessions = [];
  #plain;
  #expires = {};

  /**
   * @param {{server: string, uri: string, plain?: boolean, session?: number, user?: string, password?:
   * string}} options `plain`: it speaks
   *   with phones that know RTP alone; `session`: seconds that a session lasts without refresh (RFC 4028),
   *   however few; `user`: the name that the password belongs to, if it is not the address's
   */
  constructor({ server, uri, plain = false, session, user, password }) {
    this.#plain = plain;
    if (session) {
      JsSIP.C.MIN_SESSION_EXPIRES = Math.min(JsSIP.C.MIN_SESSION_EXPIRES, session);
      this.#expires = { sessionTimersExpires: session };
    }
    this.#ua = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(server)], uri, password, ...(user && { authorization_user: user }), register_expires: 120, connection_recovery_min_interval: 1, connection_recovery_max_interval: 2 });
    this.#ua.on("connected", () => (this.state.connected = true));
    this.#ua.on("disconnected", () => Object.assign(this.state, { connected: false, registered: false }));
    this.#ua.on("registered", () => (this.state.registered = true));
    this.#ua.on("unregistered", () => (this.state.registered = false));
    this.#ua.on("registrationFailed", ({ response }) => (this.state.refused = response?.status_code));
    this.#ua.on("newRTCSession", ({ session, originator }) => originator === "remote" && this.#follow(session, callState("in", session.remote_identity.uri.user)));
    this.#ua.on("newMessage", ({ originator, message, request }) => originator === "remote" && this.state.messages.push({ from: message.remote_identity.uri.user, text: request.body }));
    this.#ua.start();
  }

  #follow(session, call) {
    this.#sessions.push(session);
    this.state.calls.push(call);
    if (this.#plain) session.on("sdp", (event) => (event.sdp = event.originator === "local" ? toPlain(event.sdp) : fromPlain(event.sdp, event.type)));
    // JsSIP leaves Contact out of NOTIFY, where it must be (RFC 6665 §8.2.1). Asterisk refuses such a NOTIFY
    // (400).
    const send = session.sendRequest.bind(session);
    const contact = (method) => (method === JsSIP.C.NOTIFY ? [`Contact: ${session.contact}`] : []);
    session.sendRequest = (method, options = {}) => send(method, { ...options, extraHeaders: [...(options.extraHeaders ?? []), ...contact(method)] });
    session.on("progress", ({ originator }) => originator === "remote" && call.now === "calling" && (call.now = "ringing"));
    session.on("accepted", () => (call.now = "active"));
    session.on("hold", ({ originator }) => (call[originator === "local" ? "held" : "heldByOther"] = true));
    session.on("unhold", ({ originator }) => (call[originator === "local" ? "held" : "heldByOther"] = false));
    session.on("newDTMF", ({ originator, dtmf }) => originator === "remote" && (call.keys += dtmf.tone));
    session.on("reinvite", () => (call.refreshed += 1));
    session.on("update", () => (call.refreshed += 1));
    session.on("refer", async ({ request, accept }) => {
      const next = callState("out", request.refer_to.uri.user);
      accept((fresh) => this.#follow(fresh, next), await media());
    });
    // The new call is told of as any other.
    session.on("replaces", ({ accept }) => accept(async (fresh) => fresh.answer(await media())));
    const over = ({ originator, message }) => Object.assign(call, { now: "over", endedBy: originator === "local" ? "us" : "other", status: message?.status_code });
    session.on("ended", over);
    session.on("failed", over);
    return this.#sessions.length - 1;
  }

  async call(target) {
    const given = { ...(await media()), ...this.#expires };
    this.#follow(this.#ua.call(target, given), callState("out", JsSIP.URI.parse(target).user));
  }

  answer = async (at) => void this.#session(at).answer({ ...(await media()), ...this.#expires });
  refuse = (at, status) => void this.#session(at).terminate({ status_code: status });
  hangUp = (at) => void this.#session(at).terminate();
  hold = (at) => this.#reoffer(at, (session, done) => session.hold({}, done));
  resume = (at) => this.#reoffer(at, (session, done) => session.unhold({}, done));
  update = (at) => this.#reoffer(at, (session, done) => session.renegotiate({ useUpdate: true }, done));
  press = (at, key) => void this.#session(at).sendDTMF(key, { transportType: "INFO" });
  playKey = (at, key) => void this.#session(at).sendDTMF(key, { transportType: "RFC2833" });
  sound = (at) => soundOf(this.#session(at).connection);

  /** Offers anew once the offer before is through; until it is answered. */
  async #reoffer(at, offer) {
    const session = this.#session(at);
    while (!session.isReadyToReOffer()) await new Promise((resolve) => setTimeout(resolve, 10));
    const ended = new Promise((_, reject) => session.on("ended", ({ cause }) => reject(new Error(`the call ended: ${cause}`))));
    await Promise.race([ended, new Promise((done) => offer(session, done))]);
  }

  transfer = (at, target) => this.#refer(at, target);
  /**
   * Attended: to whoever is in another call of ours. The page knows who that is by an address that can be
   * called.
   */
  transferTo = (at, other, target) => this.#refer(at, target, this.#session(other));

  #refer(at, target, replaces) {
    const { transfer } = this.state.calls.at(at);
    const told = ({ status_line: line }) => transfer.push(line.status_code);
    this.#session(at).refer(target, {
      replaces,
      eventHandlers: {
        requestSucceeded: ({ response }) => transfer.push(response.status_code),
        requestFailed: ({ response, cause }) => transfer.push(response?.status_code ?? cause),
        trying: told, progress: told, accepted: told, failed: told,
      },
    });
  }

  /** The final status. */
  write(target, text) {
    return new Promise((resolve) => this.#ua.sendMessage(target, text, {
      eventHandlers: { succeeded: ({ response }) => resolve(response.status_code), failed: ({ response, cause }) => resolve(response?.status_code ?? cause) },
    }));
  }

  /** Registers again with a newer token (RFC 8898). */
  renew(token) {
    this.#ua.registrator().setExtraHeaders([`Authorization: Bearer ${token}`]);
    this.#ua.register();
  }

  stop() {
    this.#ua.stop();
    return new Promise((resolve) => (this.#ua.isConnected() ? this.#ua.on("disconnected", resolve) : resolve()));
  }

  #session = (at) => this.#sessions.at(at);
}

const media = async () => ({ mediaStream: await openSound(), pcConfig: { iceServers: [] } });
