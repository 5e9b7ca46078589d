// A headless Chromium with fake microphones whose media goes over loopback.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--allow-loopback-in-peer-connection",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
  "--autoplay-policy=no-user-gesture-required",
];

function executable() {
  const found = [process.env.CHROMIUM_BIN, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path && existsSync(path));
  if (!found) throw new Error("no Chromium: apt-get install chromium, or set CHROMIUM_BIN");
  return found;
}

export const launchBrowser = () => chromium.launch({ executablePath: executable(), args: ARGS });

/** A browser whose process can be killed or stopped: its own server process, reached over a local socket. */
export async function launchBrowserProcess() {
  const server = await chromium.launchServer({ executablePath: executable(), args: ARGS, host: "127.0.0.1" });
  const browser = await chromium.connect(server.wsEndpoint());
  return { browser, process: server.process(), kill: () => server.kill() };
}
