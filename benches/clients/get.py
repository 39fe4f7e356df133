"""Hot Get from Python with nothing but generated stubs on grpcio's asyncio API: a closed loop, its rate printed as JSON."""

import argparse
import asyncio
import json
import sys
import time

WARM_UP_SECONDS = 0.3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="host:port or unix:/path")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--namespace", default="bench")
    parser.add_argument("--keys", type=int, default=1, help="how many keys to ask for in turn")
    parser.add_argument("--key-like", default="stored-000000000000", help="a key; its last digits are the number")
    parser.add_argument("--library", required=True, help="the folder with the generated package")
    return parser.parse_args()


def keys_like(sample, count):
    prefix = sample.rstrip("0123456789")
    return [f"{prefix}{index:0{len(sample) - len(prefix)}d}" for index in range(count)]


async def worker(stub, requests, first, window, latencies):
    begins, ends = window
    index = first
    started = time.perf_counter()
    while started < ends:
        answer = await stub.Get(requests[index % len(requests)])
        if not answer.HasField("entry"):
            sys.exit("Get missed an entry that was put")
        ended = time.perf_counter()
        if begins < ended <= ends:
            latencies.append(ended - started)
        started = ended
        index += 1


async def measure(args, grpc, messages, stubs):
    requests = [messages.GetRequest(namespace=args.namespace, key=key) for key in keys_like(args.key_like, args.keys)]
    # grpcio sends a socket's path as the authority, percent-encoded; HTTP/2 servers refuse that.
    options = [("grpc.default_authority", "localhost")] if args.address.startswith("unix:") else []
    latencies = []
    async with grpc.aio.insecure_channel(args.address, options=options) as channel:
        stub = stubs.CacheServiceStub(channel)
        await channel.channel_ready()
        begins = time.perf_counter() + WARM_UP_SECONDS
        window = (begins, begins + args.seconds)
        share = max(1, len(requests) // args.in_flight)
        workers = (worker(stub, requests, n * share, window, latencies) for n in range(args.in_flight))
        await asyncio.gather(*workers)
    return latencies


def main():
    args = arguments()
    sys.path.insert(0, args.library)
    import grpc
    from pannier.cache.v1 import cache_pb2, cache_pb2_grpc

    latencies = sorted(asyncio.run(measure(args, grpc, cache_pb2, cache_pb2_grpc)))
    if not latencies:
        sys.exit("no call completed in the time measured")

    def quantile(part):
        return latencies[min(len(latencies) - 1, int(part * len(latencies)))] * 1e6

    print(json.dumps({
        "calls_per_second": len(latencies) / args.seconds,
        "p50_us": quantile(0.50),
        "p95_us": quantile(0.95),
        "p99_us": quantile(0.99),
    }))


main()
