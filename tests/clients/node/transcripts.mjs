//! The transcript application's flow against the real binary: 1,000 videos, over TCP and over a Unix socket.
//!
//! Usage: node transcripts.mjs [tcp] [unix]

import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";

import { CacheClient } from "./connection.mjs";
import { contentDigest, extract, videoIds } from "./extractor.mjs";
import { EvictionPolicy } from "./gen/pannier/cache/v1/cache_pb.js";
import { leases } from "./leases.mjs";
import { expect, expectThat, Report } from "./report.mjs";
import { binary, Sidecar } from "./sidecar.mjs";
import { singleCalls } from "./single-calls.mjs";
import { expectSame, TranscriptCache } from "./transcript-cache.mjs";

const VIDEOS = videoIds(1000);
const isSavedBefore = (_, place) => [0, 3, 7].includes(place % 10);
// They overlap: all but the first and the last 200 videos are in two of them.
const BATCHES = [0, 200, 400, 600].map((start) => VIDEOS.slice(start, start + 400));

async function main() {
  const transports = process.argv.length > 2 ? process.argv.slice(2) : ["tcp", "unix"];
  const report = new Report("node transcripts");
  console.log(`  binary ${binary()}`);
  for (const videoId of VIDEOS) extract(videoId); // ahead of the clock: the figures below are to be the cache's
  for (const transport of transports) await overTransport(report, transport);
  return report.finish();
}

/** The whole flow over one transport, on data of its own. */
async function overTransport(report, transport) {
  const sidecar = new Sidecar();
  let client;
  try {
    await sidecar.start();
    client = new CacheClient(sidecar.target(transport));
    report.section(`over ${transport} (${sidecar.target(transport)})`);
    const cache = new TranscriptCache(client, "transcripts");
    await declare(report, cache);
    await firstPass(report, cache);
    await secondPass(report, cache);
    await partialHits(report, cache.beside("partial"));
    await concurrentBatches(report, cache.beside("concurrent"));
    await singleCalls(report, cache.beside("single"));
    await leases(report, cache.beside("leased"));
    await restart(report, sidecar, cache);
  } finally {
    client?.close();
    await sidecar.remove();
  }
}

/** The application says its limits at its start; from then on misses count too. */
async function declare(report, { client, namespace: name }) {
  const limits = {
    name,
    entriesMax: 10_000n,
    bytesMax: 500_000_000n,
    defaultExpiry: { case: "defaultTtl", value: durationFromMs(30 * 24 * 3_600_000) },
    eviction: EvictionPolicy.LRU,
  };
  await report.step("the application's limits are declared, once or again", async () => {
    for (const created of [true, false]) {
      const answer = await client.call.updateNamespace({ namespace: limits });
      expect(answer.created, created, "created");
    }
    const kept = (await client.call.getNamespace({ name })).namespace;
    for (const field of Object.keys(limits)) expect(kept[field], limits[field], field);
  });
}

/** Nothing is cached: all is extracted and saved. */
async function firstPass(report, cache) {
  await report.step("first pass finds none of 1,000", async () => {
    const { found, lookups } = await cache.getMany(VIDEOS);
    expect(found.size, 0, "hits");
    return `${lookups} lookup`;
  });
  await report.step("the missing 1,000 are saved in one call", async () => {
    const extractions = VIDEOS.map((videoId) => extract(videoId));
    const bytes = await cache.saveMany(extractions);
    const failures = extractions.filter(({ failed }) => failed).length;
    expectThat(failures > 0, "some videos must fail, or negative entries go untested");
    return `${(bytes / 1e6).toFixed(1)} MB, ${failures} of them negative entries`;
  });
}

/** All is cached, byte for byte, and the numbers say so. */
async function secondPass(report, cache) {
  await report.step("second pass finds all 1,000, identical by SHA-256", async () => {
    return `${await expectAllCached(cache)} lookups, as an answer holds 16 MiB`;
  });
  await report.step("a cache-first batch extracts nothing any more", async () => {
    const { hits, missing } = await cache.cacheFirst(VIDEOS.slice(0, 100));
    expect([hits, missing], [100, []], "hits and missing");
  });
  await report.step("stats show entries, ages and hit rate", async () => {
    const stats = await cache.stats();
    expectCounts(stats);
    expect(stats.hitRate.toFixed(6), (1100 / 2100).toFixed(6), "hit rate");
    expectThat(stats.storedBytes > 0n, "stored bytes must count");
    const [oldest, newest] = [stats.oldestEntryTime, stats.newestEntryTime].map(timestampMs);
    expectThat(0 < oldest && oldest <= newest, "the oldest entry must not be younger than the newest");
    expectThat(Math.abs(Date.now() - newest) < 300_000, "entries must be of the last minutes");
    return `hit rate ${stats.hitRate.toFixed(3)}, ${(Number(stats.storedBytes) / 1e6).toFixed(1)} MB stored`;
  });
}

/** Three in ten are cached: just the others are extracted. */
async function partialHits(report, cache) {
  await report.step("300 are saved before the batch", async () => {
    await cache.saveMany(VIDEOS.filter(isSavedBefore).map((videoId) => extract(videoId)));
  });
  await report.step("partial hits: 300 found, 700 extracted, 1,000 merged", async () => {
    const { hits, missing, merged } = await cache.cacheFirst(VIDEOS);
    expect(hits, 300, "hits");
    expect(missing, VIDEOS.filter((_, place) => !isSavedBefore(_, place)), "missing");
    expect(merged, new Map(VIDEOS.map((videoId) => [videoId, extract(videoId).sha256])), "merged results");
    expect((await cache.stats()).hitRate.toFixed(6), "0.300000", "hit rate");
  });
  await report.step("and then all 1,000 are found", async () => {
    await expectAllCached(cache);
  });
}

/** Batches that overlap run at once; each entry is the whole work of one of them. */
async function concurrentBatches(report, cache) {
  const made = digestsMade();
  await report.step(`${BATCHES.length} overlapping batches of 400 at once, each merged whole`, async () => {
    const outcomes = await Promise.all(BATCHES.map((asked, worker) => cache.cacheFirst(asked, worker)));
    outcomes.forEach(({ merged }, worker) => {
      expect(new Set(merged.keys()), new Set(BATCHES[worker]), "ids in the merged result");
      for (const [videoId, digest] of merged) {
        expectThat(made.get(videoId).has(digest), `${videoId} was merged with bytes that nobody made`);
      }
    });
    return `hits per batch ${outcomes.map(({ hits }) => hits).join(", ")}`;
  });
  await report.step("each of the 1,000 is one batch's own work, unmixed", async () => {
    const { found } = await cache.getMany(VIDEOS);
    expect(found.size, 1000, "hits");
    for (const [videoId, { content }] of found) {
      expectThat(made.get(videoId).has(contentDigest(content)), `${videoId} has bytes that nobody made`);
    }
    expect((await cache.stats()).entryCount, 1000n, "entries");
  });
}

/** By video id the digests of what the batches that ask for it would make. */
function digestsMade() {
  const made = new Map(VIDEOS.map((videoId) => [videoId, new Set()]));
  BATCHES.forEach((asked, worker) => {
    for (const videoId of asked) made.get(videoId).add(extract(videoId, worker).sha256);
  });
  return made;
}

/** SIGTERM with the channel open, a new start on the same data, and nothing is lost. */
async function restart(report, sidecar, cache) {
  await report.step("access counts before the restart: 1 for the save, 1 a read", () => expectAccessCounts(cache));
  await report.step("SIGTERM ends it with code 0 in time, idle channel and all", async () => {
    return `exit after ${(await sidecar.stop()).toFixed(0)} ms`;
  });
  await report.step("it starts again on the same data", async () => {
    return `ready after ${(await sidecar.start()).toFixed(0)} ms`;
  });
  await report.step("access counts and hit rate were kept (same channel, reconnected)", async () => {
    expectCounts(await cache.stats());
    await expectAccessCounts(cache);
  });
  await report.step("all 1,000 are still hits, identical by SHA-256", async () => {
    await expectAllCached(cache);
  });
}

/** Looks all videos up and compares each with what was extracted. Resolves to the number of lookups. */
async function expectAllCached(cache) {
  const { found, lookups } = await cache.getMany(VIDEOS);
  expect(found.size, VIDEOS.length, "hits");
  for (const videoId of VIDEOS) expectSame(found.get(videoId), extract(videoId));
  return lookups;
}

/** After the second pass: 1,000 misses of the first, 1,000 hits, and 100 of the cache-first batch. */
function expectCounts({ entryCount, hitCount, missCount }) {
  expect([entryCount, hitCount, missCount], [1000n, 1100n, 1000n], "entries, hits, misses");
}

/** The second pass read all once and the first 100 twice; listing counts no access. */
async function expectAccessCounts(cache) {
  const { entries } = await cache.listAll({ pageSize: 1000 });
  const counts = new Map(entries.map(({ key, accessCount }) => [key, accessCount]));
  const expected = new Map([...VIDEOS].sort().map((videoId) => [videoId, VIDEOS.indexOf(videoId) < 100 ? 3n : 2n]));
  expect(counts, expected, "access counts");
}

process.exitCode = await main();
