"""Temperature and vector scaling: stationary, global, and as scikit-learn has it."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bayesnn.calibration import fit_temperature, fit_vector_scaling
from bayesnn.seeds import seeded_generator

F64 = torch.float64


def overconfident(
    n: int, n_classes: int, *, factor: float = 3.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return classes, and logits that are `factor` times the ones that they were drawn from."""
    generator = seeded_generator(seed)
    z = 1.5 * torch.randn(n, n_classes, generator=generator, dtype=F64)
    y = torch.multinomial(z.softmax(-1), 1, generator=generator).squeeze(1)
    y[:n_classes] = torch.arange(n_classes)
    return y, factor * z


def loss(y: Tensor, z: Tensor) -> Tensor:
    return -z.log_softmax(-1).gather(1, y[:, None]).mean()


class Logits(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decision function is X."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X

    def predict(self, X):
        return X.argmax(1)


@given(n_classes=st.integers(2, 6), seed=st.integers(0, 100), factor=st.floats(0.05, 40))
def test_the_temperature_is_stationary_and_scales_with_the_logits(
    n_classes: int, seed: int, factor: float
) -> None:
    y, z = overconfident(60, n_classes, factor=1.0, seed=seed)
    fitted = fit_temperature(y, factor * z)
    inverse = torch.tensor(1 / fitted.temperature, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(y, inverse * factor * z), inverse)
    assert abs(float(slope)) / factor < 1e-11  # convex in 1/T, so this is the minimum
    once = fit_temperature(y, z).temperature
    assert fitted.temperature == pytest.approx(factor * once, rel=1e-9)


def test_the_true_temperature_is_found() -> None:
    y, z = overconfident(40_000, 5)
    assert fit_temperature(y, z).temperature == pytest.approx(3, rel=0.03)


@pytest.mark.parametrize("n_classes", [3, 7])
def test_the_temperature_is_that_of_scikit_learn(n_classes: int) -> None:
    y, z = overconfident(300, n_classes, seed=n_classes)
    _, further = overconfident(50, n_classes, seed=99)
    peer = CalibratedClassifierCV(
        FrozenEstimator(Logits().fit(z.numpy(), y.numpy())), method="temperature", ensemble=False
    ).fit(z.numpy(), y.numpy())
    got = fit_temperature(y, z).transform(further)
    np.testing.assert_allclose(got, peer.predict_proba(further.numpy()), atol=1e-6)


@given(
    n_classes=st.integers(2, 5), seed=st.integers(0, 100), penalty=st.sampled_from([0, 1e-3, 1.0])
)
def test_vector_scaling_is_stationary(n_classes: int, seed: int, penalty: float) -> None:
    y, z = overconfident(200, n_classes, seed=seed)
    fitted = fit_vector_scaling(y, z, penalty=penalty)
    factor = fitted.factor.clone().requires_grad_()
    offset = fitted.offset.clone().requires_grad_()
    cost = loss(y, factor * z + offset)
    cost = cost + 0.5 * penalty * ((factor - 1).square().sum() + offset.square().sum())
    for slope in torch.autograd.grad(cost, (factor, offset)):
        assert float(slope.abs().max()) < 1e-9
    assert float(fitted.offset.sum()) == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(fitted.transform(z), (fitted.factor * z + fitted.offset).softmax(-1))


def test_vector_scaling_agrees_with_a_general_optimiser() -> None:
    y, z = overconfident(150, 3, seed=4)

    def cost(params: np.ndarray) -> float:
        factor, offset = torch.from_numpy(params).chunk(2)
        return float(loss(y, factor * z + offset))

    peer = minimize(cost, np.array([1.0, 1, 1, 0, 0, 0]), method="BFGS", options={"gtol": 1e-8})
    fitted = fit_vector_scaling(y, z)
    assert cost(torch.cat([fitted.factor, fitted.offset]).numpy()) <= peer.fun + 1e-12
    np.testing.assert_allclose(fitted.factor, peer.x[:3], atol=1e-4)


def test_true_factors_and_offsets_are_found() -> None:
    y, z = overconfident(40_000, 3, factor=1.0)
    factor, offset = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([1.0, -2.0, 1.0])
    fitted = fit_vector_scaling(y, (z - offset) / factor)
    torch.testing.assert_close(fitted.factor, factor.double(), atol=0.05, rtol=0.05)
    torch.testing.assert_close(fitted.offset, offset.double(), atol=0.1, rtol=0.05)


def test_vector_scaling_fits_no_worse_than_a_temperature() -> None:
    y, z = overconfident(100, 4, seed=3)
    p, q = fit_temperature(y, z).transform(z), fit_vector_scaling(y, z).transform(z)
    assert float(loss(y, q.log())) < float(loss(y, p.log()))


def test_a_column_that_never_changes_keeps_its_factor() -> None:
    """Factor and offset of a constant column do the same: there is no one best pair."""
    y, z = overconfident(200, 3, seed=5)
    z[:, 2] = 0.0
    fitted = fit_vector_scaling(y, z)
    assert float(fitted.factor[2]) == pytest.approx(1, abs=1e-9)
    assert float(loss(y, fitted.transform(z).log())) < float(loss(y, z))


@pytest.mark.parametrize("units", [[1e-6] * 3, [1e6] * 3, [1e-4, 1.0, 1e4]])
def test_units_of_the_logits_do_not_matter(units: list[float]) -> None:
    y, z = overconfident(200, 3, seed=6)
    want = fit_vector_scaling(y, z).transform(z)
    unit = torch.tensor(units, dtype=F64)
    torch.testing.assert_close(fit_vector_scaling(y, unit * z).transform(unit * z), want)


def test_offsets_of_the_columns_do_not_matter() -> None:
    """Though factor and offset of a column far from 0 do nearly the same."""
    y, z = overconfident(200, 3, seed=9)
    moved = z + torch.tensor([50.0, -200.0, 5.0], dtype=F64)
    want = fit_vector_scaling(y, z)
    got = fit_vector_scaling(y, moved)
    torch.testing.assert_close(got.factor, want.factor)
    torch.testing.assert_close(got.transform(moved), want.transform(z))


def test_shifted_rows_leave_a_temperature_alone_but_not_a_vector() -> None:
    y, z = overconfident(200, 3, seed=7)
    shifted = z + torch.linspace(-5, 5, 200, dtype=F64)[:, None]
    assert fit_temperature(y, shifted).temperature == pytest.approx(
        fit_temperature(y, z).temperature
    )
    assert not torch.allclose(
        fit_vector_scaling(y, shifted).factor, fit_vector_scaling(y, z).factor
    )


def test_separable_classes_are_refused_or_held_back() -> None:
    y, z = overconfident(100, 3, seed=8)
    z[:, 1] = torch.where(y == 1, 5.0, -5.0) + 0.1 * z[:, 1]
    with pytest.raises(ValueError, match="told apart from others without an error"):
        fit_vector_scaling(y, z)
    held_back = fit_vector_scaling(y, z, penalty=1e-3)
    assert float(held_back.factor.abs().max()) < 100


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of floating tensors that live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        known = {id_of(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                size = tensor.untyped_storage().nbytes()
                if id_of(tensor) not in known:  # no view of what was there
                    self.now += size
                    weakref.finalize(tensor, self.free, size)
        self.peak = max(self.peak, self.now)
        return result

    def free(self, size: int) -> None:
        self.now -= size


def id_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@pytest.mark.parametrize("fit", [fit_temperature, fit_vector_scaling])
def test_memory_is_the_budget_and_the_fit_is_the_same(fit) -> None:
    y, z = overconfident(10_000, 20)  # 1.6 MB
    whole = fit(y, z).transform(z[:5])
    with LiveMemory() as live:
        parts = fit(y, z, memory_budget=300_000)
    assert 200_000 < live.peak < 400_000
    torch.testing.assert_close(parts.transform(z[:5]), whole, rtol=1e-10, atol=1e-12)
    y, z = overconfident(50, 3)
    one_by_one = fit(y, z, memory_budget=1)
    torch.testing.assert_close(one_by_one.transform(z), fit(y, z).transform(z))
    with pytest.raises(ValueError, match="memory_budget: expected a whole number of at least 1"):
        fit(y, z, memory_budget=0)


def test_device_and_dtype_follow_the_logits(device: str) -> None:
    y, z = overconfident(50, 3)
    z = z.float().to(device)
    for fitted in (fit_temperature(y, z), fit_vector_scaling(y, z)):
        p = fitted.transform(z)
        assert (p.device.type, p.dtype, p.shape) == (device, torch.float32, z.shape)
        torch.testing.assert_close(p.sum(1), torch.ones_like(p[:, 0]))


@pytest.mark.parametrize("fit", [fit_temperature, fit_vector_scaling])
def test_what_does_not_fit_is_refused(fit) -> None:
    z = [[1.0, 0.0], [0.5, 1.0]]
    with pytest.raises(ValueError, match="y: expected 2 classes, one a row of logits, got 1"):
        fit([0], z)
    with pytest.raises(ValueError, match="y: expected classes from 0 to 1"):
        fit([0, 2], z)
    with pytest.raises(ValueError, match="y: expected whole numbers"):
        fit([0, -1], z)
    with pytest.raises(ValueError, match="y: expected whole numbers"):
        fit(torch.tensor([0.2, 1.0]), z)
    with pytest.raises(ValueError, match="y: expected an array of real numbers"):
        fit(["cat", "dog"], z)
    with pytest.raises(ValueError, match="logits: expected finite"):
        fit([0, 1], [[1.0, 0.0], [float("-inf"), 1.0]])
    with pytest.raises(ValueError, match="logits: expected 2 dimensions"):
        fit([0, 1], [1.0, 0.0])


def test_what_has_no_best_temperature_is_refused() -> None:
    with pytest.raises(ValueError, match="expected some of the 2 held-out points to be classified"):
        fit_temperature([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="columns are in the classes' order"):
        fit_temperature([1, 0, 0], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="got 0 against 0: no temperature is high enough"):
        fit_temperature([0, 0], [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="logits"):
        fit_temperature([1, 0], [[1.0, 1.0], [1.0, 1.0]])


def test_vectors_need_all_classes_and_a_sane_penalty() -> None:
    with pytest.raises(ValueError, match="of each of the 3 classes, got none of 0, 2; hold out"):
        fit_vector_scaling([1, 1], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match="penalty: expected a finite number of at least 0"):
        fit_vector_scaling([1, 0], [[1.0, 0.0], [0.0, 1.0]], penalty=-1.0)
    y, z = overconfident(50, 3)
    with pytest.raises(ValueError, match="logits: expected 3 columns as at the fit, got 2"):
        fit_vector_scaling(y, z).transform(z[:, :2])
    # a temperature is everybody's
    z = [[3.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    assert fit_temperature([0, 1, 1], z).temperature > 0
