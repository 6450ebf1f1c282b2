"""Do the contract tests hold on this GPU?

    python benchmarks/gpu_contracts.py

Runs every test marked `gpu`, and writes a report with the commit, the machine and the counts. The
exit code is pytest's. BAYESNN_COMMIT names the commit where the checkout has no history.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.report import Report  # noqa: E402


def outcomes(junit: Path) -> dict[str, Counter[str]]:
    """Count passed, failed and skipped tests for each test module."""
    counts: dict[str, Counter[str]] = {}
    for case in ET.parse(junit).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = (
            "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds
            else "passed"
        )  # fmt: skip
        module = case.get("classname", "?")
        counts.setdefault(module, Counter())[outcome] += 1
    return counts


def main() -> int:
    """Run the tests, write the report, return pytest's exit code."""
    if not torch.cuda.is_available():
        print("gpu_contracts: expected a CUDA device, found none", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "junit.xml"
        # one process: what fills the memory of a GPU is among the tests
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "-m", "gpu", f"--junitxml={junit}"]
        run = subprocess.run([*command, "tests"], cwd=ROOT, check=False)
        counts = outcomes(junit)
    rows = [
        (module, *(str(count[kind]) for kind in ("passed", "failed", "skipped")))
        for module, count in sorted(counts.items())
    ]
    Report(
        name="gpu_contracts",
        title="Contract tests on a GPU",
        command="python benchmarks/gpu_contracts.py",
        columns=("tests", "passed", "failed", "skipped"),
        rows=rows,
    ).write()
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
