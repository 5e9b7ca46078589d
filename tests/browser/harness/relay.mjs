// A cable that can be cut: TCP from a port of its own to a server, there by TLS if it is to be.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import * as tls from "node:tls";

export class Relay {
  #server;
  #sockets = new Set();
  #whole = true;

  /**
   * @param {string} address `host:port` of the server
   * @param {{secured?: boolean}} [options] `secured`: for a program that knows no TLS
   */
  static async to(address, { secured = false } = {}) {
    const relay = new Relay();
    const at = address.lastIndexOf(":");
    const [host, port] = [address.slice(0, at), Number(address.slice(at + 1))];
    relay.#server = createServer((near) => {
      if (!relay.#whole) return near.destroy();
      const far = secured ? tls.connect({ port, host, rejectUnauthorized: false }) : connect(port, host);
      for (const [one, other] of [[near, far], [far, near]]) {
        relay.#sockets.add(one);
        one.on("error", () => {});
        one.on("close", () => {
          relay.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
    relay.#server.listen(0, "127.0.0.1");
    await once(relay.#server, "listening");
    relay.address = `127.0.0.1:${relay.#server.address().port}`;
    return relay;
  }

  /** Whatever stands breaks, and nothing gets through. */
  cut() {
    this.#whole = false;
    for (const socket of this.#sockets) socket.resetAndDestroy?.();
  }

  mend() {
    this.#whole = true;
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
