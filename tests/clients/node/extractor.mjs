//! A stand-in for the transcript extractor: real English, made into transcripts by arithmetic.
//!
//! The same id gives the same transcript in every run, so what comes back from the cache can be compared byte for byte.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./sidecar.mjs";

const LICENCES = "/usr/share/common-licenses";
const WORDS_MIN = 1000;
// What video ids are made of.
const ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const FAILURES = [
  { errorCode: "VIDEO_UNAVAILABLE", errorMessage: "This video is no longer available" },
  { errorCode: "TRANSCRIPTS_DISABLED", errorMessage: "Transcripts are disabled for this video" },
  { errorCode: "AGE_RESTRICTED", errorMessage: "This video needs a signed-in viewer" },
];

const WORDS = readWords();
const extracted = new Map();

/** `count` different ids of 11 characters. */
export function videoIds(count) {
  return Array.from({ length: count }, (_, number) => {
    const digest = createHash("sha256").update(`video ${number}`).digest();
    return Array.from(digest.subarray(0, 11), (byte) => ID_ALPHABET[byte & 63]).join("");
  });
}

/** SHA-256 of a content, value or failure, to compare what was saved with what was read. */
export function contentDigest(content) {
  const hash = createHash("sha256").update(`${content.case}\0`);
  if (content.case === "negative") hash.update(`${content.value.errorCode}\0${content.value.errorMessage}`);
  else hash.update(content.value ?? "");
  return hash.digest("hex");
}

/**
 * Extracts one video: `{ videoId, metadataJson, tags, contentType, content, failed, sha256 }`, where `content` is a value
 * or a failure. `worker` marks who did it, so that the work of two can be told apart.
 */
export function extract(videoId, worker = 0) {
  const name = `${videoId} ${worker}`;
  if (!extracted.has(name)) extracted.set(name, extractAnew(videoId, worker));
  return extracted.get(name);
}

function extractAnew(videoId, worker) {
  const chance = createHash("sha256").update(videoId).digest().readUInt32BE();
  const url = `https://video.example/watch?v=${videoId}`;
  const title = Array.from({ length: 6 }, (_, position) => word(chance + position)).join(" ");
  const failed = chance % 25 === 0;
  const content = failed ? failure(chance, worker) : transcript({ videoId, url, title, extractedBy: worker }, chance);
  return {
    videoId,
    metadataJson: JSON.stringify({ title, url, extraction_time_ms: 150 + (chance % 900) }),
    tags: [`playlist:PL${String(chance % 8).padStart(4, "0")}`, "language:en"],
    contentType: failed ? "" : "application/json",
    content,
    failed,
    sha256: contentDigest(content),
  };
}

function failure(chance, worker) {
  const { errorCode, errorMessage } = FAILURES[Math.floor(chance / 25) % FAILURES.length];
  return { case: "negative", value: { errorCode, errorMessage: `${errorMessage} (${worker})` } };
}

function transcript(head, chance) {
  const segments = segmentsOf(chance);
  const text = segments.map((segment) => segment.text).join(" ");
  const value = new TextEncoder().encode(JSON.stringify({ ...head, segments, srt: srt(segments), text }));
  return { case: "value", value };
}

/** Between 20 and 159 lines of speech, each some words and seconds long. */
function segmentsOf(chance) {
  let at = chance;
  let start = 0;
  return Array.from({ length: 20 + (chance % 140) }, (_, line) => {
    const count = 5 + ((chance >>> (line % 24)) % 8);
    const segment = {
      start: Number(start.toFixed(2)),
      duration: Number((count * 0.4).toFixed(2)),
      text: Array.from({ length: count }, (_, position) => word(at + position)).join(" "),
    };
    at += count;
    start += count * 0.4;
    return segment;
  });
}

function srt(segments) {
  const block = ({ start, duration, text }, index) =>
    `${index + 1}\n${srtTime(start)} --> ${srtTime(start + duration)}\n${text}\n`;
  return segments.map(block).join("\n");
}

/** `HH:MM:SS,mmm`, as a date at the epoch shows it. */
function srtTime(seconds) {
  return new Date(Math.round(seconds * 1000)).toISOString().slice(11, 23).replace(".", ",");
}

function word(position) {
  return WORDS[position % WORDS.length];
}

/** Real English from the system's licence texts, or from the project's own papers. */
function readWords() {
  const protos = readdirSync(join(ROOT, "proto"), { recursive: true }).filter((name) => name.endsWith(".proto"));
  const groups = [
    existsSync(LICENCES) ? readdirSync(LICENCES).sort().map((name) => join(LICENCES, name)) : [],
    [join(ROOT, "LICENSE"), join(ROOT, "README.md"), ...protos.sort().map((name) => join(ROOT, "proto", name))],
  ];
  for (const paths of groups) {
    const files = paths.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
    const words = files.flatMap((path) => readFileSync(path, "utf8").split(/\s+/)).filter(Boolean);
    if (words.length >= WORDS_MIN) return words;
  }
  throw new Error("found no English text to make transcripts of");
}
