// Serves the test's own pages on loopback: scripts are bundled when the server starts.
import { createServer } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = new URL("../pages/", import.meta.url);

export async function servePages() {
  const bundle = await build({ entryPoints: [fileURLToPath(new URL("phones.js", folder))], bundle: true, write: false, format: "iife", platform: "browser", target: "es2022", logLevel: "error" });
  const files = new Map([
    ["/phones.html", ["text/html; charset=utf-8", await readFile(new URL("phones.html", folder))]],
    ["/phones.bundle.js", ["text/javascript; charset=utf-8", bundle.outputFiles[0].contents]],
  ]);
  const http = createServer((request, response) => {
    const found = files.get(new URL(request.url, "http://localhost").pathname);
    if (!found) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": found[0] }).end(found[1]);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return {
    url: `http://127.0.0.1:${http.address().port}/`,
    close() {
      http.closeAllConnections();
      return new Promise((resolve) => http.close(resolve));
    },
  };
}
