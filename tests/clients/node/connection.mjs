//! A client of one service on @grpc/grpc-js with protobuf-es codecs: the fastest pair on Node.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";

import { CacheService } from "./gen/pannier/cache/v1/cache_pb.js";

// gRPC refuses messages over 4 MiB unless told otherwise; a batch of 1,000 transcripts is larger.
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
const CALL_MS_MAX = 30_000;

// A call that meets a connection as it breaks fails with UNAVAILABLE, waitForReady or not. Reads may then be sent again;
// a mutation only with a request_id, which is the application's to choose.
const READS = ["Get", "BatchGet", "Exists", "List", "Stats"];
const SERVICE_CONFIG = {
  loadBalancingConfig: [],
  methodConfig: [
    {
      name: READS.map((method) => ({ service: CacheService.typeName, method })),
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "1s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};

const OPTIONS = {
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
  "grpc.default_authority": "localhost",
  // A sidecar that restarts is back in a moment; the default waits a second before the first new attempt.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // Clients of one address share a connection otherwise; each of ours shall be its own.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
};

/** A service: `client.call.batchGet({ namespace, keys })` and so on, one function a unary method. */
export class ServiceClient {
  #client;

  constructor(target, service) {
    this.#client = new Client(target, credentials.createInsecure(), OPTIONS);
    this.call = Object.fromEntries(
      service.methods
        .filter((method) => method.methodKind === "unary")
        .map((method) => [method.localName, (request) => this.#unary(method, request)]),
    );
  }

  /** Closes the channel. */
  close() {
    this.#client.close();
  }

  #unary(method, request) {
    const path = `/${method.parent.typeName}/${method.name}`;
    // Waits while the sidecar restarts, rather than fail at once.
    const metadata = new Metadata({ waitForReady: true });
    return new Promise((answered, refused) => {
      this.#client.makeUnaryRequest(
        path,
        (message) => Buffer.from(toBinary(method.input, message)),
        (bytes) => fromBinary(method.output, bytes),
        create(method.input, request),
        metadata,
        { deadline: Date.now() + CALL_MS_MAX },
        (error, answer) => (error ? refused(error) : answered(answer)),
      );
    });
  }
}

/** The cache service. */
export class CacheClient extends ServiceClient {
  constructor(target) {
    super(target, CacheService);
  }
}
