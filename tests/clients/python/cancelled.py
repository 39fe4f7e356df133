"""Calls that are cancelled early cost nobody else a call, on one connection of a Python application."""

import asyncio
import random
import sys

import grpc

from connection import cache_stub, open_async_channel
from pannier.cache.v1 import cache_pb2
from report import Report, expect
from sidecar import Sidecar, binary

NAMESPACE = "cancelled"
CALLS = 400
IN_FLIGHT = 8


def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python cancelled")
    print(f"  binary {binary()}")
    for transport in ("tcp", "unix"):
        with Sidecar() as sidecar:
            report.section(f"over {transport} ({sidecar.target(transport)})")
            with report.step("of honest calls beside cancelled ones none fails") as note:
                honest, cancelled, failures = asyncio.run(mixed(sidecar.target(transport)))
                note(f"{honest} honest calls, {cancelled} cancelled")
                expect(failures, [], "honest calls that failed")
    return report.finish()


async def mixed(target):
    """Counts the calls of workers of which half cancel theirs, at any moment between the sending and the answer."""
    failures = []
    async with open_async_channel(target) as channel:
        stub = cache_stub(channel)
        cancelling = [asyncio.ensure_future(cancel(stub, number)) for number in range(IN_FLIGHT)]
        working = [asyncio.ensure_future(work(stub, number, failures)) for number in range(IN_FLIGHT)]
        await asyncio.gather(*working)
        cancelled = sum(await asyncio.gather(*cancelling))
    return IN_FLIGHT * CALLS, cancelled, failures


async def work(stub, number, failures):
    """Makes honest calls one after the other."""
    for turn in range(CALLS):
        failure = await call(stub, number, turn)
        if failure:
            failures.append(failure)


async def cancel(stub, number):
    """Makes calls and cancels them, some before they are sent, some while they are answered. Returns how many were cancelled."""
    cancelled = 0
    chance = random.Random(number)
    for turn in range(CALLS):
        doomed = stub.Put(put(f"doomed {number} {turn}"), timeout=10)
        await asyncio.sleep(chance.choice((0, 0, 0.0002, 0.0005, 0.001, 0.002)))
        cancelled += doomed.cancel()
    return cancelled


async def call(stub, number, turn):
    """An honest call; returns how it failed, or nothing."""
    try:
        await stub.Put(put(f"kept {number} {turn}"), timeout=10)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}"
    return ""


def put(key):
    """A put of a value that differs with the key."""
    return cache_pb2.PutRequest(namespace=NAMESPACE, item=cache_pb2.PutItem(key=key, value=key.encode() * 40))


if __name__ == "__main__":
    sys.exit(main())
