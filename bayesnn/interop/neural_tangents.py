"""The bridge to neural-tangents: the same network there, and reference posteriors from it.

It needs the extra `reference`, whose pins are the only ones under which neural-tangents runs.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bayesnn.checks import as_finite_tensor, check_positive
from bayesnn.interop.stax_layers import stax_sequence
from bayesnn.networks import describe
from bayesnn.reference_file import Reference, as_reference_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_DISTRIBUTIONS = ("nngp", "ntkgp", "deep_ensemble")


class StaxNetwork(NamedTuple):
    """neural-tangents' triple of one network."""

    init: Callable[..., Any]
    apply: Callable[..., Any]
    kernel: Callable[..., Any]


def to_neural_tangents(network: nn.Module) -> StaxNetwork:
    """Return the network as neural-tangents' (init, apply, kernel), in NTK parametrisation.

    Args:
        network: a sequence of this package's layers, residual blocks, layer norms without
            parameters, pooling and activations that neural-tangents has. Images have their
            channels last there.

    Returns:
        The triple; `kernel(x1, x2, "ntk")` is Θ and `kernel(x1, x2, "nngp")` is K.

    Raises:
        ImportError: neural-tangents or JAX is missing or does not fit.
        ValueError: a module that neural-tangents has no counterpart for.
    """
    return StaxNetwork(*stax_sequence(_stax(), network).triple)


def params_to_neural_tangents(
    network: nn.Module, params: Mapping[str, Tensor] | None = None
) -> Any:
    """Return the parameters in neural-tangents' form; its `apply` then gives the same outputs.

    Args:
        network: the network.
        params: its parameters by name; None for those that it holds.

    Returns:
        A list with a pair (W, b or None) for each linear layer, nested as in stax.

    Raises:
        ImportError: neural-tangents or JAX is missing or does not fit.
        ValueError: a module that neural-tangents has no counterpart for.
    """
    given = dict(network.named_parameters()) if params is None else params
    return stax_sequence(_stax(), network).to_stax(given)


def params_from_neural_tangents(network: nn.Module, params: Any) -> dict[str, Tensor]:
    """Return neural-tangents' parameters by the names and in the parametrisation of the network.

    Args:
        network: the network.
        params: what the triple's `init` gave, or `params_to_neural_tangents`.

    Returns:
        Tensors of the dtypes and devices of the network's own, for `functional_call`.

    Raises:
        ImportError: neural-tangents or JAX is missing or does not fit.
        ValueError: parameters of another network.
    """
    return stax_sequence(_stax(), network).from_stax(params)


def reference_posterior(
    network: nn.Module,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    x_test: ArrayLike | Tensor,
    *,
    distribution: str,
    noise_std: float,
    time: float = math.inf,
) -> Reference:
    """Let neural-tangents compute a Gaussian over the network's function in infinite width.

    Args:
        network: the network, as for `to_neural_tangents`.
        x: training inputs, [n, features], [n, tokens, features] or [n, channels, rows, columns].
        y: training targets, [n] or [n, outputs].
        x_test: test points, [m, ...].
        distribution: "nngp" (the Bayesian network), "ntkgp" (GP(0, Θ) given the data) or
            "deep_ensemble" (unregularised members at flow time `time`).
        noise_std: σ of the targets, for "nngp" and "ntkgp".
        time: flow time of a deep ensemble, finite; with NTK parametrisation, of ½·mean of squares.

    Returns:
        Mean and covariance with all that says what they belong to; write it with
        `bayesnn.reference_file.save_reference`.

    Raises:
        ImportError: neural-tangents or JAX is missing or does not fit.
        ValueError: bad data, an unknown distribution, an endless time for a deep ensemble.
    """
    if distribution not in _DISTRIBUTIONS:
        raise ValueError(
            f"distribution: expected one of {', '.join(_DISTRIBUTIONS)}, got {distribution!r}."
        )
    if (distribution == "deep_ensemble") != math.isfinite(time):
        raise ValueError(
            "time: expected a finite flow time for deep_ensemble and none for the others, got "
            f"{time!r} for {distribution}."
        )
    check_positive(noise_std, "noise_std")
    inputs, points = (
        as_finite_tensor(values, name, ndim=(2, 3, 4), dtype=torch.float64)
        for values, name in ((x, "x"), (x_test, "x_test"))
    )
    targets = as_finite_tensor(y, "y", ndim=(1, 2), dtype=torch.float64).numpy()
    if len(targets) != len(inputs):
        raise ValueError(f"y: expected {len(inputs)} rows as in x, got {len(targets)}.")
    targets = targets.reshape(len(inputs), -1)
    kernel = to_neural_tangents(network).kernel
    jax = importlib.import_module("jax")
    with jax.experimental.enable_x64():
        mean, covariance = _predict(
            kernel, _channels_last(inputs), targets, _channels_last(points), distribution,
            noise_std=noise_std, time=time,
        )  # fmt: skip
        prior = kernel(_channels_last(points), None, "ntk" if distribution == "ntkgp" else "nngp")
        prior_variance = np.diag(np.array(prior))
    return Reference(
        distribution=distribution,
        network=describe(network),
        noise_std=noise_std,
        time=time,
        x=as_reference_tensor(inputs),
        y=as_reference_tensor(targets),
        x_test=as_reference_tensor(points),
        mean=as_reference_tensor(mean),
        covariance=as_reference_tensor(covariance),
        prior_variance=as_reference_tensor(prior_variance),
        computed_by=f"neural-tangents {importlib.metadata.version('neural-tangents')}",
    )


def _predict(
    kernel: Callable[..., Any],
    inputs: np.ndarray,
    targets: np.ndarray,
    points: np.ndarray,
    distribution: str,
    *,
    noise_std: float,
    time: float,
) -> tuple[Any, Any]:
    predict = importlib.import_module("neural_tangents").predict
    if distribution == "deep_ensemble":
        run = predict.gradient_descent_mse_ensemble(kernel, inputs, targets, learning_rate=1.0)
        # its loss is the mean over data and outputs, ours over data
        result = run(t=time * targets.shape[1], x_test=points, get="ntk", compute_cov=True)
        return result.mean, result.covariance
    if distribution == "nngp":
        run = predict.gradient_descent_mse_ensemble(
            kernel, inputs, targets, diag_reg=noise_std**2, diag_reg_absolute_scale=True
        )
        result = run(x_test=points, get="nngp", compute_cov=True)
        return result.mean, result.covariance
    # a Gaussian process whose covariance is Θ: hand it over where K is expected
    run = predict.gp_inference(
        kernel(inputs, None, "ntk"), targets, diag_reg=noise_std**2, diag_reg_absolute_scale=True
    )
    result = run(
        "nngp",
        k_test_train=kernel(points, inputs, "ntk"),
        k_test_test=kernel(points, None, "ntk"),
    )
    return result.mean, result.covariance


def _channels_last(x: Tensor) -> np.ndarray:
    return (x if x.ndim < 4 else x.permute(0, 2, 3, 1)).contiguous().numpy()


def _stax() -> Any:
    """Return neural_tangents.stax, or say what is missing."""
    try:
        return importlib.import_module("neural_tangents.stax")
    except Exception as error:
        found = []
        for package in ("jax", "jaxlib", "neural-tangents", "tf2jax"):
            try:
                found.append(f"{package} {importlib.metadata.version(package)}")
            except importlib.metadata.PackageNotFoundError:
                found.append(f"no {package}")
        raise ImportError(
            "neural-tangents cannot be loaded; install the extra with its pins, "
            'pip install "bayesnn[reference]" (jax 0.5.3, jaxlib 0.5.3, neural-tangents 0.6.5, '
            f"tf2jax 0.3.6); found {', '.join(found)} ({error})."
        ) from error
