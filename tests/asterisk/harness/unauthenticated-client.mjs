// Somebody without a password, who writes what he likes: raw SIP over UDP, TCP and a WebSocket over TLS.
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import * as net from "node:net";
import * as tls from "node:tls";
import { setTimeout as pause } from "node:timers/promises";
import { DOMAIN } from "./house.mjs";

/** His address: that of no server. */
const FROM = "10.0.0.3";
/** How long an answer may take, where one need not come. */
const ANSWER_MS = 1000;

export class UnauthenticatedClient {
  #transport;
  #send;
  #heard = "";
  #socket;

  /**
   * @param {"udp"|"tcp"|"wss"} transport
   * @param {string} address `host:port` of the server
   */
  static async open(transport, address) {
    const unauthenticated = new UnauthenticatedClient();
    const [host, port] = [address.slice(0, address.lastIndexOf(":")), Number(address.slice(address.lastIndexOf(":") + 1))];
    unauthenticated.#transport = transport;
    if (transport === "udp") await unauthenticated.#overUdp(host, port);
    else await unauthenticated.#overTcp(host, port, transport === "wss");
    return unauthenticated;
  }

  async #overUdp(host, port) {
    const socket = (this.#socket = createSocket("udp4"));
    socket.bind(0, FROM);
    await once(socket, "listening");
    socket.on("message", (datagram) => (this.#heard += datagram));
    this.#send = (text) => socket.send(text, port, host);
  }

  async #overTcp(host, port, web) {
    const plain = net.connect({ host, port, localAddress: FROM });
    const socket = (this.#socket = web ? tls.connect({ socket: plain, rejectUnauthorized: false }) : plain);
    for (const one of [plain, socket]) one.on("error", () => {}); // the server may close it
    await once(socket, web ? "secureConnect" : "connect");
    socket.on("data", (bytes) => (this.#heard += bytes.toString("latin1")));
    this.#send = (text) => socket.write(web ? frame(text) : text);
    if (!web) return;
    const key = randomBytes(16).toString("base64");
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: ${key}\r\n\r\n`);
    while (!this.#heard.includes("\r\n\r\n")) await once(socket, "data");
  }

  /** @param {string} [from] the user in From, if it is another one */
  register = (user, fields, from) => this.ask("REGISTER", `sip:${DOMAIN}`, user, fields, from);

  /**
   * Sends a request in a user's name.
   * @param {string[]} fields header fields, without their line ends
   * @returns {Promise<number | undefined>} the final status, or nothing if there was none
   */
  async ask(method, uri, user, fields, from = user) {
    const unique = randomBytes(8).toString("hex");
    const { port = 9 } = this.#transport === "udp" ? this.#socket.address() : { port: this.#socket.localPort };
    const address = (name) => `<sip:${name}@${DOMAIN}>`;
    const lines = [`${method} ${uri} SIP/2.0`, `Via: SIP/2.0/${this.#transport.toUpperCase()} ${FROM}:${port};branch=z9hG4bK${unique}`, "Max-Forwards: 70",
      `From: ${address(from)};tag=${unique}`, `To: ${method === "REGISTER" ? address(user) : `<${uri}>`}`, `Call-ID: ${unique}`, `CSeq: 1 ${method}`, ...fields, "Content-Length: 0"];
    this.#heard = "";
    this.#send(`${lines.join("\r\n")}\r\n\r\n`);
    const deadline = performance.now() + ANSWER_MS;
    for (;;) {
      const status = /SIP\/2\.0 ([2-6]\d\d)/.exec(this.#heard)?.[1];
      if (status || this.#socket.destroyed || performance.now() > deadline) return status && Number(status);
      await pause(5);
    }
  }

  close() {
    if (this.#transport === "udp") this.#socket.close();
    else this.#socket.destroy();
  }
}

/** A text in one masked WebSocket frame (RFC 6455 §5.2). */
function frame(text) {
  const payload = Buffer.from(text);
  const mask = randomBytes(4);
  const head = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([head, mask, payload.map((byte, at) => byte ^ mask[at % 4])]);
}
