// What a program that prints its SIP messages has sent and received.

/** As baresip prints them: an address line, the message, marked by colours. */
const MESSAGE = /\x1b\[36;1m#\n\w+ (\S+) -> (\S+)\n(.*?)\x1b\[;m\n/gs; // eslint-disable-line no-control-regex

/**
 * @typedef {{from: string, to: string, startLine: string, header: (name: string) => string|undefined, body:
 * string}} Traced
 */

/**
 * Takes whole messages from the front of a text; returns them and what is left.
 * @returns {{messages: Traced[], rest: string}}
 */
export function takeMessages(text) {
  let end = 0;
  const messages = [...text.matchAll(MESSAGE)].map((found) => {
    end = found.index + found[0].length;
    const [, from, to, message] = found;
    const [head, ...body] = message.split("\r\n\r\n");
    const [startLine, ...lines] = head.split("\r\n");
    const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
    return { from, to, startLine, header: (name) => headers.get(name.toLowerCase()), body: body.join("\r\n\r\n") };
  });
  return { messages, rest: text.slice(end) };
}
