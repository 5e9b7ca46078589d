// Bundles the pinned npm release of JsSIP into the one file the softphone page loads.
// `node bundle-jssip.mjs` writes it; tests/vendored.test.mjs proves that the checked-in file is this and
// nothing else.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = new URL("./", import.meta.url);
export const vendoredFile = fileURLToPath(new URL("../../crates/admin/assets/softphone/jssip.min.js", here));

const modulePath = (name) => new URL(`node_modules/${name}/`, here);
const versionOf = async (name) => JSON.parse(await readFile(new URL("package.json", modulePath(name)), "utf8")).version;

/** The bundle as text: an IIFE that defines the global `JsSIP`. */
export async function bundleJsSip() {
  const packages = ["jssip", "debug", "ms", "events", "sdp-transform"];
  const versions = await Promise.all(packages.map(async (name) => `${name} ${await versionOf(name)}`));
  const result = await build({
    entryPoints: [fileURLToPath(new URL("lib/JsSIP.js", modulePath("jssip")))],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    globalName: "JsSIP",
    platform: "browser",
    target: "es2020",
    legalComments: "none",
    charset: "utf8",
    logLevel: "error",
    banner: { js: `/* ${versions.join(", ")}; MIT licence, see jssip.LICENSE.txt */` },
  });
  return result.outputFiles[0].text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(vendoredFile, await bundleJsSip());
}
