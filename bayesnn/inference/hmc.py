"""Hamiltonian Monte Carlo by Pyro's kernels, as chains that can be stopped and gone on with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count
from bayesnn.inference.with_pyro import lent_randomness, load_pyro
from bayesnn.seeds import seeded_generator

Vector: TypeAlias = Float[Tensor, " n"]
Potential: TypeAlias = Callable[[Vector], Float[Tensor, ""]]
"""The negative log density, up to a constant; differentiable."""
Kernel: TypeAlias = Callable[..., Any]
"""From a function of Pyro's parameters, `target_acceptance` and `max_leapfrogs` to its kernel."""

_SITE = "vector"
_TRAJECTORY = math.pi  # on average; half a turn of a standard normal's
_FIRST_STEP = 0.1  # of the search for a step size, in standard deviations


def no_u_turn(
    potential: Callable[[dict[str, Tensor]], Tensor],
    *,
    target_acceptance: float,
    max_leapfrogs: int,
) -> Any:
    """Return Pyro's No-U-Turn kernel: trajectories end where they begin to turn back.

    Args:
        potential: a function of Pyro's parameters.
        target_acceptance: mean acceptance probability that the step size is adapted to.
        max_leapfrogs: most steps of a trajectory, rounded down to 2^k − 1.

    Raises:
        ImportError: Pyro is not installed.

    Source:
        M. D. Hoffman, A. Gelman, The No-U-Turn sampler, JMLR 15, 2014.
    """
    return load_pyro("pyro.infer.mcmc").NUTS(
        potential_fn=potential,
        step_size=_FIRST_STEP,
        target_accept_prob=target_acceptance,
        max_tree_depth=max(1, (max_leapfrogs + 1).bit_length() - 1),
    )


def random_length(
    potential: Callable[[dict[str, Tensor]], Tensor],
    *,
    target_acceptance: float,
    max_leapfrogs: int,  # noqa: ARG001
) -> Any:
    """Return Pyro's HMC kernel, with trajectories of random length: π/2 to 3π/2 in adapted units.

    Args:
        potential: a function of Pyro's parameters.
        target_acceptance: mean acceptance probability that the step size is adapted to.
        max_leapfrogs: most steps of a trajectory; where they do not reach, it is shorter.

    Raises:
        ImportError: Pyro is not installed.

    Source:
        S. Duane, A. D. Kennedy, B. J. Pendleton, D. Roweth, Hybrid Monte Carlo, Physics Letters
        B 195, 1987.
    """
    return load_pyro("pyro.infer.mcmc").HMC(
        potential_fn=potential,
        step_size=_FIRST_STEP,
        trajectory_length=_TRAJECTORY,
        target_accept_prob=target_acceptance,
    )


class Chain:
    """A Markov chain whose stationary density is ∝ exp(−potential), one transition at a time.

    The first `warm_up` transitions adapt the step size (dual averaging) and a diagonal mass
    matrix; their positions are no draws. Transition t of a chain depends on `seed`, t and the
    chain's state alone, so a chain that was restored goes on to the same numbers. Torch's global
    generators stay as they are.

    Energies of many parameters are large sums whose differences decide: give a float64 start,
    and let the potential compute its parts in any dtype and add them up in float64.

    Args:
        potential: U, whose exp(−U) the chain samples.
        start: where it begins.
        warm_up: transitions that adapt step size and masses.
        seed: seed of everything random.
        kernel: `no_u_turn` or `random_length`.
        target_acceptance: mean acceptance probability that the step size is adapted to.
        max_leapfrogs: most steps of a trajectory.

    Raises:
        ImportError: Pyro is not installed.
        ValueError: a warm-up of no transitions, or a start whose potential is no number.

    Source:
        R. M. Neal, MCMC using Hamiltonian dynamics, Handbook of Markov Chain Monte Carlo, 2011.

    Example:
        >>> chain = Chain(
        ...     lambda x: (x / 3).square().sum() / 2, torch.zeros(1).double(), warm_up=50, seed=0
        ... )
        >>> for _ in range(50):
        ...     _ = chain.move()
        >>> draws = torch.stack([chain.move() for _ in range(300)])
        >>> 2.5 < float(draws.std()) < 3.5
        True
    """

    def __init__(
        self,
        potential: Potential,
        start: Vector,
        *,
        warm_up: int,
        seed: int,
        kernel: Kernel = no_u_turn,
        target_acceptance: float = 0.8,
        max_leapfrogs: int = 63,
    ) -> None:
        check_count(warm_up, "warm_up")
        check_count(max_leapfrogs, "max_leapfrogs")
        self._seed = seed
        self._device = start.device
        self._max_leapfrogs = max_leapfrogs
        self._n_evaluations = 0

        def counted(sites: dict[str, Tensor]) -> Tensor:
            self._n_evaluations += 1
            return potential(sites[_SITE])

        self._kernel = kernel(
            counted, target_acceptance=target_acceptance, max_leapfrogs=max_leapfrogs
        )
        # Pyro switches gradients on and off on the very tensor that it gets
        self._kernel.initial_params = {_SITE: start.detach().clone()}
        with self._own_randomness(0):
            self._kernel.setup(warm_up)
        if not math.isfinite(float(self._kernel._potential_energy_last)):
            raise ValueError("chain: expected a start of finite potential; start elsewhere.")

    @property
    def n_transitions(self) -> int:
        """How many transitions were made, warm-up included."""
        return int(self._kernel._t)

    @property
    def n_divergent(self) -> int:
        """How many transitions after the warm-up met an energy that does not hold any more."""
        return len(self._kernel._divergences)

    @property
    def acceptance(self) -> float:
        """Mean acceptance probability since the warm-up (within it: since the beginning)."""
        return float(self._kernel._mean_accept_prob)

    @property
    def step_size(self) -> float:
        """Length of a leapfrog step, in units of the adapted masses."""
        return float(self._kernel.step_size)

    @property
    def n_evaluations(self) -> int:
        """How often the potential and its gradient were computed."""
        return self._n_evaluations

    def move(self) -> Vector:
        """Make one transition.

        Returns:
            The position after it, which is the one before where the proposal was refused.
        """
        kernel = self._kernel
        generator = seeded_generator(self._seed, 1, self.n_transitions)
        # lengths differ at random, lest some direction swings by whole turns and stays
        length = _TRAJECTORY * (0.5 + float(torch.rand((), generator=generator)))
        kernel.trajectory_length = min(length, self._max_leapfrogs * self.step_size)
        with self._own_randomness(self.n_transitions + 1):
            position: Tensor = kernel.sample(kernel.initial_params)[_SITE]
        return position.detach()

    def state(self) -> dict[str, Tensor]:
        """Return all that the chain's future depends on."""
        kernel, masses = self._kernel, self._kernel.mass_matrix_adapter
        steps = kernel._adapter._step_size_adapt_scheme
        (sites,) = masses.inverse_mass_matrix
        seen = masses._adapt_scheme[sites]
        numbers = [
            *(getattr(kernel, name) for name in _KERNEL_NUMBERS),
            *(getattr(kernel._adapter, name) for name in _ADAPTER_NUMBERS),
            *(getattr(steps, name, 0.0) for name in _STEP_NUMBERS),
            seen.n_samples,
            self._n_evaluations,
        ]
        position = kernel._z_last[_SITE]
        return {
            "position": position.detach(),
            "potential": kernel._potential_energy_last,
            "gradient": kernel._z_grads_last[_SITE],
            "inverse_mass": masses.inverse_mass_matrix[sites],
            "seen_mean": torch.zeros_like(position) + seen._mean,
            "seen_squares": torch.zeros_like(position) + seen._m2,
            "numbers": torch.tensor(numbers, dtype=torch.float64),
            "divergent": torch.tensor(kernel._divergences, dtype=torch.int64),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state of this chain or of one that was made alike.

        Args:
            state: what `state` returned, on any device.
        """
        kernel, masses = self._kernel, self._kernel.mass_matrix_adapter
        steps = kernel._adapter._step_size_adapt_scheme
        at = {name: value.to(self._device) for name, value in state.items()}
        kernel._cache(
            {_SITE: at["position"].clone()}, at["potential"], {_SITE: at["gradient"].clone()}
        )
        (sites,) = masses.inverse_mass_matrix
        masses.inverse_mass_matrix = {sites: at["inverse_mass"].clone()}  # forgets what was seen
        seen = masses._adapt_scheme[sites]
        seen._mean, seen._m2 = at["seen_mean"].clone(), at["seen_squares"].clone()
        numbers = iter(state["numbers"].tolist())
        for target, names in (
            (kernel, _KERNEL_NUMBERS),
            (kernel._adapter, _ADAPTER_NUMBERS),
            (steps, _STEP_NUMBERS),
        ):
            for name, kind in names.items():
                setattr(target, name, kind(next(numbers)))
        seen.n_samples, self._n_evaluations = int(next(numbers)), int(next(numbers))
        kernel._divergences = state["divergent"].tolist()

    @contextmanager
    def _own_randomness(self, place: int) -> Iterator[None]:
        without_checks = load_pyro("pyro").validation_enabled(is_validate=False)
        with without_checks, lent_randomness(self._device, self._seed, 0, place):
            yield


# what Pyro's kernels keep between transitions, and as what
_KERNEL_NUMBERS: dict[str, type] = {"_t": int, "_accept_cnt": int, "_mean_accept_prob": float}
_ADAPTER_NUMBERS: dict[str, type] = {"step_size": float, "_current_window": int}
_STEP_NUMBERS: dict[str, type] = {
    "prox_center": float,
    "_x_avg": float,
    "_g_avg": float,
    "_x_t": float,
    "_t": int,
}
