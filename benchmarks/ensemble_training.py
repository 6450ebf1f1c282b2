"""How fast do members train and predict side by side, and at what cost in accuracy?

    python benchmarks/ensemble_training.py [--part steps|accuracy|members|prediction|toy] [--quick]

Each part writes its own report, benchmarks/results/ensemble_training_PART_{cpu,gpu}; without
--part all are run. The peer of `steps` is what a user would write without this package: one
network after another, torch.optim.Adam, eager mode. Times are medians after warm-up, synchronised.
BAYESNN_COMMIT names the commit where the checkout has no history.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.report import Report  # noqa: E402
from benchmarks.training import accuracy, members, prediction, steps  # noqa: E402
from benchmarks.training.setting import Setting  # noqa: E402

PARTS = {
    "steps": steps.report,
    "accuracy": accuracy.report,
    "members": members.report,
    "prediction": prediction.report,
}


def toy(setting: Setting) -> Report:
    """Return the report of the paper's toy, which has a script of its own."""
    from benchmarks.ensemble_toy import report

    result: Report = report(device=setting.device, quick=setting.quick)
    return result


def main() -> None:
    """Run the parts, print and write their reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=[*PARTS, "toy"], action="append")
    parser.add_argument("--quick", action="store_true", help="few repeats and small sizes")
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    parser.add_argument("--out", type=Path, help="folder of the reports")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available() and not options.cpu
    setting = Setting(device=torch.device("cuda" if on_gpu else "cpu"), quick=options.quick)
    runs = PARTS | {"toy": toy}
    for part in options.part or list(runs):
        began = time.perf_counter()
        report = runs[part](setting)
        report.notes.append(f"Took {time.perf_counter() - began:.0f} s.")
        path = report.write(options.out) if options.out else report.write()
        print(path.read_text(), flush=True)


if __name__ == "__main__":
    main()
