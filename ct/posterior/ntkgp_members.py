"""NTK-randomised members of one scan: drawn, trained and rendered, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.inference.mc_dropout import Params
from bayesnn.kernels import ntk
from bayesnn.networks import prior_precision
from bayesnn.seeds import seeded_generator
from ct.checkpoint import Checkpoint
from ct.inr.wide_network import WideImage
from ct.posterior.chunked import at_once, peak_bytes, tensor_budget
from ct.posterior.perturbation import perturbed_sinograms
from ct.posterior.ray_observation import RayObservation, ray_observation
from ct.posterior.side_by_side import stacked
from ct.posterior.training import Descent, Measurements, train_members
from ct.problem import Problem
from ensembles import ntkgp_param
from ensembles.evaluation import member_values, shift_values
from ensembles.losses import SquaredError
from ensembles.memory import bytes_per_point, slices_within
from ensembles.methods.protocol import MemberDraw
from ensembles.trainers.gauss_newton import GaussNewton
from ensembles.trainers.member_size import MemberSize
from ensembles.trainers.monitor import State
from ensembles.trainers.problem import TrainingProblem

_DRAWS, _NOISE = 1, 2  # places of the random streams under a slice's seed
_METHOD = ntkgp_param()


@dataclass(frozen=True, kw_only=True)
class FittedMembers:
    """Members that were trained.

    Attributes:
        images: f_θ + δ of each, in the network's units.
        converged: which met the trainer's criterion; all of them where it has none.
        good: which hold finite numbers.
    """

    images: Float[Tensor, "members rows columns"]
    converged: Bool[Tensor, " members"]
    good: Bool[Tensor, " members"]


class MemberWork:
    """One slice's members, by number; the image is level + factor · (f_θ + δ)."""

    def __init__(
        self,
        network: WideImage,
        problem: Problem,
        *,
        prior_std: float,
        seed: int,
        trainer: GaussNewton | Descent,
    ) -> None:
        """Prepare.

        Args:
            network: what all members are; they share its frequencies.
            problem: what was measured, in the network's units.
            prior_std: of each pixel, under the prior.
            seed: of the slice.
            trainer: second order, or Adam, whose regulariser is made here.
        """
        self._network, self._problem = network, problem
        self._seed, self._trainer = seed, trainer
        self._points = network.points
        variance = float(ntk(network.body).diagonal(self._points[:1])[0])
        self._factor = prior_std / variance**0.5
        self._matrix: RayObservation | None = None
        constant = problem.sinogram.new_full(problem.grid.shape, network.start)
        self._centred = replace(problem, sinogram=problem.sinogram - problem.projector(constant))

    def at_once(self) -> int:
        """Return how many members the memory takes."""
        problem, body = self._problem, self._network.body
        if isinstance(self._trainer, GaussNewton):
            size = MemberSize(
                n_params=sum(value.numel() for value in prior_precision(body).values()),
                n_points=max(len(self._points), problem.sinogram.numel()),
                n_outputs=1,
                itemsize=problem.sinogram.element_size(),
                bytes_per_point=0,
            )
            each = self._trainer.bytes_per_member(size)
        else:
            problem.projector.T(problem.sinogram)  # weights made on first use do not count
            one, descent = range(1), replace(self._trainer, steps=1)
            each = peak_bytes(lambda: self._by_adam(one, descent, None, lambda _: None))
        return at_once(each, problem.sinogram.device, problem.memory_budget, what="member")

    def members(
        self, numbers: range, checkpoint: Checkpoint, report: Callable[[int], None]
    ) -> FittedMembers:
        """Return the members of those numbers, trained.

        Args:
            numbers: which.
            checkpoint: where their state is left.
            report: called with the number of steps done after each.

        Returns:
            The members.
        """
        if isinstance(self._trainer, GaussNewton):
            params, converged = self._second_order(numbers, self._trainer, checkpoint, report)
            draws = self._draws(numbers)
        else:
            draws, params = self._by_adam(numbers, self._trainer, checkpoint, report)
            converged = self._points.new_ones(len(numbers), dtype=torch.bool)
        values = self._delta(draws) + self._values(params)
        images = self._network.start + self._factor * values.squeeze(-1)
        return FittedMembers(
            images=images.view(-1, *self._problem.grid.shape),
            converged=converged,
            good=images.isfinite().all(1),
        )

    def drawn(
        self, numbers: range
    ) -> tuple[Float[Tensor, "members rows columns"], Float[Tensor, "members views detectors"]]:
        """Return what members are before training, f_θ₀ + δ as images, and what they see, y + σε.

        Under the exact posterior, an image p that saw z becomes p + Θ Aᵀ (A Θ Aᵀ + σ²)⁻¹ (z − A p).
        """
        draws = self._draws(numbers)
        values = self._delta(draws) + self._values(draws.start)
        images = self._network.start + self._factor * values.squeeze(-1)
        seen = perturbed_sinograms(self._problem, seeds=self._noise_seeds(numbers))
        return images.view(-1, *self._problem.grid.shape), seen

    def _draws(self, numbers: range) -> MemberDraw:
        each = [
            _METHOD.draw(self._network.body, generator=seeded_generator(self._seed, _DRAWS, number))
            for number in numbers
        ]
        start = stacked([one.start for one in each])
        direction = stacked([one.shift["direction"] for one in each])
        return MemberDraw(start=start, shift={"initial": start, "direction": direction})

    def _delta(self, draws: MemberDraw) -> Float[Tensor, "members pixels 1"]:
        budget = tensor_budget(self._points.device, self._problem.memory_budget)
        with torch.no_grad():
            delta = shift_values(_METHOD, self._network.body, draws.shift, self._points, budget)
        assert delta is not None
        return delta

    def _targets(
        self, numbers: range, draws: MemberDraw
    ) -> Float[Tensor, "members views detectors"]:
        """Return y + σε_m − A(level + factor · δ_m): δ is rendered once, and projected once."""
        seen = perturbed_sinograms(self._centred, seeds=self._noise_seeds(numbers))
        delta = self._delta(draws).view(-1, *self._problem.grid.shape)
        shift: Tensor = self._factor * self._problem.projector(delta)
        return seen - shift

    def _noise_seeds(self, numbers: range) -> list[int]:
        return [seeded_generator(self._seed, _NOISE, number).initial_seed() for number in numbers]

    def _rays(self) -> RayObservation:
        if self._matrix is None:
            self._matrix = ray_observation(
                self._problem.projector, factor=self._factor, like=self._points
            )
        return self._matrix

    def _values(self, params: Params) -> Float[Tensor, "members pixels 1"]:
        def at(points: Tensor) -> Tensor:
            return member_values(_METHOD, self._network.body, params, {}, points)

        budget = tensor_budget(self._points.device, self._problem.memory_budget)
        with torch.no_grad():
            each = bytes_per_point(at, self._points, enough=budget)
            chunks = slices_within(len(self._points), each, budget)
            return torch.cat([at(self._points[chunk]) for chunk in chunks], dim=1)

    def _second_order(
        self,
        numbers: range,
        trainer: GaussNewton,
        checkpoint: Checkpoint,
        report: Callable[[int], None],
    ) -> tuple[Params, Bool[Tensor, " members"]]:
        draws, body = self._draws(numbers), self._network.body
        trained = trainer.train(
            TrainingProblem(
                network=body,
                value=_METHOD.value,
                linearised_at=_METHOD.linearised_at,
                inputs=self._points,
                targets=self._targets(numbers, draws).flatten(1).unsqueeze(-1),
                offset=None,
                row_weight=self._problem.noise_std.flatten().square().reciprocal(),
                loss=SquaredError(noise_std=self._points.new_ones(1)),
                start=draws.start,
                center=_METHOD.center(body, draws.start),
                shift=draws.shift,
                precision=prior_precision(body),
                observation=self._rays(),
            ),
            seed=self._seed,
            monitor=_Watch(checkpoint, report, self._points.device),
        )
        return trained.params, trained.converged

    def _by_adam(
        self,
        numbers: range,
        descent: Descent,
        checkpoint: Checkpoint | None,
        report: Callable[[int], None],
    ) -> tuple[MemberDraw, Params]:
        draws, body, shape = self._draws(numbers), self._network.body, self._problem.grid.shape
        n_rays = self._problem.sinogram.numel()

        def anchor(params: Params) -> Tensor:
            parts = [
                (value - draws.start[name]).flatten(1).square().sum(1)
                for name, value in params.items()
            ]
            total: Tensor = torch.stack(parts).sum(0)
            return total / (2 * n_rays)

        def render(params: Params, _: int) -> Tensor:
            values = member_values(_METHOD, body, params, {}, self._points)
            images: Tensor = self._factor * values.view(-1, *shape)
            return images

        trained = train_members(
            self._network,
            draws.start,
            Measurements(
                projector=self._problem.projector,
                sinogram=self._targets(numbers, draws),
                noise_std=self._problem.noise_std[None],
            ),
            replace(descent, regulariser=anchor),
            render=render,
            report=report,
            checkpoint=checkpoint,
        )
        return draws, trained.params


class _Watch:
    """The monitor of one chunk: it reports steps, and keeps the state where it is time to."""

    def __init__(
        self, checkpoint: Checkpoint, report: Callable[[int], None], device: torch.device
    ) -> None:
        self._checkpoint, self._report, self._device = checkpoint, report, device

    def resume(self) -> State | None:
        """Return the state that an interrupted training has left."""
        state = self._checkpoint.load()
        if state is None:
            return None
        return {name: value.to(self._device) for name, value in state.items()}

    def after_step(
        self,
        step: int,
        total: int,  # noqa: ARG002
        losses: Tensor,  # noqa: ARG002
        state: Callable[[], State],
    ) -> bool:
        """Keep the state if it is time to, and report the step.

        Returns:
            Whether to stop: never.
        """
        if self._checkpoint.due():
            self._checkpoint.save(state())
        self._report(step)
        return False
