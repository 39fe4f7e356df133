"""Starts, stops and restarts the real `pannier` binary in a directory of its own."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from report import expect, expect_that

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS_MAX = 15.0
# The sidecar promises 1.8 s; what waits for it (a kubelet) kills after 2 s.
STOP_SECONDS_MAX = 2.0


def binary():
    """The binary to test: PANNIER_BIN, or the newest build this checkout has, release before debug."""
    if given := os.environ.get("PANNIER_BIN"):
        return Path(given).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ("release", "debug"):
        candidate = target / profile / "pannier"
        if candidate.is_file():
            return candidate
    raise SystemExit(f"no pannier binary under {target}: run `cargo build --release -p pannier` or set PANNIER_BIN")


class Sidecar:
    """One data directory and the process that serves it. A context manager: leaves nothing behind."""

    def __init__(self, *arguments):
        self._arguments = arguments
        self.directory = Path(tempfile.mkdtemp(prefix="pannier-clients-"))
        self._log = self.directory / "log.txt"
        self._ready_file = self.directory / "ready.json"
        self._process = None
        self.listen = "127.0.0.1:0"
        self.socket = str(self.directory / "pannier.sock")
        self.ready = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        """Starts the process and waits for its ready file. Returns the seconds that took."""
        self._ready_file.unlink(missing_ok=True)
        started = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self.directory, env=_environment(), stdout=log, stderr=log
            )
        self.ready = self._await_ready(started + START_SECONDS_MAX)
        expect(self.ready["pid"], self._process.pid, "pid in the ready file")
        # A restart takes the same port, so that a channel finds the sidecar again.
        self.listen = self.ready["grpc"]
        return time.monotonic() - started

    def stop(self):
        """Sends SIGTERM and checks that the process ends well and in time. Returns the seconds that took."""
        asked = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(START_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no exit within {START_SECONDS_MAX} s of SIGTERM\n{self._log_tail()}") from None
        took = time.monotonic() - asked
        expect(code, 0, f"exit code after SIGTERM\n{self._log_tail()}\n")
        expect_that(took <= STOP_SECONDS_MAX, f"stopping took {took:.2f} s, more than {STOP_SECONDS_MAX} s")
        return took

    def target(self, transport):
        """What a gRPC channel connects to over `tcp` or `unix`."""
        return self.ready["grpc"] if transport == "tcp" else f"unix:{self.ready['socket']}"

    def _command(self):
        return [
            binary(), "serve",
            "--data", self.directory / "data",
            "--listen", self.listen,
            "--socket", self.socket,
            "--http-listen", "127.0.0.1:0",
            "--ready-file", self._ready_file,
            *self._arguments,
        ]

    def _await_ready(self, deadline):
        while time.monotonic() < deadline:
            # The file is renamed into place: once it is there it is whole.
            if self._ready_file.exists():
                return json.loads(self._ready_file.read_text())
            if self._process.poll() is not None:
                raise RuntimeError(f"pannier ended with {self._process.returncode} at start\n{self._log_tail()}")
            time.sleep(0.005)
        raise RuntimeError(f"not ready after {START_SECONDS_MAX} s\n{self._log_tail()}")

    def _log_tail(self):
        return self._log.read_text(errors="replace")[-2000:]


def _environment():
    """Ours without PANNIER_*: the developer's settings must not reach the process under test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PANNIER_")}
