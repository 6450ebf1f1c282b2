import math

import numpy as np
import pytest
import torch

from bayesnn.kernels import ntk
from benchmarks.image_classes import work
from benchmarks.image_classes.budget import Budget
from benchmarks.image_classes.choice import Judged, Validation, best_setting, judge
from benchmarks.image_classes.data import ImageSet, digits, split
from benchmarks.image_classes.functions import Training, Units
from benchmarks.image_classes.infinite_width import RATIOS, likeliest
from benchmarks.image_classes.laplace_readout import SoftmaxCurvature
from benchmarks.image_classes.methods import METHODS
from benchmarks.image_classes.one_network import MASKS, penalised, trained
from benchmarks.image_classes.scores import (
    accuracy_by_confidence,
    entropy_counts,
    inside_scores,
    outside_scores,
    risks,
)
from benchmarks.image_classes.uncertainty import ENTROPY, SQUARES, VALUES, expected_square

TINY = Budget(
    name="tiny", width=4, steps=5, choosing=2, members=2, draws=2, candidates=2, kernel_rows=12,
    outside=5, per_letter=1,
)  # fmt: skip


def _chosen(images, parts, method):
    fitted, _ = work.fit_chosen(method, images, parts, budget=TINY, seed=1, device="cpu")
    probe = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
    return fitted, fitted.functions(probe)


@pytest.mark.parametrize("method", ["NTKGP-param", "MC dropout", "infinite NTKGP"])
def test_poisoned_test_images_change_no_choice(method):
    clean = digits()
    parts = split(clean.labels, seed=1)
    pixels, labels = clean.images.copy(), clean.labels.copy()
    pixels[parts.test] = 1e6
    labels[parts.test] = 0
    poisoned = ImageSet(name="digits", images=pixels, labels=labels)
    one, at_one = _chosen(clean, parts, method)
    two, at_two = _chosen(poisoned, parts, method)
    assert torch.equal(at_one, at_two)
    assert (one.said, one.temperature, one.uncertainty) == (
        two.said,
        two.temperature,
        two.uncertainty,
    )
    assert one.validation == two.validation
    assert one.candidates == two.candidates
    assert len(one.candidates) == (0 if method == "infinite NTKGP" else TINY.candidates)

    moved = clean.images.copy()
    moved[parts.validation] = moved[parts.validation][::-1]
    other, _ = _chosen(ImageSet(name="digits", images=moved, labels=clean.labels), parts, method)
    assert other.validation != one.validation  # what choices may see, they see


def test_images_from_outside_change_no_choice(monkeypatch):
    cell = work.Cell("digits", 0, "deep ensemble")
    run = {"image_set": "digits", "budget": TINY, "fashion_folder": None, "device": "cpu"}
    before = work.run_cell(cell, **run)
    monkeypatch.setattr(
        work, "outside_images", lambda *_, **__: {work.LETTERS: np.full((4, 8, 8), 0.5)}
    )
    monkeypatch.setattr(work, "corrupted", lambda images, *_, **__: images[::-1].copy())
    after = work.run_cell(cell, **run)
    same = ("setting", "temperature", "uncertainty", "validation", "inside")
    assert {key: before[key] for key in same} == {key: after[key] for key in same}
    assert before["outside"] != after["outside"]
    assert before["corruption"] != after["corruption"]


def test_units_are_those_of_the_training_images():
    images = np.random.default_rng(0).random((10, 8, 8))
    x = Units.of(images, "cpu")(images)
    assert x.shape == (10, 1, 8, 8)
    assert float(x.mean()) == pytest.approx(0, abs=1e-6)
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("side", [8, 28])
def test_the_network_tells_where_features_are_and_has_a_kernel(side):
    x = torch.randn(3, 1, side, side, generator=torch.Generator().manual_seed(0))
    training = Training(x=x, y=torch.arange(3), n_members=1, budget=TINY, seed=0)
    network = training.network(1.5)
    assert network(x).shape == (3, 10)
    gram = ntk(network)(x.double())
    assert float(torch.linalg.eigvalsh(gram).min()) > 0
    if side == 28:  # the digits' last features have one place alone
        mirrored = ntk(network)(x.double(), x.double().flip(-1))
        assert float((gram - mirrored).diagonal().abs().min()) > 1e-3


def _judged(losses, auroc):
    return Judged(temperature=1.0, losses=torch.tensor(losses), auroc={ENTROPY: auroc})


def test_the_setting_that_tells_outliers_wins_among_equals_alone():
    good = _judged([0.1, 0.2, 0.3, 0.4], 0.6)
    equal = _judged([0.2, 0.1, 0.4, 0.31], 0.8)  # within one standard error
    worse = _judged([0.2, 0.3, 0.4, 0.5], 0.99)  # worse at every image
    assert best_setting([good, equal, worse]) == 1
    assert best_setting([worse, good]) == 1
    assert best_setting([good, worse, equal]) == 2
    # differences 0, 0.2, 0, 0.2 have mean 0.1 and standard error 0.058
    behind = _judged([0.1, 0.4, 0.3, 0.6], 0.99)
    assert best_setting([good, behind]) == 0


def _values(*, confident, outliers_vary):
    """Members that agree on dark images and differ on light ones."""

    def functions(x):
        light = (x.mean((1, 2, 3)) > 0.5).double()
        label = x[:, 0, 0, 0].round().long()
        sure = confident * torch.nn.functional.one_hot(label, 10).double()
        shift = torch.zeros(2, len(x), 10, dtype=torch.float64)
        shift[0, :, 0] = outliers_vary * light
        return sure + shift

    return functions


def test_a_constructed_case_is_judged_as_it_should_be():
    x = torch.zeros(20, 1, 8, 8)
    y = torch.arange(20) % 10
    x[:, 0, 0, 0] = y
    outliers = {"light": torch.ones(20, 1, 8, 8), "dark": x.clone()}
    found = judge(
        _values(confident=2.0, outliers_vary=3.0), Validation(x=x, y=y, outliers=outliers)
    )
    assert found.auroc[VALUES] == (1.0 + 0.5) / 2  # all light ones apart, the dark ones not
    at = 2.0 / found.temperature
    assert found.nll == pytest.approx(math.log(1 + 9 * math.exp(-at)), abs=1e-6)
    others = [
        judge(_values(confident=sure, outliers_vary=size), Validation(x=x, y=y, outliers=outliers))
        for sure, size in ((0.1, 9.0), (2.0, 3.0), (2.0, 0.0))
    ]
    assert best_setting(others) == 1


def test_scores_of_a_constructed_case():
    # two members, T = 2; p = softmax(f/2)
    sure = torch.tensor([[4.0, 0.0], [0.0, 4.0]] * 20, dtype=torch.float64)
    values = torch.stack([sure, sure])
    y = torch.tensor([0, 1, 0, 0] * 10)
    p = 1 / (1 + math.exp(-2))
    found = inside_scores(values, y, 2.0)
    assert found["accuracy"] == 0.75
    assert found["nll"] == pytest.approx(-(3 * math.log(p) + math.log(1 - p)) / 4)
    assert found["brier"] == pytest.approx(2 * (3 * (1 - p) ** 2 + p**2) / 4)
    assert found["ece"] == pytest.approx(abs(p - 0.75))
    assert found["aurc"] == pytest.approx(0.25)

    odd = torch.stack([sure[:2], -sure[:2]])
    out = outside_scores(values, odd, 2.0)
    for name in out:
        assert out[name] == {"auroc": 1.0, "aupr": 1.0, "fpr95": 0.0}, name
    assert outside_scores(values, values, 2.0)[ENTROPY]["auroc"] == 0.5
    assert set(outside_scores(values[:1], odd[:1], 2.0)) == {ENTROPY, SQUARES}

    # all are answered at 0.8, none of the others (at 0.5); below 0.5 all are answered
    shares = accuracy_by_confidence(values, y, odd, 2.0)
    assert shares[8] == 0.75
    assert shares[0] == 0.375
    assert shares[9] is None
    assert risks(values, y, 2.0)[-1] == pytest.approx(0.25)
    counts = entropy_counts(values, 2.0)
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert counts[int(20 * entropy / math.log(2))] == 1
    assert sum(counts) == 1


def test_expected_square_is_the_mean_over_members_of_the_loss():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2000, 3, 10, dtype=torch.float64, generator=generator)
    values[:, 0, 4] += 3.0
    answer = values.mean(0).argmax(-1)
    assert int(answer[0]) == 4
    # indicators less 1/10, in units of their own standard deviation √(0.1 · 0.9)
    targets = (torch.nn.functional.one_hot(answer, 10) - 0.1) / 0.3
    naive = (values - targets).square().sum(-1).mean(0)
    torch.testing.assert_close(expected_square(values), naive, rtol=2e-3, atol=0)  # n or n − 1
    assert float(expected_square(targets[None]).max()) < 1e-12


class _Recorder:
    """Dropout that notes what it would draw, and drops nothing."""

    rate = 0.5

    def __init__(self):
        self.drawn = []

    def draw(self, params, *, generator):
        self.drawn.append(float(torch.rand(1, generator=generator)))
        return params


def test_masks_of_dropout_are_drawn_anew_for_every_part_and_step():
    def noted():
        training = Training(
            x=torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
            y=torch.arange(40) % 10, n_members=1, budget=TINY, seed=3,
        )  # fmt: skip
        recorder = _Recorder()
        params = trained(training.network(1.5), training, recorder)
        return recorder.drawn, params

    drawn, params = noted()
    assert len(drawn) == len(set(drawn)) == TINY.steps * MASKS
    again, same = noted()
    assert drawn == again
    assert all(torch.equal(params[name], same[name]) for name in params)


def test_networks_are_trained_to_the_posterior_mode():
    values = torch.zeros(4, 10)
    params = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3.0)}
    found = penalised(values, torch.arange(4), params, 7)
    assert float(found) == pytest.approx(math.log(10) + 14 / 14)


def test_softmax_curvature_is_the_hessian_and_draws_have_its_covariance():
    logits = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    curvature = SoftmaxCurvature(logits.softmax(-1))
    loss = lambda z: torch.nn.functional.cross_entropy(z, torch.tensor([0, 2]), reduction="sum")  # noqa: E731
    hessian = torch.autograd.functional.hessian(loss, logits).reshape(6, 6)
    rows = curvature(torch.eye(6, dtype=torch.float64).reshape(6, 2, 3)).reshape(6, 6)
    torch.testing.assert_close(rows, hessian)
    generator = torch.Generator().manual_seed(1)
    draws = torch.stack([curvature.draw(generator).flatten() for _ in range(20000)])
    torch.testing.assert_close(draws.T @ draws / len(draws), hessian, atol=0.01, rtol=0)


def test_marginal_likelihood_is_the_greatest_over_scales():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(12, 12, dtype=torch.float64, generator=generator)
    kernel = root @ root.T
    noise = 0.1 * kernel.diagonal().mean() * torch.eye(12)
    factor = torch.linalg.cholesky(kernel + noise)
    y = 1.7 * factor @ torch.randn(12, 300, dtype=torch.float64, generator=generator)
    scale, ratio = likeliest(kernel, y)
    assert ratio == 0.1
    assert scale == pytest.approx(1.7**2, rel=0.1)

    def log_likelihood(s2, r):
        covariance = s2 * (kernel + r * kernel.diagonal().mean() * torch.eye(12))
        law = torch.distributions.MultivariateNormal(torch.zeros(12).double(), covariance)
        return float(law.log_prob(y.T).sum())

    best = log_likelihood(scale, ratio)
    others = [log_likelihood(scale * f, r) for f in (0.98, 1.0, 1.02) for r in RATIOS]
    assert max(others) == pytest.approx(best)
    assert sum(value == max(others) for value in others) == 1


def test_every_method_may_try_as_many_settings():
    counts = {name: len(some) for name, some in METHODS.items() if name != "infinite NTKGP"}
    assert set(counts.values()) == {4}
    for some in METHODS.values():
        assert len({one.said for one in some}) == len(some)
