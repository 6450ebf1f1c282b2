"""Does anything get lost? Real faults, tried many times: `python -m benchmarks.faults [--quick]`.

Each fault is caused for good: processes are killed by the system, disks are full, files are cut.
`--only WORD` tries the kinds whose names hold the word, for a look; the report is of all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.fault_cases import (
    fit_disk,
    fit_killed,
    fit_states,
    reconstruction_killed,
    reconstruction_states,
)
from benchmarks.fault_cases.case import Tally, tally
from benchmarks.report import RESULTS, Report, command_line

CASES = (
    *fit_killed.CASES,
    *fit_states.CASES,
    *fit_disk.CASES,
    *reconstruction_killed.CASES,
    *reconstruction_states.CASES,
)
COLUMNS = ("fault", "tried", "while at work", "survived", "results equal", "seconds")

MEANING = (
    "Tried: every attempt draws its moment, step, file or byte from its number. While at work: "
    "the fault came before the work was done; one that came too late proves little. Survived: "
    "nothing was half-written, whatever had to be refused was refused by name, and the same call "
    "went on. Results equal: the same bits as without the fault."
)


def main(arguments: list[str] | None = None) -> Path:
    """Try all faults, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one or two tries of each kind")
    parser.add_argument("--only", default="", help="kinds of faults whose names hold this word")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = command_line("python", "-m", "benchmarks.faults", *words)
    tallies: list[Tally] = []
    written = options.out / "faults.md"
    for case in CASES:
        if options.only in case.name:
            tallies.append(tally(case, quick=options.quick))
            print(_row(tallies[-1]), *tallies[-1].failures, flush=True)
            written = _report(tallies, command).write(options.out)  # kept at once
    return written


def _report(tallies: list[Tally], command: str) -> Report:
    return Report(
        name="faults",
        title="What faults leave behind",
        command=command,
        columns=COLUMNS,
        rows=[_row(one) for one in tallies],
        lead=_lead(tallies),
        notes=[
            MEANING,
            *(f"Skipped: {one.name}: {one.skipped}." for one in tallies if one.skipped),
            *(f"Failed: {one.name}: {failure}." for one in tallies for failure in one.failures),
        ],
    )


def _lead(tallies: list[Tally]) -> str:
    tried = sum(one.tried for one in tallies)
    survived = sum(one.survived for one in tallies)
    equal = sum(one.equal for one in tallies)
    whole = survived == equal == tried
    return (
        f"{tried:,} faults of {sum(1 for one in tallies if one.tried)} kinds: {survived:,} "
        f"survived, {equal:,} with equal results"
        + (", which is all of them." if whole else f"; {tried - min(survived, equal)} failed.")
    )


def _row(one: Tally) -> tuple[str, ...]:
    if one.skipped:
        return (one.name, "skipped", "", "", "", "")
    counts = (one.tried, one.struck, one.survived, one.equal, round(one.seconds))
    return (one.name, *(str(count) for count in counts))


if __name__ == "__main__":
    main()
