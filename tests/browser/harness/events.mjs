// The server's event stream as a consumer sees it: `GET /api/events`, server-sent events of CloudEvents JSON.
import { until } from "./conditions.mjs";

/** The flow an event is about. */
export const flowOf = (event) => event.data?.flow ?? (event.type.startsWith("flow.") ? event.subject : undefined);

/** Collects every event from the moment it is opened. */
export class EventStream {
  /** @type {Array<{id: string, type: string, time: string, subject: string, data: any}>} */
  events = [];
  #abort = new AbortController();
  #done;

  static async open(url) {
    const stream = new EventStream();
    const response = await fetch(url, { headers: { accept: "text/event-stream" }, signal: stream.#abort.signal });
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    stream.#done = stream.#read(response.body).catch((error) => {
      if (!stream.#abort.signal.aborted) stream.failure = error;
    });
    return stream;
  }

  async #read(body) {
    let rest = "";
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
        if (data.length) this.events.push(JSON.parse(data.join("\n")));
      }
    }
  }

  /** The events about one flow, in the order in which they came. */
  of(flow) {
    return this.events.filter((event) => flowOf(event) === flow);
  }

  /** Waits for the close record of a flow. */
  closed(flow, within = 2000) {
    const look = () => this.of(flow).find((event) => event.type === "flow.closed");
    return until(`flow.closed of ${flow}`, look, { within, evidence: () => this.events.slice(-12) });
  }

  async close() {
    this.#abort.abort();
    await this.#done;
  }
}
