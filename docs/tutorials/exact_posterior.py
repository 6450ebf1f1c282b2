"""Is the ensemble a posterior? Its members beside the exact answer, and a test that can say no.

Run it from the root of the repository, after the README's first command:

    python docs/tutorials/exact_posterior.py

It takes about half a minute on one CPU core.

As layers grow wide, a network with random weights becomes a Gaussian process, and training becomes
regression with its kernels. So for wide networks there is an exact answer, and an ensemble can be
held against it. Here are 20 noisy measurements of x sin x with a gap between them, three ensembles
of the same network, and one question: which of them could have been drawn from the posterior?
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bayesnn import Predictive
from bayesnn.gp import gp_posterior
from bayesnn.gradient_flow import anchored_distribution
from bayesnn.kernels import nngp, ntk
from bayesnn.networks import Erf, mlp
from ensembles import EnsembleRegressor, anchored, deep_ensemble, ntkgp_param, validate
from ensembles.methods.protocol import Method
from ensembles.validation import Validation

NOISE = 0.1


class Data(NamedTuple):
    """Measurements, and the points where the answers are compared."""

    x: Tensor
    y: Tensor
    points: Tensor


def measurements(seed: int) -> Data:
    """Return 20 measurements of x sin x on both sides of a gap, and 25 points on [−6, 6]."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.uniform(-2, -2 / 3, 10), rng.uniform(2 / 3, 2, 10)])
    y = x * np.sin(x) + NOISE * rng.standard_normal(20)
    points = torch.linspace(-6, 6, 25, dtype=torch.float64).unsqueeze(1)
    return Data(torch.from_numpy(x).unsqueeze(1), torch.from_numpy(y), points)


# === Two exact answers ===
#
# A kernel is made from the network itself; the width that is written there does not matter. The NTK
# gives the posterior that NTKGP members are samples of. Members that are only anchored at their
# initial values are trained along the NTK but start with the smaller NNGP kernel: their exact
# distribution is known as well, and it is narrower.


def exact_answers(network: torch.nn.Module, data: Data) -> dict[str, Predictive]:
    """Return the NTK's posterior, and the distribution of anchored members."""
    return {
        "NTKGP": gp_posterior(ntk(network), data.x, data.y, data.points, noise_std=NOISE),
        "anchored": anchored_distribution(
            nngp(network), ntk(network), data.x, data.y, data.points, noise_std=NOISE
        ),
    }


# === Three ensembles ===


def fit(
    network: torch.nn.Module, data: Data, method: Method, *, members: int, seed: int
) -> EnsembleRegressor:
    """Return an ensemble of finite networks, trained by Gauss–Newton as small data are."""
    model = EnsembleRegressor(
        network, method=method, n_members=members, noise_std=NOISE, random_state=seed
    )
    return model.fit(data.x, data.y)


class Shown(NamedTuple):
    """What the tutorial has printed and drawn."""

    ntkgp: Validation
    deep: Validation
    anchored: Validation
    anchored_against_ntkgp: Validation


def main(arguments: Sequence[str] | None = None) -> Shown:
    """Fit, compare, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--members", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=Path("exact_posterior.png"))
    options = parser.parse_args(arguments)

    data = measurements(options.seed)
    network = mlp(
        in_features=1, out_features=1, width=options.width, depth=2, activation=Erf(),
        weight_std=1.5, bias_std=0.05,
    )  # fmt: skip
    exact = exact_answers(network, data)
    priors = {
        name: kernel(network).diagonal(data.points)
        for name, kernel in (("NTKGP", ntk), ("anchored", nngp))
    }

    def compared(method: str, answer: str) -> Validation:
        return validate(models[method], exact[answer], data.points, prior_variance=priors[answer])

    models = {
        method.name: fit(network, data, method, members=options.members, seed=options.seed)
        for method in (ntkgp_param(), deep_ensemble(), anchored())
    }
    shown = Shown(
        ntkgp=compared("ntkgp_param", "NTKGP"),
        deep=compared("deep_ensemble", "NTKGP"),
        anchored=compared("anchored", "anchored"),
        anchored_against_ntkgp=compared("anchored", "NTKGP"),
    )
    for title, found in (
        ("NTKGP members, the NTK's posterior", shown.ntkgp),
        ("A deep ensemble, the NTK's posterior", shown.deep),
        ("Anchored members, their own distribution", shown.anchored),
        ("Anchored members, the NTK's posterior", shown.anchored_against_ntkgp),
    ):
        print(f"=== {title}\n{found}\n")
    shown.ntkgp.save_figure(options.figure)
    print(f"The NTKGP ensemble beside the posterior: {options.figure}")
    return shown


# === How to read the tables ===
#
# Errors of the mean are in standard deviations of the exact answer, beside what as many exact
# samples would score; "sd ratio" is the ensemble's spread over the exact one. Look at the lines
# "near data" and "far" apart: a deep ensemble can be right on average and wrong in both. A small p
# says that members like these are hardly ever drawn from that Gaussian. The test gets sharper with
# the number of members, and a network of finite width is not the limit: with enough members every
# finite ensemble is told apart. The errors, not p alone, say whether the difference matters.

if __name__ == "__main__":
    main()
