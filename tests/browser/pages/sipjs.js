// A second browser client, built on SIP.js: what another application than ours does with the same server.
import { Messager, Registerer, RegistererState, SessionState, Inviter, UserAgent, Web } from "sip.js";

const state = { connected: false, registered: false, call: "idle", messages: [] };
let agent;
let registerer;
let session;

function follow(fresh) {
  session = fresh;
  fresh.stateChange.addListener((now) => {
    state.call = { [SessionState.Establishing]: "establishing", [SessionState.Established]: "active", [SessionState.Terminated]: "idle" }[now] ?? state.call;
    if (now === SessionState.Established) document.getElementById("remote").srcObject = fresh.sessionDescriptionHandler.remoteMediaStream;
  });
}

globalThis.client = {
  state,
  async register(server, name, domain) {
    agent = new UserAgent({
      uri: UserAgent.makeURI(`sip:${name}@${domain}`),
      transportOptions: { server, keepAliveInterval: 2, keepAliveDebounce: 0 },
      sessionDescriptionHandlerFactory: Web.defaultSessionDescriptionHandlerFactory(),
      sessionDescriptionHandlerFactoryOptions: { iceGatheringTimeout: 500, peerConnectionConfiguration: { iceServers: [] } },
      logLevel: "error",
      delegate: {
        onConnect: () => (state.connected = true),
        onDisconnect: () => (state.connected = false),
        onInvite: (invitation) => {
          state.call = "incoming";
          follow(invitation);
        },
        onMessage: (message) => {
          state.messages.push(message.request.body);
          message.accept();
        },
      },
    });
    await agent.start();
    registerer = new Registerer(agent);
    registerer.stateChange.addListener((now) => (state.registered = now === RegistererState.Registered));
    await registerer.register();
  },
  /** As an app does that was told of a lost connection: SIP.js leaves it to the app. */
  async reconnect() {
    state.registered = false;
    await agent.reconnect();
    await registerer.register({ requestDelegate: { onAccept: () => (state.registered = true) } });
  },
  async call(target) {
    const inviter = new Inviter(agent, UserAgent.makeURI(target), { sessionDescriptionHandlerOptions: { constraints: { audio: true, video: false } } });
    follow(inviter);
    await inviter.invite();
  },
  answer: () => session.accept({ sessionDescriptionHandlerOptions: { constraints: { audio: true, video: false } } }),
  hangup: () => session.bye(),
  write: (target, text) => new Messager(agent, UserAgent.makeURI(target), text).message(),
  async packetsReceived() {
    const report = await session?.sessionDescriptionHandler?.peerConnection?.getStats();
    return [...(report?.values() ?? [])].find((entry) => entry.type === "inbound-rtp")?.packetsReceived ?? 0;
  },
};
