"""The clinic's flow against the real binary: recordings as documents, and two devices that were offline and reconcile by Sync."""

import json
import sys

import grpc

from connection import CALL_SECONDS_MAX, open_channel
from pannier.records.v1 import records_pb2 as records
from pannier.records.v1.records_pb2_grpc import RecordsServiceStub
from report import Report, expect, expect_that
from sidecar import Sidecar, binary

COLLECTION = "recordings"
RECORDINGS = 200
SHARED = [f"recording-{number:03}" for number in range(20)]
SCHEMA = {
    "type": "object",
    "required": ["patient", "status"],
    "properties": {"status": {"enum": ["new", "transcribed", "verified"]}, "minutes": {"type": "number", "minimum": 0}},
}


def recording(number):
    """A recording as the application keeps it."""
    return {
        "patient": f"patient-{number % 50}",
        "status": "new",
        "minutes": number % 30,
        "verification_results": {"speaker": number % 7, "score": 0.25},
    }


class Device:
    """An application that works without a connection: it queues what it does, and keeps a copy of what the server has."""

    def __init__(self, stub):
        self.stub = stub
        self.client_id = ""
        self.cursor = ""
        self.copy = {}
        self.queue = []
        self.mutation_id = 0
        self.received_id = 0
        self.sync()

    def patch(self, key, patch):
        """Changes a document as it was seen here last."""
        self.mutation_id += 1
        self.queue.append(
            records.SyncMutation(
                mutation_id=self.mutation_id,
                collection=COLLECTION,
                key=key,
                revision=self.copy[key][0],
                patch_json=json.dumps(patch),
            )
        )

    def sync(self):
        """Pushes the queue and takes what has changed. Returns the conflicts, each with the server's document."""
        conflicts = []
        while True:
            answer = self.push()
            conflicts += [result for result in answer.results if result.outcome == records.SYNC_OUTCOME_CONFLICT]
            self.client_id, self.received_id, self.queue = answer.client_id, answer.last_mutation_id, []
            self.cursor = answer.pulls[0].cursor
            for change in answer.pulls[0].changes:
                if change.deleted:
                    self.copy.pop(change.key, None)
                else:
                    self.copy[change.key] = (change.revision, json.loads(change.document_json))
            if not answer.pulls[0].more:
                return conflicts

    def push(self):
        """One call. What it says stays the same until its answer has come."""
        request = records.SyncRequest(
            client_id=self.client_id,
            last_mutation_id=self.received_id,
            mutations=self.queue,
            pulls=[records.SyncPull(collection=COLLECTION, cursor=self.cursor)],
        )
        return self.stub.Sync(request, timeout=CALL_SECONDS_MAX, wait_for_ready=True)


def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python offline")
    print(f"  binary {binary()}")
    with Sidecar() as sidecar, open_channel(sidecar.target("tcp")) as channel:
        stub = RecordsServiceStub(channel)
        stored(report, stub)
        asked(report, stub)
        devices = reconciled(report, stub)
        interrupted(report, sidecar, stub, devices)
    return report.finish()


def stored(report, stub):
    """A collection with a schema and an index, and what it does not take."""
    with report.step("a collection with a schema and an index"):
        stub.CreateCollection(
            records.CreateCollectionRequest(
                name=COLLECTION,
                schema_json=json.dumps(SCHEMA),
                indexes=[records.Index(path="verification_results.speaker")],
            )
        )
    with report.step(f"{RECORDINGS} recordings in one call"):
        items = [
            records.PutItem(key=f"recording-{number:03}", document_json=json.dumps(recording(number)))
            for number in range(RECORDINGS)
        ]
        answer = stub.BatchPut(records.BatchPutRequest(collection=COLLECTION, items=items))
        created = [result for result in answer.results if result.put.outcome == records.PUT_OUTCOME_CREATED]
        expect(len(created), RECORDINGS, "created")
    with report.step("a document that breaks the schema is refused, and the path is named"):
        bad = records.PutItem(key="bad", document_json='{"patient": "p", "status": "new", "minutes": -1}')
        try:
            stub.Put(records.PutRequest(collection=COLLECTION, item=bad))
        except grpc.RpcError as error:
            expect_that("/minutes" in error.details(), f"/minutes must be named in: {error.details()}")
        else:
            expect_that(False, "it must be refused")


def asked(report, stub):
    """JSON is reachable by path."""
    with report.step("a query by a path runs on its index"):
        path = "verification_results.speaker"
        comparison = records.Comparison(path=path, comparator=records.COMPARATOR_EQUAL, value_json="3")
        query = records.QueryRequest(collection=COLLECTION, filter=records.Filter(compare=comparison), page_size=1000)
        answer = stub.Query(query)
        wanted = [f"recording-{number:03}" for number in range(RECORDINGS) if number % 7 == 3]
        expect(sorted(record.key for record in answer.records), wanted, "keys")
        expect((answer.plan.index_path, answer.plan.documents_read), (path, len(wanted)), "index, documents read")


def reconciled(report, stub):
    """Two devices change the same documents while they are away."""
    here, there = Device(stub), Device(stub)
    with report.step("two devices take all of it"):
        expect((len(here.copy), here.copy == there.copy), (RECORDINGS, True), "recordings, the same")
    with report.step("both change the same 20 offline: the first is taken, the second is told of each") as note:
        for key in SHARED:
            here.patch(key, {"status": "transcribed"})
            there.patch(key, {"status": "verified"})
        expect(here.sync(), [], "conflicts of the first")
        conflicts = there.sync()
        expect([conflict.record.key for conflict in conflicts], SHARED, "conflicts of the second")
        expect_that(
            all(json.loads(conflict.record.document_json)["status"] == "transcribed" for conflict in conflicts),
            "each must come with the server's document",
        )
        note(f"{len(conflicts)} conflicts")
    with report.step("the second decides anew from what it was shown, and then all three agree"):
        for key in SHARED:
            there.patch(key, {"status": "verified"})
        expect((there.sync(), here.sync()), ([], []), "conflicts")
        expect_that(here.copy == there.copy == server(stub), "both devices and the server must have the same")
        expect({here.copy[key][1]["status"] for key in SHARED}, {"verified"}, "status")
    return here, there


def interrupted(report, sidecar, stub, devices):
    """An answer that was lost: the push is sent again and changes nothing more."""
    here, there = devices
    with report.step("a push whose answer is lost, a restart, the same push again: applied once"):
        for key in SHARED:
            here.patch(key, {"minutes": here.copy[key][1]["minutes"] + 1})
        lost = here.push()
        expect({result.outcome for result in lost.results}, {records.SYNC_OUTCOME_APPLIED}, "outcomes")
        sidecar.stop()
        sidecar.start()
        expect((here.sync(), there.sync()), ([], []), "conflicts")
        expect_that(here.copy == there.copy == server(stub), "both devices and the server must have the same")
        for number, key in enumerate(SHARED):
            expect(here.copy[key][1]["minutes"], recording(number)["minutes"] + 1, f"minutes of {key}")


def server(stub):
    """What the server has, by key."""
    request = records.ListRequest(collection=COLLECTION, page_size=1000)
    listed = stub.List(request, timeout=CALL_SECONDS_MAX, wait_for_ready=True).records
    return {record.key: (record.revision, json.loads(record.document_json)) for record in listed}


if __name__ == "__main__":
    sys.exit(main())
