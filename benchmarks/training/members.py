"""How long do many members of the paper's toy take, from drawing to the end?"""

from __future__ import annotations

import time

import torch

from benchmarks.report import Report
from benchmarks.training.setting import TITLE, Setting, paper_network, squares, toy_rows
from ensembles import adam, gauss_newton, ntkgp_param
from ensembles.evaluation import member_values
from ensembles.fit import fit_members
from ensembles.progress import Progress


def report(setting: Setting) -> Report:
    """Fit them by both trainers."""
    gpu = setting.device.type == "cuda"
    n_members = 8 if setting.quick else 1000 if gpu else 20
    x, y = toy_rows(20, setting.device)
    network = paper_network().to(setting.device)
    points = torch.linspace(-6, 6, 50, device=setting.device).unsqueeze(1)
    lines = []
    steps = 100 if setting.quick else 2000
    for name, trainer in (
        ("gauss_newton()", gauss_newton()),
        (f"adam(steps={steps})", adam(steps=steps)),
    ):
        chunks: set[int] = set()

        def count(progress: Progress, chunks: set[int] = chunks) -> None:
            chunks.add(len(progress.members))

        if gpu:
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        fitted = fit_members(
            network, x, y, method=ntkgp_param(), trainer=trainer, n_members=n_members,
            loss=squares(setting.device), seed=0, callback=count,
        )  # fmt: skip
        setting.wait()
        seconds = time.perf_counter() - began
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if gpu else ""
        first = slice(0, 100)
        values = member_values(
            ntkgp_param(), network, {k: v[first] for k, v in fitted.params.items()},
            {kind: {k: v[first] for k, v in p.items()} for kind, p in fitted.shift.items()}, points,
        )  # fmt: skip
        assert bool(values.isfinite().all())
        lines.append((
            name, str(len(fitted.members)), str(max(chunks, default=0)), str(fitted.n_steps),
            f"{seconds:.1f}", f"{1e3 * seconds / n_members:.1f}", memory,
        ))  # fmt: skip
        print(*lines[-1], sep="  ", flush=True)
    return Report(
        name=f"ensemble_training_members_{setting.name}",
        title=f"{TITLE}: many members of the paper's toy, NTKGP-param, MLP 2×512",
        command="python benchmarks/ensemble_training.py --part members",
        columns=("trainer", "members", "at once", "steps", "s", "ms a member", "peak GPU GiB"),
        rows=lines,
        notes=["From drawing the members to their trained parameters; 20 points, float32."],
    )
