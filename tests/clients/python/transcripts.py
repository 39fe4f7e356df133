"""The transcript application's flow against the real binary: 1,000 videos, over TCP and over a Unix socket.

Usage: transcripts.py [tcp] [unix]
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from google.protobuf.duration_pb2 import Duration

import leases
import single_calls
from connection import cache_stub, open_channel
from extractor import extract, video_ids
from pannier.cache.v1 import cache_pb2
from report import Report, expect, expect_that
from sidecar import Sidecar, binary
from transcript_cache import TranscriptCache, entry_digest, expect_same

VIDEOS = video_ids(1000)
SAVED_BEFORE = VIDEOS[::10] + VIDEOS[3::10] + VIDEOS[7::10]
NOT_SAVED_BEFORE = [video_id for video_id in VIDEOS if video_id not in SAVED_BEFORE]
# They overlap: all but the first and the last 200 videos are in two of them.
BATCHES = [VIDEOS[start : start + 400] for start in (0, 200, 400, 600)]


def main():
    """Runs everything; the exit code tells whether all of it held."""
    transports = sys.argv[1:] or ["tcp", "unix"]
    report = Report("python transcripts")
    print(f"  binary {binary()}")
    for video_id in VIDEOS:
        extract(video_id)  # ahead of the clock: the figures below are to be the cache's
    for transport in transports:
        with Sidecar() as sidecar, open_channel(sidecar.target(transport)) as channel:
            report.section(f"over {transport} ({sidecar.target(transport)})")
            run(report, sidecar, transport, cache_stub(channel))
    return report.finish()


def run(report, sidecar, transport, stub):
    """The whole flow over one transport, on data of its own."""
    cache = TranscriptCache(stub, "transcripts")
    declare(report, cache)
    first_pass(report, cache)
    second_pass(report, cache)
    partial_hits(report, TranscriptCache(stub, "transcripts-partial"))
    concurrent_batches(report, TranscriptCache(stub, "transcripts-concurrent"))
    single_calls.run(report, TranscriptCache(stub, "transcripts-single"))
    leases.run(report, sidecar.target(transport))
    restart(report, sidecar, cache)


def declare(report, cache):
    """The application says its limits at its start; from then on misses count too."""
    limits = cache_pb2.Namespace(
        name=cache.namespace,
        entries_max=10_000,
        bytes_max=500_000_000,
        default_ttl=Duration(seconds=30 * 24 * 3600),
        eviction=cache_pb2.EVICTION_POLICY_LRU,
    )
    with report.step("the application's limits are declared, once or again"):
        for created in (True, False):
            answer = cache.stub.UpdateNamespace(cache_pb2.UpdateNamespaceRequest(namespace=limits))
            expect(answer.created, created, "created")
        kept = cache.stub.GetNamespace(cache_pb2.GetNamespaceRequest(name=cache.namespace)).namespace
        for field in ("name", "entries_max", "bytes_max", "default_ttl", "eviction"):
            expect(getattr(kept, field), getattr(limits, field), field)


def first_pass(report, cache):
    """Nothing is cached: all is extracted and saved."""
    with report.step("first pass finds none of 1,000") as note:
        found, lookups = cache.get_many(VIDEOS)
        expect(len(found), 0, "hits")
        note(f"{lookups} lookup")
    with report.step("the missing 1,000 are saved in one call") as note:
        size = cache.save_many([extract(video_id) for video_id in VIDEOS])
        failures = sum(extract(video_id).failed for video_id in VIDEOS)
        expect_that(failures > 0, "some videos must fail, or negative entries go untested")
        note(f"{size / 1e6:.1f} MB, {failures} of them negative entries")


def second_pass(report, cache):
    """All is cached, byte for byte, and the numbers say so."""
    with report.step("second pass finds all 1,000, identical by SHA-256") as note:
        lookups = expect_all_cached(cache)
        note(f"{lookups} lookups, as an answer holds 16 MiB")
    with report.step("a cache-first batch extracts nothing any more"):
        batch = cache.cache_first(VIDEOS[:100])
        expect((batch.hits, batch.missing), (100, []), "hits and missing")
    with report.step("stats show entries, ages and hit rate") as note:
        stats = cache.stats()
        expect((stats.entry_count, stats.hit_count, stats.miss_count), (1000, 1100, 1000), "entries, hits, misses")
        expect(round(stats.hit_rate, 6), round(1100 / 2100, 6), "hit rate")
        expect_that(stats.stored_bytes > 0, "stored bytes must count")
        oldest, newest = stats.oldest_entry_time.ToNanoseconds(), stats.newest_entry_time.ToNanoseconds()
        expect_that(0 < oldest <= newest, "the oldest entry must not be younger than the newest")
        expect_that(abs(time.time_ns() - newest) < 300e9, "entries must be of the last minutes")
        note(f"hit rate {stats.hit_rate:.3f}, {stats.stored_bytes / 1e6:.1f} MB stored")


def partial_hits(report, cache):
    """Three in ten are cached: just the others are extracted."""
    with report.step("300 are saved before the batch"):
        cache.save_many([extract(video_id) for video_id in SAVED_BEFORE])
    with report.step("partial hits: 300 found, 700 extracted, 1,000 merged"):
        batch = cache.cache_first(VIDEOS)
        expect(batch.hits, 300, "hits")
        expect(batch.missing, NOT_SAVED_BEFORE, "missing")
        expect(batch.merged, {video_id: extract(video_id).sha256 for video_id in VIDEOS}, "merged results")
        expect(round(cache.stats().hit_rate, 6), 0.3, "hit rate")
    with report.step("and then all 1,000 are found"):
        expect_all_cached(cache)


def concurrent_batches(report, cache):
    """Batches that overlap run at once; each entry is the whole work of one of them."""
    starts = threading.Barrier(len(BATCHES))
    made = digests_made()

    def work(worker):
        starts.wait()
        return cache.cache_first(BATCHES[worker], worker)

    with report.step(f"{len(BATCHES)} overlapping batches of 400 at once, each merged whole") as note:
        with ThreadPoolExecutor(len(BATCHES)) as pool:
            outcomes = list(pool.map(work, range(len(BATCHES))))
        for asked, batch in zip(BATCHES, outcomes):
            expect(set(batch.merged), set(asked), "ids in the merged result")
            for video_id, digest in batch.merged.items():
                expect_that(digest in made[video_id], f"{video_id} was merged with bytes that nobody made")
        note(f"hits per batch {[batch.hits for batch in outcomes]}")
    with report.step("each of the 1,000 is one batch's own work, unmixed"):
        found, _ = cache.get_many(VIDEOS)
        expect(len(found), 1000, "hits")
        for video_id, entry in found.items():
            expect_that(entry_digest(entry) in made[video_id], f"{video_id} has bytes that nobody made")
        expect(cache.stats().entry_count, 1000, "entries")


def digests_made():
    """By video id the digests of what the batches that ask for it would make."""
    made = {video_id: set() for video_id in VIDEOS}
    for worker, asked in enumerate(BATCHES):
        for video_id in asked:
            made[video_id].add(extract(video_id, worker).sha256)
    return made


def restart(report, sidecar, cache):
    """SIGTERM with the channel open, a new start on the same data, and nothing is lost."""
    with report.step("access counts before the restart: 1 for the save, 1 a read"):
        expect_access_counts(cache)
    with report.step("SIGTERM ends it with code 0 in time, idle channel and all") as note:
        note(f"exit after {sidecar.stop() * 1000:.0f} ms")
    with report.step("it starts again on the same data") as note:
        note(f"ready after {sidecar.start() * 1000:.0f} ms")
    with report.step("access counts and hit rate were kept (same channel, reconnected)"):
        stats = cache.stats()
        expect((stats.entry_count, stats.hit_count, stats.miss_count), (1000, 1100, 1000), "entries, hits, misses")
        expect_access_counts(cache)
    with report.step("all 1,000 are still hits, identical by SHA-256"):
        expect_all_cached(cache)


def expect_all_cached(cache):
    """Looks all videos up and compares each with what was extracted. Returns the number of lookups."""
    found, lookups = cache.get_many(VIDEOS)
    expect(len(found), len(VIDEOS), "hits")
    for video_id in VIDEOS:
        expect_same(found[video_id], extract(video_id))
    return lookups


def expect_access_counts(cache):
    """The second pass read all once and the first 100 twice; listing counts no access."""
    entries, _ = cache.list_all(page_size=1000)
    counts = {entry.key: entry.access_count for entry in entries}
    often = set(VIDEOS[:100])
    expect(counts, {video_id: 3 if video_id in often else 2 for video_id in VIDEOS}, "access counts")


if __name__ == "__main__":
    sys.exit(main())
