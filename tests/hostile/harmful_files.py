"""Files that do every kind of harm, read under the watcher; prints what it says of each.

A program of its own: the watcher forks, and the process of the tests may have threads.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from benchmarks.fuzzing import watched
from benchmarks.fuzzing.file_format import FileFormat

LONGEST = 1.0
ENDLESS = f"while True: pass  # for {os.getpid()}"


def hang() -> None:
    while True:
        pass


def hang_elsewhere() -> None:
    subprocess.run([sys.executable, "-c", ENDLESS], check=True)


def raise_another_error() -> None:
    raise KeyError("a")


def raise_what_is_unclear() -> None:
    raise ValueError("a\nb" * 20)


def refuse() -> None:
    raise ValueError("expected a file of another kind, found this one; give the other.")


HARMS: list[tuple[str, Callable[[], object]]] = [
    ("crash", lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    ("hang", hang),
    ("memory", lambda: bytearray(2**30)),
    ("printed", lambda: os.write(1, b"hello")),
    ("error", raise_another_error),
    ("message", raise_what_is_unclear),
    ("refused", refuse),
    ("accepted", lambda: None),
    ("hang", hang_elsewhere),
    ("accepted", lambda: time.sleep(1.5 * LONGEST)),  # as where others have the processors
    ("hang", lambda: time.sleep(3600)),
    ("crash", lambda: os._exit(0)),
]
"""What the watcher must say, and of what."""


def number_of(rng: Random, _: list[bytes]) -> bytes:
    """The number of the file, in place of a hostile content."""
    drawn = rng.random()
    numbers = (n for n in range(len(HARMS)) if Random(f"harmful {n}").random() == drawn)
    return str(next(numbers)).encode()


def do_harm(path: Path) -> None:
    HARMS[int(path.read_text())][1]()


def main() -> None:
    watched.LONGEST = LONGEST
    harmless = next(n for n, (said, _) in enumerate(HARMS) if said == "accepted")
    harmful = FileFormat(
        name="harmful", suffix="", seeds=lambda: [str(harmless).encode()], mutate=number_of,
        read=do_harm, readers="",
    )  # fmt: skip
    found = watched.trials(harmful, harmful.seeds(), range(len(HARMS)))
    outcomes = [one.outcome for one in found]
    end = time.monotonic() + 60
    while n_left() and time.monotonic() < end:
        time.sleep(0.1)
    print(json.dumps({"outcomes": outcomes, "left": n_left()}))


def n_left() -> int:
    """How many of the processes that files started are still there."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended since
            count += ENDLESS.encode() in path.read_bytes()
    return count


if __name__ == "__main__":
    main()
