// Hot Get from Node with nothing but @grpc/grpc-js and generated protobuf-es messages: a closed loop, its rate printed as JSON.

import { createRequire } from "node:module";
import path from "node:path";
import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

// The compiler of hot code takes its time.
const WARM_UP_MS = 1000;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "in-flight": { type: "string", default: "16" },
    namespace: { type: "string", default: "bench" },
    keys: { type: "string", default: "1" },
    "key-like": { type: "string", default: "stored-000000000000" },
    library: { type: "string" },
  },
});
const [address, seconds] = positionals;
if (!address || !(Number(seconds) > 0) || !flags.library) {
  console.error("usage: get.mjs ADDRESS SECONDS --library DIR [--in-flight N] [--namespace NAME] [--keys N] [--key-like KEY]");
  process.exit(2);
}

// The modules and stubs live in another folder than this file, where a plain import would not find them.
const library = path.resolve(flags.library);
const grpc = createRequire(path.join(library, "package.json"))("@grpc/grpc-js");
const moduleAt = (file) => import(pathToFileURL(path.join(library, file)).href);
const { create, toBinary, fromBinary } = await moduleAt("node_modules/@bufbuild/protobuf/dist/esm/index.js");
const { GetRequestSchema, GetResponseSchema } = await moduleAt("gen/pannier/cache/v1/cache_pb.js");

function keysLike(sample, count) {
  const prefix = sample.replace(/[0-9]+$/, "");
  const digits = sample.length - prefix.length;
  return Array.from({ length: count }, (_, index) => prefix + String(index).padStart(digits, "0"));
}

const requests = keysLike(flags["key-like"], Number(flags.keys)).map((key) =>
  create(GetRequestSchema, { namespace: flags.namespace, key }),
);
const client = new grpc.Client(address, grpc.credentials.createInsecure());
const serialize = (message) => Buffer.from(toBinary(GetRequestSchema, message));
const deserialize = (bytes) => fromBinary(GetResponseSchema, bytes);

function get(request) {
  return new Promise((resolve, reject) => {
    const method = "/pannier.cache.v1.CacheService/Get";
    client.makeUnaryRequest(method, serialize, deserialize, request, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}

async function worker(first, begins, ends, latencies) {
  let index = first;
  let started = performance.now();
  while (started < ends) {
    const answer = await get(requests[index % requests.length]);
    if (!answer.entry) throw new Error("Get missed an entry that was put");
    const ended = performance.now();
    if (ended > begins && ended <= ends) latencies.push(ended - started);
    started = ended;
    index += 1;
  }
}

await get(requests[0]);
const inFlight = Number(flags["in-flight"]);
const share = Math.max(1, Math.floor(requests.length / inFlight));
const begins = performance.now() + WARM_UP_MS;
const ends = begins + Number(seconds) * 1000;
const latencies = [];
await Promise.all(Array.from({ length: inFlight }, (_, n) => worker(n * share, begins, ends, latencies)));
client.close();
if (latencies.length === 0) throw new Error("no call completed in the time measured");

latencies.sort((a, b) => a - b);
const quantile = (part) => latencies[Math.min(latencies.length - 1, Math.floor(part * latencies.length))] * 1000;
console.log(
  JSON.stringify({
    calls_per_second: latencies.length / Number(seconds),
    p50_us: quantile(0.5),
    p95_us: quantile(0.95),
    p99_us: quantile(0.99),
  }),
);
