// A phone on SIP.js.
import { Inviter, Messager, Registerer, RegistererState, SessionState, UserAgent, Web } from "sip.js";
import { callState, openSound, phoneState, soundOf } from "./call-state.js";
import { fromPlain, toPlain } from "./plain-rtp.js";

const browsers = Web.defaultSessionDescriptionHandlerFactory(openSound);

/** Descriptions for phones that know RTP alone. */
function plainRtp(...given) {
  const handler = browsers(...given);
  const [get, set] = [handler.getDescription.bind(handler), handler.setDescription.bind(handler)];
  handler.getDescription = async (...more) => {
    const description = await get(...more);
    return { ...description, body: toPlain(description.body) };
  };
  handler.setDescription = (sdp, ...more) => set(fromPlain(sdp, handler.peerConnection.signalingState === "have-local-offer" ? "answer" : "offer"), ...more);
  return handler;
}

export class SipJsPhone {
  state = phoneState();
  #agent;
  #registerer;
  #sessions = [];

  /**
   * @param {{server: string, uri: string, plain?: boolean, reliable?: boolean, user?: string, password?:
   * string}} options `plain`: it
   *   speaks with phones that know RTP alone; `reliable`: provisional answers with PRACK (RFC 3262); `user`:
   *   the name that the password belongs to, if it is not the address's
   */
  constructor({ server, uri, plain = false, reliable = false, user, password }) {
    this.#agent = new UserAgent({
      uri: UserAgent.makeURI(uri),
      ...(password && { authorizationUsername: user ?? UserAgent.makeURI(uri).user, authorizationPassword: password }),
      transportOptions: { server, keepAliveInterval: 2, keepAliveDebounce: 0 },
      sessionDescriptionHandlerFactory: plain ? plainRtp : browsers,
      sessionDescriptionHandlerFactoryOptions: { iceGatheringTimeout: 500, peerConnectionConfiguration: { iceServers: [] } },
      sipExtensionReplaces: "Supported",
      sipExtension100rel: reliable ? "Required" : "Unsupported",
      logLevel: "error",
      delegate: {
        onConnect: () => (this.state.connected = true),
        onDisconnect: () => Object.assign(this.state, { connected: false, registered: false }),
        onInvite: (invitation) => {
          this.#follow(invitation, callState("in", invitation.remoteIdentity.uri.user));
          // What is to be acknowledged, SIP.js does not send by itself.
          if (reliable) invitation.progress();
          // The one who asks knows the call that this one takes the place of.
          if (invitation.request.hasHeader("replaces")) invitation.accept();
        },
        onMessage: (message) => {
          this.state.messages.push({ from: message.request.from.uri.user, text: message.request.body });
          message.accept();
        },
      },
    });
    this.#registerer = new Registerer(this.#agent);
    this.#registerer.stateChange.addListener((now) => (this.state.registered = now === RegistererState.Registered));
    this.#agent.start().then(() => this.#registerer.register());
  }

  #follow(session, call) {
    this.#sessions.push(session);
    this.state.calls.push(call);
    session.stateChange.addListener((now) => {
      if (now === SessionState.Established) call.now = "active";
      if (now === SessionState.Terminated) call.now = "over";
    });
    session.delegate = {
      onBye: (bye) => {
        call.endedBy = "other";
        bye.accept();
      },
      onCancel: () => (call.endedBy = "other"),
      onInfo: (info) => {
        call.keys += /Signal\s*=\s*(\S)/i.exec(info.request.body)?.[1] ?? "";
        info.accept();
      },
      onInvite: (request) => {
        call.heldByOther = /^a=(sendonly|inactive)\r?$/m.test(request.body);
        call.refreshed += 1;
      },
      onRefer: async (referral) => {
        await referral.accept();
        this.#invite(referral.makeInviter(), callState("out", referral.referTo.uri.user));
      },
    };
    return session;
  }

  #invite(inviter, call) {
    this.#follow(inviter, call);
    return inviter.invite({
      requestDelegate: {
        onProgress: ({ message }) => message.statusCode > 100 && call.now === "calling" && (call.now = "ringing"),
        onReject: ({ message }) => Object.assign(call, { status: message.statusCode, endedBy: call.endedBy ?? "other" }),
      },
    });
  }

  async call(target) {
    const uri = UserAgent.makeURI(target);
    await this.#invite(new Inviter(this.#agent, uri), callState("out", uri.user));
  }

  /** Registers again with a newer token (RFC 8898). */
  renew = (token) => void this.#registerer.register({ requestOptions: { extraHeaders: [`Authorization: Bearer ${token}`] } });

  answer = (at) => this.#session(at).accept();

  async refuse(at, status) {
    this.state.calls.at(at).endedBy = "us";
    await this.#session(at).reject({ statusCode: status });
  }

  async hangUp(at) {
    const session = this.#session(at);
    this.state.calls.at(at).endedBy = "us";
    await (session.state === SessionState.Established ? session.bye() : session.cancel());
  }

  hold = (at) => this.#reinvite(at, true);
  resume = (at) => this.#reinvite(at, false);

  async #reinvite(at, hold) {
    const session = this.#session(at);
    session.sessionDescriptionHandlerOptionsReInvite = { hold };
    const invite = () => session.invite({ requestDelegate: { onAccept: () => (this.state.calls.at(at).held = hold) } });
    // The other side's re-INVITE lasts until its ACK has come. SIP.js sends none of its own before (RFC 3261
    // §14.1).
    for (;;) {
      try {
        await invite();
        return;
      } catch (error) {
        if (!/ongoing re-INVITE server transaction/.test(error.message)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }

  async press(at, key) {
    const body = { contentDisposition: "render", contentType: "application/dtmf-relay", content: `Signal=${key}\r\nDuration=100` };
    await this.#session(at).info({ requestOptions: { body } });
  }

  playKey = (at, key) => this.#session(at).sessionDescriptionHandler.sendDtmf(key);
  sound = (at) => soundOf(this.#session(at).sessionDescriptionHandler.peerConnection);

  transfer = (at, target) => this.#refer(at, UserAgent.makeURI(target));
  /** Attended: to whoever is in another call of ours. SIP.js names them by their Contact. */
  transferTo = (at, other) => this.#refer(at, this.#session(other));

  async #refer(at, target) {
    const { transfer } = this.state.calls.at(at);
    await this.#session(at).refer(target, {
      requestDelegate: {
        onAccept: ({ message }) => transfer.push(message.statusCode),
        onReject: ({ message }) => transfer.push(message.statusCode),
      },
      onNotify: (notification) => {
        transfer.push(Number(/^SIP\/2\.0 (\d+)/.exec(notification.request.body)?.[1]));
        notification.accept();
      },
    });
  }

  /** The final status. */
  write(target, text) {
    return new Promise((resolve) => new Messager(this.#agent, UserAgent.makeURI(target), text).message({
      requestDelegate: { onAccept: ({ message }) => resolve(message.statusCode), onReject: ({ message }) => resolve(message.statusCode) },
    }));
  }

  /** As an app does that was told of a lost connection: SIP.js leaves it to the app. */
  async reconnect() {
    this.state.registered = false;
    await this.#agent.reconnect();
    await this.#registerer.register({ requestDelegate: { onAccept: () => (this.state.registered = true) } });
  }

  async stop() {
    await this.#registerer.unregister();
    await this.#agent.stop();
  }

  #session = (at) => this.#sessions.at(at);
}
