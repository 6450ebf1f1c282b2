import numpy as np
import pytest
import torch

from bayesnn.checks import as_finite_tensor, check_count, check_positive


def test_values_survive_whatever_holds_them():
    values = np.arange(6.0).reshape(2, 3)
    for given in (
        values,
        values[::-1][::-1],
        values.astype(">f8"),
        values.tolist(),
        torch.tensor(values),
        values.astype(np.longdouble),
        values.astype(object),
    ):
        out = as_finite_tensor(given, "X", ndim=(2,))
        assert out.dtype == torch.float64 or isinstance(given, list)
        assert np.array_equal(out.numpy(), values)
    assert as_finite_tensor(np.float32([1]), "X", ndim=(1,)).dtype == torch.float32
    assert as_finite_tensor(np.array([1], dtype=np.int16), "X", ndim=(1,)).dtype == torch.float32


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1.0, np.nan]], r"X: .* 1 NaN or infinite of 2 \(the first at index \(0, 1\)\)"),
        ([[np.inf]], "finite"),
        ([1.0], "expected 2 dimensions"),
        (np.zeros((0, 3)), "at least one value"),
        ([["a"]], "real numbers"),
        ([[1j]], "real numbers"),
        ([[1.0], [1.0, 2.0]], "real numbers"),
        (torch.tensor([[1j]]), "complex"),
    ],
)
def test_bad_values_get_one_clear_error(value, message):
    with pytest.raises(ValueError, match=message):
        as_finite_tensor(value, "X", ndim=(2,))


def test_numbers_are_checked():
    assert check_positive(np.float32(0.5), "s") == 0.5
    assert check_count(np.int64(3), "n") == 3
    for bad in (0, -1.0, float("nan"), float("inf"), "a", None):
        with pytest.raises(ValueError, match="s: expected a finite number above 0"):
            check_positive(bad, "s")
    for bad in (0, 1.5, True, "3", None):
        with pytest.raises(ValueError, match="n: expected a whole number of at least 1"):
            check_count(bad, "n")
