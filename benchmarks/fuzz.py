"""Hostile files: what 20,000 damaged and forged files of every format do to their readers.

Every file has a number, and the same number makes the same file, but for the time that HDF5 notes
in some: `--format hdf5 --only 1234` reads that one again and says what came of it, and `--keep DIR`
writes it there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.fuzzing.dicom_files import DICOM
from benchmarks.fuzzing.file_format import FileFormat, hostile_file
from benchmarks.fuzzing.hdf5_files import HDF5
from benchmarks.fuzzing.matlab_files import MATLAB_5, MATLAB_73
from benchmarks.fuzzing.nifti_files import NIFTI
from benchmarks.fuzzing.npy_files import NPY
from benchmarks.fuzzing.png_files import PNG
from benchmarks.fuzzing.tally import COLUMNS, row, tally
from benchmarks.fuzzing.tensor_files import TENSORS
from benchmarks.fuzzing.text_files import TEXT
from benchmarks.fuzzing.tiff_files import TIFF
from benchmarks.fuzzing.watched import LONGEST, MOST_WAITS, trials
from benchmarks.record_file import Record, read_records, write_records
from benchmarks.report import RESULTS, Report, command_line
from ct.data.honest_size import LEEWAY, TIMES

FORMATS: dict[str, FileFormat] = {
    one.name: one
    for one in (NPY, TIFF, PNG, NIFTI, MATLAB_5, DICOM, HDF5, MATLAB_73, TENSORS, TEXT)
}
_INPUTS, _QUICK_INPUTS = 20_000, 40


def run_format(file_format: FileFormat, n_inputs: int) -> Record:
    """Read that many files of a format and return what came of them."""
    began = time.monotonic()
    found = list(trials(file_format, file_format.seeds(), range(n_inputs)))
    return tally(file_format, found, time.monotonic() - began)


def report(records: list[Record], command: str) -> Report:
    """Return the report of all formats that were run."""
    total = sum(one["inputs"] for one in records)
    faults = sum(one["findings"] for one in records)
    lead = (
        f"{total:,} hostile files of {len(records)} kinds: {faults} faults. A fault is anything "
        "but a file that is read or refused with one clear line: another exception, a warning, "
        f"output, a crash, more than {LONGEST:g} s, or more memory than {TIMES} times the file's "
        f"size and {LEEWAY >> 20} MiB. NIfTI is written and never read by these packages: its row "
        "says that what looks at such a file recognises or refuses it, and no more."
    )
    kinds = [
        f"{one['format']}, file {example['number']}: {kind}"
        for one in records
        for kind, example in one["examples"].items()
    ]
    seeds = (
        "Files are whole ones of a few KB, written by this package, by h5py, SciPy, pydicom, "
        "tifffile, Pillow, nibabel and NumPy, with bits, bytes, lengths, offsets, types and "
        "structures changed; or well-formed ones that claim what they do not hold."
    )
    measured = (
        "Seconds are of one file on a machine that did other work too, so that a file hangs its "
        f"reader where that says nothing for {LONGEST:g} s and, with all that it started, works "
        f"for half of them, or where it says nothing for {LONGEST * MOST_WAITS:g} s. MiB are by "
        "how much the reading process's resident memory grew at most; its address space is limited "
        "to the same bound, and 32 MiB for libraries, while a file is read, so that memory which "
        "is asked for and never touched counts too. HDF5 is read in a process of its own, whose "
        "address space is limited in the same way and whose memory is not in that column; a file "
        "that ends or stalls that process is refused cleanly."
    )
    return Report(
        name="fuzz",
        title="Hostile files: what do damaged and forged files do to their readers?",
        command=command,
        columns=COLUMNS,
        rows=[row(one) for one in records],
        notes=[seeds, measured, "Faults: " + ("; ".join(kinds) if kinds else "none.")],
        lead=lead,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=FORMATS, action="append", help="all, if none")
    parser.add_argument("--inputs", type=int, help=f"files of each format, {_INPUTS} by default")
    parser.add_argument("--only", type=int, help="read the file of this number alone")
    parser.add_argument("--keep", type=Path, help="folder for that file")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_INPUTS} files a format")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    chosen = [FORMATS[name] for name in options.format or FORMATS]
    if options.only is not None:
        return _one(chosen[0], options.only, options.keep)
    n_inputs = options.inputs or (_QUICK_INPUTS if options.quick else _INPUTS)
    # the report is of all formats, also of those that were run before
    command = command_line("python", "-m", "benchmarks.fuzz", "--inputs", str(n_inputs))
    records = read_records(options.out / "fuzz_formats.json")
    for one in chosen:
        record = run_format(one, n_inputs)
        print(*row(record), sep=" | ", flush=True)
        kept = {old["format"]: old for old in records} | {one.name: record}
        records = [kept[name] for name in FORMATS if name in kept]
        write_records(options.out / "fuzz_formats.json", records)
        report(records, command).write(options.out)
    return int(any(one["findings"] for one in records))


def _one(file_format: FileFormat, number: int, keep: Path | None) -> int:
    seeds = file_format.seeds()
    (trial,) = trials(file_format, seeds, [number])
    print(trial)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        path = keep / f"{file_format.name}_{number}{file_format.suffix}"
        path.write_bytes(hostile_file(file_format, seeds, number))
        print(path)
    return int(trial.outcome not in {"accepted", "refused"})


if __name__ == "__main__":
    sys.exit(main())
