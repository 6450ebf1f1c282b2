"""Does a member depend on who is trained beside it? `python -m benchmarks.members_in_chunks`.

Fits the same ten members at once and in chunks of five, four and one, in float64 on a CPU with one
thread, as workers would be given them, and compares members and posterior means.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from benchmarks.report import RESULTS, Report, command_line
from ensembles import EnsembleRegressor, adam, gauss_newton
from ensembles.trainers.problem import Trainer
from tests.ensembles.executor_cases import ManyHands

N_MEMBERS, PIECES = 10, (2, 3, 10)
SHAPES = ((60, 16, 2), (61, 16, 3), (101, 50, 3), (60, 33, 1), (101, 33, 3))
ACTIVATIONS: dict[str, type[nn.Module]] = {"erf": Erf, "tanh": nn.Tanh, "ReLU": nn.ReLU}
STEPS = 500
NOTES = (
    "Ten members of an MLP with two hidden layers, sin(Σx) + noise, float64, noise_std 0.1, one "
    "thread. Each fit is compared with those in chunks of 5, of 4, 3 and 3, and of 1; the largest "
    "difference counts, relative to the largest value of each tensor, and of the posterior mean at "
    "the data; 0 is bit for bit. Gauss–Newton goes on until a step gains less than a thousandth of "
    "the loss, so that rounding can lead a member to another of its minima."
)


def main(arguments: Sequence[str] | None = None) -> Path:
    """Fit, compare, and write the report."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one network, few steps")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    shapes, activations, steps = SHAPES, list(ACTIVATIONS), STEPS
    if options.quick:
        shapes, activations, steps = SHAPES[1:2], activations[:1], 5
    trainers = {
        "Gauss–Newton": gauss_newton(max_steps=5) if options.quick else gauss_newton(),
        "Adam": adam(steps=steps, batch_size=20),
    }
    rows: list[tuple[str, ...]] = []
    for name, trainer in trainers.items():
        for shape in shapes:
            for activation in activations:
                members, mean = _differences(trainer, ACTIVATIONS[activation](), *shape)
                rows.append((name, activation, *map(str, shape), f"{members:.1e}", f"{mean:.1e}"))
                print(*rows[-1], flush=True)
    return Report(
        name="members_in_chunks",
        title="Does a member depend on who is trained beside it?",
        command=command_line("python", "-m", "benchmarks.members_in_chunks", *words),
        columns=("trainer", "activation", "rows", "width", "inputs", "members", "posterior mean"),
        rows=rows,
        lead=_lead(rows),
        notes=[f"Adam takes {steps} steps of 20 rows. {NOTES}"],
    ).write(options.out)


def _differences(
    trainer: Trainer, activation: nn.Module, n_rows: int, width: int, n_inputs: int
) -> tuple[float, float]:
    """Return the largest differences of members, and of posterior means."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, n_inputs))
    y = np.sin(x.sum(1)) + 0.1 * rng.normal(size=n_rows)
    network = mlp(
        in_features=n_inputs, out_features=1, width=width, depth=2, activation=activation,
        weight_std=1.5, bias_std=0.1, generator=seeded_generator(0),
    ).double()  # fmt: skip

    def fitted(n_pieces: int) -> EnsembleRegressor:
        return EnsembleRegressor(
            network, n_members=N_MEMBERS, noise_std=0.1, trainer=trainer, random_state=0,
            executor=ManyHands(n_pieces),
        ).fit(x, y)  # fmt: skip

    whole = fitted(1)
    members, means = [0.0], [0.0]
    for n_pieces in PIECES:
        other = fitted(n_pieces)
        members += [_relative(other.params_[name], value) for name, value in whole.params_.items()]
        means.append(_relative(other.posterior(x).mean, whole.posterior(x).mean))
    return max(members), max(means)


def _relative(found: object, wanted: object) -> float:
    found, wanted = (np.asarray(values) for values in (found, wanted))
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _lead(rows: list[tuple[str, ...]]) -> str:
    even = [row for row in rows if int(row[3]) % 2 == 0]
    same = sum(float(row[5]) == 0 for row in even)
    said = [f"Layers of even width: {same} of {len(even)} fits are the same bit for bit."]
    for name in dict.fromkeys(row[0] for row in rows):
        odd = [row for row in rows if row[0] == name and row not in even]
        if odd:
            members, mean = (max(float(row[i]) for row in odd) for i in (5, 6))
            said.append(
                f"Of odd width, by {name}: members differ by up to {members:.1e}, posterior means "
                f"by up to {mean:.1e}."
            )
    return " ".join(said)


if __name__ == "__main__":
    main()
