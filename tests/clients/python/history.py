"""The prompt improver's flow against the real binary: saved in the background, found again, counted, and forgotten after 30 days."""

import asyncio
import sys
import time

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from connection import CALL_SECONDS_MAX, open_async_channel
from pannier.durability.v1.durability_pb2 import DURABILITY_RELAXED
from pannier.prompts.v1 import prompts_pb2 as prompts
from pannier.prompts.v1.prompts_pb2_grpc import PromptsServiceStub
from report import Report, expect, expect_that
from sidecar import Sidecar, binary

ENTRIES = 500
OLD = ENTRIES // 10
BACKENDS = ("anthropic", "openai", "ollama")
DAY_SECONDS = 24 * 3600
# Turns of the event loop while all entries are saved: a save that blocked it would leave it a few.
TURNS_MIN = 20


def entry(number, now_seconds):
    """What the improver knows of one answer. Every tenth is older than it keeps them."""
    age_days = 45 if number % 10 == 0 else number % 20
    return prompts.NewPrompt(
        body=prompts.PromptBody(
            idea=f"a haiku about harbour {number}",
            improved_prompt=f"Write a haiku about harbour number {number}, with a lighthouse and the sea.",
            role="poet",
            directive="Keep to seventeen syllables.",
            guardrails=["no rhyme", "no titles"],
            reasoning="a haiku is short",
        ),
        prompt_time=Timestamp(seconds=now_seconds - age_days * DAY_SECONDS),
        backend=BACKENDS[number % 3],
        model="large-1",
        framework="few-shot",
        confidence=(number % 101) / 100,
        latency=Duration(nanos=(number % 100 + 1) * 1_000_000),
        import_key=f"entry-{number}",
    )


async def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python history")
    print(f"  binary {binary()}")
    now_seconds = int(time.time())
    with Sidecar() as sidecar:
        async with open_async_channel(sidecar.target("tcp")) as channel:
            history = History(PromptsServiceStub(channel), now_seconds)
            await saved(report, history)
            await found(report, history)
            await refused(report, history)
            await restarted(report, sidecar, history)
            await forgotten(report, history)
    return report.finish()


class History:
    """The calls that the improver makes."""

    def __init__(self, stub, now_seconds):
        self.stub = stub
        self.now_seconds = now_seconds

    async def save(self, number):
        """Does not wait for a disk: an answer is worth more than its record."""
        request = prompts.SaveRequest(prompt=entry(number, self.now_seconds), durability=DURABILITY_RELAXED)
        return await self.stub.Save(request, timeout=CALL_SECONDS_MAX, wait_for_ready=True)

    async def recent(self, **bounds):
        """The newest 100 within some bounds."""
        request = prompts.ListRequest(filter=prompts.PromptFilter(**bounds), with_bodies=True, page_size=100)
        return (await self.stub.List(request, timeout=CALL_SECONDS_MAX, wait_for_ready=True)).prompts

    async def search(self, query):
        """The best of what matches, marked as the launcher shows it."""
        request = prompts.SearchRequest(query=query, highlight_start="[", highlight_end="]", page_size=10)
        return (await self.stub.Search(request, timeout=CALL_SECONDS_MAX, wait_for_ready=True)).hits

    async def stats(self):
        """Numbers of all, and of each backend."""
        request = prompts.StatsRequest(group_by=[prompts.STATS_GROUP_BACKEND])
        return await self.stub.Stats(request, timeout=CALL_SECONDS_MAX, wait_for_ready=True)


async def saved(report, history):
    """Each entry is saved by a task that no answer waits for."""
    with report.step(f"{ENTRIES} entries are saved in the background, and the event loop goes on") as note:
        turns, longest, last = 0, 0.0, time.perf_counter()
        saves = [asyncio.ensure_future(history.save(number)) for number in range(ENTRIES)]
        while not all(save.done() for save in saves):
            await asyncio.sleep(0)
            turns += 1
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        expect(len({save.result().prompt_id for save in saves}), ENTRIES, "ids")
        expect_that(not any(save.result().existed for save in saves), "none was there before")
        expect_that(turns >= TURNS_MIN, f"the loop must go on, and had {turns} turns")
        note(f"{turns} turns of the loop, the longest {longest * 1000:.1f} ms")
    with report.step("saved once more after a doubtful failure, an entry is the one that is there"):
        first, again = await history.save(7), await history.save(7)
        expect((first.existed, again.existed, again.prompt_id), (True, True, first.prompt_id), "existed, id")


async def found(report, history):
    """Lists with filters, search, statistics."""
    with report.step("the newest of a backend that were good and quick, with all their fields"):
        recent = await history.recent(backend="openai", confidence_min=0.8, latency_max=Duration(nanos=50_000_000))
        wanted = [
            number for number in range(ENTRIES)
            if number % 3 == 1 and number % 101 >= 80 and number % 100 < 50
        ]
        expect(sorted(int(prompt.import_key.split("-")[1]) for prompt in recent), wanted, "entries")
        times = [prompt.prompt_time.seconds for prompt in recent]
        expect(times, sorted(times, reverse=True), "times, the newest first")
        for prompt in recent:
            new = entry(int(prompt.import_key.split("-")[1]), history.now_seconds)
            for field in ("body", "prompt_time", "backend", "model", "framework", "confidence", "latency"):
                expect(getattr(prompt, field), getattr(new, field), field)
    with report.step("a search as it is typed, and what a query could be taken for is text"):
        expect(len(await history.search("harbo*")), 10, "hits of a page")
        hits = await history.search('"harbour 123"')
        expect([hit.prompt.import_key for hit in hits], ["entry-123"], "hits of a phrase")
        expect(hits[0].snippets[0].marked_text, "a haiku about [harbour 123]", "snippet")
        expect(len(await history.search("NEAR( \" OR 1=1 --")), 0, "hits of nonsense")
    with report.step("statistics count all, and their percentiles are within 1 %"):
        stats = await history.stats()
        expect((stats.total.prompt_count, stats.total.failed_count), (ENTRIES, 0), "all, failed")
        expect([group.backend for group in stats.groups], sorted(BACKENDS), "backends")
        expect(sum(group.prompt_count for group in stats.groups), ENTRIES, "prompts of all backends")
        p95_ms = stats.total.latency_p95.nanos / 1e6
        expect_that(abs(p95_ms - 95) <= 0.95, f"p95 must be 95 ms, is {p95_ms}")


async def refused(report, history):
    """Bad values: all that is wrong is told, and nothing is stored."""
    with report.step("a confidence of 1.1, an empty idea and a negative latency are refused in one answer"):
        bad = entry(1, history.now_seconds)
        bad.confidence, bad.body.idea, bad.import_key = 1.1, "", "bad"
        bad.latency.CopyFrom(Duration(nanos=-1))
        try:
            await history.stub.Save(prompts.SaveRequest(prompt=bad), timeout=CALL_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            expect(error.code(), grpc.StatusCode.INVALID_ARGUMENT, "code")
            expect(violations(error), {"prompt.confidence", "prompt.body.idea", "prompt.latency"}, "fields")
        else:
            expect_that(False, "it must be refused")
        expect((await history.stats()).total.prompt_count, ENTRIES, "prompts")


def violations(error):
    """The fields that an error names."""
    metadata = {key: value for key, value in error.trailing_metadata()}
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    request = error_details_pb2.BadRequest()
    return {field.field for detail in status.details if detail.Unpack(request) for field in request.field_violations}


async def restarted(report, sidecar, history):
    """What was saved at relaxed durability is there after an orderly end."""
    with report.step("SIGTERM, a new start on the same data, the same channel: nothing is lost"):
        sidecar.stop()
        sidecar.start()
        expect((await history.stats()).total.prompt_count, ENTRIES, "prompts")
        expect(len(await history.search('"harbour 123"')), 1, "hits")


async def forgotten(report, history):
    """Entries older than 30 days go, from lists, search and statistics alike."""
    with report.step(f"of {ENTRIES} entries the {OLD} that are older than 30 days are deleted"):
        older = prompts.PruneRequest(older_than=Duration(seconds=30 * DAY_SECONDS))
        answer = await history.stub.Prune(older, timeout=CALL_SECONDS_MAX)
        expect(answer.pruned_count, OLD, "deleted")
        expect((await history.stats()).total.prompt_count, ENTRIES - OLD, "prompts that are left")
        expect(len(await history.search('"harbour 120"')), 0, "hits of one that is gone")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
