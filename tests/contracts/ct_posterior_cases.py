"""The posteriors over images under the laws, and what is known of each.

A variant joins by a line in CASES. Tell what is known of its posterior on a small linear-Gaussian
scan by `exact`: from the scan and the result (whose diagnostics may hold hyper-parameters) to the
Gaussian that theory says, such as the prior of `GaussianScan.pixel_prior` or any other covariance
put through `GaussianScan.posterior`. Where a method does not obey a law, `lacks` says why.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import torch

import ct
from bayesnn.inference.hmc import random_length
from bayesnn.seeds import seeded_generator
from ct.inr.feature_grid import FeatureGrid
from ct.inr.pixel_grid import PixelGrid
from ct.inr.wide_network import WideNetwork
from ct.posterior.image_model import image_model
from ct.problem import Method
from ct.result import Reconstruction
from tests.reference.gaussian_scan import SIDE, DensePixels, Gaussian, GaussianScan
from tests.reference.tangent_posterior import tangent_posterior

SMALL = FeatureGrid(coarsest=5, channels=4, width=16)


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A method with settings for small images, and what is claimed of it.

    Attributes:
        name: in the test's name.
        method: seconds matter; six small scans are reconstructed.
        exact: the posterior that theory says it has; None where there is none.
        exact_method: the method with more samples, for the comparison with `exact`.
        effective_samples: how many independent samples a result is worth; None for all of them.
        slack: error of the standard deviation, and of the mean in standard deviations, that is
            allowed besides the Monte-Carlo error: what the theory leaves open, or an optimiser.
        turned: how far the mean may move, in standard deviations, where scan and grid are turned.
        lacks: laws that it does not obey, and why; the tests expect that it breaks them.
        slow: whether its six scans take more than some seconds of one core.
    """

    name: str
    method: Method
    exact: Callable[[GaussianScan, Reconstruction], Gaussian] | None = None
    exact_method: Method | None = None
    effective_samples: Callable[[Reconstruction], float] | None = None
    slack: float = 1e-3
    turned: float = 0.8
    lacks: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False


def dense_posterior(scan: GaussianScan, result: Reconstruction) -> Gaussian:
    return scan.posterior(scan.pixel_prior(3.0))


INFINITE_WIDTH = ct.infinite_width(
    frequency_std=4.0, tolerance=1e-7, sample_tolerance=1e-3, n_samples=100
)


def _infinite_width(scan: GaussianScan, result: Reconstruction) -> Gaussian:
    (said,) = result.metadata["diagnostics"]
    method = dataclasses.replace(INFINITE_WIDTH, amplitude=said["amplitude"])
    prior = method.prior(scan.problem)
    pixels = torch.eye(SIDE**2, dtype=torch.float64).reshape(-1, SIDE, SIDE)
    covariance = prior.scales.prior_std**2 * prior.kernel.times(pixels).flatten(1)
    shape = (SIDE, SIDE)
    # the level's variance is infinite; this one is a hundred times all others
    flat = Gaussian(
        mean=torch.zeros(shape, dtype=torch.float64),
        covariance=covariance + 100 * prior.scales.prior_std**2,
    )
    return scan.posterior(flat)


# measurements weigh masks against the prior, they do not add up to a posterior
_MASKS = "the width of dropout's spread is that of its masks: its rate decides, hardly the data"
_LAPLACE = ct.laplace(
    network=PixelGrid(), steps=3, tv_share=0.0, prior_precision=3.0, tolerance=1e-4, n_samples=40,
    held_out=0,
)  # fmt: skip
_NTKGP = ct.ntkgp(
    network=WideNetwork(n_frequencies=100, frequency_std=6.0, width=128, depth=1),
    n_members=24,
    max_steps=12,
    held_out=0,
)


def _tangent(scan: GaussianScan, result: Reconstruction) -> Gaussian:
    seed = seeded_generator(result.metadata["seed"], 0).initial_seed()  # of the only slice
    model = image_model(scan.problem, _NTKGP.network, seed=seed)
    kernel = tangent_posterior(model, prior_std=_NTKGP.prior_std).prior
    level = torch.full((SIDE, SIDE), model.network.start, dtype=torch.float64)
    return scan.posterior(
        Gaussian(mean=model.values.to_image(level), covariance=model.values.scale**2 * kernel)
    )


_HMC = ct.hmc(
    kernel=random_length, n_chains=2, warm_up=40, samples_per_chain=15, max_leapfrogs=7, steps=40,
    thinning=1, tv_share=0.0, prior_precision=100.0, held_out=0,
)  # fmt: skip
_MEAN_FIELD = ct.mean_field(
    network=PixelGrid(), steps=100, learning_rate=0.1, draws_per_step=2, n_samples=40,
    tv_share=0.0, prior_precision=100.0, held_out=0,
)  # fmt: skip


def _certain(scan: GaussianScan, result: Reconstruction) -> Gaussian:
    # of a narrower prior, with which chains mix in less time
    return scan.posterior(scan.pixel_prior(100.0))


CASES = [
    Case(
        name="dense",
        method=DensePixels(n_samples=100),
        exact=dense_posterior,
        exact_method=DensePixels(n_samples=1000),
    ),
    Case(
        name="hmc-pixels",
        method=_HMC,
        exact=_certain,
        exact_method=dataclasses.replace(
            _HMC, warm_up=50, samples_per_chain=60, max_leapfrogs=15, steps=60
        ),
        # squares of draws that alternate are worth less than the draws
        effective_samples=lambda result: result.metadata["diagnostics"][0]["ess_tail_min"],
    ),
    Case(
        name="mean-field-pixels",
        method=_MEAN_FIELD,
        exact=lambda scan, result: _certain(scan, result).independent(),
        exact_method=dataclasses.replace(_MEAN_FIELD, steps=200, draws_per_step=4, n_samples=400),
        slack=0.06,
        lacks={"arc": "pixels are drawn one by one, so deviations have no direction"},
    ),
    Case(
        name="mc-dropout",
        method=ct.mc_dropout(
            network=SMALL, steps=60, centre_steps=30, n_samples=20, dropout=0.3, held_out=0
        ),
        lacks={"noise": _MASKS, "views": _MASKS, "arc": _MASKS},
    ),
    Case(
        name="laplace-pixels",
        method=_LAPLACE,
        exact=dense_posterior,
        exact_method=dataclasses.replace(_LAPLACE, n_samples=1000),
    ),
    Case(
        name="laplace-grid",
        slow=True,
        method=ct.laplace(
            network=SMALL,
            steps=50,
            tv_share=0.0,  # at this size it flattens a noisy image
            prior_precision=3.0,
            tolerance=1e-2,
            rank=30,
            max_iterations=30,
            n_samples=40,
            held_out=0,
        ),
    ),
    Case(
        name="infinite-width",
        method=INFINITE_WIDTH,
        exact=_infinite_width,
        exact_method=dataclasses.replace(INFINITE_WIDTH, n_samples=1000),
        slack=2e-2,
    ),
    Case(
        name="ensemble",
        method=ct.ensemble(network=SMALL, n_members=16, steps=60, held_out=0),
        lacks={"arc": "members agree on what total variation puts where nothing was measured"},
    ),
    Case(
        name="ntkgp",
        method=_NTKGP,
        exact=_tangent,
        exact_method=dataclasses.replace(
            _NTKGP, network=dataclasses.replace(_NTKGP.network, width=512), n_members=60
        ),
        slack=0.1,  # what is left of a finite width
    ),
]
BASE = GaussianScan()


@cache
def solved(case: Case, scan: GaussianScan, *, exact: bool = False, seed: int = 1):
    return ct.reconstruct(
        scan.sinogram,
        scan.scan,
        scan.grid,
        method=(exact and case.exact_method) or case.method,
        noise_std=scan.noise_std,
        seed=seed,
    )
