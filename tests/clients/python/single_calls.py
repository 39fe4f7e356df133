"""The calls for one entry or a few: what the application does beside its batches."""

import time
import uuid

from google.protobuf.duration_pb2 import Duration

from connection import CALL_SECONDS_MAX
from extractor import extract, video_ids
from pannier.cache.v1 import cache_pb2
from report import expect, expect_that
from transcript_cache import expect_same, put_item

TEN = video_ids(10)
EXPIRY_SECONDS_MAX = 5.0


def run(report, cache):
    """Every single call on a namespace of its own."""
    for step, name in (
        (_put_get_exists_delete, "Put, Get, Exists, Delete"),
        (_repeated_request, "a Put sent twice with one request_id happens once"),
        (_touch, "Touch moves the expiry"),
        (_expiry, "an entry with a short TTL is a miss after it"),
        (_evict_least_recently_used, "Evict takes the least recently used"),
        (_pages, "List gives every key once, in pages, by prefix and by tag"),
        (_delete_by_tag_and_prefix, "DeleteByTag and DeleteByPrefix"),
    ):
        with report.step(name) as note:
            if text := step(cache):
                note(text)


def _put(cache, extraction, **options):
    request = cache_pb2.PutRequest(namespace=cache.namespace, item=put_item(extraction), **options)
    return cache.stub.Put(request, timeout=CALL_SECONDS_MAX).result


def _get(cache, key):
    request = cache_pb2.GetRequest(namespace=cache.namespace, key=key)
    answer = cache.stub.Get(request, timeout=CALL_SECONDS_MAX)
    return answer.entry if answer.HasField("entry") else None


def _exists(cache, *keys):
    request = cache_pb2.ExistsRequest(namespace=cache.namespace, keys=keys)
    results = cache.stub.Exists(request, timeout=CALL_SECONDS_MAX).results
    return [result.exists for result in results]


def _delete(cache, **item):
    request = cache_pb2.DeleteRequest(namespace=cache.namespace, items=[cache_pb2.DeleteItem(**item)])
    (result,) = cache.stub.Delete(request, timeout=CALL_SECONDS_MAX).results
    return cache_pb2.DeleteOutcome.Name(result.outcome).removeprefix("DELETE_OUTCOME_")


def _put_get_exists_delete(cache):
    key, other = TEN[0], TEN[1]
    expect(_get(cache, key), None, "Get before the Put")
    first = _put(cache, extract(key))
    expect(first.created, True, "created by the first Put")
    entry = _get(cache, key)
    expect_same(entry, extract(key))
    expect(entry.etag, first.etag, "etag of the entry")
    second = _put(cache, extract(key, worker=1))
    expect(second.created, False, "created by the second Put")
    expect_that(second.etag != first.etag, "the etag must change with every Put")
    expect(_exists(cache, other, key, other), [False, True, False], "Exists, in the order asked")
    expect(_delete(cache, key=key, if_etag=first.etag), "ETAG_MISMATCH", "Delete with the old etag")
    expect(_delete(cache, key=key, if_etag=second.etag), "DELETED", "Delete with the right etag")
    expect(_delete(cache, key=key), "NOT_FOUND", "Delete of what is gone")
    expect(_get(cache, key), None, "Get after the Delete")


def _repeated_request(cache):
    request_id = str(uuid.uuid4())
    first = _put(cache, extract(TEN[0]), request_id=request_id)
    again = _put(cache, extract(TEN[0]), request_id=request_id)
    expect((again.etag, again.created), (first.etag, True), "answer to the repeated request")


def _touch(cache):
    _put(cache, extract(TEN[0]))
    items = [
        cache_pb2.TouchItem(key=TEN[0], ttl=Duration(seconds=60)),
        cache_pb2.TouchItem(key="no such video", ttl=Duration(seconds=60)),
    ]
    request = cache_pb2.TouchRequest(namespace=cache.namespace, items=items)
    touched, absent = cache.stub.Touch(request, timeout=CALL_SECONDS_MAX).results
    expect((touched.found, absent.found), (True, False), "found")
    left = touched.expire_time.ToNanoseconds() / 1e9 - time.time()
    expect_that(50 < left <= 61, f"60 s were asked, {left:.1f} s are left")
    expect(_get(cache, TEN[0]).expire_time, touched.expire_time, "expiry of the entry")


def _expiry(cache):
    item = put_item(extract(TEN[2]))
    item.ttl.CopyFrom(Duration(nanos=200_000_000))
    started = time.monotonic()
    cache.stub.Put(cache_pb2.PutRequest(namespace=cache.namespace, item=item), timeout=CALL_SECONDS_MAX)
    while _get(cache, TEN[2]) is not None:
        expect_that(time.monotonic() - started < EXPIRY_SECONDS_MAX, "still there long after its expiry")
        time.sleep(0.01)
    took = time.monotonic() - started
    expect_that(took >= 0.2, f"gone after {took:.3f} s, before its expiry")
    return f"gone after {took * 1000:.0f} ms"


def _evict_least_recently_used(cache):
    cache = type(cache)(cache.stub, f"{cache.namespace}-evict")
    for video_id in TEN:
        _put(cache, extract(video_id))
    for used in TEN[:3]:
        _get(cache, used)
    before = cache.stats()
    request = cache_pb2.EvictRequest(namespace=cache.namespace, count=4)
    answer = cache.stub.Evict(request, timeout=CALL_SECONDS_MAX)
    expect(answer.evicted_count, 4, "evicted")
    expect(_exists(cache, *TEN), [True] * 3 + [False] * 4 + [True] * 3, "who is left")
    after = cache.stats()
    expect(after.stored_bytes, before.stored_bytes - answer.freed_bytes, "stored bytes after the eviction")
    expect((after.entry_count, after.evicted_count), (6, 4), "entries left and evictions counted")


def _pages(cache):
    cache = type(cache)(cache.stub, f"{cache.namespace}-pages")
    videos = video_ids(250)
    cache.save_many([extract(video_id) for video_id in videos])
    entries, pages = cache.list_all(page_size=100)
    expect([entry.key for entry in entries], sorted(videos), "keys, in byte order, each once")
    expect(pages, 3, "pages of 100")
    for entry in entries:
        expect(entry.value, b"", "value of an entry listed without values")
        expect_that(entry.size_bytes > 0, "an entry listed without its value must tell its size")
    tag = extract(videos[0]).tags[0]
    tagged, _ = cache.list_all(tag=tag, page_size=10)
    expect([entry.key for entry in tagged], sorted(v for v in videos if tag in extract(v).tags), "keys with a tag")
    prefix = videos[0][:1]
    entries, _ = cache.list_all(prefix=prefix, include_values=True)
    expect([entry.key for entry in entries], sorted(v for v in videos if v.startswith(prefix)), "keys with a prefix")
    for entry in entries:
        expect_same(entry, extract(entry.key))
    return f"{len(tagged)} with a tag, {len(entries)} with a prefix"


def _delete_by_tag_and_prefix(cache):
    cache = type(cache)(cache.stub, f"{cache.namespace}-pages")
    videos = set(video_ids(250))
    tag = extract(video_ids(1)[0]).tags[0]
    request = cache_pb2.DeleteByTagRequest(namespace=cache.namespace, tag=tag)
    answer = cache.stub.DeleteByTag(request, timeout=CALL_SECONDS_MAX)
    tagged = {video_id for video_id in videos if tag in extract(video_id).tags}
    expect((answer.deleted_count, answer.more), (len(tagged), False), "deleted by tag")
    prefix = min(videos - tagged)[:1]
    prefixed = {video_id for video_id in videos - tagged if video_id.startswith(prefix)}
    request = cache_pb2.DeleteByPrefixRequest(namespace=cache.namespace, prefix=prefix)
    answer = cache.stub.DeleteByPrefix(request, timeout=CALL_SECONDS_MAX)
    expect((answer.deleted_count, answer.more), (len(prefixed), False), "deleted by prefix")
    entries, _ = cache.list_all()
    expect([entry.key for entry in entries], sorted(videos - tagged - prefixed), "what is left")
