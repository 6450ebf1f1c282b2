"""Bayes by backprop: the best independent Gaussians in place of a posterior, by Pyro's ELBO."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from bayesnn.checks import check_count, check_positive
from bayesnn.inference.mc_dropout import Params
from bayesnn.inference.with_pyro import lent_randomness, load_pyro
from bayesnn.seeds import seeded_generator

Energy = Callable[[Params], Float[Tensor, ""]]
"""The negative log likelihood of parameters, up to a constant; differentiable."""


@dataclass(frozen=True, kw_only=True)
class MeanField:
    """The distribution q of parameters that are independent Gaussians.

    Attributes:
        mean: of each parameter, by name.
        std: of each parameter, by name.
    """

    mean: Params
    std: Params

    def draw(self, *, generator: torch.Generator) -> Params:
        """Return one draw of all parameters.

        Args:
            generator: source of randomness, on the CPU; every device gets the same numbers.

        Returns:
            The parameters of one function.
        """
        return {
            name: mean
            + self.std[name]
            * torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean)
            for name, mean in self.mean.items()
        }

    def draw_functions(
        self, evaluate: Callable[[Params], Tensor], *, seed: int
    ) -> Iterator[Tensor]:
        """Yield the values of endlessly many functions drawn from q.

        Draw i depends on `seed` and i alone.

        Args:
            evaluate: from the parameters of one function to its values.
            seed: seed of the draws.

        Yields:
            One function's values.
        """
        index = 0
        while True:
            with torch.no_grad():
                yield evaluate(self.draw(generator=seeded_generator(seed, index)))
            index += 1


class MeanFieldFit:
    """The ascent to the q that is closest to a posterior, one step at a time.

    With prior p = Π N(0, s²) and energy U, minimises over the means and standard deviations of
    q = Π N(m, v) the negative evidence lower bound

        E_q[U(θ)] + κ · KL(q ‖ p)

    with draws of θ by reparametrisation and the divergence in closed form (Pyro's
    `TraceMeanField_ELBO`), by Adam in m and log √v. A step takes draws θ = m + √v ε and their
    mirror images m − √v ε, which have the same distribution: what they add to the gradient of m
    cancels where U is quadratic. They are evaluated at once, by `torch.func.vmap`.

    For a Gaussian posterior with precision P the minimum is known: m is its mean and v_i = 1/P_ii,
    the variance of θ_i given all others. That is less than its marginal variance (P⁻¹)_ii wherever
    parameters are correlated: mean field understates spread.

    Step t depends on `seed`, t and the state alone, so a fit that was restored goes on to the same
    numbers. Neither torch's global generators nor Pyro's parameter store are changed.

    Args:
        start: the first means.
        prior_std: s of each parameter, by name.
        initial_std: the first √v, as a part of s.
        kl_weight: κ; 1 is the posterior of Bayes' rule, less trusts the data more.
        n_draws: pairs of draws a step; more give less noisy standard deviations.
        step_factors: factor on the learning rate of each parameter, by name; 1 where not named.
        seed: seed of the draws.

    Raises:
        ImportError: Pyro is not installed.
        ValueError: a setting that is not above zero.

    Source:
        C. Blundell, J. Cornebise, K. Kavukcuoglu, D. Wierstra, Weight uncertainty in neural
        networks, ICML 2015.

    Example:
        >>> fit = MeanFieldFit({"x": torch.zeros(1)}, prior_std={"x": 1.0}, seed=0)
        >>> for step in range(200):
        ...     _ = fit.step(lambda p: ((p["x"] - 2) / 0.5).square().sum() / 2, 0.1 - step / 2000)
        >>> q = fit.posterior()  # exactly: mean 2 / (1 + 0.25), variance 1 / (1 + 4)
        >>> abs(float(q.mean["x"]) - 1.6) < 0.01, abs(float(q.std["x"]) - 0.447) < 0.03
        (True, True)
    """

    def __init__(
        self,
        start: Params,
        *,
        prior_std: Mapping[str, float],
        initial_std: float = 0.1,
        kl_weight: float = 1.0,
        n_draws: int = 1,
        step_factors: Mapping[str, float] | None = None,
        seed: int,
    ) -> None:
        check_positive(initial_std, "initial_std")
        check_positive(kl_weight, "kl_weight")
        check_count(n_draws, "n_draws")
        load_pyro("pyro")  # a clear error now rather than at the first step
        self._prior_std = prior_std
        self._kl_weight = kl_weight
        self._n_draws = n_draws
        self._seed = seed
        self._steps = 0
        self._mean = {name: p.detach().clone().requires_grad_() for name, p in start.items()}
        self._log_std = {
            name: torch.full_like(p, math.log(initial_std * prior_std[name])).requires_grad_()
            for name, p in start.items()
        }
        factors = step_factors or {}
        self._optimiser = torch.optim.Adam(
            [
                {"params": [kind[name]], "factor": factors.get(name, 1.0)}
                for kind in (self._mean, self._log_std)
                for name in start
            ],
        )

    @property
    def n_steps(self) -> int:
        """How many steps were made."""
        return self._steps

    def posterior(self) -> MeanField:
        """Return q as it stands."""
        return MeanField(
            mean={name: mean.detach().clone() for name, mean in self._mean.items()},
            std={name: log_std.detach().exp() for name, log_std in self._log_std.items()},
        )

    def step(self, energy: Energy, learning_rate: float) -> Float[Tensor, ""]:
        """Make one step of Adam.

        Args:
            energy: U.
            learning_rate: of this step.

        Returns:
            The estimate of the negative evidence lower bound before it.
        """
        infer, pyro = load_pyro("pyro.infer"), load_pyro("pyro")
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate * group["factor"]
        self._optimiser.zero_grad()
        elbo = infer.TraceMeanField_ELBO()
        device = next(iter(self._mean.values())).device
        without_checks = pyro.validation_enabled(is_validate=False)
        # of numbers that are none the caller hears by the loss
        quiet = warnings.catch_warnings(action="ignore", category=UserWarning)
        with quiet, without_checks, lent_randomness(device, self._seed, self._steps):
            loss: Tensor = elbo.differentiable_loss(self._model, self._guide, energy)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._steps += 1
        return loss.detach()  # not a float: that would wait for the device

    def state(self) -> dict[str, Tensor]:
        """Return all that the fit's future depends on."""
        state = {"steps": torch.tensor(self._steps)}
        for kind, tensors in (("mean", self._mean), ("log_std", self._log_std)):
            for name, value in tensors.items():
                state[f"{kind}.{name}"] = value.detach()
                for key, moment in self._optimiser.state[value].items():
                    state[f"{kind}.{name}.{key}"] = moment
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state of this fit or of one that was made alike.

        Args:
            state: what `state` returned, on any device.
        """
        self._steps = int(state["steps"])
        for kind, tensors in (("mean", self._mean), ("log_std", self._log_std)):
            for name, value in tensors.items():
                start = f"{kind}.{name}"
                with torch.no_grad():
                    value.copy_(state[start])
                self._optimiser.state[value] = {
                    key: _placed(state[f"{start}.{key}"], key, value)
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"{start}.{key}" in state
                }

    def _model(self, energy: Energy) -> None:
        pyro, dist = load_pyro("pyro"), load_pyro("pyro.distributions")
        both: Params = {}
        with self._one_divergence():
            for name, mean in self._mean.items():
                prior = dist.Normal(torch.zeros_like(mean), self._prior_std[name])
                drawn = pyro.sample(name, prior.expand(self._shape(mean)).to_event(mean.ndim + 1))
                both[name] = torch.cat((drawn, 2 * mean - drawn))
        pyro.factor("data", -vmap(energy)(both).mean())

    def _guide(self, energy: Energy) -> None:  # noqa: ARG002
        pyro, dist = load_pyro("pyro"), load_pyro("pyro.distributions")
        with self._one_divergence():
            for name, mean in self._mean.items():
                factor = dist.Normal(mean, self._log_std[name].exp())
                pyro.sample(name, factor.expand(self._shape(mean)).to_event(mean.ndim + 1))

    def _one_divergence(self) -> Any:
        # each draw is a site entry of its own, and together they count once
        return load_pyro("pyro.poutine").scale(scale=self._kl_weight / self._n_draws)

    def _shape(self, mean: Tensor) -> torch.Size:
        return torch.Size((self._n_draws, *mean.shape))


def _placed(saved: Tensor, key: str, parameter: Tensor) -> Tensor:
    # Adam counts its steps on the CPU
    return saved.clone() if key == "step" else saved.to(parameter).clone()
