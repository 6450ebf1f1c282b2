"""Laws of every posterior over images, and agreement with those whose posterior is known.

A variant joins by a line in CASES. Tell what is known of its posterior on a small linear-Gaussian
scan by `exact`: from the scan and the result (whose diagnostics may hold hyper-parameters) to the
Gaussian that theory says, such as the prior of `GaussianScan.pixel_prior` or any other covariance
put through `GaussianScan.posterior`. Where a method does not obey a law, `lacks` says why.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import pytest
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


def _dense(scan: GaussianScan, result: Reconstruction) -> Gaussian:
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
        exact=_dense,
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
        exact=_dense,
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


def _every_case(law: str) -> pytest.MarkDecorator:
    params = [
        pytest.param(
            case,
            id=case.name,
            marks=[
                *([pytest.mark.xfail(reason=case.lacks[law])] if law in case.lacks else []),
                *([pytest.mark.slow] if case.slow else []),
            ],
        )
        for case in CASES
    ]
    return pytest.mark.parametrize("case", params)


known_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case.exact], ids=lambda case: case.name
)

BASE = GaussianScan()


@cache
def _solved(case: Case, scan: GaussianScan, *, exact: bool = False, seed: int = 1):
    return ct.reconstruct(
        scan.sinogram,
        scan.scan,
        scan.grid,
        method=(exact and case.exact_method) or case.method,
        noise_std=scan.noise_std,
        seed=seed,
    )


def _rms(values: torch.Tensor) -> float:
    return float(values.double().square().mean().sqrt())


@_every_case("noise")
def test_more_noise_widens(case):
    noisier = _solved(case, GaussianScan(noise=4 * BASE.noise))
    assert _rms(noisier.std) > 1.15 * _rms(_solved(case, BASE).std)


@_every_case("views")
def test_more_views_narrow(case):
    more = _solved(case, GaussianScan(views=3 * BASE.views))
    assert _rms(more.std) < 0.9 * _rms(_solved(case, BASE).std)


@_every_case("arc")
def test_a_limited_arc_puts_the_spread_along_the_missing_directions(case):
    arc = math.pi / 3
    limited = _solved(case, GaussianScan(arc=arc))
    ratio = _missing_over_measured(limited, arc) / _missing_over_measured(_solved(case, BASE), arc)
    assert ratio > 1.3


def _missing_over_measured(result: Reconstruction, arc: float) -> float:
    """Mean energy of the samples' deviations in Fourier directions that the arc misses or sees."""
    assert result.samples is not None
    window = torch.hann_window(SIDE + 2, periodic=False)[1:-1]  # no leakage from edge to edge
    deviations = (result.samples - result.mean) * window * window[:, None]
    energy = torch.fft.fft2(deviations).abs().square().mean(0)
    frequency = torch.fft.fftfreq(SIDE)
    radius = torch.hypot(frequency, frequency[:, None])
    # a view at θ sees the direction θ, and y is up while rows count down
    angle = torch.atan2(-frequency[:, None], frequency).remainder(math.pi)
    middle = (radius > 1.5 / SIDE) & (radius < 0.5)
    margin = 0.2
    seen = (angle < arc - margin) & (angle > margin)
    missed = (angle > arc + margin) & (angle < math.pi - margin)
    return float(energy[middle & missed].mean() / energy[middle & seen].mean())


@_every_case("turn")
def test_a_quarter_turn_of_scan_and_grid_turns_the_posterior(case):
    still = _solved(case, BASE)
    turned = _solved(case, GaussianScan(turn=math.pi / 2), seed=2)
    back = torch.rot90(turned.mean, -1)
    wrong = torch.rot90(turned.mean, 1)
    assert _rms(back - still.mean) < case.turned * _rms(still.std)
    assert _rms(back - still.mean) < 0.5 * _rms(wrong - still.mean)
    assert 0.75 < _rms(turned.std) / _rms(still.std) < 1.33


@_every_case("units")
def test_units_of_values_and_of_lengths(case):
    plain = _solved(case, BASE)
    values = _solved(case, GaussianScan(values=1024.0))
    lengths = _solved(case, GaussianScan(lengths=4.0))
    for other, factor in ((values, 1024.0), (lengths, 1.0)):
        for name in ("mean", "std", "samples"):
            ours, theirs = factor * getattr(plain, name), getattr(other, name)
            assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6 * factor), (name, factor)


@known_case
def test_the_mean_is_the_known_one(case):
    result = _solved(case, BASE, exact=True)
    known = case.exact(BASE, result)
    n, spread = _worth(case, result), _correlation_spread(known)
    squares = ((result.mean - known.mean) / known.std).square().mean()
    assert float(squares) < (1 + 5 * spread) / n + case.slack**2


@known_case
def test_the_standard_deviation_of_each_pixel_is_the_known_one(case):
    result = _solved(case, BASE, exact=True)
    known = case.exact(BASE, result)
    n, spread = _worth(case, result), _correlation_spread(known)
    ratio = (result.std / known.std).square()
    # the whole image to 5 standard errors, then each pixel
    assert abs(float(ratio.mean()) - 1) < 5 * spread / math.sqrt(n - 1) + 2 * case.slack
    assert float((ratio - 1).abs().max()) < 5 * math.sqrt(2 / (n - 1)) + 2 * case.slack


@known_case
def test_the_samples_are_jointly_those_of_the_known_posterior(case):
    result = _solved(case, BASE, exact=True)
    white = case.exact(BASE, result).whitened(result.samples)
    n, n_pixels = _worth(case, result), white.shape[1]
    covariance = (white - white.mean(0)).T @ (white - white.mean(0)) / (len(white) - 1)
    # the trace of a Wishart matrix over its size, then E‖W − I‖² = p(p + 1)/(n − 1)
    variance = float(covariance.diagonal().mean())
    assert abs(variance - 1) < 5 * math.sqrt(2 / n_pixels / (n - 1)) + 2 * case.slack
    excess = (covariance - torch.eye(n_pixels)).square().sum() * (n - 1)
    assert float(excess) < 1.2 * n_pixels * (n_pixels + 1) + n * n_pixels * (2 * case.slack) ** 2


def _worth(case: Case, result: Reconstruction) -> float:
    assert result.samples is not None
    return case.effective_samples(result) if case.effective_samples else len(result.samples)


def _correlation_spread(known: Gaussian) -> float:
    """Standard deviation of the mean over pixels of squared standard normals, so correlated."""
    std = known.std.flatten()
    correlation = known.covariance / std / std[:, None]
    return math.sqrt(2 * float(correlation.square().sum())) / len(std)


BROKEN = {
    "narrow": DensePixels(n_samples=1000, width=0.9),
    "moved": DensePixels(n_samples=1000, shift=0.2),
    "independent": DensePixels(n_samples=1000, independent=True),
}
LAWS = {
    "mean": test_the_mean_is_the_known_one,
    "std": test_the_standard_deviation_of_each_pixel_is_the_known_one,
    "joint": test_the_samples_are_jointly_those_of_the_known_posterior,
}


@pytest.mark.parametrize(
    ("broken", "law"),
    [("narrow", "std"), ("narrow", "joint"), ("moved", "mean"), ("independent", "joint")],
)
def test_the_comparison_sees_what_is_wrong(broken, law):
    case = dataclasses.replace(CASES[0], exact_method=BROKEN[broken])
    with pytest.raises(AssertionError):
        LAWS[law](case)


@pytest.mark.parametrize(
    "law",
    [
        test_more_noise_widens,
        test_more_views_narrow,
        test_a_limited_arc_puts_the_spread_along_the_missing_directions,
        test_a_quarter_turn_of_scan_and_grid_turns_the_posterior,
    ],
)
def test_a_spread_that_takes_no_notice_breaks_the_laws(law):
    posterior = _dense(BASE, _solved(CASES[0], BASE))
    case = dataclasses.replace(CASES[0], method=DensePixels(n_samples=100, always=posterior))
    with pytest.raises(AssertionError):
        law(case)
