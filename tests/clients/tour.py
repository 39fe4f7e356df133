"""Runs the README's five-minute tour as it stands there, against the real binary on the address that it names.

The blocks run in the reader's order on one sidecar: grpcurl, Python, TypeScript.
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
# What the README's reader gets without any setting; its blocks name it, so no other will do.
ADDRESS = "127.0.0.1:7420"
BLOCK_SECONDS_MAX = 120
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>(?:#|//) tour: (?P<name>\w+).*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"grpcurl": "sh", "python": "python", "typescript": "ts"}
# Without the check of the libraries' own declarations, which takes most of the time.
TYPE_CHECK = "--noEmit --strict --module nodenext --target es2022 --types node --skipLibCheck".split()


def main():
    """The exit code."""
    report = Report("The README's tour")
    blocks = {}
    with report.step("the README has its three blocks, and all call the same address"):
        blocks = read_blocks()
    with report.step("that address is free"):
        expect_that(not address_is_taken(), f"{ADDRESS} is taken, and the README names it: stop what listens there")
    if report.failed:
        return report.finish()
    sidecar = Sidecar()
    sidecar.listen = ADDRESS
    with sidecar:
        with report.step("grpcurl: lists services, puts, gets, shows the statistics"):
            check_grpcurl(run(["bash", "-e", "-c", blocks["grpcurl"]], ROOT))
        with report.step("Python: a batch, a miss, a lease"):
            check_python(run([ROOT / ".venv/bin/python", "-c", blocks["python"]], ROOT))
        with type_script_file(blocks["typescript"]) as file:
            with report.step("TypeScript: the types hold"):
                run(["npx", "--no-install", "tsc", *TYPE_CHECK, file], NODE)
            with report.step("TypeScript: puts and gets"):
                check_type_script(run(["npx", "--no-install", "tsx", file], NODE))
        with report.step("the sidecar ends well after it"):
            sidecar.stop()
    return report.finish()


def read_blocks():
    """The text of each block by its name, exactly as the README has it."""
    found = list(BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8")))
    expect([(block["name"], block["language"]) for block in found], list(LANGUAGES.items()), "blocks of the tour")
    for block in found:
        addresses = set(re.findall(r"\b127\.0\.0\.1:\d+", block["text"]))
        expect(addresses, {ADDRESS}, f"addresses in the block {block['name']}")
    return {block["name"]: block["text"] for block in found}


def address_is_taken():
    """Whether something listens there already: the blocks would talk to it, not to the sidecar under test."""
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
    """What the command prints on stdout; fails with all it printed unless it ends with 0 in time."""
    ended = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BLOCK_SECONDS_MAX
    )
    expect_that(ended.returncode == 0, f"ended with {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


@contextmanager
def type_script_file(text):
    """A file from which `./gen` and the Node packages resolve as from tests/clients/node.

    It stands in the ignored gen/, so that not even a killed run leaves something for git to see.
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
    """The JSON documents that stand one after another in `text`."""
    decoder = json.JSONDecoder()
    documents = []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:]
    return documents


def check_python(output):
    lines = ["video-7 transcript 7", "video-8 transcript 8", "absent (miss)", "computed once"]
    expect(output.splitlines(), lines, "what it prints")


def check_type_script(output):
    first, *rest = output.splitlines() or [""]
    expect_that(re.fullmatch(r"etag \S+ created true", first), f"the first line is {first!r}")
    # One access for the save, one for the read.
    expect(rest, ["from TypeScript 2n"], "what it prints then")


if __name__ == "__main__":
    sys.exit(main())
