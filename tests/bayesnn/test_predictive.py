"""Laws of the predictive distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bayesnn.predictive import Predictive

SHAPES = [(4,), (4, 3)]
KINDS = ["exact", "members", "covariance"]


def predictive(kind: str, shape: tuple[int, ...], device: str = "cpu") -> Predictive:
    generator = torch.Generator().manual_seed(7)
    noise = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
    if kind == "members":
        members = torch.randn(5, *shape, generator=generator, dtype=torch.float64).to(device)
        return Predictive.from_members(members, noise.to(device), keep_members=True)
    n = shape[0]
    root = torch.randn(*shape[1:], n, n, generator=generator, dtype=torch.float64)
    covariance = root @ root.mT
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    return Predictive(
        mean=torch.randn(shape, generator=generator, dtype=torch.float64).to(device),
        epistemic_variance=variance.movedim(-1, 0).to(device),
        noise_variance=noise.to(device),
        covariance=covariance.to(device) if kind == "covariance" else None,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_device_and_total_variance(kind: str, shape: tuple[int, ...], device: str) -> None:
    post = predictive(kind, shape, device)
    results = [post.mean, post.variance, post.std, post.noise_variance, post.quantile(0.3)]
    results += [*post.interval(0.9), post.log_prob(post.mean), post.sample(2)[0]]
    assert all(t.shape == shape and t.device.type == device for t in results)
    assert all(t.dtype == torch.float64 for t in results)
    torch.testing.assert_close(post.variance, post.epistemic_variance + post.noise_variance)
    torch.testing.assert_close(post.std.square(), post.variance)


def test_results_are_plain_for_numpy_and_never_change() -> None:
    mean = torch.zeros(3, requires_grad=True)
    post = Predictive(mean=mean * 1, epistemic_variance=mean.exp(), noise_variance=0.5)
    assert np.asarray(post.mean).shape == (3,)
    np.testing.assert_array_equal(np.asarray(post.noise_variance, dtype=float), 0.5)
    assert np.asarray(post.std).dtype == np.float32
    with pytest.raises(AttributeError):
        post.mean = torch.ones(3)  # type: ignore[misc]


@given(
    q=st.floats(0.001, 0.999),
    larger=st.floats(0.0, 1.0),
    n_members=st.sampled_from([None, 2, 5, 200]),
)
def test_quantiles_grow_and_bound_intervals(q: float, larger: float, n_members: int | None) -> None:
    post = Predictive(
        mean=torch.tensor([1.0, -2.0], dtype=torch.float64),
        epistemic_variance=torch.tensor([0.5, 0.0], dtype=torch.float64),
        noise_variance=torch.tensor(0.2, dtype=torch.float64),
        n_members=n_members,
    )
    high = q + (0.9999 - q) * max(larger, 1e-3)
    assert bool((post.quantile(high) > post.quantile(q)).all())
    level = abs(2 * q - 1)
    lower, upper = post.interval(level)
    torch.testing.assert_close(lower, post.quantile(0.5 - level / 2), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(upper, post.quantile(0.5 + level / 2), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close((lower + upper) / 2, post.mean)


def test_interval_of_level_zero_is_the_mean() -> None:
    post = predictive("members", (4,))
    lower, upper = post.interval(0.0)
    torch.testing.assert_close(lower, post.mean)
    torch.testing.assert_close(upper, post.mean)


@pytest.mark.parametrize(("n_members", "noise"), [(2, 0.0), (5, 0.0), (5, 0.5), (20, 1.0)])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_intervals_from_few_gaussian_members_cover(
    n_members: int, noise: float, level: float
) -> None:
    """Exact for no noise; Welch and Satterthwaite's approximation is good to half a percent."""
    n = 200_000
    generator = torch.Generator().manual_seed(1)
    members = 3 + torch.randn(n_members, n, generator=generator)
    y = 3 + math.sqrt(1 + noise) * torch.randn(n, generator=generator)
    lower, upper = Predictive.from_members(members, noise).interval(level)
    covered = float(((y >= lower) & (y <= upper)).float().mean())
    error = 4 * math.sqrt(level * (1 - level) / n)
    assert abs(covered - level) < error + (0.005 if noise else 0.0)


@pytest.mark.parametrize(("n_members", "least"), [(2, 0.87), (3, 0.92), (5, 0.94), (8, 0.945)])
@pytest.mark.parametrize("noise", [0.03, 0.1, 0.3, 1.0])
def test_worst_coverage_with_noise_is_as_documented(
    n_members: int, least: float, noise: float
) -> None:
    n = 100_000
    generator = torch.Generator().manual_seed(2)
    members = torch.randn(n_members, n, generator=generator)
    y = math.sqrt(1 + noise) * torch.randn(n, generator=generator)
    lower, upper = Predictive.from_members(members, noise).interval(0.95)
    covered = float(((y >= lower) & (y <= upper)).float().mean())
    assert least - 0.003 < covered < 0.955


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_samples_have_the_stated_moments(kind: str, shape: tuple[int, ...]) -> None:
    post = predictive(kind, shape)
    n = 40_000
    draws = post.sample(n, seed=3)
    error = 5 * post.std / math.sqrt(n)
    assert bool(((draws.mean(0) - post.mean).abs() < error).all())
    ratio = draws.var(0) / post.variance
    assert float((ratio - 1).abs().max()) < 5 * math.sqrt(2 / n)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_joint_where_the_joint_is_known(kind: str, shape: tuple[int, ...]) -> None:
    post = predictive(kind, shape)
    n = 40_000
    draws = post.sample(n).reshape(n, shape[0], -1)
    for output in range(draws.shape[-1]):
        got = torch.cov(draws[..., output].T)
        noise = post.noise_variance.reshape(shape[0], -1)[:, output]
        if kind == "members":
            assert post.members is not None
            function = torch.cov(post.members.reshape(5, shape[0], -1)[..., output].T)
        elif kind == "covariance":
            assert post.covariance is not None
            function = post.covariance.reshape(-1, shape[0], shape[0])[output]
        else:
            function = post.epistemic_variance.reshape(shape[0], -1)[:, output].diag()
        want = function + noise.diag()
        scale = want.diagonal().sqrt()
        assert float(((got - want) / torch.outer(scale, scale)).abs().max()) < 5 * math.sqrt(2 / n)


def test_samples_repeat_with_the_seed_and_leave_the_global_stream_alone() -> None:
    post = predictive("exact", (4,))
    state = torch.random.get_rng_state()
    assert torch.equal(post.sample(3, seed=5), post.sample(3, seed=5))
    assert not torch.equal(post.sample(3, seed=5), post.sample(3, seed=6))
    from_generator = post.sample(3, seed=torch.Generator().manual_seed(2))
    assert from_generator.shape == (3, 4)
    assert torch.equal(state, torch.random.get_rng_state())


def test_sampling_from_a_singular_covariance() -> None:
    post = Predictive(
        mean=torch.zeros(3),
        epistemic_variance=torch.ones(3),
        noise_variance=0.0,
        covariance=torch.ones(3, 3),
    )
    draws = post.sample(10)
    torch.testing.assert_close(draws, draws[:, :1].expand(10, 3), atol=1e-3, rtol=0)
    indefinite = Predictive(
        mean=torch.zeros(2),
        epistemic_variance=torch.ones(2),
        noise_variance=0.0,
        covariance=torch.tensor([[1.0, 2.0], [2.0, 1.0]]),
    )
    with pytest.raises(ValueError, match="positive semi-definite"):
        indefinite.sample(1)


@pytest.mark.parametrize("n_members", [None, 2, 4, 1000, 10**7])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_density_integrates_to_the_quantiles(n_members: int | None, noise: float) -> None:
    """∫ exp(log_prob) between two quantiles is the difference of their probabilities."""
    post = Predictive(
        mean=torch.tensor([0.7], dtype=torch.float64),
        epistemic_variance=torch.tensor([1.3], dtype=torch.float64),
        noise_variance=torch.tensor(noise, dtype=torch.float64),
        n_members=n_members,
    )
    for q in (0.9, 0.999):
        ends = [float(post.quantile(p)[0]) for p in (1 - q, q)]
        y = torch.linspace(ends[0], ends[1], 20_001, dtype=torch.float64)
        wide = Predictive(
            mean=post.mean.expand(len(y)),
            epistemic_variance=post.epistemic_variance.expand(len(y)),
            noise_variance=post.noise_variance[0],
            n_members=n_members,
        )
        mass = float(torch.trapezoid(wide.log_prob(y).exp(), y))
        assert mass == pytest.approx(2 * q - 1, abs=1e-5)


@pytest.mark.parametrize("n_members", [2, 3, 30, 900, 1100, 10**6])
def test_density_without_noise_is_the_t_density(n_members: int) -> None:
    scale = 2 * math.sqrt(1 + 1 / n_members)
    y = np.linspace(-40, 40, 81)
    post = Predictive(
        mean=torch.zeros(81, dtype=torch.float64),
        epistemic_variance=torch.full((81,), 4.0, dtype=torch.float64),
        noise_variance=0.0,
        n_members=n_members,
    )
    want = stats.t(n_members - 1, scale=scale).logpdf(y)
    np.testing.assert_allclose(post.log_prob(y), want, rtol=1e-8, atol=1e-8)


def test_agreeing_members_leave_the_noise_alone() -> None:
    post = Predictive.from_members(torch.ones(4, 2), 0.25)
    lower, upper = post.interval(0.95)
    torch.testing.assert_close(upper - lower, torch.full((2,), 2 * 1.959964 * 0.5))
    want = stats.norm(1, 0.5).logpdf(1.3)
    torch.testing.assert_close(post.log_prob([1.3, 1.3]), torch.full((2,), float(want)))


@given(mean=st.sampled_from([0.0, 1e4, 1e6, -1e7]), n_members=st.integers(2, 30))
def test_moments_of_members_are_exact_in_float32(mean: float, n_members: int) -> None:
    generator = torch.Generator().manual_seed(n_members)
    members = mean + 3 * torch.randn(n_members, 50, generator=generator)
    post = Predictive.from_members(members, 0.0)
    exact = members.double()
    torch.testing.assert_close(post.epistemic_variance, exact.var(0).float(), rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(post.mean, exact.mean(0).float(), rtol=2e-7, atol=1e-5)


def test_members_stay_only_if_asked_for() -> None:
    members = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    assert Predictive.from_members(members, 0.1).members is None
    kept = Predictive.from_members(members, 0.1, keep_members=True).members
    assert kept is not None
    assert torch.equal(kept, members)


def test_one_member_has_a_mean_and_no_uncertainty() -> None:
    post = Predictive.from_members(torch.tensor([[1.0, 2.0]]), 0.1)
    assert post.mean.tolist() == [1.0, 2.0]
    assert post.noise_variance.tolist() == pytest.approx([0.1, 0.1])
    for use in (
        lambda: post.epistemic_variance,
        lambda: post.variance,
        lambda: post.std,
        lambda: post.interval(0.9),
        lambda: post.quantile(0.5),
        lambda: post.sample(1),
        lambda: post.log_prob(post.mean),
    ):
        with pytest.raises(ValueError, match="one member"):
            use()


GOOD = {"mean": torch.zeros(3), "epistemic_variance": torch.ones(3), "noise_variance": 0.1}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epistemic_variance": torch.ones(2)}, "epistemic_variance: expected the mean's shape"),
        ({"epistemic_variance": -torch.ones(3)}, "epistemic_variance: expected values"),
        ({"epistemic_variance": torch.full((3,), math.nan)}, "epistemic_variance: expected values"),
        ({"epistemic_variance": None}, "epistemic_variance: expected a tensor"),
        ({"noise_variance": torch.ones(2)}, "noise_variance: expected a shape"),
        ({"noise_variance": torch.ones(3, 3)}, "noise_variance: expected a shape"),
        ({"noise_variance": -1.0}, "noise_variance: expected values"),
        ({"n_members": 0}, "n_members: expected a whole number"),
        ({"members": torch.zeros(4, 3), "n_members": 5}, "members: expected shape"),
        ({"covariance": torch.zeros(2, 2)}, "covariance: expected shape"),
        ({"mean": torch.zeros(3, dtype=torch.int64)}, "mean: expected a floating-point"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictive(**{**GOOD, **wrong})  # type: ignore[arg-type]


def test_wrong_questions_are_refused() -> None:
    post = Predictive(**GOOD)  # type: ignore[arg-type]
    for q in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="q: expected a probability"):
            post.quantile(q)
    for level in (-0.1, 1.0, 95.0):
        with pytest.raises(ValueError, match="level: expected a probability"):
            post.interval(level)
    with pytest.raises(ValueError, match="n: expected a whole number"):
        post.sample(0)
    with pytest.raises(ValueError, match="y: expected the mean's shape"):
        post.log_prob([1.0])
    sure = Predictive(mean=torch.zeros(1), epistemic_variance=torch.zeros(1), noise_variance=0.0)
    with pytest.raises(ValueError, match="no density"):
        sure.log_prob([0.0])
