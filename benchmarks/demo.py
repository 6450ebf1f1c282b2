"""How long does `bayesnn-ct demo` take, how much memory, and how good is its image?

    python benchmarks/demo.py [--runs 3]

Whole processes, imports included; medians over the runs. Peak memory is the operating system's
figure for the largest run.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.report import Report


def run_demo(folder: Path) -> float:
    """Run the demo into `folder`; return its wall time in seconds."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ct", "demo", "--out", str(folder)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = [run_demo(Path(folder)) for _ in range(arguments.runs)]
        scores = json.loads((Path(folder) / "scores.json").read_text())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    rows = [
        ("seconds, median (min to max)",
         f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})", "< 120"),
        ("peak memory in GiB", f"{peak:.2f}", "< 2"),
    ]  # fmt: skip
    print(json.dumps(scores, indent=1))
    report = Report(
        name="demo",
        title="The demo: time, memory, accuracy",
        command=f"python benchmarks/demo.py --runs {arguments.runs}",
        columns=("what", "measured", "wanted"),
        rows=rows,
    )
    print(report.write().read_text())


if __name__ == "__main__":
    main()
