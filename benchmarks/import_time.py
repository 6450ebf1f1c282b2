"""How long does each package add to `import torch`, and what heavy modules does it load?

    python benchmarks/import_time.py [--check]

Each import runs in a fresh interpreter; the figure is the median of the runs after one warm-up.
With --check the exit code is 1 if a package adds a second or more, or loads what must stay lazy.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

PACKAGES = ("bayesnn", "ensembles", "ct")
LAZY = ("gpytorch", "jax", "matplotlib", "ray", "sklearn", "tensorflow", "pyro")
LIMIT_SECONDS = 1.0


def seconds(code: str, runs: int) -> float:
    """Median wall time of `python -c code`, after one run that warms the file cache."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def heavy_modules() -> list[str]:
    """Names of the modules that should load on first use but load with the packages."""
    code = f"import sys, {', '.join(PACKAGES)}; print(*(m for m in {LAZY!r} if m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return run.stdout.split()


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    base = seconds("import torch", arguments.runs)
    added = {name: seconds(f"import torch, {name}", arguments.runs) - base for name in PACKAGES}
    heavy = heavy_modules()
    print(f"import torch: {base:.2f} s")
    for name, extra in added.items():
        print(f"  + {name}: {extra:+.2f} s")
    print(f"heavy modules loaded: {heavy or 'none'}")
    too_slow = [name for name, extra in added.items() if extra >= LIMIT_SECONDS]
    return int(arguments.check and bool(too_slow or heavy))


if __name__ == "__main__":
    sys.exit(main())
