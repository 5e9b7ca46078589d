// Holds the documents and comments against the repository: paths, identifiers and links must lead somewhere,
// lines have a length that can be read, and two documents have a size. CONTRIBUTING.md says the rules.
//
//   node tests/documents/check.mjs [DIRECTORY]     ends with 1 if something is wrong, each at its file and
//   line

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, normalize, resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** Columns of a line of prose or of a comment. */
const COLUMNS = 110;

/** Words that a document may have. */
const MOST_WORDS = { "README.md": 900, "ARCHITECTURE.md": 2500 };

/** Where file names in documents may begin, besides the root and the document's own folder. */
const ROOMS = ["crates", "crates/sipway/tests", "crates/sipway/tests/commands", "crates/sinks/src", "crates/sipway/src", "tests", "docs"];

/** Languages whose comments are looked at, by what their comments begin with. */
const COMMENTS = { ".rs": /^\s*\/\/[\/!]?/, ".mjs": /^\s*(\/\/|\*|\/\*\*)/, ".js": /^\s*(\/\/|\*|\/\*\*)/, ".toml": /^\s*#/, ".sh": /^\s*#/ };

/** Files that are not written here, or the same file under another name. */
const FOREIGN = /^fuzz\/seeds\/|jssip[^/]*\.js$/;

/** A finding: where, and what is wrong there. */
class Finding {
  constructor(file, line, text) {
    Object.assign(this, { file, line, text });
  }

  toString() {
    return `${this.file}:${this.line}: ${this.text}`;
  }
}

/** The files of a repository, or of a folder that is none. */
function filesOf(root) {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: root, encoding: "utf8" });
  return listed.split("\n").filter((name) => name && existsSync(join(root, name)) && statSync(join(root, name)).isFile());
}

/** Lines of a document with what they are: code between fences is not prose. */
function linesOf(text) {
  let fence = false;
  return text.split("\n").map((line, index) => {
    const mark = /^\s*(```|~~~)/.test(line);
    const code = fence || mark;
    if (mark) fence = !fence;
    return { line, number: index + 1, code };
  });
}

/** The anchor of a heading, as web hosts of repositories make it. */
export function anchorOf(heading) {
  return heading
    .toLowerCase()
    .replace(/`/g, "")
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");
}

/** What the checks ask of the repository. */
class Repository {
  constructor(root) {
    this.root = root;
    this.files = filesOf(root);
    this.names = new Set(this.files.map((name) => basename(name)));
    this.folders = new Set(this.files.flatMap((name) => name.split("/").slice(0, -1).map((_, at, all) => all.slice(0, at + 1).join("/"))));
    this.documents = this.files.filter((name) => name.endsWith(".md"));
    const sources = this.files.filter((name) => /\.(rs|toml|mjs|js|sql|service|xml|html|conf|cfg|css)$/.test(name) || !basename(name).includes("."));
    this.words = new Set(sources.flatMap((name) => this.read(name).match(/[A-Za-z_][A-Za-z0-9_]*/g) ?? []));
  }

  read(name) {
    return readFileSync(join(this.root, name), "utf8");
  }

  has(path, from) {
    const wanted = path.replace(/\/$/, "");
    const begins = ["", dirname(from), ...ROOMS];
    return begins.some((room) => existsSync(join(this.root, room, wanted)) || existsSync(join(this.root, room, `${wanted}.rs`)));
  }
}

/**
 * Whether text in backticks is a path of this repository: it has a slash or a file's ending, and no blank or
 * placeholder.
 */
function isPath(text) {
  if (/[\s<>{}*$=:;,"'()|@]/.test(text) || text.startsWith("/") || text.startsWith("-") || /[A-Z]{4,}/.test(dirname(text))) return false;
  if (/^[a-z-]+\.(rs|mjs|md|sql|conf|service)$/.test(text)) return true;
  return /^(crates|docs|tests|fuzz|packaging|[a-z-]+\/(src|tests|examples|benches))\//.test(text);
}

/** The names in backticked text that must stand in the source; none where it is no name. */
function namesOf(text) {
  const plain = text.replace(/\(\)$/, "");
  if (/^[A-Z][A-Za-z0-9]*(::[A-Za-z_][A-Za-z0-9_]*)+$/.test(plain) || /^[a-z_]+(::[A-Za-z_]+)+$/.test(plain)) return plain.split("::");
  if (/^[a-z][a-z0-9]*(_[a-z0-9]+)+$/.test(plain)) return [plain];
  if (/^[A-Z][a-z0-9]+([A-Z][a-z0-9]+)+$/.test(plain)) return [plain];
  if (/\(\)$/.test(text) && /^[a-z_]+$/.test(plain)) return [plain];
  return [];
}

/** Paths, identifiers and links of one document. */
function references(repository, name) {
  const findings = [];
  const text = repository.read(name);
  const allowed = exceptions(repository);
  for (const { line, number, code } of linesOf(text)) {
    if (code) continue;
    for (const [, inside] of line.matchAll(/`([^`]+)`/g)) {
      if (allowed.has(inside)) continue;
      if (isPath(inside)) {
        const found = inside.includes("/") ? repository.has(inside, name) : repository.names.has(inside);
        if (!found) findings.push(new Finding(name, number, `there is no file \`${inside}\``));
        continue;
      }
      for (const word of namesOf(inside)) {
        // The last part of a name of metrics is made by its library.
        const known = [word, word.replace(/^sipway_/, ""), word.replace(/^sipway_/, "").replace(/_total$/, "")];
        if (!known.some((one) => repository.words.has(one))) findings.push(new Finding(name, number, `nothing is called \`${word}\``));
      }
    }
    for (const [, to] of line.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(to)) continue;
      const [path, fragment] = to.split("#");
      const target = path ? normalize(join(dirname(name), path)) : name;
      if (!existsSync(join(repository.root, target))) {
        findings.push(new Finding(name, number, `the link to ${to} leads nowhere`));
      } else if (fragment && target.endsWith(".md")) {
        const headings = linesOf(repository.read(target)).filter((one) => !one.code && /^#+ /.test(one.line));
        if (!headings.some((one) => anchorOf(one.line.replace(/^#+ /, "")) === fragment)) {
          findings.push(new Finding(name, number, `${target} has no heading #${fragment}`));
        }
      }
    }
  }
  return findings;
}

/** Names that stand elsewhere: other programs' settings and headers. Each has its reason in the file. */
function exceptions(repository) {
  const file = "tests/documents/exceptions.txt";
  if (!repository.files.includes(file)) return new Set();
  return new Set(repository.read(file).split("\n").filter((line) => line && !line.startsWith("#")).map((line) => line.split(/\s+#/)[0]));
}

/**
 * Lines of prose and comments that are too long. What cannot be broken (tables, links, code, one long word)
 * may be.
 */
function longLines(repository, name) {
  const ending = name.match(/\.[a-z]+$/)?.[0];
  const findings = [];
  // It can be broken at a blank outside of `code` and links, behind the mark that it begins with.
  const breaks = (line) => /\S\s+\S/.test(line.replace(/`[^`]*`|\[[^\]]*\]\([^)]*\)/g, (code) => code.replace(/\s/g, "_")).replace(/^\s*(\/\/[\/!]?|#|\*|[-*] |\d+\. )?\s*/, ""));
  const tooLong = (line) => [...line].length > COLUMNS && breaks(line);
  const say = (number, line) => findings.push(new Finding(name, number, `${[...line].length} columns; prose and comments have ${COLUMNS}`));
  if (ending === ".md") {
    for (const { line, number, code } of linesOf(repository.read(name))) {
      if (!code && !/^\s*[|>]/.test(line) && !/^\s*\[[^\]]+\]:/.test(line) && tooLong(line)) say(number, line);
    }
  } else if (COMMENTS[ending]) {
    let example = false;
    repository.read(name).split("\n").forEach((line, index) => {
      if (/^\s*\/\/[\/!] ?\s*```/.test(line)) example = !example;
      if (example) return;
      if (COMMENTS[ending].test(line) && !/https?:\/\//.test(line) && !/^\s*\/\/[\/!]? *\|/.test(line) && tooLong(line)) say(index + 1, line);
    });
  }
  return findings;
}

/** Sentences of a document's prose, as lists of words. Tables, code and headings are none. */
export function sentencesOf(text) {
  const prose = linesOf(text)
    .filter(({ line, code }) => !code && !/^\s*[|#]/.test(line))
    .map(({ line }) => (/^\s*([-*]|\d+\.) /.test(line) ? `\n\n${line.replace(/^\s*([-*]|\d+\.) /, "")}` : line))
    .join("\n");
  return prose
    .replace(/`[^`]*`/g, "name")
    .replace(/\]\([^)]*\)/g, "]")
    .split(/\n\s*\n/)
    .flatMap((paragraph) => paragraph.split(/(?<=[.!?:;])\s+(?=[\p{Lu}"'([*`\d])|(?<=[.!?])\s+(?=name\b)/u))
    .map((sentence) => sentence.match(/[\p{L}\p{N}][\p{L}\p{N}'’.-]*/gu) ?? [])
    .filter((words) => words.length > 1);
}

/** Words of a document, code between fences left out. */
function countWords(text) {
  return linesOf(text).filter(({ code }) => !code).map(({ line }) => line.split(/\s+/).filter((word) => /\w/.test(word)).length).reduce((sum, one) => sum + one, 0);
}

/** All findings in a repository, and the figures of its documents. */
export function check(root) {
  const repository = new Repository(root);
  const findings = repository.documents.flatMap((name) => references(repository, name));
  findings.push(...repository.files.filter((name) => !FOREIGN.test(name)).flatMap((name) => longLines(repository, name)));
  const figures = [];
  for (const name of repository.documents) {
    const text = repository.read(name);
    const words = countWords(text);
    if (words > (MOST_WORDS[name] ?? Infinity)) findings.push(new Finding(name, 1, `${words} words; there may be ${MOST_WORDS[name]}`));
    const lengths = sentencesOf(text).map((sentence) => sentence.length);
    const mean = lengths.reduce((sum, one) => sum + one, 0) / Math.max(lengths.length, 1);
    const long = (100 * lengths.filter((length) => length > 30).length) / Math.max(lengths.length, 1);
    figures.push({ name, words, mean, long });
  }
  return { findings, figures };
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const { findings, figures } = check(resolve(process.argv[2] ?? "."));
  console.log("words  a sentence  over 30");
  for (const { name, words, mean, long } of figures) {
    console.log(`${String(words).padStart(5)}  ${mean.toFixed(1).padStart(10)}  ${`${long.toFixed(0)} %`.padStart(7)}  ${name}`);
  }
  findings.forEach((finding) => console.error(String(finding)));
  if (findings.length > 0) process.exitCode = 1;
}
