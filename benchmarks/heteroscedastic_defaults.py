"""How is noise that depends on X trained by default, and what does that give elsewhere?

    python benchmarks/heteroscedastic_defaults.py --data-dir FOLDER

FOLDER (or the environment variable BAYESNN_DATA) holds uci/concrete.txt, energy.txt, yacht.txt and
wine-quality-red.txt, target last. The scale of the log variance and the weight β of its gradients
are compared on concrete and energy: 30 % of each are test rows and left out, a third of the rest is
held out. Wine quality and yacht, which no choice has seen, then report on the default that the code
has, beside β = 0 and the Gaussian likelihood.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from bayesnn.calibration import coverage
from benchmarks.likelihood_defaults import MEMBERS, SEEDS, Rows, Table, held_out, measured, tested
from benchmarks.report import Report
from ensembles import EnsembleRegressor, heteroscedastic
from ensembles.likelihoods.heteroscedastic import Heteroscedastic

CANDIDATES = {
    "gaussian": None,
    "scale 0.5, β 0": heteroscedastic(scale=0.5, beta=0.0),
    "scale 0.5, β 0.25": heteroscedastic(scale=0.5, beta=0.25),
    "scale 0.5, β 0.5": heteroscedastic(scale=0.5, beta=0.5),
    "scale 0.5, β 1": heteroscedastic(scale=0.5, beta=1.0),
    "scale 0.25, β 0.5": heteroscedastic(scale=0.25, beta=0.5),
    "scale 1, β 0.5": heteroscedastic(scale=1.0, beta=0.5),
}
COLUMNS = ("setting", "data", "rows", "NLL", "inside 95 %", "seconds")


def table_of(folder: Path, name: str) -> Rows:
    """Return a data set of the folder's."""
    data = np.loadtxt(folder / "uci" / f"{name}.txt").astype(np.float32)
    return data[:, :-1], data[:, -1]


def of_regression(model: Any, train: Rows, test: Rows) -> tuple[float, float, str]:
    """Return NLL, coverage, and nothing that stands for a temperature."""
    post = model.fit(*train).posterior(test[0])
    y = torch.from_numpy(test[1])
    return -float(post.log_prob(y).mean()), float(coverage(post.interval(0.95), y)), ""


def main() -> None:
    """Compare, report, and write both to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    folder = parser.parse_args().data_dir
    if folder is None or not (folder := Path(folder)).is_dir():
        raise SystemExit("--data-dir (or BAYESNN_DATA): expected the folder that holds uci/")
    torch.set_num_threads(1)
    table = Table()
    means = {}
    for setting, likelihood in CANDIDATES.items():
        nll = [
            measured(
                table, setting, f"{name}, held out",
                lambda likelihood=likelihood: EnsembleRegressor(
                    n_members=MEMBERS, likelihood=likelihood, random_state=0
                ),
                of_regression, [held_out(table_of(folder, name), seed) for seed in SEEDS],
            )
            for name in ("concrete", "energy")
        ]  # fmt: skip
        means[setting] = float(np.mean(nll))
    for name in ("wine-quality-red", "yacht"):
        for setting, likelihood in (
            ("gaussian", None),
            ("default", heteroscedastic()),
            ("default, but β 0", heteroscedastic(beta=0.0)),
        ):
            measured(
                table, setting, f"{name}, test",
                lambda likelihood=likelihood: EnsembleRegressor(
                    likelihood=likelihood, random_state=0
                ),
                of_regression, [tested(table_of(folder, name))],
            )  # fmt: skip
    report = Report(
        name="heteroscedastic_defaults",
        title="Noise that depends on X: how its training was chosen, and what it gives",
        command="python benchmarks/heteroscedastic_defaults.py",
        columns=COLUMNS,
        rows=[(*line[:5], line[6]) for line in table.lines],
        notes=[
            (
                f"Held-out NLL: {', '.join(f'{k} {v:.3f}' for k, v in means.items())}. The code "
                f"has scale {Heteroscedastic().scale}, β {Heteroscedastic().beta}. Where settings "
                "are as good as equal the published β, 0.5, is kept."
            ),
            (
                f"Choice: {MEMBERS} members, means over {len(SEEDS)} splits of what is no test "
                "row; test: 10 members, the same 30 % of the rows always. Wine quality and yacht "
                "were no part of any choice. Seconds are of one fit and its predictions, on one "
                "thread of a shared machine."
            ),
        ],
    )
    print(report.write().read_text())


if __name__ == "__main__":
    main()
