// What worked between whom: collected while tests run, told as a table.
export class Findings {
  #rows = new Map(); // pair of clients → case → {passed, failed, cannot}
  #title;
  #cases;

  /** @param {string} title what a row is, @param {string[]} cases the columns */
  constructor(title, cases) {
    this.#title = title;
    this.#cases = cases;
  }

  #cell(caller, callee, name) {
    const row = `${caller.client} → ${callee.client}`;
    if (!this.#rows.has(row)) this.#rows.set(row, new Map(this.#cases.map((column) => [column, { passed: 0, failed: 0, cannot: new Set() }])));
    return this.#rows.get(row).get(name);
  }

  /**
   * Plays a case, if both can, and notes what became of it.
   * @param {string} [why] why it cannot be played
   */
  async play(name, caller, callee, why, act) {
    const cell = this.#cell(caller, callee, name);
    if (why) return void cell.cannot.add(why);
    try {
      await act();
      cell.passed += 1;
    } catch (error) {
      cell.failed += 1;
      error.message = `${name}: ${error.message}`;
      throw error;
    }
  }

  /** As Markdown, with what a client cannot do as notes. */
  table() {
    const notes = [];
    const note = (why) => (notes.includes(why) ? notes.indexOf(why) : notes.push(why) - 1) + 1;
    const cell = ({ passed, failed, cannot }) => {
      if (failed) return `**${passed}/${passed + failed}**`;
      if (passed) return String(passed);
      return [...cannot].map((why) => `–${note(why)}`).join(" ") || " ";
    };
    const rows = [...this.#rows].sort(([one], [other]) => one.localeCompare(other, "en")).map(([row, cells]) => [row, ...this.#cases.map((name) => cell(cells.get(name)))]);
    const lines = [[this.#title, ...this.#cases], ["---", ...this.#cases.map(() => "---")], ...rows].map((line) => `| ${line.join(" | ")} |`);
    return [...lines, ...(notes.length ? [""] : []), ...notes.map((why, index) => `–${index + 1}: ${why}.  `)].join("\n").trimEnd();
  }
}
