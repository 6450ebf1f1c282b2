"""The toy of the paper as a problem to train: its members, their objective and accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bayesnn.networks import Erf, StandardLinear, mlp
from benchmarks.training.setting import Setting, squares, toy_rows
from ensembles import ntkgp_param
from ensembles.evaluation import member_values, over_members
from ensembles.member_problem import training_problem
from ensembles.methods.protocol import Params
from ensembles.trainers.problem import TrainingProblem
from tests.ensembles.toy import BIAS_STD, DEPTH, WEIGHT_STD, toy_ntkgp

MEMBERS, POINTS, STEPS, QUICK_STEPS = 20, 20, 50_000, 1000
LEARNING_RATE = 1e-3


@dataclass(kw_only=True)
class Toy:
    """The members to train, drawn once; all ways start from the same parameters."""

    setting: Setting
    problem: TrainingProblem = field(init=False)

    def __post_init__(self) -> None:
        device = self.setting.device
        network = mlp(
            in_features=1, out_features=1, width=512, depth=DEPTH, activation=Erf(),
            weight_std=WEIGHT_STD, bias_std=BIAS_STD, linear=StandardLinear,
        ).to(device)  # fmt: skip
        x, y = toy_rows(POINTS, device)
        self.clean = y
        self.problem = training_problem(
            network, x, y, method=ntkgp_param(), numbers=range(MEMBERS), loss=squares(device),
            seed=0,
        )  # fmt: skip

    @property
    def steps(self) -> int:
        """Steps of gradient descent."""
        return QUICK_STEPS if self.setting.quick else STEPS

    @property
    def shrink(self) -> dict[str, float]:
        """What a step of gradient descent takes off θ − c, by tensor; Λ is one number in each."""
        rate = LEARNING_RATE * self.problem.loss.pull / POINTS
        return {name: rate * float(v.flatten()[0]) for name, v in self.problem.precision.items()}

    def values(self, params: Params) -> Tensor:
        """Return f(x, θ) of all members."""
        problem = self.problem
        return over_members(
            lambda member, shift: problem.value(problem.network, member, shift, problem.inputs),
            params, problem.shift,
        )  # fmt: skip

    @torch.no_grad()
    def objective(self, params: Params, which: slice = slice(None)) -> Tensor:
        """Return ½·mean residual² + σ²/2n·‖θ − θ₀‖²_Λ of each member."""
        problem = self.problem
        center = problem.center
        assert center is not None
        residual = (problem.targets - self.values(params)).double()[which]
        squared = (residual**2).mean((1, 2))
        for name, value in params.items():
            change = (value[which] - center[name][which]).double()
            pull = problem.loss.pull / POINTS * problem.precision[name].double()
            squared = squared + (pull * change**2).flatten(1).sum(1)
        return 0.5 * squared

    def accuracy(self, params: Params) -> tuple[float, float]:
        """Return mean error and ratio of standard deviations, averaged over [−6, 6].

        Both against the exact posterior of the infinitely wide network, and the error in its
        standard deviations.
        """
        points = np.linspace(-6, 6, 25)[:, None]
        problem = self.problem
        mean, std = toy_ntkgp(
            problem.inputs.double().cpu().numpy(), self.clean[:, 0].double().cpu().numpy(), points
        )
        with torch.no_grad():
            values = member_values(
                ntkgp_param(), problem.network, params, problem.shift,
                torch.tensor(points).to(problem.inputs),
            )[..., 0].double().cpu().numpy()  # fmt: skip
        error = np.abs(values.mean(0) - mean) / std
        return float(error.mean()), float((values.std(0, ddof=1) / std).mean())
