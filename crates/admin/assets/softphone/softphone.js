// The phone of the page: connect, register, call, write. JsSIP speaks SIP; this file is its face.
import { CallFates } from "./call-fates.js";
import { EventList, FlowPanel } from "./server-view.js";
import { decoded, endWords, flowOf, minutes, nameOf, statusWords } from "./words.js";

const { JsSIP } = globalThis;
const $ = (id) => document.getElementById(id);
const NAMES = ["ada", "bell", "curie", "darwin", "edison", "fermat", "gauss", "hopper", "ibn", "joule", "kepler", "lovelace", "marconi", "noether", "ohm", "pascal", "ritchie", "shannon", "turing", "volta"];
const DISPLAY_MS = 1000;

/** A friendly name that a second tab will hardly draw too. */
const randomName = () => `${NAMES[Math.floor(Math.random() * NAMES.length)]}${Math.floor(Math.random() * 90) + 10}`;

const idleCall = () => ({
  state: "idle", direction: "", remote: "", callId: "", lost: "", secondsLeft: undefined, muted: false, held: false, heldByRemote: false,
  packetsReceived: 0, packetsSent: 0, packetsLost: 0, jitter: undefined, durationSeconds: 0,
});

const state = { connected: false, registered: false, name: "", aor: "", flow: "", call: idleCall(), lastCall: null };
const events = [];
const messages = [];

let server; // what GET /api/dev told
let ua;
let wanted = false; // the person wants to be connected
let session;
let sound; // what this tab sends: { stream, stop() }
let ticker;

// ---- the server's side
// -------------------------------------------------------------------------------------------------

const flowPanel = new FlowPanel($("flow"), $("flow-hint"));
const fates = new CallFates();
const eventList = new EventList($("events"), $("events-light"), fates, (event, concerned) => {
  events.push(event);
  if (events.length > 2000) events.splice(0, 1000);
  if (event.type === "binding.added") {
    rememberPerson(nameOf(event.data?.aor) || nameOf(event.subject));
    askWhetherTheyAreBack();
  }
  if (event.type === "flow.closed" && flowOf(event) === state.flow) leaveFlow();
  if (concerned.includes(state.call.callId)) drawFate();
  if (event.type === "call.ended" && concerned.includes(state.lastCall?.callId)) drawLastCall();
});

async function askServer() {
  const response = await fetch("/api/dev", { cache: "no-store" }).catch(() => undefined);
  const told = response?.ok ? await response.json().catch(() => ({})) : {};
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const address = told[scheme] ?? "";
  fates.holdMs = Number.isFinite(told.call_hold_ms) ? told.call_hold_ms : fates.holdMs;
  // The page comes from the listener itself, which may be known here by another address than it knows.
  const elsewhere = /^wss?:/.test(address) && new URL(address).port !== location.port;
  return { domain: told.domain || location.hostname, socket: elsewhere ? address : `${scheme}://${location.host}/` };
}

function rememberPerson(name) {
  if (!name || name === state.name) return;
  const known = [...$("people").children].some((option) => option.value === name);
  if (!known) $("people").append(Object.assign(document.createElement("option"), { value: name }));
}

function leaveFlow() {
  if (!state.flow) return;
  state.flow = "";
  flowPanel.follow(undefined);
}

// ---- registering
// -------------------------------------------------------------------------------------------------------

async function register(name = $("name").value) {
  if (ua) unregister();
  wanted = true;
  state.name = name.trim();
  $("name").value = state.name;
  sessionStorage.setItem("sipway.name", state.name);
  server ??= await askServer();
  state.aor = `sip:${state.name}@${server.domain}`;
  document.title = `${state.name} · Sipway softphone`;
  notice("");

  const agent = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(server.socket)],
    uri: state.aor,
    display_name: state.name,
    register: true,
    register_expires: 120,
    connection_recovery_min_interval: 1,
    connection_recovery_max_interval: 5,
    user_agent: `Sipway softphone, JsSIP ${JsSIP.version}`,
  });
  ua = agent;
  const mine = (handler) => (event) => ua === agent && handler(event);
  agent.on("connecting", mine(draw));
  agent.on("connected", mine(() => update({ connected: true })));
  agent.on("disconnected", mine(({ error, code, reason }) => {
    leaveFlow();
    update({ connected: false, registered: false });
    if (wanted) notice(`The connection to the server is gone${code ? ` (code ${code}${reason ? `, ${reason}` : ""})` : error ? "" : " (closed by the server)"}. Trying again …`);
  }));
  agent.on("registered", mine(({ response }) => {
    const flow = response.getHeader("Sipway-Flow") ?? "";
    notice("");
    update({ registered: true, flow });
    if (flow) {
      eventList.claim(flow);
      flowPanel.follow(flow);
    }
  }));
  agent.on("unregistered", mine(() => update({ registered: false })));
  agent.on("registrationFailed", mine(({ response, cause }) => {
    update({ registered: false });
    if (state.connected) notice(`Registering failed: ${answered(response, cause)}.`);
  }));
  agent.on("newRTCSession", mine(({ session: fresh, originator, request }) => {
    if (originator === "remote") incoming(fresh, request);
    else state.call.callId = request.call_id;
  }));
  agent.on("newMessage", mine(({ message, originator, request }) => {
    if (originator === "remote") received(message, request);
  }));
  agent.start();
  draw();
}

function unregister() {
  wanted = false;
  const old = ua;
  ua = undefined;
  old?.stop();
  leaveFlow();
  notice("");
  update({ connected: false, registered: false });
}

/** An answer of SIP, or what JsSIP calls the lack of one. */
const answered = (response, cause) => (response ? [response.status_code, response.reason_phrase].filter(Boolean).join(" ") : cause || "no answer");

const target = (name) => (/[@:]/.test(name) ? name : `sip:${encodeURIComponent(name.trim())}@${server.domain}`);

// ---- calls
// -------------------------------------------------------------------------------------------------------------

/** The microphone, or a soft test tone where that is wished or there is no microphone. */
async function openSound() {
  if (document.querySelector('input[name="sound"]:checked').value === "microphone") {
    if (navigator.mediaDevices?.getUserMedia) {
      try {
        const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
        return { stream, stop: () => stream.getTracks().forEach((track) => track.stop()) };
      } catch (error) {
        notice(`No microphone (${error.name === "NotAllowedError" ? "not allowed" : error.message}): sending a test tone.`);
      }
    } else {
      notice("Browsers give the microphone to secure pages only. Open this one as http://localhost or over https; until then a test tone is sent.");
    }
  }
  const audio = new AudioContext();
  const [tone, pulse, level, out] = [audio.createOscillator(), audio.createOscillator(), audio.createGain(), audio.createMediaStreamDestination()];
  tone.frequency.value = 392;
  pulse.frequency.value = 0.8;
  level.gain.value = 0.04;
  pulse.connect(level.gain);
  tone.connect(level).connect(out);
  tone.start();
  pulse.start();
  return { stream: out.stream, stop: () => audio.close() };
}

function closeSound() {
  sound?.stop();
  sound = undefined;
}

const media = (stream) => ({ mediaStream: stream, mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } });

async function call(name) {
  if (!ua || session || state.call.state !== "idle") return;
  updateCall({ ...idleCall(), state: "calling", direction: "outgoing", remote: name.trim() });
  const opened = await openSound();
  if (!ua || state.call.state !== "calling") return opened.stop(); // hung up meanwhile
  sound = opened;
  follow(ua.call(target(name), media(sound.stream)));
}

function incoming(fresh, request) {
  if (session || state.call.state !== "idle") {
    fresh.terminate({ status_code: 486 });
    return;
  }
  const uri = fresh.remote_identity.uri;
  updateCall({ ...idleCall(), state: "incoming", direction: "incoming", remote: decoded(uri.user ?? "") || uri.toString(), callId: request.call_id });
  rememberPerson(state.call.remote);
  follow(fresh);
  $("answer").focus();
}

/** Keeps the page true to a session until its end. */
function follow(fresh) {
  session = fresh;
  const here = (handler) => (event) => session === fresh && handler(event);
  const listen = (connection) => connection.addEventListener("track", ({ streams: [stream], track }) => {
    $("remote-audio").srcObject = stream ?? new MediaStream([track]);
    $("remote-audio").play().catch(() => notice("The browser holds back the sound until you click on the page."));
  });
  if (fresh.connection) listen(fresh.connection);
  fresh.on("peerconnection", ({ peerconnection }) => listen(peerconnection));
  fresh.on("progress", here(({ originator }) => originator === "remote" && updateCall({ state: "ringing" })));
  fresh.on("accepted", here(() => state.call.state !== "incoming" && updateCall({ state: "active" })));
  fresh.on("confirmed", here(() => updateCall({ state: "active" })));
  fresh.on("hold", here(({ originator }) => updateCall(originator === "local" ? { held: true } : { heldByRemote: true })));
  fresh.on("unhold", here(({ originator }) => updateCall(originator === "local" ? { held: false } : { heldByRemote: false })));
  fresh.on("muted", here(() => updateCall({ muted: true })));
  fresh.on("unmuted", here(() => updateCall({ muted: false })));
  fresh.on("newDTMF", here(({ originator, dtmf }) => ($("tones").value += originator === "remote" ? ` ‹${dtmf.tone}›` : dtmf.tone)));
  fresh.on("ended", here((end) => over(end)));
  fresh.on("failed", here((end) => over(end)));
  ticker = setInterval(() => measure(fresh), DISPLAY_MS);
}

async function answer() {
  const fresh = session;
  if (state.call.state !== "incoming" || !fresh) return;
  updateCall({ state: "answering" });
  const opened = await openSound();
  if (session !== fresh) return opened.stop();
  sound = opened;
  fresh.answer(media(sound.stream));
}

function reject() {
  if (state.call.state === "incoming") session?.terminate({ status_code: 603 });
}

function hangup() {
  if (session) session.terminate();
  else if (state.call.state === "calling") over({ originator: "local", cause: "Canceled" });
}

function hold() {
  if (session?.isEstablished()) state.call.held ? session.unhold() : session.hold();
}

function mute() {
  if (session?.isEstablished()) state.call.muted ? session.unmute({ audio: true }) : session.mute({ audio: true });
}

function dtmf(tones) {
  if (session?.isEstablished()) session.sendDTMF(tones);
}

function over({ originator, cause, message }) {
  clearInterval(ticker);
  session = undefined;
  closeSound();
  $("remote-audio").srcObject = null;
  const { remote, direction, callId, durationSeconds } = state.call;
  const by = originator === "local" ? "you" : originator === "remote" ? "the other side" : "the connection";
  state.lastCall = { remote, by, cause, code: message?.status_code, durationSeconds, callId, direction };
  updateCall(idleCall());
  drawLastCall();
}

/** Why the last call ended: as the server has it, or until it says so, as this phone has it. */
function drawLastCall() {
  const { remote, by, cause, code, callId, direction, durationSeconds } = state.lastCall;
  const { ended, lost } = fates.of(callId) ?? {};
  const [caller, callee] = direction === "incoming" ? [remote, "you"] : ["you", remote];
  let why = ended && endWords(ended, { caller, callee, lost: lost?.why });
  if (!why && cause === JsSIP.C.causes.BYE) why = `${by} hung up`;
  why ||= [String(cause || "over").toLowerCase(), code ? `(${statusWords(code)})` : `by ${by}`].join(" ");
  setText("last-call", `Last call, with ${remote}${durationSeconds ? ` (${minutes(durationSeconds)})` : ""}: ${why}.`);
}

/**
 * What the server's events say of the call that goes on: a side that was lost is waited for, or all is over
 * there.
 */
function drawFate() {
  const { lost, ended } = fates.of(state.call.callId) ?? {};
  const mine = state.call.direction === "incoming" ? "callee" : "caller";
  let words = "";
  let secondsLeft;
  if (ended && session?.isEstablished()) words = `The server has ended this call: ${endWords(ended, { caller: "the caller", callee: "the called side" })}. What you hear goes on until you hang up.`;
  else if (lost && lost.side !== mine) [words, secondsLeft] = [`Connection lost (${lost.why}), waiting`, fates.secondsLeft(lost)];
  if (state.call.lost !== words || state.call.secondsLeft !== secondsLeft) updateCall({ lost: words, secondsLeft });
}

/** Somebody has registered: is it the side that was lost? The server knows whose call it is. */
async function askWhetherTheyAreBack() {
  const { callId } = state.call;
  if (!fates.of(callId)?.lost) return;
  const response = await fetch("/api/calls", { cache: "no-store" }).catch(() => undefined);
  const calls = response?.ok ? await response.json().catch(() => []) : [];
  if (calls.some((call) => call.call_id === callId && !call.waiting)) {
    fates.found(callId);
    drawFate();
  }
}

async function measure(fresh) {
  drawFate();
  if (session !== fresh || !fresh.connection || fresh.connection.connectionState === "closed") return;
  const report = await fresh.connection.getStats().catch(() => undefined);
  if (!report || session !== fresh) return;
  const measured = { durationSeconds: fresh.start_time ? Math.max(0, Math.round((Date.now() - fresh.start_time) / 1000)) : 0 };
  for (const entry of report.values()) {
    if (entry.kind !== "audio") continue;
    if (entry.type === "inbound-rtp") Object.assign(measured, { packetsReceived: entry.packetsReceived, packetsLost: Math.max(0, entry.packetsLost ?? 0), jitter: entry.jitter });
    if (entry.type === "outbound-rtp") measured.packetsSent = entry.packetsSent;
  }
  updateCall(measured);
}

// ---- messages
// ----------------------------------------------------------------------------------------------------------

function message(name, text) {
  if (!ua) return undefined;
  const entry = { direction: "out", peer: name.trim(), text, state: "sending", detail: "" };
  record(entry);
  const settle = (outcome, detail = "") => {
    Object.assign(entry, { state: outcome, detail });
    drawMessage(entry);
  };
  ua.sendMessage(target(name), text, {
    contentType: "text/plain;charset=utf-8",
    eventHandlers: {
      succeeded: ({ response }) => settle("delivered", response.status_code === 202 ? "accepted, to be delivered" : ""),
      failed: ({ response, cause }) => settle("failed", answered(response, cause)),
    },
  });
  return entry;
}

function received(incomingMessage, request) {
  const uri = incomingMessage.remote_identity.uri;
  record({ direction: "in", peer: decoded(uri.user ?? "") || uri.toString(), text: request.body ?? "", state: "received", detail: "" });
}

function record(entry) {
  messages.push(entry);
  rememberPerson(entry.direction === "in" ? entry.peer : "");
  entry.line = document.createElement("li");
  entry.line.append(document.createElement("span"), document.createElement("small"));
  $("messages").append(entry.line);
  while ($("messages").children.length > 100) $("messages").firstElementChild.remove();
  drawMessage(entry);
  $("messages").scrollTop = $("messages").scrollHeight;
}

function drawMessage({ line, direction, peer, text, state: outcome, detail }) {
  line.className = direction;
  line.dataset.state = outcome;
  line.firstElementChild.textContent = text;
  line.lastElementChild.textContent = direction === "in" ? `from ${peer}` : `to ${peer} · ${outcome}${detail ? `: ${detail}` : ""}`;
}

// ---- drawing
// -----------------------------------------------------------------------------------------------------------

function update(change) {
  Object.assign(state, change);
  draw();
}

function updateCall(change) {
  Object.assign(state.call, change);
  draw();
}

function notice(words) {
  $("notice").textContent = words;
  $("notice").hidden = !words;
}

function light(id, on, words) {
  $(id).dataset.on = on;
  $(id).querySelector("span").textContent = words;
}

const CALL_WORDS = { calling: "Calling …", ringing: "Ringing …", incoming: "is calling you", answering: "Connecting …", active: "Connected" };

function callWords({ state: now, lost, held, heldByRemote, muted }) {
  if (lost) return lost;
  if (now !== "active") return CALL_WORDS[now] ?? "";
  if (!state.connected) return "Your connection to the server is lost; trying again";
  if (held && heldByRemote) return "On hold, by both sides";
  if (held) return "On hold";
  if (heldByRemote) return "The other side holds the call";
  return muted ? "Connected, you are muted" : CALL_WORDS.active;
}

function draw() {
  const { connected, registered, call: now } = state;
  const trying = Boolean(ua);
  light("light-connected", connected ? "yes" : trying ? "wait" : "no", connected ? "Connected" : trying ? "Connecting" : "Not connected");
  light("light-registered", registered ? "yes" : trying ? "wait" : "no", registered ? "Registered" : trying ? "Registering" : "Not registered");
  const active = now.state === "active";
  const callLight = now.lost ? `Call with ${now.remote} is interrupted` : active ? `In call with ${now.remote}, ${minutes(now.durationSeconds)}` : now.state === "idle" ? "No call" : `${now.direction === "incoming" ? "From" : "Calling"} ${now.remote}`;
  light("light-call", active && !now.lost ? "yes" : now.state === "idle" ? "no" : "wait", callLight);

  $("name").disabled = trying;
  $("register").textContent = trying ? "Disconnect" : "Connect";
  $("register").classList.toggle("on", trying);
  $("aor").textContent = trying ? `You are ${state.aor}` : "Any name will do. No password, no account.";
  $("call").disabled = !registered || now.state !== "idle";
  $("send").disabled = !connected;

  const idle = now.state === "idle";
  $("call-card").dataset.state = now.state;
  $("call-card").dataset.lost = now.lost ? "yes" : "no";
  $("call-form").hidden = !idle;
  $("call-panel").hidden = idle;
  $("last-call").hidden = !idle;
  setText("remote", now.remote);
  setText("avatar", now.remote.charAt(0) || "?");
  setText("call-words", callWords(now));
  // Apart from the words, which are read out: not every second of it.
  setText("countdown", now.secondsLeft === undefined ? "" : `${now.secondsLeft} s`);
  setText("duration", active ? minutes(now.durationSeconds) : "");
  $("meters").hidden = !active;
  setText("packets-sent", now.packetsSent.toLocaleString("en"));
  setText("packets-received", now.packetsReceived.toLocaleString("en"));
  setText("packets-lost", now.packetsLost.toLocaleString("en"));
  setText("jitter", now.jitter === undefined ? "–" : `${(now.jitter * 1000).toFixed(0)} ms`);
  for (const id of ["answer", "reject"]) $(id).hidden = now.state !== "incoming";
  for (const id of ["mute", "hold", "keypad"]) $(id).hidden = !active;
  $("hangup").hidden = idle || now.state === "incoming";
  pressed("mute", now.muted, "Unmute", "Mute");
  pressed("hold", now.held, "Resume", "Hold");
  if (!active) {
    showPad(false);
    if (idle) $("tones").value = "";
  }
}

/** Only real changes touch the page: a status region repeats what is written to it. */
function setText(id, words) {
  if ($(id).textContent !== words) $(id).textContent = words;
}

function pressed(id, on, onWords, offWords) {
  $(id).setAttribute("aria-pressed", String(on));
  setText(id, on ? onWords : offWords);
}

function showPad(open) {
  $("pad").hidden = !open;
  $("keypad").setAttribute("aria-expanded", String(open));
}

// ---- the person
// --------------------------------------------------------------------------------------------------------

const onSubmit = (id, act) => $(id).addEventListener("submit", (event) => {
  event.preventDefault();
  act();
});
const onClick = (id, act) => $(id).addEventListener("click", act);

onSubmit("register-form", () => (ua ? unregister() : register()));
onSubmit("call-form", () => call($("callee").value));
onSubmit("message-form", () => {
  message($("message-to").value, $("message-text").value);
  $("message-text").value = "";
});
onClick("answer", answer);
onClick("reject", reject);
onClick("hangup", hangup);
onClick("hold", hold);
onClick("mute", mute);
onClick("keypad", () => showPad($("pad").hidden));
$("pad").addEventListener("click", ({ target: key }) => key.dataset.tone && dtmf(key.dataset.tone));
$("pad").addEventListener("keydown", ({ key }) => /^[0-9*#]$/.test(key) && dtmf(key));
$("only-mine").addEventListener("change", ({ target: box }) => $("events").classList.toggle("only-mine", box.checked));

const asked = new URLSearchParams(location.search);
const friend = randomName();
$("second-tab").href = `?name=${friend}&auto=1`;
$("name").value = asked.get("name") ?? sessionStorage.getItem("sipway.name") ?? randomName();
rememberPerson(friend);

globalThis.softphone = { state, events, messages, register, unregister, call, answer, reject, hangup, hold, mute, dtmf, message };

eventList.open();
draw();
if (asked.get("auto") === "1") register();
