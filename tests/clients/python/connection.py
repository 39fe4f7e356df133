"""Channels to the sidecar, made the way an application should make them."""

import json
import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parent / "gen"))

from pannier.cache.v1 import cache_pb2_grpc  # noqa: E402 (needs the path above)

# gRPC refuses messages over 4 MiB unless told otherwise; a batch of 1,000 transcripts is larger.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
CALL_SECONDS_MAX = 30.0

# A call that meets a connection as it breaks fails with UNAVAILABLE, wait_for_ready or not. Reads may then be sent again, and
# Sync, whose mutations are numbered; a mutation only with a request_id, which is the application's to choose.
REPEATABLE = {
    "pannier.cache.v1.CacheService": ("Get", "BatchGet", "Exists", "List", "Stats"),
    "pannier.prompts.v1.PromptsService": ("Get", "BatchGet", "List", "Search", "Stats"),
    "pannier.records.v1.RecordsService": ("Get", "BatchGet", "List", "Query", "Changes", "Sync"),
}
RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": service, "method": method} for service, methods in REPEATABLE.items() for method in methods
            ],
            "retryPolicy": RETRY,
        }
    ]
}

OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Over a Unix socket grpcio would send the percent-encoded path as authority, which HTTP/2 servers refuse.
    ("grpc.default_authority", "localhost"),
    # A sidecar that restarts is back in a moment; the default waits a second before the first new attempt.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Channels to one address share a connection otherwise; each of ours shall be its own.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
)


def open_channel(target):
    """A blocking channel."""
    return grpc.insecure_channel(target, options=OPTIONS)


def open_async_channel(target):
    """A channel for asyncio; make it inside the running loop."""
    return grpc.aio.insecure_channel(target, options=OPTIONS)


def cache_stub(channel):
    """The cache service on a channel, blocking or asyncio."""
    return cache_pb2_grpc.CacheServiceStub(channel)
