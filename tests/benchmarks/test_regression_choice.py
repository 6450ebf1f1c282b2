from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from bayesnn import Predictive
from benchmarks.regression import uci_cells
from benchmarks.regression.method import (
    MOST_CANDIDATES,
    Fitted,
    choose,
    fit_in_units,
    validation_split,
)
from benchmarks.regression.units import fit_units

N = 40


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Predicts the mean of the targets with a given noise; takes down the rows that it saw."""

    name: str = "constant"
    candidates: tuple = tuple({"noise": noise} for noise in (0.1, 1.0, 10.0))
    seen: list = field(default_factory=list)

    def fit(self, X, y, *, settings, seed):
        self.seen.append((X.clone(), y.clone(), settings, seed))
        if settings["noise"] < 0:
            raise torch.linalg.LinAlgError("singular")

        def predict(rows):
            members = y.mean() + torch.tensor([[-0.5], [0.5]]).double().expand(2, len(rows))
            return Predictive.from_members(members, settings["noise"] ** 2, keep_members=True)

        return Fitted(predict=predict, facts={"rows": len(X)})


def _data():
    draw = np.random.default_rng(0)
    X = draw.normal(3.0, 2.0, size=(N, 2))
    return X, 100 + 5 * X[:, 0] + draw.normal(size=N)


def test_the_validation_part_is_a_fifth_and_apart():
    train, held_out = validation_split(N, seed=3)
    assert len(held_out) == N // 5
    assert sorted([*train, *held_out]) == list(range(N))
    assert not np.array_equal(held_out, validation_split(N, seed=4)[1])


def test_choice_is_the_smallest_nll_of_a_naive_loop():
    X, y = _data()
    choice = choose(Constant(), X, y, seed=0)
    train, held_out = validation_split(N, seed=0)
    centre, scale = y[train].mean(), y[train].std()
    naive = {}
    for noise in (0.1, 1.0, 10.0):
        each = [
            np.exp(-0.5 * ((y[held_out] - centre - shift * scale) / (noise * scale)) ** 2)
            / (noise * scale * np.sqrt(2 * np.pi))
            for shift in (-0.5, 0.5)
        ]
        naive[noise] = -np.log(np.mean(each, axis=0)).mean()
    tried = {(s["noise"], name): nll for s, name, nll in choice.tried}
    for noise, nll in naive.items():
        assert tried[noise, "mixture"] == pytest.approx(nll)
    assert choice.validation_nll == min(tried.values())
    assert (choice.settings["noise"], choice.density) == min(tried, key=tried.get)
    assert {name for _, name in tried} == {"moments", "heavy tails", "mixture"}


def test_candidates_never_see_the_validation_part_and_the_last_fit_sees_all():
    X, y = _data()
    method = Constant()
    choose(method, X, y, seed=0)
    train, _ = validation_split(N, seed=0)
    *candidates, last = method.seen
    assert len(candidates) == 3
    inputs, targets = torch.tensor(X[train]), torch.tensor(y[train])
    units = fit_units(inputs, targets)
    for rows, values, _, _ in candidates:
        torch.testing.assert_close(rows, units.inputs(inputs))
        torch.testing.assert_close(values, units.targets(targets))
    assert len(last[0]) == N


def test_values_of_the_validation_part_do_not_change_its_predictions():
    X, y = _data()
    _, held_out = validation_split(N, seed=0)
    poisoned = y.copy()
    poisoned[held_out] = 1e6
    first, second = Constant(), Constant()
    choose(first, X, y, seed=0)
    choose(second, X, poisoned, seed=0)
    for (_, one, _, _), (_, other, _, _) in zip(first.seen[:3], second.seen[:3], strict=True):
        assert torch.equal(one, other)


def test_a_candidate_that_cannot_be_factorised_is_passed_over():
    X, y = _data()
    some = Constant(candidates=({"noise": -1.0}, {"noise": 1.0}))
    assert choose(some, X, y, seed=0).settings == {"noise": 1.0}
    with pytest.raises(ValueError, match="no candidate has a finite validation NLL"):
        choose(Constant(candidates=({"noise": -1.0}, {"noise": -2.0})), X, y, seed=0)


def test_a_single_candidate_is_not_validated_and_too_many_are_refused():
    X, y = _data()
    method = Constant(candidates=({"noise": 1.0},))
    choice = choose(method, X, y, seed=0)
    assert len(method.seen) == 1
    assert choice.validation_nll is None
    assert choice.density == "moments"
    with pytest.raises(ValueError, match="1 to 6 candidate settings"):
        choose(replace(method, candidates=({"noise": 1.0},) * (MOST_CANDIDATES + 1)), X, y, seed=0)


def test_units_go_there_and_back():
    X, y = _data()
    fitted = fit_in_units(Constant(), X, y, settings={"noise": 2.0}, seed=0)
    post = fitted.predict(torch.tensor(X[:3]))
    np.testing.assert_allclose(post.mean, y.mean())
    np.testing.assert_allclose(post.noise_variance, (2.0 * y.std()) ** 2)
    np.testing.assert_allclose(post.epistemic_variance, 0.5 * y.std() ** 2)
    np.testing.assert_allclose(post.members[1] - post.members[0], y.std())
    assert post.n_members == 2


def test_units_are_those_of_the_training_rows_and_constant_columns_stay():
    X, y = _data()
    X[:, 1] = 7.0
    units = fit_units(torch.tensor(X), torch.tensor(y))
    scaled = units.inputs(torch.tensor(X)).numpy()
    np.testing.assert_allclose(scaled[:, 0], (X[:, 0] - X[:, 0].mean()) / X[:, 0].std())
    np.testing.assert_allclose(scaled[:, 1], 0.0, atol=1e-12)
    np.testing.assert_allclose(units.targets(torch.tensor(y)), (y - y.mean()) / y.std())


@pytest.mark.parametrize("method", ["exact NTKGP", "NTKGP-lin", "boosted trees"])
def test_test_targets_change_scores_alone(monkeypatch, method):
    if method == "boosted trees":
        pytest.importorskip("catboost")
    cell = uci_cells.Cell("diabetes", 0, method)
    uci_cells._exact.cache_clear()
    found = uci_cells.run_cell(cell, folder=None, quick=True)
    split = uci_cells.split

    def poisoned(table, index):
        one = split(table, index)
        return replace(one, y_test=one.y_test + 1e4, X_test=one.X_test[::-1].copy())

    monkeypatch.setattr(uci_cells, "split", poisoned)
    uci_cells._exact.cache_clear()
    other = uci_cells.run_cell(cell, folder=None, quick=True)
    uci_cells._exact.cache_clear()
    assert other["nll"] > found["nll"] + 1
    for what in ("settings", "density", "facts", "validation nll"):
        assert other.get(what) == found.get(what), what
    assert other["width 95"] == pytest.approx(found["width 95"])
