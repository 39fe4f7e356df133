//! Runs named steps, prints how each went and how long it took, and counts them.

import { isDeepStrictEqual } from "node:util";

/** A statement about the sidecar that turned out wrong. */
export class CheckFailed extends Error {}

/** Fails unless both are deeply equal; says what was compared. */
export function expect(actual, expected, what) {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new CheckFailed(`${what}: expected ${short(expected)}, got ${short(actual)}`);
  }
}

/** Fails with `what` unless it holds. */
export function expectThat(holds, what) {
  if (!holds) throw new CheckFailed(what);
}

function short(value) {
  const text = JSON.stringify(value, readable) ?? String(value);
  return text.length <= 300 ? text : `${text.slice(0, 300)}… (${text.length} characters)`;
}

/** What JSON has no form for. */
function readable(_, part) {
  if (typeof part === "bigint") return `${part}n`;
  return part instanceof Map || part instanceof Set ? [...part] : part;
}

/** The outcome of one program. */
export class Report {
  #title;
  #passed = 0;
  #failed = 0;

  constructor(title) {
    this.#title = title;
    console.log(title);
  }

  /** Prints a heading for the steps that follow. */
  section(name) {
    console.log(`\n  ${name}`);
  }

  /** Times `work`, which may return a note. A failure is printed and counted, and the steps after it still run. */
  async step(name, work) {
    const start = performance.now();
    try {
      const note = await work();
      this.#passed += 1;
      line("ok", name, start, note);
    } catch (failure) {
      this.#failed += 1;
      line("FAILED", name, start);
      console.log(`             ${describe(failure).replaceAll("\n", "\n             ")}`);
    }
  }

  /** Prints the totals; returns the exit code. */
  finish() {
    console.log(`\n${this.#title}: ${this.#passed} steps passed, ${this.#failed} failed`);
    return this.#failed ? 1 : 0;
  }
}

function line(outcome, name, start, note) {
  const milliseconds = (performance.now() - start).toFixed(1).padStart(9);
  console.log(`    ${outcome.padEnd(6)} ${milliseconds} ms  ${name}${note ? `  [${note}]` : ""}`);
}

function describe(failure) {
  // Errors of calls and checks say enough by themselves; anything else is a fault of this program.
  const known = failure instanceof CheckFailed || typeof failure?.code === "number";
  return known ? failure.message : (failure?.stack ?? String(failure));
}
