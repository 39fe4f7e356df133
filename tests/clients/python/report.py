"""Runs named steps, prints how each went and how long it took, and counts them."""

import sys
import time
import traceback
from contextlib import contextmanager

import grpc


class CheckFailed(Exception):
    """A statement about the sidecar that turned out wrong."""


def expect(actual, expected, what):
    """Fails unless both are equal; says what was compared."""
    if actual != expected:
        raise CheckFailed(f"{what}: expected {_short(expected)}, got {_short(actual)}")


def expect_that(holds, what):
    """Fails with `what` unless it holds."""
    if not holds:
        raise CheckFailed(what)


def _short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"


class Report:
    """The outcome of one program."""

    def __init__(self, title):
        self.title = title
        self.passed = 0
        self.failed = 0
        print(title)

    def section(self, name):
        """Prints a heading for the steps that follow."""
        print(f"\n  {name}")

    @contextmanager
    def step(self, name):
        """Times the block. A failure is printed and counted, and the steps after it still run."""
        notes = []
        start = time.perf_counter()
        try:
            yield notes.append
        except Exception as failure:  # one broken step must not hide what the others would tell
            self.failed += 1
            self._line("FAILED", name, start, notes)
            print(f"             {_describe(failure)}")
        else:
            self.passed += 1
            self._line("ok", name, start, notes)

    def finish(self):
        """Prints the totals; returns the exit code."""
        print(f"\n{self.title}: {self.passed} steps passed, {self.failed} failed")
        return 1 if self.failed else 0

    @staticmethod
    def _line(outcome, name, start, notes):
        milliseconds = (time.perf_counter() - start) * 1000
        tail = f"  [{'; '.join(notes)}]" if notes else ""
        print(f"    {outcome:<6} {milliseconds:9.1f} ms  {name}{tail}")
        sys.stdout.flush()


def _describe(failure):
    if isinstance(failure, CheckFailed):
        return str(failure)
    if isinstance(failure, grpc.RpcError) and hasattr(failure, "code"):
        return f"{failure.code().name}: {failure.details()}"
    return "".join(traceback.format_exception(failure)).strip().replace("\n", "\n             ")
