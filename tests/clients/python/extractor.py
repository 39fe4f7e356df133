"""A stand-in for the transcript extractor: real English, made into transcripts by arithmetic.

The same id gives the same transcript in every run, so what comes back from the cache can be compared byte for byte.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sidecar import ROOT

# What video ids are made of.
ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
FAILURES = (
    ("VIDEO_UNAVAILABLE", "This video is no longer available"),
    ("TRANSCRIPTS_DISABLED", "Transcripts are disabled for this video"),
    ("AGE_RESTRICTED", "This video needs a signed-in viewer"),
)


@dataclass(frozen=True)
class Extraction:
    """What extracting one video gave: a transcript, or an error code and message."""

    video_id: str
    metadata_json: str
    tags: tuple
    transcript: bytes = b""
    error_code: str = ""
    error_message: str = ""

    @property
    def failed(self):
        """True when there is no transcript."""
        return bool(self.error_code)

    @property
    def sha256(self):
        """Digest of the content: the transcript, or the error."""
        return content_digest(self.transcript, self.error_code, self.error_message)


def content_digest(transcript, error_code, error_message):
    """One digest for a transcript or an error, for comparing what was saved with what was read."""
    return hashlib.sha256(b"\0".join((transcript, error_code.encode(), error_message.encode()))).hexdigest()


def video_ids(count):
    """`count` different ids of 11 characters."""
    return [_video_id(number) for number in range(count)]


def _video_id(number):
    bits = int.from_bytes(hashlib.sha256(f"video {number}".encode()).digest()[:9], "big")
    return "".join(ID_ALPHABET[(bits >> (6 * position)) & 63] for position in range(11))


def extract(video_id, worker=0):
    """Extracts one video. `worker` marks who did it, so that the work of two can be told apart."""
    return _extract(video_id, worker)


@lru_cache(maxsize=4096)
def _extract(video_id, worker):
    chance = int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:8], "big")
    url = f"https://video.example/watch?v={video_id}"
    title = " ".join(_words()[(chance + position) % len(_words())] for position in range(6))
    details = {
        "metadata_json": json.dumps({"title": title, "url": url, "extraction_time_ms": 150 + chance % 900}),
        "tags": (f"playlist:PL{chance % 8:04d}", "language:en"),
    }
    if chance % 25 == 0:
        code, message = FAILURES[chance // 25 % len(FAILURES)]
        return Extraction(video_id, **details, error_code=code, error_message=f"{message} ({worker})")
    segments = _segments(chance)
    transcript = {
        "video_id": video_id,
        "url": url,
        "title": title,
        "extracted_by": worker,
        "segments": segments,
        "srt": _srt(segments),
        "text": " ".join(segment["text"] for segment in segments),
    }
    return Extraction(video_id, **details, transcript=json.dumps(transcript).encode())


@lru_cache(maxsize=1)
def _words():
    """Real English from the system's licence texts, or from the project's own papers."""
    licences = sorted(Path("/usr/share/common-licenses").glob("*"))
    papers = [ROOT / "LICENSE", ROOT / "README.md", *sorted((ROOT / "proto").glob("**/*.proto"))]
    for group in (licences, papers):
        words = " ".join(path.read_text(errors="replace") for path in group if path.is_file()).split()
        if len(words) >= 1000:
            return words
    raise RuntimeError("found no English text to make transcripts of")


def _segments(chance):
    """Between 20 and 159 lines of speech, each some words and seconds long."""
    words, at, start, segments = _words(), chance % len(_words()), 0.0, []
    for line in range(20 + chance % 140):
        count = 5 + (chance >> (line % 40)) % 8
        seconds = count * 0.4
        text = " ".join(words[(at + position) % len(words)] for position in range(count))
        segments.append({"start": round(start, 2), "duration": round(seconds, 2), "text": text})
        at, start = at + count, start + seconds
    return segments


def _srt(segments):
    blocks = []
    for number, segment in enumerate(segments, start=1):
        end = segment["start"] + segment["duration"]
        blocks.append(f"{number}\n{_srt_time(segment['start'])} --> {_srt_time(end)}\n{segment['text']}\n")
    return "\n".join(blocks)


def _srt_time(seconds):
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"
