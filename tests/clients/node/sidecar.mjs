//! Starts, stops and restarts the real `pannier` binary in a directory of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { expect, expectThat } from "./report.mjs";

/** The project's root directory. */
export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

const START_MS_MAX = 15_000;
// The sidecar promises 1.8 s; what waits for it (a kubelet) kills after 2 s.
const STOP_MS_MAX = 2_000;

/** The binary to test: PANNIER_BIN, or the build this checkout has, release before debug. */
export function binary() {
  if (process.env.PANNIER_BIN) return resolve(process.env.PANNIER_BIN);
  const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
  const built = ["release", "debug"]
    .map((profile) => join(target, profile, "pannier"))
    .find((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  if (!built) {
    console.error(`no pannier binary under ${target}: run \`cargo build --release -p pannier\` or set PANNIER_BIN`);
    process.exit(1);
  }
  return built;
}

/** One data directory and the process that serves it. `remove` leaves nothing behind. */
export class Sidecar {
  #process;
  #directory = mkdtempSync(join(tmpdir(), "pannier-clients-"));
  #log = join(this.#directory, "log.txt");
  #readyFile = join(this.#directory, "ready.json");
  #listen = "127.0.0.1:0";
  #ready;

  /** Starts the process and waits for its ready file. Resolves to the milliseconds that took. */
  async start() {
    rmSync(this.#readyFile, { force: true });
    const started = performance.now();
    const log = openSync(this.#log, "a");
    this.#process = spawn(binary(), this.#arguments(), {
      cwd: this.#directory,
      env: environment(),
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#ready = await this.#awaitReady(started + START_MS_MAX);
    expect(this.#ready.pid, this.#process.pid, "pid in the ready file");
    // A restart takes the same port, so that a channel finds the sidecar again.
    this.#listen = this.#ready.grpc;
    return performance.now() - started;
  }

  /** Sends SIGTERM and checks that the process ends well and in time. Resolves to the milliseconds that took. */
  async stop() {
    const asked = performance.now();
    const ended = once(this.#process, "exit", { signal: AbortSignal.timeout(START_MS_MAX) });
    this.#process.kill("SIGTERM");
    const [code, signal] = await ended;
    const took = performance.now() - asked;
    expect([code, signal], [0, null], `exit code and signal after SIGTERM\n${this.#logTail()}\n`);
    expectThat(took <= STOP_MS_MAX, `stopping took ${took.toFixed(0)} ms, more than ${STOP_MS_MAX} ms`);
    return took;
  }

  /** Ends the process, if it still runs, and removes its directory. */
  async remove() {
    if (this.#process && this.#running()) {
      const ended = once(this.#process, "exit");
      this.#process.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** What a gRPC channel connects to over `tcp` or `unix`. */
  target(transport) {
    return transport === "tcp" ? this.#ready.grpc : `unix:${this.#ready.socket}`;
  }

  #arguments() {
    return [
      "serve",
      ...["--data", join(this.#directory, "data")],
      ...["--listen", this.#listen],
      ...["--socket", join(this.#directory, "pannier.sock")],
      ...["--http-listen", "127.0.0.1:0"],
      ...["--ready-file", this.#readyFile],
    ];
  }

  #running() {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  async #awaitReady(deadline) {
    let failed;
    this.#process.once("error", (failure) => (failed = failure));
    while (performance.now() < deadline) {
      // The file is renamed into place: once it is there it is whole.
      if (existsSync(this.#readyFile)) return JSON.parse(readFileSync(this.#readyFile, "utf8"));
      if (failed) throw failed;
      if (!this.#running()) throw new Error(`pannier ended at start\n${this.#logTail()}`);
      await pause(5);
    }
    throw new Error(`not ready after ${START_MS_MAX} ms\n${this.#logTail()}`);
  }

  #logTail() {
    return readFileSync(this.#log, "utf8").slice(-2000);
  }
}

/** Ours without PANNIER_*: the developer's settings must not reach the process under test. */
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PANNIER_")));
}
