"""The application's side of the cache: transcripts saved and found in batches, and the cache-first flow over them."""

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

import connection  # noqa: F401 (puts the generated code on the path)
from extractor import content_digest, extract
from pannier.cache.v1 import cache_pb2
from report import expect, expect_that

NEGATIVE_TTL = Duration(seconds=3600)


def put_item(extraction):
    """What is cached for one extraction: the transcript for the namespace's time, a failure for an hour."""
    item = cache_pb2.PutItem(
        key=extraction.video_id, metadata_json=extraction.metadata_json, tags=extraction.tags
    )
    if extraction.failed:
        item.negative.error_code = extraction.error_code
        item.negative.error_message = extraction.error_message
        item.ttl.CopyFrom(NEGATIVE_TTL)
    else:
        item.value = extraction.transcript
        item.content_type = "application/json"
    return item


def entry_digest(entry):
    """Digest of a cached entry's content, to compare with `Extraction.sha256`."""
    return content_digest(entry.value, entry.negative.error_code, entry.negative.error_message)


def expect_same(entry, extraction):
    """Fails unless the entry holds this extraction whole: content, metadata, tags, type."""
    key = extraction.video_id
    expect(entry.key, key, "key of the entry")
    expect(entry.WhichOneof("content"), "negative" if extraction.failed else "value", f"kind of {key}")
    expect(entry_digest(entry), extraction.sha256, f"SHA-256 of {key}")
    expect(entry.metadata_json, extraction.metadata_json, f"metadata of {key}")
    expect(list(entry.tags), sorted(extraction.tags), f"tags of {key}")
    expect(entry.content_type, "" if extraction.failed else "application/json", f"content type of {key}")


@dataclass
class Batch:
    """How one cache-first batch went."""

    hits: int
    missing: list
    merged: dict
    lookups: int


class TranscriptCache:
    """Transcripts in one namespace."""

    def __init__(self, stub, namespace):
        self.stub = stub
        self.namespace = namespace

    def get_many(self, video_ids):
        """Looks all ids up. Returns the entries found by id, and the number of calls that took.

        An answer has a size limit; what did not fit is asked for again.
        """
        found, asked, lookups = {}, list(video_ids), 0
        while asked:
            request = cache_pb2.BatchGetRequest(namespace=self.namespace, keys=asked)
            results = self.stub.BatchGet(request, timeout=connection.CALL_SECONDS_MAX, wait_for_ready=True).results
            lookups += 1
            expect([result.key for result in results], asked, "keys answered, in the order asked")
            found.update((result.key, result.entry) for result in results if result.HasField("entry"))
            deferred = [result.key for result in results if result.deferred]
            expect_that(len(deferred) < len(asked), "a lookup deferred every key: it would never end")
            asked = deferred
        return found, lookups

    def save_many(self, extractions):
        """Saves all in one call, which is one transaction. Fails unless each was stored."""
        request = cache_pb2.BatchPutRequest(namespace=self.namespace, items=map(put_item, extractions))
        results = self.stub.BatchPut(request, timeout=connection.CALL_SECONDS_MAX).results
        expect(len(results), len(extractions), "results of a BatchPut")
        refused = [result.error.message for result in results if result.WhichOneof("outcome") != "put"]
        expect(refused, [], "items a BatchPut refused")
        return request.ByteSize()

    def cache_first(self, video_ids, worker=0):
        """Finds what is cached, extracts and saves the rest, merges both."""
        found, lookups = self.get_many(video_ids)
        missing = [video_id for video_id in video_ids if video_id not in found]
        fresh = [extract(video_id, worker) for video_id in missing]
        if fresh:
            self.save_many(fresh)
        merged = {video_id: entry_digest(entry) for video_id, entry in found.items()}
        merged.update((extraction.video_id, extraction.sha256) for extraction in fresh)
        return Batch(hits=len(found), missing=missing, merged=merged, lookups=lookups)

    def stats(self):
        """The namespace's numbers."""
        request = cache_pb2.StatsRequest(namespace=self.namespace)
        return self.stub.Stats(request, timeout=connection.CALL_SECONDS_MAX, wait_for_ready=True).stats

    def list_all(self, **query):
        """Every entry of a listing, page by page. Returns the entries and the number of pages."""
        entries, pages, token = [], 0, ""
        while pages == 0 or token:
            request = cache_pb2.ListRequest(namespace=self.namespace, page_token=token, **query)
            page = self.stub.List(request, timeout=connection.CALL_SECONDS_MAX)
            entries.extend(page.entries)
            pages, token = pages + 1, page.next_page_token
        return entries, pages
