// SDP between a browser and a phone that knows RTP alone. In a real house a media relay stands between them;
// here the page stands in for its signalling, and no media flow.

/** What such a phone has no use for. */
const FOREIGN = /^a=(ice-|candidate|end-of-candidates|fingerprint|setup|rtcp|extmap|msid|ssrc|group|mid)/;

/** A browser's description as such a phone wants it. */
export const toPlain = (sdp) => sdp.split("\r\n").filter((line) => !FOREIGN.test(line)).join("\r\n").replaceAll(/^(m=audio \d+) \S+/gm, "$1 RTP/AVP");

/**
 * Such a phone's description with all that a browser asks for.
 * @param {string} sdp
 * @param {"offer"|"answer"} type
 */
export function fromPlain(sdp, type) {
  const lines = [
    "a=ice-ufrag:plain",
    "a=ice-pwd:0123456789abcdefghijklmn",
    `a=fingerprint:sha-256 ${Array(32).fill("00").join(":")}`,
    `a=setup:${type === "offer" ? "actpass" : "passive"}`,
    "a=rtcp-mux",
  ];
  const secure = sdp.replaceAll(/^(m=audio \d+) \S+/gm, "$1 UDP/TLS/RTP/SAVPF").replace(/(\r\n)*$/, "\r\n");
  return `${secure}${lines.join("\r\n")}\r\n`;
}
