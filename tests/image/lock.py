"""``make lock``: what the public index says of every pinned wheel, so that the pins can be judged offline.

Resolves ``requirements-cuda.txt`` against the index that pip is set to (wheels lying on this machine are not looked
at: they may be another build), and writes ``wheels.json`` beside this file: per package its version, what it requires,
and how many bytes it takes packed and unpacked. Nothing is installed and no wheel is downloaded whole: the sizes are in
the last bytes of each.

``--check`` writes nothing; it fails when the index gives another set than the one pinned.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements-cuda.txt"
TABLE = Path(__file__).with_name("wheels.json")


class _Remote(io.RawIOBase):
    """A file of the index, read in ranges: enough for zipfile to find a wheel's list of contents."""

    def __init__(self, url: str) -> None:
        self.url, self.place = url, 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
            self.size = int(answer.headers["Content-Length"])

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + {0: 0, 1: self.place, 2: self.size}[whence]
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        last = min(self.place + len(buffer), self.size) - 1
        if last < self.place:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.place}-{last}"})
        with urllib.request.urlopen(request) as answer:
            found = answer.read()
        buffer[: len(found)] = found
        self.place += len(found)
        return len(found)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """Every pinned package of a requirements file and of those it includes."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            found |= pins(path.parent / line[3:].strip())
        elif line and not line.startswith("#"):
            name, version = line.split("==")
            found[normal(name)] = version.strip()
    return found


def resolve() -> list[dict]:
    """What pip would install, with where it would come from."""
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = ["install", "--quiet", "--dry-run", "--ignore-installed", "--report", report, "-r", LOCK]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True, env=environment)
        return json.loads(report.read_text())["install"]


def sizes(url: str) -> tuple[int, int]:
    remote = _Remote(url)
    if not url.endswith(".whl"):
        return remote.size, 4 * remote.size  # an archive of sources, all of them small
    with zipfile.ZipFile(io.BufferedReader(remote, 1 << 16)) as wheel:
        return remote.size, sum(item.file_size for item in wheel.infolist())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wanted, found = pins(LOCK), resolve()
    given = {normal(item["metadata"]["name"]): item["metadata"]["version"] for item in found}
    if given != wanted:
        for name in sorted(given.keys() | wanted.keys()):
            if given.get(name) != wanted.get(name):
                print(f"{name}: pinned {wanted.get(name, 'not at all')}, needed {given.get(name, 'not at all')}")
        return 1
    print(f"{len(given)} packages, each pinned in {LOCK.name}")
    if not check:
        table = {}
        for item in found:
            packed, unpacked = sizes(item["download_info"]["url"])
            table[normal(item["metadata"]["name"])] = {
                "version": item["metadata"]["version"],
                "requires": item["metadata"].get("requires_dist", []),
                "packed_bytes": packed,
                "unpacked_bytes": unpacked,
            }
        TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
        print(f"{sum(row['packed_bytes'] for row in table.values()) / 1e9:.2f} GB packed, ", end="")
        print(f"{sum(row['unpacked_bytes'] for row in table.values()) / 1e9:.2f} GB unpacked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
