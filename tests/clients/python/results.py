"""The video worker's result store, field by field: unique by source and source id, on the generated stubs alone."""

import json
import sys
import time

from connection import CALL_SECONDS_MAX, open_channel
from pannier.records.v1 import records_pb2 as records
from pannier.records.v1.records_pb2_grpc import RecordsServiceStub
from report import Report, expect, expect_that
from sidecar import Sidecar, binary

COLLECTION = "results"
BATCH = 500


def result(number, views=0):
    """A result as a scraper finds it, with the times at which it was found."""
    now = time.time()
    return {
        "source": "abc"[number % 3],
        "source_id": f"video-{number}",
        "title": f"Video {number}",
        "description": None if number % 5 == 0 else "About it",
        "tags": ["music", f"t{number % 4}"],
        "metrics": {"views": views, "likes": number},
        "created": now,
        "updated": now,
    }


class Results:
    """The worker's store: `created` stays what it was when a result is found again."""

    def __init__(self, channel):
        self.stub = RecordsServiceStub(channel)
        paths = ["source", "metrics.views"]
        indexes = [records.Index(path=path) for path in paths]
        self._call(self.stub.CreateCollection, records.CreateCollectionRequest(name=COLLECTION, indexes=indexes))

    def save(self, results):
        """Stores results, each once. Returns how many are new, and what was wrong with the others."""
        items = [
            records.PutItem(
                key=f"{found['source']}/{found['source_id']}",
                document_json=json.dumps(found),
                keep_members=["created"],
            )
            for found in results
        ]
        answer = self._call(self.stub.BatchPut, records.BatchPutRequest(collection=COLLECTION, items=items))
        created = [one for one in answer.results if one.put.outcome == records.PUT_OUTCOME_CREATED]
        return len(created), [one.error for one in answer.results if one.HasField("error")]

    def get(self, source, source_id):
        request = records.GetRequest(collection=COLLECTION, key=f"{source}/{source_id}")
        return json.loads(self._call(self.stub.Get, request).record.document_json)

    def newest(self, source, count):
        """The results of a source that were saved last."""
        comparison = records.Comparison(path="source", comparator=records.COMPARATOR_EQUAL, value_json=json.dumps(source))
        order = records.QueryOrder(change=True, descending=True)
        request = records.QueryRequest(
            collection=COLLECTION, filter=records.Filter(compare=comparison), order=order, page_size=count
        )
        return [json.loads(record.document_json) for record in self._call(self.stub.Query, request).records]

    def count(self):
        return self._call(self.stub.GetCollection, records.GetCollectionRequest(name=COLLECTION)).collection.record_count

    @staticmethod
    def _call(method, request):
        return method(request, timeout=CALL_SECONDS_MAX, wait_for_ready=True)


def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python results")
    print(f"  binary {binary()}")
    with Sidecar() as sidecar, open_channel(sidecar.target("tcp")) as channel:
        store = Results(channel)
        first = [result(number) for number in range(BATCH)]
        with report.step(f"{BATCH} results in one call, every field of each as it was stored"):
            expect(store.save(first), (BATCH, []), "created, errors")
            for found in first[::50]:
                expect(store.get(found["source"], found["source_id"]), found, found["source_id"])
        with report.step("found again: one result, new metrics, the old time of creation"):
            again = [result(number, views=number + 1) for number in range(0, BATCH, 10)]
            expect((store.save(again), store.count()), ((0, []), BATCH), "created, errors; results")
            stored = store.get("b", "video-10")
            expect((stored["metrics"]["views"], stored["created"]), (11, first[10]["created"]), "views, created")
            expect_that(stored["updated"] > first[10]["updated"], "the time of the update is new")
        with report.step("the newest of a source"):
            newest = [found["source_id"] for found in store.newest("a", 5)]
            wanted = [f"video-{number}" for number in range(BATCH - 10, -1, -10) if number % 3 == 0][:5]
            expect(newest, wanted, "ids")
        with report.step("a wrong result of a batch fails alone"):
            wrong = {**result(900), "source_id": "x" * 600}
            created, errors = store.save([result(901), wrong, result(902)])
            expect((created, len(errors), store.count()), (2, 1, BATCH + 2), "created, errors, results")
            expect_that("records.key_bytes_max" in errors[0].message, errors[0].message)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
