// A cable that can be cut: TCP from a port of its own to a server.
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Relay {
  #server;
  #sockets = new Set();
  #whole = true;

  /** @param {string} address `host:port` of the server */
  static async to(address) {
    const relay = new Relay();
    const at = address.lastIndexOf(":");
    const [host, port] = [address.slice(0, at), Number(address.slice(at + 1))];
    relay.#server = createServer((near) => {
      if (!relay.#whole) return near.destroy();
      const far = connect(port, host);
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
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend() {
    this.#whole = true;
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
