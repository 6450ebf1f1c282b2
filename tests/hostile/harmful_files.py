"""Files that do every kind of harm, read under the watcher; prints what it says of each.

A program of its own: the watcher forks, and the process of the tests may have threads.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

from benchmarks.fuzzing import watched
from benchmarks.fuzzing.file_format import FileFormat

HARMS = (
    "crash", "hang", "memory", "print", "error", "unclear", "refused", "accepted",
    "hang elsewhere", "crash",
)  # fmt: skip
NUMBERS = {Random(f"harmful {number}").random(): number for number in range(len(HARMS))}


def does_harm(path: Path) -> None:
    harm = path.read_text()
    if harm == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if harm == "hang":
        while True:
            pass
    if harm == "hang elsewhere":
        subprocess.run([sys.executable, "-c", "while True: pass"], check=True)
    if harm == "memory":
        bytearray(2**30)
    if harm == "print":
        os.write(1, b"hello")
    if harm == "error":
        raise KeyError("a")
    if harm == "unclear":
        raise ValueError("a\nb" * 20)
    if harm == "refused":
        raise ValueError("expected a file of another kind, found this one; give the other.")


def main() -> None:
    watched.LONGEST = 1.0
    harmful = FileFormat(
        name="harmful", suffix="", seeds=lambda: [b"accepted"],
        mutate=lambda rng, _: HARMS[NUMBERS[rng.random()]].encode(), read=does_harm, readers="",
    )  # fmt: skip
    found = watched.trials(harmful, harmful.seeds(), range(len(HARMS)))
    print(json.dumps([one.outcome for one in found]))


if __name__ == "__main__":
    main()
