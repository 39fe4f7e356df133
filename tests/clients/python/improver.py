"""The prompt improver's repository on plain stubs: every field stored and read back, search as one types, pages by offset, statistics, retention."""

import asyncio
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from connection import CALL_SECONDS_MAX, open_async_channel
from pannier.durability.v1.durability_pb2 import DURABILITY_RELAXED
from pannier.prompts.v1 import prompts_pb2 as prompts
from pannier.prompts.v1.prompts_pb2_grpc import PromptsServiceStub
from report import Report, expect, expect_that
from sidecar import Sidecar, binary

ENTRIES = 60
BREAKER_FAILURES = 5
# Text that a model writes: longer than a name, nearly every one different.
ROLE = "a senior prompt engineer who specialises in technical documentation for embedded systems, number {0}, " * 2


@dataclass
class Entry:
    """A row of the improver's history."""

    timestamp: datetime
    provider: str
    original_idea: str
    improved_prompt: str
    role: str
    directive: str
    framework: str
    backend: str
    context: str = ""
    guardrails: list[str] = field(default_factory=list)
    confidence: float | None = None
    reasoning: str | None = None
    latency_ms: int | None = None
    model_version: str | None = None
    id: int | None = None


class Repository:
    """What the improver's own SQLite layer did. Nothing is raised to the API: it answers without a history."""

    def __init__(self, stub):
        self.stub = stub
        self.failures = 0
        self.open_until = 0.0

    async def save(self, entry):
        """The entry's id; none while persistence fails."""
        if time.monotonic() < self.open_until:
            return None
        request = prompts.SaveRequest(prompt=to_prompt(entry), durability=DURABILITY_RELAXED)
        try:
            saved = await self.stub.Save(request, timeout=CALL_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
                raise ValueError(error.details()) from error
            self.failures += 1
            if self.failures >= BREAKER_FAILURES:
                self.open_until = time.monotonic() + 300
            return None
        self.failures = 0
        return saved.prompt_id

    async def find_by_id(self, entry_id):
        """The entry, or none."""
        try:
            found = await self.stub.Get(prompts.GetRequest(prompt_id=entry_id), timeout=CALL_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return to_entry(found.prompt)

    async def find_recent(self, limit=100, offset=0, backend="", confidence_min=None, latency_ms_max=None):
        """The newest entries."""
        bounds = prompts.PromptFilter(backend=backend, confidence_min=confidence_min)
        if latency_ms_max is not None:
            bounds.latency_max.CopyFrom(milliseconds(latency_ms_max))
        request = prompts.ListRequest(filter=bounds, with_bodies=True, page_size=limit, offset=offset)
        return [to_entry(found) for found in (await self.stub.List(request, timeout=CALL_SECONDS_MAX)).prompts]

    async def search(self, text, limit=20, offset=0):
        """The newest entries that hold a text, as it is typed."""
        request = prompts.SearchRequest(
            query=text, match=prompts.PROMPT_MATCH_SUBSTRING, with_bodies=True, page_size=limit, offset=offset
        )
        return [to_entry(hit.prompt) for hit in (await self.stub.Search(request, timeout=CALL_SECONDS_MAX)).hits]

    async def statistics(self):
        """Numbers of all, and of each backend."""
        request = prompts.StatsRequest(group_by=[prompts.STATS_GROUP_BACKEND])
        stats = await self.stub.Stats(request, timeout=CALL_SECONDS_MAX)
        return {
            "total": stats.total.prompt_count,
            "average_confidence": stats.total.confidence_average,
            "average_latency_ms": stats.total.latency_average.ToMicroseconds() / 1000,
            "backends": {group.backend: group.prompt_count for group in stats.groups},
        }

    async def delete_older_than(self, days):
        """How many entries were deleted."""
        request = prompts.PruneRequest(older_than=Duration(seconds=days * 24 * 3600))
        return (await self.stub.Prune(request, timeout=CALL_SECONDS_MAX)).pruned_count

    def health(self):
        """Whether the history is written."""
        return "degraded" if time.monotonic() < self.open_until else "healthy"


def milliseconds(count):
    """A duration on the wire."""
    length = Duration()
    length.FromMilliseconds(count)
    return length


def to_prompt(entry):
    """An entry on the wire."""
    timestamp = Timestamp()
    timestamp.FromDatetime(entry.timestamp)
    return prompts.NewPrompt(
        body=prompts.PromptBody(
            idea=entry.original_idea,
            context=entry.context,
            improved_prompt=entry.improved_prompt,
            role=entry.role,
            directive=entry.directive,
            guardrails=entry.guardrails,
            reasoning=entry.reasoning or "",
        ),
        prompt_time=timestamp,
        provider=entry.provider,
        backend=entry.backend,
        framework=entry.framework,
        model=entry.model_version or "",
        confidence=entry.confidence,
        latency=None if entry.latency_ms is None else milliseconds(entry.latency_ms),
    )


def to_entry(prompt):
    """An entry from the wire."""
    return Entry(
        id=prompt.id,
        timestamp=prompt.prompt_time.ToDatetime(tzinfo=timezone.utc),
        provider=prompt.provider,
        original_idea=prompt.body.idea,
        context=prompt.body.context,
        improved_prompt=prompt.body.improved_prompt,
        role=prompt.body.role,
        directive=prompt.body.directive,
        framework=prompt.framework,
        guardrails=list(prompt.body.guardrails),
        backend=prompt.backend,
        confidence=prompt.confidence if prompt.HasField("confidence") else None,
        reasoning=prompt.body.reasoning or None,
        latency_ms=prompt.latency.ToMilliseconds() if prompt.HasField("latency") else None,
        model_version=prompt.model or None,
    )


def entry(number, now):
    """The entry of that number, an hour younger than the one before; the first ten are older than 30 days."""
    age = timedelta(days=40 if number < 10 else 0, hours=ENTRIES - number)
    return Entry(
        timestamp=now - age,
        provider=("anthropic", "openai", "local")[number % 3],
        original_idea=f"explain sys.path_hooks, take {number}",
        context="" if number % 2 else "for beginners",
        improved_prompt=f"Explain Python's sys.path_hooks in {number + 1} steps. 50% of readers know C++.",
        role=ROLE.format(number),
        directive=f"Explain; take {number}. " * 20,
        framework=f"a framework that a model made up for request {number}, with steps and checks: " * 3,
        guardrails=["no jargon", f"at most {number + 1} steps"],
        backend=("litellm", "native")[number % 2],
        confidence=None if number % 7 == 0 else number / 100,
        reasoning=None if number % 5 == 0 else "the idea names no audience",
        latency_ms=None if number % 11 == 0 else number * 10,
        model_version=None if number % 13 == 0 else "large-1",
    )


async def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python improver")
    print(f"  binary {binary()}")
    now = datetime.now(timezone.utc).replace(microsecond=123_000)
    entries = [entry(number, now) for number in range(ENTRIES)]
    with Sidecar() as sidecar:
        async with open_async_channel(sidecar.target("tcp")) as channel:
            repository = Repository(PromptsServiceStub(channel))
            await stored(report, repository, entries)
            await paged(report, repository, entries)
            await typed(report, repository, entries)
            await counted(report, repository, entries)
            await forgotten(report, repository, entries)
            await degraded(report, repository, sidecar, entries)
    return report.finish()


async def stored(report, repository, entries):
    """Every field of every entry."""
    with report.step(f"{len(entries)} entries with texts that a model wrote come back field by field"):
        for one in entries:
            one.id = await repository.save(one)
        for one in entries:
            expect(asdict(await repository.find_by_id(one.id)), asdict(one), f"entry {one.id}")
        expect(await repository.find_by_id(1 << 40), None, "an entry that is not there")
    with report.step("a bad value is refused by the name of its field"):
        bad = entry(1, entries[1].timestamp)
        bad.confidence = 1.5
        try:
            await repository.save(bad)
        except ValueError as error:
            expect_that("prompt.confidence" in str(error), f"{error} must name the field")
        else:
            expect_that(False, "it must be refused")


async def paged(report, repository, entries):
    """The newest first, by offset and by filter."""
    newest = [one.id for one in reversed(entries)]
    with report.step("recent entries by offset, ten a page"):
        for offset in range(0, ENTRIES + 10, 10):
            page = [one.id for one in await repository.find_recent(limit=10, offset=offset)]
            expect(page, newest[offset:offset + 10], f"page from {offset}")
    with report.step("recent entries of a backend, good and quick ones, from the third on"):
        found = await repository.find_recent(backend="native", confidence_min=0.2, latency_ms_max=450, offset=2)
        wanted = [
            one.id for one in reversed(entries)
            if one.backend == "native" and (one.confidence or 0) >= 0.2
            and one.latency_ms is not None and one.latency_ms <= 450
        ]
        expect([one.id for one in found], wanted[2:], "entries")


async def typed(report, repository, entries):
    """A search that grows by a key."""
    with report.step("each piece of `sys.path_hooks` finds all, from the first key on"):
        text = "sys.path_hooks"
        for length in range(1, len(text) + 1):
            found = await repository.search(text[:length], limit=100)
            expect(len(found), ENTRIES, f"entries with {text[:length]!r}")
    with report.step("signs are signs, case does not count, an offset leaves the newest out"):
        expect([one.id for one in await repository.search("TAKE 17")], [entries[17].id], "one entry")
        expect(len(await repository.search("50% of readers know C++", limit=100)), ENTRIES, "all entries")
        expect([one.id for one in await repository.search("path", limit=1, offset=3)], [entries[-4].id], "the fourth")
        expect(await repository.search("%%%"), [], "none")


async def counted(report, repository, entries):
    """Statistics."""
    with report.step("statistics count all, with averages of what is known"):
        stats = await repository.statistics()
        sure = [one.confidence for one in entries if one.confidence is not None]
        took = [one.latency_ms for one in entries if one.latency_ms is not None]
        expect(stats["total"], ENTRIES, "total")
        expect(stats["backends"], {"litellm": ENTRIES // 2, "native": ENTRIES // 2}, "backends")
        expect_that(abs(stats["average_confidence"] - sum(sure) / len(sure)) < 1e-6, "average confidence")
        expect_that(abs(stats["average_latency_ms"] - sum(took) / len(took)) < 0.01, "average latency")


async def forgotten(report, repository, entries):
    """Retention."""
    with report.step("entries older than 30 days are deleted, the others stay"):
        expect(await repository.delete_older_than(30), 10, "deleted")
        expect(await repository.find_by_id(entries[0].id), None, "an old entry")
        expect((await repository.statistics())["total"], ENTRIES - 10, "total")


async def degraded(report, repository, sidecar, entries):
    """The API answers without its history, and a breaker spares it the wait."""
    with report.step("with the sidecar gone a save answers nothing, and after five failures does not try"):
        expect(repository.health(), "healthy", "health")
        sidecar.stop()
        for _ in range(BREAKER_FAILURES):
            expect(await repository.save(entries[20]), None, "id")
        expect(repository.health(), "degraded", "health")
        start = time.perf_counter()
        expect(await repository.save(entries[20]), None, "id")
        expect_that(time.perf_counter() - start < 0.01, "the breaker answers at once")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
