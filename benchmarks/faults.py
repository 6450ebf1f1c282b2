"""Does anything get lost? Real faults, tried many times: `python -m benchmarks.faults [--quick]`.

Each fault is caused for good: processes are killed by the system, disks are full, files are cut.
`--only WORD` tries the kinds whose names hold the word, or the words; what is kept of the others,
in `faults_kinds.json` beside the report, stays in it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.fault_cases import (
    fit_disk,
    fit_killed,
    fit_states,
    foreign_files,
    machine_lost,
    main_ended,
    reconstruction_killed,
    reconstruction_states,
    workers,
)
from benchmarks.fault_cases.case import Tally, tally
from benchmarks.report import RESULTS, Report, command_line

CASES = (
    *fit_killed.CASES,
    *fit_states.CASES,
    *fit_disk.CASES,
    *reconstruction_killed.CASES,
    *reconstruction_states.CASES,
    *foreign_files.CASES,
    *workers.CASES,
    *main_ended.CASES,
    *machine_lost.CASES,
)
COLUMNS = ("fault", "tried", "while at work", "survived", "results equal", "seconds", "commit")

MEANING = (
    "Tried: every attempt draws its moment, step, file or byte from its number. While at work: "
    "the fault came before the work was done; one that came too late proves little. Survived: "
    "nothing was half-written, whatever had to be refused was refused by name, and the same call "
    "went on. Results equal: the same bits as without the fault."
)

IN_PARTS = (
    "Kinds were tried in several calls, by `--only`; each kind is of one call, with the code of "
    "the commit in its row."
)


def main(arguments: list[str] | None = None) -> Path:
    """Try all faults, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one or two tries of each kind")
    parser.add_argument(
        "--only", default=[""], nargs="+", help="kinds of faults whose names hold one of these"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args(arguments)
    command = command_line("python", "-m", "benchmarks.faults", *["--quick"] * options.quick)
    kept = options.out / "faults_kinds.json"
    tallies = _read(kept) if any(options.only) else {}
    written = options.out / "faults.md"
    for case in CASES:
        if any(word in case.name for word in options.only):
            tallies[case.name] = tally(case, quick=options.quick)
            print(_row(tallies[case.name]), *tallies[case.name].failures, flush=True)
            ordered = [tallies[one.name] for one in CASES if one.name in tallies]
            kept.write_text(json.dumps([asdict(one) for one in ordered], indent=1))
            calls = [] if options.only == [""] else [IN_PARTS]
            written = _report(ordered, command, calls).write(options.out)  # kept at once
    return written


def _read(kept: Path) -> dict[str, Tally]:
    if not kept.exists():
        return {}
    found = [Tally(**one) for one in json.loads(kept.read_text())]
    return {one.name: one for one in found}


def _report(tallies: list[Tally], command: str, calls: list[str]) -> Report:
    return Report(
        name="faults",
        title="What faults leave behind",
        command=command,
        columns=COLUMNS,
        rows=[_row(one) for one in tallies],
        lead=_lead(tallies),
        notes=[
            MEANING,
            *calls,
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
        return (one.name, "skipped", "", "", "", "", one.commit)
    counts = (one.tried, one.struck, one.survived, one.equal, round(one.seconds))
    return (one.name, *(str(count) for count in counts), one.commit)


if __name__ == "__main__":
    main()
