// Any number of phones in one page, each a user agent of its own on a WebSocket of its own. Both kinds have
// the same verbs and the same state, so that a test can play any case with any of them.
import { JsSipPhone } from "./jssip-phone.js";
import { SipJsPhone } from "./sipjs-phone.js";

const kinds = { JsSIP: JsSipPhone, "SIP.js": SipJsPhone };
const phones = new Map();

globalThis.phones = {
  /** Opens a phone, which registers. */
  open: (id, kind, options) => void phones.set(id, new kinds[kind](options)),
  state: (id) => structuredClone(phones.get(id).state),
  /** Does one thing; whatever comes of it is seen in the state, but for what it returns. */
  tell: async (id, verb, ...given) => structuredClone(await phones.get(id)[verb](...given)),
  async close(id) {
    await phones.get(id).stop();
    phones.delete(id);
  },
};
