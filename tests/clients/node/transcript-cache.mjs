//! The application's side of the cache: transcripts saved and found in batches, and the cache-first flow over them.

import { toBinary, create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { contentDigest, extract } from "./extractor.mjs";
import { BatchPutRequestSchema } from "./gen/pannier/cache/v1/cache_pb.js";
import { expect, expectThat } from "./report.mjs";

const NEGATIVE_TTL_MS = 3_600_000;

/** What is cached for one extraction: the transcript for the namespace's time, a failure for an hour. */
export function putItem({ videoId, metadataJson, tags, contentType, content, failed }) {
  const expiry = failed ? { case: "ttl", value: durationFromMs(NEGATIVE_TTL_MS) } : undefined;
  return { key: videoId, metadataJson, tags, contentType, content, expiry };
}

/** Fails unless the entry holds this extraction whole: content, metadata, tags, type. */
export function expectSame(entry, extraction) {
  const key = extraction.videoId;
  expect(entry.key, key, "key of the entry");
  expect(entry.content.case, extraction.content.case, `kind of ${key}`);
  expect(contentDigest(entry.content), extraction.sha256, `SHA-256 of ${key}`);
  expect(entry.metadataJson, extraction.metadataJson, `metadata of ${key}`);
  expect(entry.tags, [...extraction.tags].sort(), `tags of ${key}`);
  expect(entry.contentType, extraction.contentType, `content type of ${key}`);
}

/** Transcripts in one namespace. */
export class TranscriptCache {
  constructor(client, namespace) {
    this.client = client;
    this.namespace = namespace;
  }

  /** The same client on a neighbouring namespace. */
  beside(suffix) {
    return new TranscriptCache(this.client, `${this.namespace}-${suffix}`);
  }

  /** Calls a method on this namespace. */
  call(method, request = {}) {
    return this.client.call[method]({ namespace: this.namespace, ...request });
  }

  /**
   * Looks all ids up: `{ found, lookups }`, the entries by id and the number of calls that took.
   * An answer has a size limit; what did not fit is asked for again.
   */
  async getMany(videoIds) {
    const found = new Map();
    let asked = videoIds;
    let lookups = 0;
    while (asked.length) {
      const { results } = await this.call("batchGet", { keys: asked });
      lookups += 1;
      expect(results.map(({ key }) => key), asked, "keys answered, in the order asked");
      for (const { key, entry } of results) if (entry) found.set(key, entry);
      const deferred = results.filter((result) => result.deferred).map(({ key }) => key);
      expectThat(deferred.length < asked.length, "a lookup deferred every key: it would never end");
      asked = deferred;
    }
    return { found, lookups };
  }

  /** Saves all in one call, which is one transaction. Fails unless each was stored. Resolves to the bytes sent. */
  async saveMany(extractions) {
    const request = { namespace: this.namespace, items: extractions.map(putItem) };
    const { results } = await this.client.call.batchPut(request);
    expect(results.length, extractions.length, "results of a BatchPut");
    const refused = results.filter(({ outcome }) => outcome.case !== "put").map(({ outcome }) => outcome.value?.message);
    expect(refused, [], "items a BatchPut refused");
    return toBinary(BatchPutRequestSchema, create(BatchPutRequestSchema, request)).length;
  }

  /** Finds what is cached, extracts and saves the rest, merges both: `{ hits, missing, merged }`, digests by id. */
  async cacheFirst(videoIds, worker = 0) {
    const { found } = await this.getMany(videoIds);
    const missing = videoIds.filter((videoId) => !found.has(videoId));
    const fresh = missing.map((videoId) => extract(videoId, worker));
    if (fresh.length) await this.saveMany(fresh);
    const merged = new Map([...found].map(([videoId, entry]) => [videoId, contentDigest(entry.content)]));
    for (const { videoId, sha256 } of fresh) merged.set(videoId, sha256);
    return { hits: found.size, missing, merged };
  }

  /** The namespace's numbers. */
  async stats() {
    return (await this.call("stats")).stats;
  }

  /** Every entry of a listing, page by page: `{ entries, pages }`. */
  async listAll(query = {}) {
    const entries = [];
    let pages = 0;
    let pageToken = "";
    do {
      const page = await this.call("list", { ...query, pageToken });
      entries.push(...page.entries);
      pageToken = page.nextPageToken;
      pages += 1;
    } while (pageToken);
    return { entries, pages };
  }
}
