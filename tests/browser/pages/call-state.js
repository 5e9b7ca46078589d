// What a phone knows of itself, as plain data.

/**
 * `messages`: `{from, text}`, as they came. `refused`: the status of the last REGISTER that was refused
 * (JsSIP).
 */
export const phoneState = () => ({ connected: false, registered: false, refused: undefined, calls: [], messages: [] });

/**
 * One call, from its beginning to beyond its end.
 * @param {"in"|"out"} direction
 * @param {string} remote the other side's user
 */
export const callState = (direction, remote) => ({
  direction,
  remote,
  /** "calling", "ringing", "incoming", "active", "over" */
  now: direction === "in" ? "incoming" : "calling",
  /** Whether the other side holds us, and whether we hold it. */
  heldByOther: false,
  held: false,
  /** Keys that the other side pressed. */
  keys: "",
  /** UPDATEs and re-INVITEs of the other side that were accepted. */
  refreshed: 0,
  /**
   * What a transfer that we asked for has come to: the status of the REFER, then the status lines of its
   * NOTIFYs.
   */
  transfer: [],
  /** The final status, if it was refused. */
  status: undefined,
  /** "us" or "other", when it is over. */
  endedBy: undefined,
});

/** The one microphone of the page: a new stream for each call, since a call stops what it was given. */
let microphone;
export async function openSound() {
  microphone ??= navigator.mediaDevices.getUserMedia({ audio: true, video: false });
  return (await microphone).clone();
}

/** Audio packets that came in, and that telephone-event (RFC 4733) was agreed on. */
export async function soundOf(connection) {
  const report = [...((await connection?.getStats())?.values() ?? [])];
  const received = report.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio")?.packetsReceived ?? 0;
  const sides = [connection?.localDescription, connection?.remoteDescription];
  return { received, telephoneEvent: sides.every((side) => /^a=rtpmap:\d+ telephone-event\/8000/m.test(side?.sdp ?? "")) };
}
