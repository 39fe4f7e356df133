//! Two applications' repositories on the stubs alone: the transcript cache with every field of a transcript, and the uploader with its
//! sessions, file hashes, errors and settings. Each field is stored and read back.

import { timestampFromDate, timestampDate, durationFromMs } from "@bufbuild/protobuf/wkt";

import { CacheClient, ServiceClient } from "./connection.mjs";
import { SettingsService } from "./gen/pannier/settings/v1/settings_pb.js";
import { FileState, RegisterOutcome, UploadSessionStatus, UploadsService } from "./gen/pannier/uploads/v1/uploads_pb.js";
import { Report, expect, expectThat } from "./report.mjs";
import { Sidecar, binary } from "./sidecar.mjs";

const report = new Report("node repositories");

/** A cached transcript: what the application keeps of an extraction, good or failed. */
class Transcripts {
  constructor(client) {
    this.call = client.call;
    this.namespace = "transcripts";
  }

  item({ videoId, error, ...fields }) {
    const text = new TextEncoder().encode(JSON.stringify(fields));
    const content = error
      ? { case: "negative", value: { errorCode: error.code, errorMessage: error.message } }
      : { case: "value", value: text };
    const metadataJson = JSON.stringify({ url: fields.url, extractionTimeMs: fields.extractionTimeMs });
    return { key: videoId, content, contentType: "application/json", metadataJson };
  }

  transcript(entry) {
    const { url, extractionTimeMs } = JSON.parse(entry.metadataJson);
    const { case: kind, value } = entry.content;
    const fields =
      kind === "value"
        ? JSON.parse(new TextDecoder().decode(value))
        : { url, extractionTimeMs, error: { code: value.errorCode, message: value.errorMessage } };
    return {
      videoId: entry.key,
      ...fields,
      extractedAt: timestampDate(entry.updateTime),
      lastAccessedAt: timestampDate(entry.accessTime),
      accessCount: Number(entry.accessCount),
    };
  }

  async save(...transcripts) {
    const items = transcripts.map((transcript) => this.item(transcript));
    const { results } = await this.call.batchPut({ namespace: this.namespace, items });
    return results.map(({ outcome }) => outcome.case);
  }

  async getMany(videoIds) {
    const { results } = await this.call.batchGet({ namespace: this.namespace, keys: videoIds });
    return results.map(({ entry }) => (entry ? this.transcript(entry) : undefined));
  }
}

async function transcripts(client) {
  report.section("the transcript cache");
  const cache = new Transcripts(client);
  const good = {
    videoId: "dQw4w9WgXcQ",
    url: "https://video.example/watch?v=dQw4w9WgXcQ",
    title: "A title",
    segments: [{ start: 0, duration: 1.5, text: "One" }],
    srt: "1\n00:00:00,000 --> 00:00:01,500\nOne\n",
    text: "One",
    extractionTimeMs: 812,
  };
  const failed = {
    videoId: "xxxxxxxxxxx",
    url: "https://video.example/watch?v=xxxxxxxxxxx",
    extractionTimeMs: 95,
    error: { code: "VIDEO_UNAVAILABLE", message: "This video is no longer available" },
  };
  await report.step("every field of a transcript and of a failed extraction is read back", async () => {
    const before = Date.now() - 60_000;
    expect(await cache.save(good, failed), ["put", "put"], "outcomes");
    for (const [place, expected] of [good, failed].entries()) {
      const found = (await cache.getMany([good.videoId, failed.videoId]))[place];
      const { extractedAt, lastAccessedAt, accessCount, ...fields } = found;
      expect(fields, expected, expected.videoId);
      expectThat(extractedAt.getTime() > before && lastAccessedAt >= extractedAt, "times of the transcript");
      expect(accessCount, 2 + place, "the put and each read count");
    }
  });
  await report.step("has, touch, stats, evict and delete", async () => {
    const namespace = cache.namespace;
    const { results: has } = await client.call.exists({ namespace, keys: [good.videoId, "none"] });
    expect(has.map(({ exists }) => exists), [true, false], "has");
    const expiry = { case: "ttl", value: durationFromMs(60_000) };
    const { results: touched } = await client.call.touch({ namespace, items: [{ key: good.videoId, expiry }] });
    expect(touched[0].found, true, "touched");
    const { stats } = await client.call.stats({ namespace });
    expect([stats.entryCount, stats.hitCount, stats.missCount], [2n, 4n, 0n], "entries, hits, misses");
    expectThat(stats.storedBytes > 0n && stats.hitRate === 1 && stats.oldestEntryTime, "bytes, rate and oldest entry");
    expect((await client.call.evict({ namespace, count: 1 })).evictedCount, 1n, "evicted");
    const { results } = await client.call.delete({ namespace, items: [{ key: good.videoId }, { key: "" }] });
    expect(results[1].error.message.startsWith("key must be"), true, "the wrong item fails alone");
  });
  client.close();
}

async function uploader(uploads, settings) {
  report.section("the uploader");
  const id = "chat 7 / first run";
  const started = new Date("2026-01-02T03:04:05.678Z");
  const sha256 = "ab".repeat(32);
  const path = `Media/${"long/".repeat(700)}IMG_0001.jpg`;
  await report.step("a session with an id and a start of the application's own", async () => {
    const session = {
      sessionId: id,
      sourceId: "chat-7",
      name: "Family",
      totalCount: 3n,
      startTime: timestampFromDate(started),
    };
    const { session: made } = await uploads.call.createSession(session);
    expect([made.id, made.sourceId, made.name, made.totalCount], [id, "chat-7", "Family", 3n], "session");
    expect(timestampDate(made.startTime), started, "start");
    const { sessions } = await uploads.call.listSessions({ status: UploadSessionStatus.RUNNING, sourceId: "chat-7" });
    expect(sessions.map((found) => found.id), [id], "sessions by status and chat");
  });
  await report.step("a file hash with every field, asked for whatever the service", async () => {
    const file = {
      service: "photos",
      sha256,
      path,
      name: "IMG_0001.jpg",
      sizeBytes: 123_456n,
      mimeType: "image/jpeg",
      serviceFileId: "remote-1",
      sourceId: "chat-7",
      uploadTime: timestampFromDate(started),
    };
    const { outcome, session } = await uploads.call.registerFile({ sessionId: id, file });
    expect(outcome, RegisterOutcome.REGISTERED, "outcome");
    expect([session.processedCount, session.successCount, session.lastProcessedFile], [1n, 1n, path], "session");
    const { results } = await uploads.call.checkFiles({ sha256: [sha256, "cd".repeat(32), "no hash"] });
    expect(results.map(({ state }) => state), [FileState.UPLOADED, FileState.UNKNOWN, 0], "states");
    expectThat(results[2].error, "the wrong hash fails alone");
    const [found] = results[0].files;
    for (const [field, value] of Object.entries(file)) {
      if (field === "uploadTime") expect(timestampDate(found[field]), started, field);
      else expect(found[field], value, field);
    }
    expect(found.sessionId, id, "session of the file");
    const duplicate = await uploads.call.registerFile({ sessionId: id, file: { ...file, path: "again.jpg" } });
    expect([duplicate.outcome, duplicate.session.duplicateCount], [RegisterOutcome.DUPLICATE, 1n], "duplicate");
  });
  await report.step("errors are logged without moving the session and listed across sessions", async () => {
    const before = (await uploads.call.getSession({ sessionId: id })).session;
    const record = { sessionId: id, path, type: "quota", message: "Storage is full", logOnly: true };
    await uploads.call.recordError(record);
    const { error, session } = await uploads.call.recordError(record);
    expect([error.retryCount, error.counted], [1n, false], "retry count");
    expect([session.revision, session.errorCount], [before.revision, 0n], "session");
    const { errors } = await uploads.call.listErrors({});
    expect(errors.map((found) => [found.sessionId, found.path, found.type, found.message]), [[id, path, "quota", "Storage is full"]], "errors");
    expectThat(errors[0].updateTime, "time of the error");
  });
  await report.step("a failed session is resumed where it stopped, then deleted with its errors", async () => {
    await uploads.call.pauseSession({ sessionId: id });
    const { session: failed } = await uploads.call.failSession({ sessionId: id, error: "network" });
    expect([failed.status, failed.error], [UploadSessionStatus.FAILED, "network"], "failed");
    const { session: resumed } = await uploads.call.resumeSession({ sessionId: id });
    expect([resumed.status, resumed.lastProcessedFile], [UploadSessionStatus.RUNNING, "again.jpg"], "resumed");
    expect((await uploads.call.deleteSession({ sessionId: id })).deleted, true, "deleted");
    expect((await uploads.call.listErrors({})).errors, [], "errors of the deleted session");
  });
  await report.step("settings are JSON by key, with the time of their last change", async () => {
    const value = { quality: "original", albums: ["a", "b"] };
    await settings.call.set({ key: "upload.options", valueJson: JSON.stringify(value) });
    const { setting } = await settings.call.get({ key: "upload.options" });
    expect(JSON.parse(setting.valueJson), value, "value");
    expectThat(setting.updateTime, "time of the setting");
  });
  uploads.close();
  settings.close();
}

console.log(`  binary ${binary()}`);
const sidecar = new Sidecar();
try {
  await sidecar.start();
  await transcripts(new CacheClient(sidecar.target("tcp")));
  await uploader(
    new ServiceClient(sidecar.target("tcp"), UploadsService),
    new ServiceClient(sidecar.target("tcp"), SettingsService),
  );
} finally {
  await sidecar.remove();
}
process.exit(report.finish());
