"""Runs the programs of README.md and docs/tour.md unchanged, against the real binary on the address that they name.

The blocks of a page run in the reader's order on one sidecar: grpcurl, Python, TypeScript.
"""

import json
import re
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent
sys.path.insert(0, str(CLIENTS / "python"))

from report import Report, expect, expect_that  # noqa: E402 (needs the path above)
from sidecar import ROOT, Sidecar  # noqa: E402

NODE = CLIENTS / "node"
# The default address; the blocks name it, so no other address works.
ADDRESS = "127.0.0.1:7420"
BLOCK_SECONDS_MAX = 120
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>(?:#|//) tour: (?P<name>\w+).*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"grpcurl": "sh", "python": "python", "typescript": "ts"}
# Without the check of the libraries' own declarations, which takes most of the time.
TYPE_CHECK = "--noEmit --strict --module nodenext --target es2022 --types node --skipLibCheck".split()


def main():
    """Returns the exit code."""
    report = Report("The tour of README.md and docs/tour.md")
    pages = {}
    with report.step("both pages have their three blocks, and all call the same address"):
        pages = {page: read_blocks(page) for page in CHECKS}
    with report.step("that address is free"):
        expect_that(not address_is_taken(), f"{ADDRESS} is taken, and the pages name it: stop what listens there")
    if report.failed:
        return report.finish()
    for page, blocks in pages.items():
        run_page(report, page, blocks)
    return report.finish()


def run_page(report, page, blocks):
    """Runs the blocks of one page on a fresh sidecar."""
    check_grpcurl, check_python, check_type_script = CHECKS[page]
    sidecar = Sidecar()
    sidecar.listen = ADDRESS
    with sidecar:
        with report.step(f"{page}, grpcurl: lists services, puts, gets, shows the statistics"):
            check_grpcurl(run(["bash", "-e", "-c", blocks["grpcurl"]], ROOT))
        with report.step(f"{page}, Python: a batch and a miss"):
            check_python(run([ROOT / ".venv/bin/python", "-c", blocks["python"]], ROOT))
        with type_script_file(blocks["typescript"]) as file:
            with report.step(f"{page}, TypeScript: the types hold"):
                run(["npx", "--no-install", "tsc", *TYPE_CHECK, file], NODE)
            with report.step(f"{page}, TypeScript: calls the cache"):
                check_type_script(run(["npx", "--no-install", "tsx", file], NODE))
        with report.step(f"{page}: the sidecar ends well after it"):
            sidecar.stop()


def read_blocks(page):
    """Returns the text of each block by its name, exactly as the page has it."""
    found = list(BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")))
    blocks = [(block["name"], block["language"]) for block in found]
    expect(blocks, list(LANGUAGES.items()), f"blocks of {page}")
    for block in found:
        addresses = set(re.findall(r"\b127\.0\.0\.1:\d+", block["text"]))
        expect(addresses, {ADDRESS}, f"addresses in the block {block['name']} of {page}")
    return {block["name"]: block["text"] for block in found}


def address_is_taken():
    """Whether another process listens there: the blocks would call it instead of the sidecar under test."""
    host, port = ADDRESS.split(":")
    with socket.socket() as probe:
        # As the sidecar does, so that closed connections of the run before do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return True
    return False


def run(command, directory):
    """Returns the command's stdout; fails with its whole output unless it ends with 0 in time."""
    ended = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BLOCK_SECONDS_MAX
    )
    expect_that(ended.returncode == 0, f"ended with {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


@contextmanager
def type_script_file(text):
    """A file from which `./gen` and the Node packages resolve as from tests/clients/node.

    The file is in the ignored gen/, so that even a killed run leaves nothing for git to see.
    """
    with tempfile.TemporaryDirectory(prefix="tour-", dir=NODE / "gen") as directory:
        (Path(directory) / "gen").symlink_to(NODE / "gen", target_is_directory=True)
        file = Path(directory) / "tour.ts"
        file.write_text(text, encoding="utf-8")
        yield file


def check_grpcurl(output):
    services, brace, rest = output.partition("{")
    for service in ("pannier.cache.v1.CacheService", "grpc.health.v1.Health"):
        expect_that(service in services.split(), f"{service} is not in the list:\n{output}")
    put, got, counted = json_documents(brace + rest)
    expect(put["result"].get("created"), True, "created by Put")
    expect((got["entry"]["key"], got["entry"]["value"]), ("dQw4w9WgXcQ", "aGVsbG8="), "key and value from Get")
    stats = counted["stats"]
    expect((stats["entryCount"], stats["hitCount"]), ("1", "1"), "entries and hits in Stats")


def json_documents(text):
    """Returns the JSON documents that follow one another in `text`."""
    decoder = json.JSONDecoder()
    documents = []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:]
    return documents


def check_short_python(output):
    expect(output.splitlines(), ["video-7 transcript 7", "absent (miss)"], "the output")


def check_python(output):
    lines = ["video-7 transcript 7", "video-8 transcript 8", "absent (miss)", "computed once"]
    expect(output.splitlines(), lines, "the output")


def check_short_type_script(output):
    # The value that the Python block put.
    expect(output.splitlines(), ["transcript 7"], "the output")


def check_type_script(output):
    first, *rest = output.splitlines() or [""]
    expect_that(re.fullmatch(r"etag \S+ created true", first), f"the first line is {first!r}")
    # One access for the save, one for the read.
    expect(rest, ["from TypeScript 2n"], "the lines after it")


CHECKS = {
    "README.md": (check_grpcurl, check_short_python, check_short_type_script),
    "docs/tour.md": (check_grpcurl, check_python, check_type_script),
}

if __name__ == "__main__":
    sys.exit(main())
