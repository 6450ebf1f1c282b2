"""What the estimator is given, checked once with clear errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive
from bayesnn.networks import prior_precision

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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


def check_network(network: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    """Raise ValueError unless the network has a prior and fits X and y."""
    prior_precision(network)
    n_features, n_outputs = inputs.shape[1], targets.shape[1]
    try:
        with torch.no_grad():
            shape = tuple(network(inputs[:2]).shape)
    except Exception as error:
        raise ValueError(
            f"network: it cannot be called on X with {n_features} columns "
            f"({str(error).splitlines()[0]}); build it with in_features={n_features}."
        ) from error
    if shape != (2, n_outputs):
        raise ValueError(
            f"network: expected outputs of shape (n, {n_outputs}) for this y, got "
            f"{('n', *shape[1:])}; build it with out_features={n_outputs}."
        )
