// The check of the documents finds what it is for. Each case is a small repository with one fault.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";

import { anchorOf, check, sentencesOf } from "./check.mjs";

/** What the check says of a repository of these files, one line a finding. */
function said(files) {
  const root = mkdtempSync(join(tmpdir(), "documents-"));
  try {
    execFileSync("git", ["init", "--quiet"], { cwd: root });
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
    return check(root).findings.map(String);
  } finally {
    rmSync(root, { recursive: true });
  }
}

const SOURCE = { "crates/a/src/flow.rs": "pub struct OpenFlow;\nfn max_flows() {}\n" };

test("what is right is let be", () => {
  const text = [
    "# The flow of a call",
    "",
    "See `crates/a/src/flow.rs`, `a/src/flow.rs`, `flow.rs`, `OpenFlow` and `max_flows`.",
    "Not names of ours: `sip:alice@example.com`, `a.b`, `GET /x`, `SIGHUP`, `/etc/x.conf`.",
    "There is a link to [a heading](#the-flow-of-a-call).",
    "",
    `| ${"a table may be wide ".repeat(10)} |`,
    "```",
    "code may be wide ".repeat(10),
    "```",
    `[a link](https://example.com/${"x".repeat(120)})`,
  ].join("\n");
  assert.deepEqual(said({ ...SOURCE, "README.md": text }), []);
});

for (const [what, files, line] of [
  ["a path that is not there", { "docs/a.md": "one\n\nsee `crates/a/src/gone.rs`\n" }, "docs/a.md:3: there is no file `crates/a/src/gone.rs`"],
  ["a file name that is nowhere", { "docs/a.md": "see `gone.rs`\n" }, "docs/a.md:1: there is no file `gone.rs`"],
  ["a type that is not there", { "docs/a.md": "a `ClosedFlow` is\n" }, "docs/a.md:1: nothing is called `ClosedFlow`"],
  ["a method that is not there", { "docs/a.md": "`OpenFlow::shut` is\n" }, "docs/a.md:1: nothing is called `shut`"],
  ["a key that is not there", { "docs/a.md": "set `most_flows`\n" }, "docs/a.md:1: nothing is called `most_flows`"],
  ["a link to no file", { "docs/a.md": "[x](b.md)\n" }, "docs/a.md:1: the link to b.md leads nowhere"],
  ["a link to no heading", { "docs/a.md": "[x](#gone)\n# Here\n" }, "docs/a.md:1: docs/a.md has no heading #gone"],
  ["long prose", { "docs/a.md": `${"word ".repeat(30)}\n` }, "docs/a.md:1: 150 columns; prose and comments have 110"],
  ["a long comment", { "a.rs": `/// ${"word ".repeat(30)}\n` }, "a.rs:1: 154 columns; prose and comments have 110"],
  ["a long readme", { "README.md": "word\n".repeat(901) }, "README.md:1: 901 words; there may be 900"],
]) {
  test(`${what} is found at its line`, () => assert.deepEqual(said({ ...SOURCE, ...files }), [line]));
}

test("an exception needs its line in the file", () => {
  const document = { "docs/a.md": "set `their_key`\n" };
  assert.equal(said(document).length, 1);
  assert.deepEqual(said({ ...document, "tests/documents/exceptions.txt": "# theirs\ntheir_key   # of another program\n" }), []);
});

test("sentences are counted without code and tables", () => {
  const text = "# Title words\n\nOne two three. Four `a b c` five.\n\n- six seven\n- eight nine ten\n\n| a | b |\n```\nx y z\n```\n";
  assert.deepEqual(sentencesOf(text).map((words) => words.length), [3, 3, 2, 3]);
});

test("anchors are those of the web hosts", () => {
  assert.equal(anchorOf("What `it` is: a test, twice"), "what-it-is-a-test-twice");
});
