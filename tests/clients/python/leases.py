"""GetOrLease from asyncio: of many callers that miss at once, one does the work."""

import asyncio

import grpc
from google.protobuf.duration_pb2 import Duration

import connection
from extractor import extract, video_ids
from pannier.cache.v1 import cache_pb2
from report import expect, expect_that
from transcript_cache import expect_same, put_item

NAMESPACE = "transcripts-leased"
CALLERS = 20
LEASE = Duration(seconds=10)
WAIT = Duration(seconds=20)
NO_WAIT = Duration()
# Its transcript exists: the arithmetic makes some videos fail.
WANTED, GIVEN_BACK, LATE = [video for video in video_ids(50) if not extract(video).failed][:3]


def run(report, target):
    """All lease steps over one transport."""
    with report.step(f"{CALLERS} callers miss one key at once: one extracts, all get its value") as note:
        note(asyncio.run(_on_channel(target, _one_fills)))
    with report.step("a lease given back goes to the next caller at once"):
        asyncio.run(_on_channel(target, _given_back))
    with report.step("a late fill with a lost lease is refused with ABORTED"):
        asyncio.run(_on_channel(target, _late_fill))


async def _on_channel(target, work):
    async with connection.open_async_channel(target) as channel:
        return await work(connection.cache_stub(channel))


def _ask(stub, key, wait_max):
    request = cache_pb2.GetOrLeaseRequest(namespace=NAMESPACE, key=key, lease_ttl=LEASE, wait_max=wait_max)
    return stub.GetOrLease(request, timeout=connection.CALL_SECONDS_MAX)


def _fill(stub, key, lease_token):
    item = put_item(extract(key))
    item.lease_token = lease_token
    return stub.Put(cache_pb2.PutRequest(namespace=NAMESPACE, item=item), timeout=connection.CALL_SECONDS_MAX)


async def _one_fills(stub):
    extracted = []

    async def caller(number):
        answer = await _ask(stub, WANTED, WAIT)
        if not answer.HasField("lease"):
            return answer.entry
        # Someone who will not wait learns that the work is under way; by then the other callers are waiting.
        refused = await _ask(stub, WANTED, NO_WAIT)
        expect_that(not refused.HasField("lease") and not refused.HasField("entry"), "two callers hold one lease")
        expect_that(refused.HasField("held_until_time"), "held_until_time must say when the lease runs out")
        extracted.append(number)
        await _fill(stub, WANTED, answer.lease.token)
        return None

    entries = await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    expect(len(extracted), 1, "callers that extracted")
    served = [entry for entry in entries if entry is not None]
    expect(len(served), CALLERS - 1, "callers that were served")
    for entry in served:
        expect_same(entry, extract(WANTED))
    return f"caller {extracted[0]} extracted"


async def _given_back(stub):
    first = await _ask(stub, GIVEN_BACK, NO_WAIT)
    expect_that(first.HasField("lease"), "the first caller must get the lease")
    waiting = asyncio.ensure_future(_ask(stub, GIVEN_BACK, WAIT))
    release = cache_pb2.ReleaseLeaseRequest(namespace=NAMESPACE, key=GIVEN_BACK, lease_token=first.lease.token)
    expect((await stub.ReleaseLease(release)).released, True, "released")
    # Half the lease's time: who gets it later was not served by the release.
    second = await asyncio.wait_for(waiting, LEASE.seconds / 2)
    expect_that(second.HasField("lease"), "the waiting caller must get the lease")
    expect_that(second.lease.token != first.lease.token, "a lease's token must not come twice")
    await _fill(stub, GIVEN_BACK, second.lease.token)


async def _late_fill(stub):
    lease = (await _ask(stub, LATE, NO_WAIT)).lease
    item = put_item(extract(LATE, worker=1))
    await stub.Put(cache_pb2.PutRequest(namespace=NAMESPACE, item=item))
    try:
        await _fill(stub, LATE, lease.token)
    except grpc.aio.AioRpcError as refusal:
        expect(refusal.code(), grpc.StatusCode.ABORTED, "code of the late fill")
    else:
        expect_that(False, "a fill with a lost lease was taken")
    answer = await stub.Get(cache_pb2.GetRequest(namespace=NAMESPACE, key=LATE))
    expect_same(answer.entry, extract(LATE, worker=1))
