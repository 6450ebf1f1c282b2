"""Which variant reconstructs best, whose error bars can be believed, and what does each cost?

    python benchmarks/ct_reconstruction.py --data-dir DIR --device cuda            (part main)
    python benchmarks/ct_reconstruction.py --data-dir DIR --device cuda --part robust --dicom-dir D
    python benchmarks/ct_reconstruction.py --device cuda --part phantoms
    python benchmarks/ct_reconstruction.py --data-dir DIR --quick                  (two CPU cores)

One table of all variants on the same sinograms, in one run: PSNR, SSIM, NLL, CRPS, ECE, coverage,
seconds, memory; over all pixels, inside the body, near edges, and the worst slice.

- main: nine slices of the AAPM challenge (DIR/aapm_val/slices.npz, 512²; one patient), 40 dB, 60
  and 120 views, sinograms by the reconstruction's projector, as published figures have them.
- robust: sinograms on a finer grid, from details finer than a pixel, of Poisson counts at three
  doses, and of another anatomy (pydicom-data's head and abdomen; D/dicom.npz, which
  `python benchmarks/reconstruction/images.py D` writes where that package is).
- phantoms: random Shepp–Logan phantoms, 256², exact line integrals, 5 and 20 views.

Cheap variants run on all slices, costly ones on the first one or three (--slices names others). A
variant that is absent, fails or is stopped stands in the table with the reason. Reports are written
after each variant; --merge adds to those of an earlier run, whose records stand beside the report;
--merge --join A --join B adds those of runs side by side, on several GPUs, into A and B.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.reconstruction.methods import chosen
from benchmarks.reconstruction.records import Record, joined
from benchmarks.reconstruction.run import run_entry
from benchmarks.reconstruction.settings import PARTS, Source
from benchmarks.reconstruction.tables import (
    REGIONS,
    SUMMARY,
    calibration_table,
    region_table,
    summary_rows,
    worst_table,
)
from benchmarks.record_file import read_records, write_records
from benchmarks.report import RESULTS, Report, command_line, current_commit

NOTES = """\
Means over slices ± standard errors. Where all slices are of one patient (AAPM), these speak of that
patient's slices, not of patients. Values are divided by the truth's greatest value; the mean is
clipped to the truth's range for PSNR and SSIM alone. NLL is
½ log 2π(v + 1e-6) + ½ ((m − x)² + 1e-6)/(v + 1e-6).

Intervals are the result's own (`interval`), ECE has δ = 0, nothing is calibrated on the truth. ECE
of sample quantiles is the published figure with δ = 0, beside what exact posterior samples of that
number would score. The constant width has the same mean variance in every pixel; the truth's is the
best that one width for all pixels could do. Seconds and memory
are those of `ct.reconstruct` on one slice, the projector's making included (medians); memory is the
greatest beyond what was taken before.

"tv-best-weight" has the one weight of highest mean PSNR on these truths (a grid of ten and a
parabola) and a relative gap of 3e-3; it can be compared with and nothing else. "published" is told
the range of the image's values, as the published code is. No other variant saw the truth."""


TITLES = {
    "main": "nine slices of one patient, 60 and 120 views",
    "robust": "no shared discretisation, photons, another anatomy",
    "phantoms": "Shepp–Logan phantoms of 5 and 20 views",
}


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    parser.add_argument("--dicom-dir", type=Path, help="folder with dicom.npz")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", choices=[*PARTS, "all"], default="main")
    parser.add_argument("--methods", help="names, separated by commas; or cheap, or costly")
    parser.add_argument("--views", help="such as 60,120")
    parser.add_argument("--slices", help="such as 0,4: for every variant")
    parser.add_argument(
        "--quick", action="store_true", help="two slices averaged to 128², 60 views"
    )
    parser.add_argument("--side", type=int, help="images averaged to that side")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds that a slice may take")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds of the whole run")
    parser.add_argument("--output", type=Path, help="folder of the reports")
    parser.add_argument("--note", default="", help="what else the report shall say")
    parser.add_argument("--merge", action="store_true", help="add to the reports that are there")
    parser.add_argument(
        "--join",
        type=Path,
        action="append",
        help="run nothing; add what a run beside this one left in that folder",
    )
    options = parser.parse_args(arguments)
    if options.data_dir is None and options.part != "phantoms" and not options.join:
        parser.error("name the data folder: --data-dir DIR, or BAYESNN_DATA")
    try:
        options.entries = chosen(options.methods)
    except ValueError as error:
        parser.error(str(error))
    return options


def numbers(text: str | None) -> tuple[int, ...] | None:
    """Return the whole numbers of a list such as 60,120."""
    return None if text is None else tuple(int(one) for one in text.split(","))


def run_part(
    part: str, options: argparse.Namespace, *, folder: Path, until: float, command: str
) -> Path:
    """Run a part's variants, variant by variant within each kind of scan; write as they end."""
    source = Source(
        data_dir=options.data_dir,
        dicom_dir=options.dicom_dir,
        side=options.side,
        device=options.device,
        views=numbers(options.views),
    )
    scale = "quick_" if options.quick else ""
    name = f"ct_reconstruction_{part}_{scale}{options.device.split(':')[0]}"
    kept = folder / f"{name}_slices.json"
    records = read_records(kept) if options.merge else []
    if options.join:
        for other in options.join:
            records = joined(records, read_records(other / kept.name))
        write_records(kept, records)
        return written(part, name, records, folder, command, options.note)
    stamp = {"commit": current_commit(), "device": device_name(options.device)}
    for setting in PARTS[part](source):
        place = {"set": setting.name, "views": setting.views}
        try:
            data = setting.make()
        except FileNotFoundError as error:
            absent = {**place, "method": "(all)", "slice": 0, "error": str(error), **stamp}
            records = joined(records, [absent])
            continue
        for entry in options.entries:
            wanted = numbers(options.slices) or range(entry.slices)
            slices = [index for index in wanted if index < len(data.problems)]
            for found in run_entry(entry, data, slices=slices, limit=options.limit, until=until):
                record = {**place, "method": entry.name, **found, **stamp}
                records = joined(records, [record])
                write_records(kept, records)  # what is done is kept, whatever ends the run
                print(said(record), flush=True)
            written(part, name, records, folder, command, options.note)
        del data
    write_records(kept, records)
    return written(part, name, records, folder, command, options.note)


def written(
    part: str, name: str, records: list[Record], folder: Path, command: str, note: str = ""
) -> Path:
    """Write the report of all records so far."""
    made = sorted({f"{one['commit']} ({one['device']})" for one in records})
    tables = [region_table(records, region) for region in REGIONS]
    report = Report(
        name=name,
        title=f"All variants of CT reconstruction: {TITLES[part]}"
        + " (a quick look at two slices averaged to 128²)" * name.count("quick"),
        command=command,
        columns=SUMMARY,
        rows=summary_rows(records),
        notes=[
            NOTES,
            *([note] if note else []),
            *tables,
            worst_table(records),
            calibration_table(records),
            "Records made by commit: " + "; ".join(made) + ".",
        ],
    )
    return report.write(folder)


def said(record: Record) -> str:
    """Return one line on a slice."""
    start = f"{record['set']}, {record['views']} views, {record['method']}, {record['slice']}: "
    if "error" in record:
        return start + record["error"]
    found = record["regions"]["all"]
    keys = ("psnr", "nll", "ece", "cover50", "cover95")
    scores = ", ".join(f"{key} {found[key]:.3f}" for key in keys if key in found)
    return f"{start}{record['seconds']:.2f} s, {scores}"


def device_name(device: str) -> str:
    """Return what computes."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def main(arguments: list[str] | None = None) -> list[Path]:
    """Run the parts that are asked for; return their reports."""
    options = parsed(arguments)
    if options.quick:
        options.side, options.views = options.side or 128, options.views or "60"
        options.slices = options.slices or "0,4"
    given = sys.argv[1:] if arguments is None else arguments
    until = time.monotonic() + options.budget
    trial = options.side is not None and not options.quick
    folder = options.output or (Path(tempfile.mkdtemp()) if trial else RESULTS)
    parts = list(PARTS) if options.part == "all" else [options.part]
    command = command_line("python", "benchmarks/ct_reconstruction.py", *given)
    paths = [run_part(part, options, folder=folder, until=until, command=command) for part in parts]
    for path in paths:
        print(path)
    return paths


if __name__ == "__main__":
    main()
