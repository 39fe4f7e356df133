//! GetOrLease: of many callers that miss at once, one does the work.

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";

import { extract, videoIds } from "./extractor.mjs";
import { expect, expectThat } from "./report.mjs";
import { expectSame, putItem } from "./transcript-cache.mjs";

const CALLERS = 20;
const LEASE_MS = 10_000;
const WAIT_MS = 20_000;
// Their transcripts exist: the arithmetic makes some videos fail.
const [WANTED, GIVEN_BACK, LATE] = videoIds(50).filter((videoId) => !extract(videoId).failed);

/** All lease steps on a namespace of its own. */
export async function leases(report, cache) {
  const name = `${CALLERS} callers miss one key at once: one extracts, all get its value`;
  await report.step(name, () => oneFills(cache));
  await report.step("a lease given back goes to the next caller at once", () => givenBack(cache));
  await report.step("a late fill with a lost lease is refused with ABORTED", () => lateFill(cache));
}

function ask(cache, key, waitMs) {
  return cache.call("getOrLease", { key, leaseTtl: durationFromMs(LEASE_MS), waitMax: durationFromMs(waitMs) });
}

function fill(cache, key, leaseToken) {
  return cache.call("put", { item: { ...putItem(extract(key)), leaseToken } });
}

async function oneFills(cache) {
  const extractedBy = [];
  const caller = async (number) => {
    const { entry, lease } = await ask(cache, WANTED, WAIT_MS);
    if (!lease) return entry;
    // Someone who will not wait learns that the work is under way; by then the other callers are waiting.
    const refused = await ask(cache, WANTED, 0);
    expectThat(!refused.lease && !refused.entry, "two callers hold one lease");
    expectThat(refused.heldUntilTime, "held_until_time must say when the lease runs out");
    extractedBy.push(number);
    await fill(cache, WANTED, lease.token);
    return undefined;
  };
  const entries = await Promise.all(Array.from({ length: CALLERS }, (_, number) => caller(number)));
  expect(extractedBy.length, 1, "callers that extracted");
  const served = entries.filter(Boolean);
  expect(served.length, CALLERS - 1, "callers that were served");
  for (const entry of served) expectSame(entry, extract(WANTED));
  return `caller ${extractedBy[0]} extracted`;
}

async function givenBack(cache) {
  const first = (await ask(cache, GIVEN_BACK, 0)).lease;
  expectThat(first, "the first caller must get the lease");
  const started = performance.now();
  const waiting = ask(cache, GIVEN_BACK, WAIT_MS);
  const { released } = await cache.call("releaseLease", { key: GIVEN_BACK, leaseToken: first.token });
  expect(released, true, "released");
  const second = (await waiting).lease;
  expectThat(second, "the waiting caller must get the lease");
  // Half the lease's time: who gets it later was not served by the release.
  expectThat(performance.now() - started < LEASE_MS / 2, "the lease came only when the first had run out");
  expectThat(second.token !== first.token, "a lease's token must not come twice");
  await fill(cache, GIVEN_BACK, second.token);
}

async function lateFill(cache) {
  const { lease } = await ask(cache, LATE, 0);
  await cache.call("put", { item: putItem(extract(LATE, 1)) });
  const refusal = await fill(cache, LATE, lease.token).then(() => undefined, (error) => error);
  expect(refusal?.code, status.ABORTED, "code of the late fill");
  expectSame((await cache.call("get", { key: LATE })).entry, extract(LATE, 1));
}
