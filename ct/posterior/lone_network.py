"""Whether one network of a slice keeps to a memory budget, asked before it is trained."""

from __future__ import annotations

from ct.inr.coordinates import ImageNetwork
from ct.posterior.chunked import at_once, peak_bytes
from ct.posterior.image_model import image_model
from ct.posterior.side_by_side import stacked
from ct.posterior.training import Descent, measurements, train_members
from ct.problem import Problem


def note_lone_network(problem: Problem, network: ImageNetwork) -> None:
    """Warn where a training step of one network takes more than the budget that was given.

    For methods that train one network a slice, which cannot be done in parts.

    Args:
        problem: what was measured.
        network: the kind of network.

    Warns:
        RuntimeWarning: it takes more.
    """
    if problem.memory_budget is None:
        return
    model = image_model(problem, network, seed=0)
    measured, start = measurements(model.problem), stacked([model.initial_params()])
    problem.projector.T(problem.sinogram)  # weights that are made on first use do not count
    one_step = Descent(steps=1, learning_rate=1e-3, tv_share=1.0)
    each = peak_bytes(lambda: train_members(model.network, start, measured, one_step))
    at_once(each, problem.sinogram.device, problem.memory_budget, what="slice's network")
