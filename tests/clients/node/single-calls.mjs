//! The calls for one entry or a few: what the application does beside its batches.

import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import { extract, videoIds } from "./extractor.mjs";
import { DeleteOutcome } from "./gen/pannier/cache/v1/cache_pb.js";
import { expect, expectThat } from "./report.mjs";
import { expectSame, putItem } from "./transcript-cache.mjs";

const TEN = videoIds(10);
const PAGED = videoIds(250);
const EXPIRY_MS_MAX = 5_000;

/** Every single call on a namespace of its own. */
export async function singleCalls(report, cache) {
  await report.step("Put, Get, Exists, Delete", () => putGetExistsDelete(cache));
  await report.step("a Put sent twice with one request_id happens once", () => repeatedRequest(cache));
  await report.step("Touch moves the expiry", () => touch(cache));
  await report.step("an entry with a short TTL is a miss after it", () => expiry(cache));
  await report.step("Evict takes the least recently used", () => evictLeastRecentlyUsed(cache.beside("evict")));
  await report.step("List gives every key once, in pages, by prefix and by tag", () => pages(cache.beside("pages")));
  await report.step("DeleteByTag and DeleteByPrefix", () => deleteByTagAndPrefix(cache.beside("pages")));
}

async function put(cache, extraction, options = {}) {
  return (await cache.call("put", { item: putItem(extraction), ...options })).result;
}

async function get(cache, key) {
  return (await cache.call("get", { key })).entry;
}

async function exists(cache, ...keys) {
  const { results } = await cache.call("exists", { keys });
  return results.map((result) => result.exists);
}

async function remove(cache, item) {
  const { results } = await cache.call("delete", { items: [item] });
  expect(results.length, 1, "results of one Delete");
  return DeleteOutcome[results[0].outcome];
}

async function putGetExistsDelete(cache) {
  const [key, other] = TEN;
  expect(await get(cache, key), undefined, "Get before the Put");
  const first = await put(cache, extract(key));
  expect(first.created, true, "created by the first Put");
  const entry = await get(cache, key);
  expectSame(entry, extract(key));
  expect(entry.etag, first.etag, "etag of the entry");
  const second = await put(cache, extract(key, 1));
  expect(second.created, false, "created by the second Put");
  expectThat(second.etag !== first.etag, "the etag must change with every Put");
  expect(await exists(cache, other, key, other), [false, true, false], "Exists, in the order asked");
  expect(await remove(cache, { key, ifEtag: first.etag }), "ETAG_MISMATCH", "Delete with the old etag");
  expect(await remove(cache, { key, ifEtag: second.etag }), "DELETED", "Delete with the right etag");
  expect(await remove(cache, { key }), "NOT_FOUND", "Delete of what is gone");
  expect(await get(cache, key), undefined, "Get after the Delete");
}

async function repeatedRequest(cache) {
  const requestId = randomUUID();
  const first = await put(cache, extract(TEN[0]), { requestId });
  const again = await put(cache, extract(TEN[0]), { requestId });
  expect([again.etag, again.created], [first.etag, true], "answer to the repeated request");
}

async function touch(cache) {
  await put(cache, extract(TEN[0]));
  const ttl = { case: "ttl", value: durationFromMs(60_000) };
  const items = [TEN[0], "no such video"].map((key) => ({ key, expiry: ttl }));
  const [touched, absent] = (await cache.call("touch", { items })).results;
  expect([touched.found, absent.found], [true, false], "found");
  const leftMs = timestampMs(touched.expireTime) - Date.now();
  expectThat(leftMs > 50_000 && leftMs <= 61_000, `60 s were asked, ${leftMs} ms are left`);
  expect((await get(cache, TEN[0])).expireTime, touched.expireTime, "expiry of the entry");
}

async function expiry(cache) {
  const item = { ...putItem(extract(TEN[2])), expiry: { case: "ttl", value: durationFromMs(200) } };
  const started = performance.now();
  await cache.call("put", { item });
  while (await get(cache, TEN[2])) {
    expectThat(performance.now() - started < EXPIRY_MS_MAX, "still there long after its expiry");
    await pause(10);
  }
  const took = performance.now() - started;
  expectThat(took >= 200, `gone after ${took} ms, before its expiry`);
  return `gone after ${took.toFixed(0)} ms`;
}

async function evictLeastRecentlyUsed(cache) {
  for (const videoId of TEN) await put(cache, extract(videoId));
  for (const used of TEN.slice(0, 3)) await get(cache, used);
  const before = await cache.stats();
  const { evictedCount, freedBytes } = await cache.call("evict", { count: 4 });
  expect(evictedCount, 4n, "evicted");
  const left = TEN.map((_, place) => place < 3 || place > 6);
  expect(await exists(cache, ...TEN), left, "who is left");
  const after = await cache.stats();
  expect(after.storedBytes, before.storedBytes - freedBytes, "stored bytes after the eviction");
  expect([after.entryCount, after.evictedCount], [6n, 4n], "entries left and evictions counted");
}

async function pages(cache) {
  await cache.saveMany(PAGED.map((videoId) => extract(videoId)));
  const all = await cache.listAll({ pageSize: 100 });
  expect(keys(all.entries), [...PAGED].sort(), "keys, in byte order, each once");
  expect(all.pages, 3, "pages of 100");
  for (const entry of all.entries) {
    expectThat(!entry.content.value?.length, `${entry.key} came with a value, though listed without`);
    expectThat(entry.sizeBytes > 0n, "an entry listed without its value must tell its size");
  }
  const [tag] = extract(PAGED[0]).tags;
  const tagged = await cache.listAll({ tag, pageSize: 10 });
  expect(keys(tagged.entries), PAGED.filter((videoId) => extract(videoId).tags.includes(tag)).sort(), "keys with a tag");
  const prefix = PAGED[0].slice(0, 1);
  const prefixed = await cache.listAll({ prefix, includeValues: true });
  expect(keys(prefixed.entries), PAGED.filter((videoId) => videoId.startsWith(prefix)).sort(), "keys with a prefix");
  for (const entry of prefixed.entries) expectSame(entry, extract(entry.key));
  return `${tagged.entries.length} with a tag, ${prefixed.entries.length} with a prefix`;
}

async function deleteByTagAndPrefix(cache) {
  const [tag] = extract(PAGED[0]).tags;
  const isTagged = (videoId) => extract(videoId).tags.includes(tag);
  const untagged = PAGED.filter((videoId) => !isTagged(videoId)).sort();
  const byTag = await cache.call("deleteByTag", { tag });
  expect([byTag.deletedCount, byTag.more], [BigInt(PAGED.filter(isTagged).length), false], "deleted by tag");
  const prefix = untagged[0].slice(0, 1);
  const left = untagged.filter((videoId) => !videoId.startsWith(prefix));
  const byPrefix = await cache.call("deleteByPrefix", { prefix });
  const expected = [BigInt(untagged.length - left.length), false];
  expect([byPrefix.deletedCount, byPrefix.more], expected, "deleted by prefix");
  expect(keys((await cache.listAll()).entries), left, "what is left");
}

function keys(entries) {
  return entries.map(({ key }) => key);
}
