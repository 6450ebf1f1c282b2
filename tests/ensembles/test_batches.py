"""Whatever X comes as, the same points come out, and bad parts are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.validation import check_array
from torch.utils.data import DataLoader, TensorDataset

from ensembles import batches as batches_module
from ensembles.batches import InputCheck, batches

X = np.random.default_rng(0).standard_normal((23, 3))


class Validation:
    """scikit-learn's, with a count of its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, values: Any) -> Any:
        self.calls += 1
        return check_array(values, dtype=[np.float64, np.float32], input_name="X")


def check(shape: tuple[int, ...] = (3,)) -> InputCheck:
    return InputCheck(shape=shape, validate=Validation())


def gathered(values: Any, one: InputCheck) -> torch.Tensor:
    return torch.cat(list(batches(values, one)))


def memmap(folder: Path, values: np.ndarray, dtype: Any = np.float64) -> np.memmap:
    mapped = np.memmap(folder / "x.bin", dtype=dtype, mode="w+", shape=values.shape)
    mapped[:] = values
    mapped.flush()
    return np.memmap(folder / "x.bin", dtype=dtype, mode="r", shape=values.shape)


READ_ONLY = X.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "values",
    [
        X, X.astype(np.float32), READ_ONLY, np.asfortranarray(X), X[::-1],
        torch.tensor(X), torch.tensor(X, requires_grad=True), torch.tensor(X).T.contiguous().T,
    ],
)  # fmt: skip
def test_floating_arrays_and_tensors_pass_without_validation(values: Any) -> None:
    one = check()
    found = gathered(values, one)
    assert one.validate.calls == 0  # type: ignore[attr-defined]
    assert not found.requires_grad
    expected = values if isinstance(values, torch.Tensor) else torch.tensor(values.copy())
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "values",
    [
        X.tolist(), X.astype(">f8"), np.round(X).astype(int), pd.DataFrame(X), X.astype(object),
        torch.tensor(X).bfloat16(), torch.tensor(X).half(), torch.tensor(X).int(),
        np.ma.masked_array(X), list(torch.tensor(X)),
    ],
)  # fmt: skip
def test_all_else_is_converted_by_scikit_learn(values: Any) -> None:
    one = check()
    found = gathered(values, one)
    assert one.validate.calls == 1  # type: ignore[attr-defined]
    assert found.is_floating_point()
    np.testing.assert_allclose(found, X, atol=1.0)


def test_named_columns_are_always_compared() -> None:
    validation = Validation()
    one = InputCheck(shape=(3,), validate=validation, by_name=True)
    gathered(X, one)
    assert validation.calls == 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_mapped_arrays_are_read_part_by_part(
    dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "READ_BYTES", 5 * 3 * np.dtype(dtype).itemsize)
    mapped = memmap(tmp_path, np.abs(10 * X), dtype)
    parts = list(batches(mapped, check()))
    assert [len(part) for part in parts] == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(torch.cat(parts), mapped)


def test_images_come_through(tmp_path: Path) -> None:
    images = np.random.default_rng(1).standard_normal((4, 3, 5, 5))
    one = check((3, 5, 5))
    for values in (images, torch.tensor(images), memmap(tmp_path, images)):
        assert torch.equal(gathered(values, one), torch.tensor(images))


def test_loaders_and_iterators_give_their_batches() -> None:
    table = TensorDataset(torch.tensor(X), torch.arange(23))
    loaders: list[Any] = [
        DataLoader(table, batch_size=5),
        DataLoader(torch.tensor(X), batch_size=5),  # type: ignore[arg-type]
        (X[i : i + 5] for i in range(0, 23, 5)),
        iter([X[:20], torch.tensor(X[20:]).float().double()]),
        map(pd.DataFrame, np.array_split(X, 3)),
    ]
    for loader in loaders:
        np.testing.assert_allclose(gathered(loader, check()), X, rtol=1e-6)


def test_a_loader_is_read_batch_by_batch() -> None:
    read = []

    def source() -> Iterator[np.ndarray]:
        for i in range(3):
            read.append(i)
            yield X[:2]

    parts = batches(source(), check())
    next(parts)
    assert read == [0]


BAD = {
    "Expected 2D array, got 1D": X[0],
    "Input X contains NaN": np.where(X > 1, np.nan, X),
    "Input X contains infinity": np.where(X > 1, np.inf, X),
    "0 sample": X[:0],
    "Complex data": X + 1j,
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_bad_input_gets_scikit_learns_errors(message: str, convert: Any) -> None:
    with pytest.raises(ValueError, match=message):
        gathered(convert(BAD[message]), check())


def test_a_bad_part_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "READ_BYTES", 5 * 3 * 8)
    broken = X.copy()
    broken[12, 1] = np.nan
    with pytest.raises(ValueError, match=r"rows 10 to 14: Input X contains NaN"):
        gathered(memmap(tmp_path, broken), check())
    with pytest.raises(ValueError, match=r"batch 2: Input X contains NaN"):
        gathered(DataLoader(TensorDataset(torch.tensor(broken)), batch_size=6), check())
    with pytest.raises(ValueError, match=r"batch 1: .*Expected 2D array"):
        gathered(iter([X, X[0]]), check())
    with pytest.raises(ValueError, match="at least one batch"):
        gathered(iter(()), check())


def test_sparse_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a dense tensor, .* use \.to_dense"):
        gathered(torch.tensor(X).to_sparse(), check())


def test_large_but_finite_values_are_fine() -> None:
    large = np.full((4, 3), 1e308)
    assert np.array_equal(gathered(large, check()), large)
