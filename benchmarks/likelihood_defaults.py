"""How long are classes trained by default, and what does that give elsewhere?

    python benchmarks/likelihood_defaults.py

The length of training is chosen on breast cancer (up to 512 rows) and digits (more): 30 % of each
are test rows and left out, a third of the rest is held out, and the least NLL there wins. Wine,
which no choice has seen, then reports on the defaults that the code has, beside a logistic
regression. Noise that depends on X has its own script, heteroscedastic_defaults.py.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.report import Report
from ensembles import (
    EnsembleClassifier,
    adam,
    one_hot_regression,
)
from ensembles.likelihoods.cross_entropy import class_trainer

Rows = tuple[NDArray[np.float32], NDArray[Any]]
CLASSES = {"breast cancer": load_breast_cancer, "digits": load_digits, "wine": load_wine}
LENGTHS = {
    "breast cancer": [{"steps": steps, "batch_size": 64} for steps in (50, 200, 800)],
    "digits": [{"steps": steps, "batch_size": 128} for steps in (250, 1000, 2000)],
}
MEMBERS, SEEDS = 3, (0, 1)
COLUMNS = ("setting", "data", "rows", "NLL", "accuracy", "temperature", "seconds")


def split(rows: Rows, part: float, seed: int) -> tuple[Rows, Rows]:
    """Return two parts, the second of that size; of each class alike."""
    x, y = rows
    labels = y if y.dtype.kind == "i" else None
    x1, x2, y1, y2 = train_test_split(x, y, test_size=part, random_state=seed, stratify=labels)
    return (x1, y1), (x2, y2)


def tested(rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows to train on and the test rows, the same at every call."""
    return split(rows, 0.3, 0)


def held_out(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Return two parts of the rows that are no test rows."""
    return split(tested(rows)[0], 0.33, seed)


def classes(name: str) -> Rows:
    """Return a data set of scikit-learn's."""
    x, y = CLASSES[name](return_X_y=True)
    return x.astype(np.float32), y


def of_classes(model: Any, train: Rows, test: Rows) -> tuple[float, float, str]:
    """Return NLL, accuracy and temperature."""
    proba = model.fit(*train).predict_proba(test[0])
    columns = np.searchsorted(model.classes_, test[1])
    nll = -np.log(proba[np.arange(len(columns)), columns].clip(1e-12)).mean()
    return float(nll), float((proba.argmax(1) == columns).mean()), (
        f"{model.temperature_:.2f}" if hasattr(model, "temperature_") else ""
    )  # fmt: skip


class Table:
    """The report's rows, as they come."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = []

    def add(self, setting: str, name: str, found: list[tuple[float, float, str]], n: int,
            seconds: float) -> float:  # fmt: skip
        """Add a row of means over splits; return the NLL."""
        nll, share = (float(np.mean([one[i] for one in found])) for i in (0, 1))
        temperatures = ", ".join(one[2] for one in found if one[2])
        self.lines.append((
            setting,
            name,
            str(n),
            f"{nll:.3f}",
            f"{share:.1%}",
            temperatures,
            f"{seconds:.1f}",
        ))
        print(*self.lines[-1], sep="  ", flush=True)
        return nll


def measured(
    table: Table, setting: str, name: str, make: Any, score: Any, pairs: list[tuple[Rows, Rows]]
) -> float:
    """Fit on the first rows of each pair and score on the second; return the mean NLL."""
    started = time.perf_counter()
    found = [score(make(), train, test) for train, test in pairs]
    seconds = (time.perf_counter() - started) / len(pairs)
    return table.add(setting, name, found, len(pairs[0][0][1]), seconds)


def choose_lengths(table: Table) -> list[str]:
    """Return what was chosen for either size of data."""
    chosen = []
    for name, lengths in LENGTHS.items():
        pairs = [held_out(classes(name), seed) for seed in SEEDS]
        nll = [
            measured(
                table, f"{length}", f"{name}, held out",
                lambda length=length: EnsembleClassifier(
                    n_members=MEMBERS, trainer=adam(**length), random_state=0
                ),
                of_classes, pairs,
            )
            for length in lengths
        ]  # fmt: skip
        for setting, trainer in (("regression's", adam(batch_size=256)), ("default", None)):
            measured(
                table, f"one-hot regression, {setting} trainer", f"{name}, held out",
                lambda trainer=trainer: EnsembleClassifier(
                    n_members=MEMBERS, likelihood=one_hot_regression(), trainer=trainer,
                    random_state=0,
                ),
                of_classes, pairs,
            )  # fmt: skip
        chosen.append(f"{name}: {lengths[int(np.argmin(nll))]}")
    return chosen


def report_elsewhere(table: Table) -> None:
    """Score the defaults of the code on test rows."""
    models = {
        "default": lambda: EnsembleClassifier(random_state=0),
        "default, T = 1": lambda: EnsembleClassifier(temperature=1.0, random_state=0),
        "one-hot regression": lambda: EnsembleClassifier(
            likelihood=one_hot_regression(), random_state=0
        ),
        "logistic regression": lambda: make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=5000)
        ),
    }
    for name in CLASSES:
        for setting, make in models.items():
            pairs = [tested(classes(name))]
            measured(table, setting, f"{name}, test", make, of_classes, pairs)


def main() -> None:
    """Choose, report, and write both to a file."""
    torch.set_num_threads(1)
    table = Table()
    lengths = choose_lengths(table)
    report_elsewhere(table)
    small, large = class_trainer(400), class_trainer(1000)
    report = Report(
        name="likelihood_defaults",
        title="Classes: how training was chosen, and what it gives",
        command="python benchmarks/likelihood_defaults.py",
        columns=COLUMNS,
        rows=table.lines,
        notes=[
            (
                f"Least held-out NLL: {'; '.join(lengths)}. Defaults of the code: "
                f"{small.steps} steps of {small.batch_size} rows up to 512 rows, "
                f"{large.steps} of {large.batch_size} for 1,000."
            ),
            (
                f"Choice: {MEMBERS} members; test: all settings at their defaults (10 members). "
                f"Held out: means over {len(SEEDS)} splits of what is no test row. Test: the same "
                "30 % of the rows always, which no choice has seen; wine was no part of any "
                "choice. Seconds are of one fit and its predictions, on one thread of a shared "
                "machine."
            ),
        ],
    )
    print(report.write().read_text())


if __name__ == "__main__":
    main()
