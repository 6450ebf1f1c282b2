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

KINDS = ("passed", "failed", "skipped")
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
        module = case.get("classname") or f"collecting {case.get('name')}"
        counts.setdefault(module, Counter())[outcome] += 1
    return counts


def main() -> int:
    """Run the tests, write the report, return pytest's exit code."""
    if not torch.cuda.is_available():
        print("gpu_contracts: expected a CUDA device, found none", file=sys.stderr)
        return 2
    image_tests = sorted((ROOT / "tests/contracts").glob("test_*project*.py"))
    image_tests += [*sorted((ROOT / "tests/contracts").glob("test_ct_*.py")), ROOT / "tests/ct"]
    with tempfile.TemporaryDirectory() as folder:
        # kernels are compiled side by side; what fills a GPU's memory must be alone
        alone = ROOT / "tests/ensembles/test_fit.py"
        others = [f"--ignore={path}" for path in (*image_tests, alone)]
        parts = {
            "images": (8, image_tests),
            "others": (6, [ROOT / "tests", *others]),
            "alone": (0, [alone]),
        }
        codes: set[int] = set()
        counts: dict[str, Counter[str]] = {}
        for n_run, (name, (workers, arguments)) in enumerate(parts.items(), start=1):
            code, found = _run(Path(folder) / f"{name}.xml", *arguments, workers=workers)
            codes.add(code)
            counts |= found
            _report(counts, list(parts)[n_run:])  # at once, should the next be cut off
    return max(codes)


def _report(counts: dict[str, Counter[str]], missing: list[str]) -> None:
    """Write what was found, and which parts have not run."""
    rows = [
        (module, *(str(count[kind]) for kind in KINDS)) for module, count in sorted(counts.items())
    ]
    total = {kind: sum(count[kind] for count in counts.values()) for kind in KINDS}
    lead = ", ".join(f"{n} {kind}" for kind, n in total.items())
    Report(
        name="gpu_contracts",
        title="Contract tests on a GPU",
        command="python benchmarks/gpu_contracts.py",
        columns=("tests", *KINDS),
        rows=rows,
        lead=f"{lead}." + (f" Not run: the parts {', '.join(missing)}." if missing else ""),
    ).write()


def _run(junit: Path, *arguments: Path | str, workers: int) -> tuple[int, dict[str, Counter[str]]]:
    """Run the GPU's tests among `arguments`; return pytest's exit code and the counts."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"-n{workers}"]
    # a plug-in that some machines have warns beside workers, and warnings are errors
    options = ["--maxprocesses=8", "-p", "no:benchmark", f"--junitxml={junit}"]
    run = subprocess.run(
        [*command, *options, *(str(argument) for argument in arguments)], cwd=ROOT, check=False
    )
    return run.returncode, outcomes(junit)


if __name__ == "__main__":
    sys.exit(main())
