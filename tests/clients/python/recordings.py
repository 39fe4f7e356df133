"""The clinic's recordings, field by field: what its in-memory dictionary held, kept over restarts, on the generated stubs alone."""

import json
import sys

import grpc

from connection import CALL_SECONDS_MAX, open_channel
from pannier.records.v1 import records_pb2 as records
from pannier.records.v1.records_pb2_grpc import RecordsServiceStub
from pannier.transaction.v1 import transaction_pb2 as transaction
from pannier.transaction.v1.transaction_pb2_grpc import TransactionServiceStub
from report import Report, expect, expect_that
from sidecar import Sidecar, binary

COLLECTION = "recordings"
SEGMENTS = 4_000


def recording(number):
    """A recording with all fields of the application."""
    return {
        "id": f"rec-{number:04}",
        "patient_id": f"patient-{number % 7}",
        "title": "Visit – Übersicht",
        "filename": f"visit-{number}.webm",
        "duration_seconds": 1834.25,
        "status": "new",
        "created_at": "2026-03-01T09:30:00+01:00",
        "updated_at": None,
        "transcript": {"text": "…", "segments": []},
        "verification_results": {"speaker": {"verified": True, "score": 0.91}, "reviewer": "a"},
        "tags": ["intake", "German"],
    }


class Recordings:
    """The repository that the application puts in place of its dictionary."""

    def __init__(self, channel):
        self.stub = RecordsServiceStub(channel)
        self.transactions = TransactionServiceStub(channel)

    def create(self, document):
        item = self._item(document, mode=records.PUT_MODE_INSERT)
        return self._call(self.stub.Put, records.PutRequest(collection=COLLECTION, item=item)).result.revision

    def get(self, key):
        record = self._call(self.stub.Get, records.GetRequest(collection=COLLECTION, key=key)).record
        return record.revision, json.loads(record.document_json)

    def update(self, key, fields, revision=0, removed=()):
        """Replaces fields, whole."""
        item = records.PatchItem(
            key=key,
            patch_json=json.dumps(fields),
            mode=records.PATCH_MODE_REPLACE,
            remove_members=removed,
            if_revision=revision,
        )
        record = self._call(self.stub.Patch, records.PatchRequest(collection=COLLECTION, item=item)).record
        return record.revision, json.loads(record.document_json)

    def all(self):
        token, found = "", []
        while True:
            request = records.ListRequest(collection=COLLECTION, page_size=100, page_token=token)
            page = self._call(self.stub.List, request)
            found += [json.loads(record.document_json) for record in page.records]
            token = page.next_page_token
            if not token:
                return found

    def delete(self, key):
        item = records.DeleteItem(key=key)
        return self._call(self.stub.Delete, records.DeleteRequest(collection=COLLECTION, item=item)).result.deleted

    def at_path(self, path, value):
        """The keys of the recordings that have a value at a path."""
        comparison = records.Comparison(path=path, comparator=records.COMPARATOR_EQUAL, value_json=json.dumps(value))
        request = records.QueryRequest(collection=COLLECTION, filter=records.Filter(compare=comparison), page_size=100)
        return [record.key for record in self._call(self.stub.Query, request).records]

    def commit(self, documents):
        """All of them, or none."""
        puts = [
            transaction.Mutation(records_put=records.PutRequest(collection=COLLECTION, item=self._item(document)))
            for document in documents
        ]
        self._call(self.transactions.Commit, transaction.CommitRequest(mutations=puts))

    @staticmethod
    def _item(document, **more):
        return records.PutItem(key=document["id"], document_json=json.dumps(document), **more)

    @staticmethod
    def _call(method, request):
        return method(request, timeout=CALL_SECONDS_MAX, wait_for_ready=True)


def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python recordings")
    print(f"  binary {binary()}")
    with Sidecar() as sidecar, open_channel(sidecar.target("tcp")) as channel:
        recordings = Recordings(channel)
        recordings.stub.CreateCollection(records.CreateCollectionRequest(name=COLLECTION))
        kept(report, recordings)
        changed(report, recordings)
        durable(report, sidecar, recordings)
    return report.finish()


def kept(report, recordings):
    """Every field comes back as it was stored."""
    with report.step("30 recordings, every field of each as it was stored"):
        for number in range(30):
            recordings.create(recording(number))
        expect(recordings.all(), [recording(number) for number in range(30)], "recordings")
        expect(recordings.get("rec-0003")[1], recording(3), "recording 3")
    with report.step("an id that is taken is refused"):
        expect(code_of(lambda: recordings.create(recording(3))), grpc.StatusCode.ALREADY_EXISTS, "code")
    with report.step("a transcript of more than 300 KB"):
        segments = [{"start": n, "end": n + 1, "text": f"segment {n} " + "x" * 80} for n in range(SEGMENTS)]
        _, document = recordings.update("rec-0001", {"transcript": {"text": "", "segments": segments}})
        expect_that(len(json.dumps(document)) > 300_000, "it must be long")
        expect(recordings.get("rec-0001")[1]["transcript"]["segments"], segments, "segments")


def changed(report, recordings):
    """Fields are replaced, and not merged into."""
    with report.step("a JSON field is replaced, and null is a value"):
        results = {"speaker": {"verified": False}}
        _, document = recordings.update("rec-0002", {"verification_results": results, "title": None})
        expected = {**recording(2), "verification_results": results, "title": None}
        expect(document, expected, "recording 2")
        _, document = recordings.update("rec-0002", {}, removed=["tags"])
        expect_that("tags" not in document, "a field can be removed")
    with report.step("an update of what has changed since is refused"):
        revision, _ = recordings.get("rec-0004")
        recordings.update("rec-0004", {"status": "transcribed"}, revision)
        late = code_of(lambda: recordings.update("rec-0004", {"status": "lost"}, revision))
        expect((late, recordings.get("rec-0004")[1]["status"]), (grpc.StatusCode.ABORTED, "transcribed"), "code, status")
    with report.step("JSON by path, however the path is written"):
        wanted = [f"rec-{number:04}" for number in range(30) if number != 2]
        for path in ("verification_results.speaker.verified", "$.verification_results.speaker.verified"):
            expect(recordings.at_path(path, True), wanted, path)
        expect(recordings.at_path("/verification_results/speaker/verified", True), wanted, "by a pointer")
        expect(recordings.at_path("/tags/1", "German"), wanted, "an element")
    with report.step("a commit of two, of which one is wrong, changes nothing"):
        wrong = {**recording(41), "id": "x" * 600}
        code = code_of(lambda: recordings.commit([recording(40), wrong]))
        expect((code, len(recordings.all())), (grpc.StatusCode.INVALID_ARGUMENT, 30), "code, recordings")
        recordings.commit([recording(40), recording(41)])
        expect(len(recordings.all()), 32, "recordings")
    with report.step("deleted once"):
        expect((recordings.delete("rec-0040"), recordings.delete("rec-0040")), (True, False), "deleted")


def durable(report, sidecar, recordings):
    """Nothing vanishes with a restart."""
    with report.step("a restart keeps every recording"):
        before = recordings.all()
        sidecar.stop()
        sidecar.start()
        expect(recordings.all(), before, "recordings")


def code_of(call):
    """The code with which a call fails."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return None


if __name__ == "__main__":
    sys.exit(main())
