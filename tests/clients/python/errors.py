"""What a Python application can read from Pannier's errors, against the real binary."""

import sys
import uuid

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from connection import cache_stub, open_channel
from pannier.cache.v1 import cache_pb2
from pannier.errors.v1 import errors_pb2
from report import CheckFailed, Report, expect, expect_that
from sidecar import Sidecar, binary

NAMESPACE = "errors"
CALL_SECONDS_MAX = 10.0


class Refusal:
    """An error as an application sees it: the code, the reason, and the fields that are wrong."""

    def __init__(self, error):
        self.code = error.code().name
        self.message = error.details()
        self.reason = self.domain = ""
        self.violations = {}
        self.retryable = False
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            self._take(detail)

    def _take(self, detail):
        info, request, retry = (
            error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        )
        if detail.Unpack(info):
            self.reason, self.domain = info.reason, info.domain
        elif detail.Unpack(request):
            self.violations = {violation.field: violation.description for violation in request.field_violations}
        elif detail.Unpack(retry):
            self.retryable = True


class ItemRefusal:
    """The error of one item of a batch: what the single call would have told."""

    def __init__(self, error):
        self.code, self.reason, self.message = error.code, error.reason, error.message
        self.violations = {}
        for detail in error.details:
            request = error_details_pb2.BadRequest()
            if detail.Unpack(request):
                self.violations = {violation.field: violation.description for violation in request.field_violations}


def refusal_of(method, request):
    """Makes a call that must fail; returns how it did."""
    try:
        method(request, timeout=CALL_SECONDS_MAX)
    except grpc.RpcError as error:
        return Refusal(error)
    raise CheckFailed(f"{type(request).__name__} was accepted, but must be refused")


def expect_refusal(refusal, code, reason):
    """Fails unless code and reason are these, and the error comes from Pannier with a sentence."""
    expect((refusal.code, refusal.reason), (code, reason), "code and reason")
    expect(refusal.domain, "pannier.dev", "domain")
    expect_that(refusal.message, "an error must say what is wrong")


def expect_violations(refusal, *fields):
    """Fails unless each field is named in one answer, with a description."""
    for field in fields:
        named = [path for path in refusal.violations if path == field or path.startswith((f"{field}[", f"{field}."))]
        expect_that(named, f"no violation names {field}; named are {sorted(refusal.violations)}")
        expect_that(all(refusal.violations[path] for path in named), f"the violation of {field} says nothing")


def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python errors")
    print(f"  binary {binary()}")
    for transport in ("tcp", "unix"):
        with Sidecar() as sidecar, open_channel(sidecar.target(transport)) as channel:
            report.section(f"over {transport} ({sidecar.target(transport)})")
            stub = cache_stub(channel)
            wrong_fields(report, stub)
            broken_conditions(report, stub)
            limits(report, stub)
            connection_trouble(report, sidecar, stub)
    return report.finish()


def wrong_fields(report, stub):
    """BadRequest lists every field that is wrong, not just the first."""
    with report.step("a Put with five wrong fields names all five at once") as note:
        item = cache_pb2.PutItem(key="", metadata_json="[not an object", tags=[""], ttl=Duration(seconds=-1))
        refusal = refusal_of(stub.Put, cache_pb2.PutRequest(namespace="No Such Name!", item=item))
        expect_refusal(refusal, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        expect_violations(refusal, "namespace", "item.key", "item.metadata_json", "item.tags", "item.ttl")
        note(", ".join(sorted(refusal.violations)))
    with report.step("in a BatchPut the items that are wrong fail alone, with the details of the single call") as note:
        items = [cache_pb2.PutItem(key=f"key {place}", value=b"value") for place in range(6)]
        items[3].ttl.CopyFrom(Duration(seconds=-1))
        items[5].key = ""
        request = cache_pb2.BatchPutRequest(namespace=NAMESPACE, items=items)
        results = stub.BatchPut(request).results
        failed = {place: ItemRefusal(result.error) for place, result in enumerate(results) if result.HasField("error")}
        expect(sorted(failed), [3, 5], "places of the items that failed")
        expect([list(item.violations) for item in failed.values()], [["ttl"], ["key"]], "fields named")
        expect({item.reason for item in failed.values()}, {errors_pb2.ERROR_REASON_INVALID_ARGUMENT}, "reasons")
        note("; ".join(item.message for item in failed.values()))
    with report.step("with atomic they refuse the whole batch, named by their place") as note:
        request.atomic = True
        request.items[0].key = "never stored"
        refusal = refusal_of(stub.BatchPut, request)
        expect_refusal(refusal, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        expect(sorted(refusal.violations), ["items[3].ttl", "items[5].key"], "fields named")
        exists = stub.Exists(cache_pb2.ExistsRequest(namespace=NAMESPACE, keys=["never stored"]))
        expect([result.exists for result in exists.results], [False], "the right items of a refused batch stored")
        note(", ".join(sorted(refusal.violations)))
    with report.step("a damaged page token is told from other wrong fields"):
        request = cache_pb2.ListRequest(namespace=NAMESPACE, page_token="damaged")
        expect_refusal(refusal_of(stub.List, request), "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


def broken_conditions(report, stub):
    """Each broken condition has a code and a reason of its own."""

    def put(**item):
        item = cache_pb2.PutItem(**{"key": "taken", "value": b"value", **item})
        return cache_pb2.PutRequest(namespace=NAMESPACE, item=item)

    stub.Put(put())
    for name, request, code, reason in (
        ("if_absent on a key that is there", put(if_absent=True), "ALREADY_EXISTS", "ENTRY_EXISTS"),
        ("if_present on a key that is not", put(key="free", if_present=True), "NOT_FOUND", "ENTRY_NOT_FOUND"),
        ("if_etag with another etag", put(if_etag="another"), "ABORTED", "ETAG_MISMATCH"),
        ("a fill with a lease that nobody gave", put(lease_token=str(uuid.uuid4())), "ABORTED", "LEASE_LOST"),
    ):
        with report.step(f"{name} is {code}, {reason}"):
            refusal = refusal_of(stub.Put, request)
            expect_refusal(refusal, code, reason)
            expect(refusal.retryable, False, "a broken condition called retryable")
    with report.step("in a batch a broken condition fails its own item only"):
        items = [cache_pb2.PutItem(key=key, value=b"new", if_absent=True) for key in ("a", "taken", "b")]
        results = stub.BatchPut(cache_pb2.BatchPutRequest(namespace=NAMESPACE, items=items)).results
        expect([result.WhichOneof("outcome") for result in results], ["put", "error", "put"], "outcomes")
        expect(results[1].error.code, grpc.StatusCode.ALREADY_EXISTS.value[0], "code of the item")
        expect(results[1].error.reason, errors_pb2.ERROR_REASON_ENTRY_EXISTS, "reason of the item")
    with report.step("a request_id with another body is refused"):
        request_id = str(uuid.uuid4())
        for value, refused in ((b"one", False), (b"two", True)):
            request = put(value=value)
            request.request_id = request_id
            if refused:
                expect_refusal(refusal_of(stub.Put, request), "INVALID_ARGUMENT", "REQUEST_ID_REUSED")
            else:
                stub.Put(request)
    with report.step("a namespace that does not exist is NOT_FOUND, NAMESPACE_NOT_FOUND"):
        refusal = refusal_of(stub.GetNamespace, cache_pb2.GetNamespaceRequest(name="nowhere"))
        expect_refusal(refusal, "NOT_FOUND", "NAMESPACE_NOT_FOUND")


def limits(report, stub):
    """A limit that is passed is named, so that whoever reads the error can change it."""
    for name, request, code, reason, setting in (
        (
            "a key too long", cache_pb2.PutRequest(item=cache_pb2.PutItem(key="k" * 1025, value=b"")),
            "INVALID_ARGUMENT", "INVALID_ARGUMENT", "cache.key_bytes_max",
        ),
        (
            "a message too large", cache_pb2.PutRequest(item=cache_pb2.PutItem(key="k", value=bytes(40_000_000))),
            "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE", "server.message_bytes_max",
        ),
    ):
        with report.step(f"{name} is {code} and names {setting}"):
            request.namespace = NAMESPACE
            refusal = refusal_of(stub.Put, request)
            expect_refusal(refusal, code, reason)
            told = " ".join((refusal.message, *refusal.violations.values()))
            expect_that(setting in told, f"the error does not name {setting}: {told}")
    with report.step("and the channel still works afterwards"):
        stub.Put(cache_pb2.PutRequest(namespace=NAMESPACE, item=cache_pb2.PutItem(key="after", value=b"fine")))


def connection_trouble(report, sidecar, stub):
    """A sidecar that is gone and a condition that does not hold are different errors; only the first is worth a retry."""
    put = cache_pb2.PutRequest(
        namespace=NAMESPACE, item=cache_pb2.PutItem(key="taken", value=b"value", if_absent=True)
    )
    with report.step("while it runs: ALREADY_EXISTS, not UNAVAILABLE"):
        expect_refusal(refusal_of(stub.Put, put), "ALREADY_EXISTS", "ENTRY_EXISTS")
    with report.step("once it is stopped: UNAVAILABLE, with no reason of Pannier's"):
        sidecar.stop()
        refusal = refusal_of(stub.Put, put)
        expect((refusal.code, refusal.reason), ("UNAVAILABLE", ""), "code and reason")
    with report.step("and where nothing ever listened: UNAVAILABLE"):
        with open_channel("unix:/nonexistent/pannier.sock") as nowhere:
            expect(refusal_of(cache_stub(nowhere).Put, put).code, "UNAVAILABLE", "code")


if __name__ == "__main__":
    sys.exit(main())
