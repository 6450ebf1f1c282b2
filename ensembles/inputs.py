"""What the estimator is given, checked once with clear errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def to_numpy(values: ArrayLike | Tensor) -> Any:
    """Return a tensor's values for numpy; anything else as it is."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def training_device(wanted: str | torch.device | None, X: Any) -> torch.device:
    """Return the device to train on; raise ValueError where it cannot be used."""
    if wanted is None:
        return X.device if isinstance(X, Tensor) else torch.device("cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device: {wanted!r} cannot be used here ({reason}); use 'cpu' or leave it out."
        ) from error
    return device


def whole_seed(random_state: Any) -> int:
    """Return scikit-learn's random_state as a whole number."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return check_count(random_state, "random_state", minimum=0)


def given_noise(noise_std: Any, n_outputs: int) -> Tensor | None:
    """Return σ of each output in y's units; None where it is to be estimated."""
    if noise_std is None:
        return None
    each = [check_positive(value, "noise_std") for value in np.ravel(to_numpy(noise_std))]
    if len(each) not in {1, n_outputs}:
        raise ValueError(
            f"noise_std: expected one number or {n_outputs}, one an output; got {len(each)}."
        )
    return torch.tensor(each, dtype=torch.float64).expand(n_outputs)


def given_weights(sample_weight: Any, X: NDArray[Any]) -> NDArray[Any] | None:
    """Return one weight of at least 0 a row, in X's dtype; None where all count alike."""
    if sample_weight is None:
        return None
    weights: NDArray[Any] = _check_sample_weight(
        to_numpy(sample_weight), X, dtype=X.dtype, ensure_non_negative=True
    )
    n_used = int((weights > 0).sum())
    if n_used < 2:
        raise ValueError(
            f"sample_weight: expected at least 2 rows of a weight above 0, got {n_used}."
        )
    return weights


def check_kind(value: Any, kind: type, name: str, example: str) -> None:
    """Raise ValueError unless a setting is None or of its kind."""
    if value is not None and (isinstance(value, type) or not isinstance(value, kind)):
        raise ValueError(
            f"{name}: expected an object such as {example}, or None; got {value!r:.80}."
        )


def check_numbers(y: NDArray[Any]) -> None:
    """Raise ValueError where y holds no real numbers, as classes by name do."""
    if y.dtype.kind not in "biuf":
        raise ValueError(
            f"y: expected real numbers, got {y.dtype}; EnsembleClassifier takes classes."
        )


def check_points(X: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the points have the shape of those in training."""
    if X.shape[1:] != shape:
        raise ValueError(
            f"X: expected points of shape {('n', *shape)}, as in fit; got {('n', *X.shape[1:])}."
        )


def check_network(network: nn.Module, inputs: Tensor, n_outputs: int) -> None:
    """Raise ValueError unless the network fits X and y."""
    shape = tuple(inputs.shape[1:])
    try:
        with torch.no_grad():
            found = tuple(network(inputs[:2]).shape)
    except Exception as error:
        if len(shape) == 1:
            what, advice = f"X with {shape[0]} columns", f"in_features={shape[0]}"
        else:
            what, advice = f"X of shape {('n', *shape)}", "layers for such inputs"
        raise ValueError(
            f"network: it cannot be called on {what} ({str(error).splitlines()[0]}); "
            f"build it with {advice}."
        ) from error
    if found != (2, n_outputs):
        raise ValueError(
            f"network: expected outputs of shape (n, {n_outputs}) for this y, got "
            f"{('n', *found[1:])}; build it with out_features={n_outputs}."
        )
