"""Estimators with scikit-learn's conventions."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from bayesnn.checks import check_count
from bayesnn.predictive import Predictive
from ensembles.default_network import default_network
from ensembles.evaluation import member_values, point_chunks
from ensembles.fit import fit_members
from ensembles.inputs import check_network, given_noise, to_numpy, training_device, whole_seed
from ensembles.losses import SquaredError
from ensembles.methods.ntkgp_param import ntkgp_param
from ensembles.noise import fit_noise
from ensembles.standardizer import fit_standardizer, identity_standardizer

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray
    from sklearn.utils import Tags

    from ensembles.methods.protocol import Method
    from ensembles.trainers.problem import Trainer


class EnsembleRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Regression by an ensemble of networks whose spread is the uncertainty of the function.

    By default every member is a sample of the posterior of the network's NTK Gaussian process
    (`ntkgp_param`), given the data and noise σ. The predictive variance is the members' unbiased
    variance plus σ², and `posterior` reports the two apart.

    Args:
        network: a module [n, features] -> [n, outputs] whose layers know their prior, see
            `bayesnn.networks`; it is copied, never changed. None builds an MLP for the data.
        method: `ntkgp_param()` (the default) or `deep_ensemble()`.
        n_members: number of members.
        noise_std: σ in y's units, one number or one an output; None estimates it from the
            training data (`noise_std_`).
        standardize: whether the networks see X and y with mean 0 and variance 1; None does so
            for network=None alone. Results are in y's units in either case.
        trainer: `gauss_newton(...)` or `adam(...)`; None picks by the size of the data.
        random_state: whole number; member i depends on it and on i alone. None is another
            ensemble at each fit.
        device: where to train; None for the device of a torch X, else the CPU.

    Attributes:
        network_: the copy of the network, in X's dtype, on the device.
        params_: trained parameters, stacked over members.
        shift_params_: the parameters of each member's fixed function, stacked.
        noise_std_: σ of each output, in y's units.
        standardizer_: the change of units.
        members_: the members' numbers; those that diverged are missing.
        converged_: which members met the trainer's criterion.
        n_features_in_: number of columns of X.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-2, 2, 20)[:, None]
        >>> y = X[:, 0] * np.sin(X[:, 0])
        >>> model = EnsembleRegressor(n_members=5, noise_std=0.1, random_state=0).fit(X, y)
        >>> mean, std = model.predict(np.array([[0.5], [6.0]]), return_std=True)
        >>> bool(std[1] > 2 * std[0])
        True
    """

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        method: Method | None = None,
        n_members: int = 10,
        noise_std: float | ArrayLike | None = None,
        standardize: bool | None = None,
        trainer: Trainer | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.network = network
        self.method = method
        self.n_members = n_members
        self.noise_std = noise_std
        self.standardize = standardize
        self.trainer = trainer
        self.random_state = random_state
        self.device = device

    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor) -> EnsembleRegressor:
        """Draw and train the members.

        Args:
            X: inputs, [n, features]. Float64 trains in float64, float32 in float32.
            y: targets, [n] or [n, outputs].

        Returns:
            The fitted estimator.

        Raises:
            ValueError: X or y with NaN or of lengths that differ, a network that does not fit
                them or has parameters without a prior, a setting that is not possible.
        """
        check_count(self.n_members, "n_members")
        device = training_device(self.device, X)
        data = validate_data(
            self,
            to_numpy(X),
            to_numpy(y),
            dtype=[np.float64, np.float32],
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
        )
        self.y_ndim_ = data[1].ndim
        self.y_dtype_ = np.dtype(np.float32 if data[1].dtype == np.float32 else np.float64)
        inputs = torch.tensor(data[0], device=device)
        targets = torch.tensor(data[1], device=device, dtype=torch.float64)
        targets = targets.reshape(len(inputs), -1)
        known_noise = given_noise(self.noise_std, targets.shape[1])
        seed = whole_seed(self.random_state)
        self.method_ = ntkgp_param() if self.method is None else self.method
        standardize = self.network is None if self.standardize is None else self.standardize
        units = fit_standardizer if standardize else identity_standardizer
        self.standardizer_ = units(inputs, targets)
        inputs = self.standardizer_.inputs(inputs, inputs.dtype)
        targets = self.standardizer_.targets(targets, inputs.dtype)
        y_scale = self.standardizer_.y_scale
        noise = None if known_noise is None else known_noise.to(y_scale) / y_scale
        self.network_ = self._network_for(inputs, targets, noise, seed)
        check_network(self.network_, inputs, targets)
        if noise is None:
            noise = fit_noise(self.network_, inputs, targets, seed=seed).noise_std
        self.noise_std_ = noise * y_scale
        fitted = fit_members(
            self.network_, inputs, targets, method=self.method_, trainer=self.trainer,
            n_members=self.n_members, loss=SquaredError(noise_std=noise), seed=seed,
        )  # fmt: skip
        self.params_ = fitted.params
        self.shift_params_ = fitted.shift
        self.members_ = fitted.members
        self.converged_ = fitted.converged
        self.n_iter_ = fitted.n_steps
        return self

    def posterior(self, X: ArrayLike | Tensor, keep_members: bool = False) -> Predictive:
        """Return the predictive distribution of y at X, in y's units.

        Args:
            X: inputs, [n, features].
            keep_members: keep all members' values, for joint samples; they take members × n ×
                outputs numbers.

        Returns:
            Mean, epistemic and noise variance, shaped like y; computed in chunks of points.

        Raises:
            ValueError: X with NaN or of another number of columns.

        Example:
            >>> from bayesnn.networks import NTKLinear
            >>> model = EnsembleRegressor(NTKLinear(1, 1), noise_std=0.1, random_state=0)
            >>> post = model.fit([[0.0], [1.0], [2.0]], [0.0, 1.1, 1.9]).posterior([[1.5]])
            >>> bool(torch.allclose(post.variance, post.epistemic_variance + 0.1**2))
            True
        """
        check_is_fitted(self)
        inputs = torch.tensor(
            validate_data(self, to_numpy(X), dtype=[np.float64, np.float32], reset=False)
        )
        one = next(iter(self.params_.values()))
        parts: list[Predictive] = []
        with torch.no_grad():
            for chunk in point_chunks(self.network_, self.params_, len(inputs)):
                x = self.standardizer_.inputs(inputs[chunk].to(one.device), one.dtype)
                values = member_values(
                    self.method_, self.network_, self.params_, self.shift_params_, x
                )
                parts.append(
                    Predictive.from_members(
                        values, torch.zeros((), device=one.device), keep_members=keep_members
                    )
                )
        return self._in_y_units(parts)

    def predict(
        self, X: ArrayLike | Tensor, return_std: bool = False
    ) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
        """Return the predictive mean, and the standard deviation of an observation if asked.

        Args:
            X: inputs, [n, features].
            return_std: also return the standard deviation; it includes the noise.

        Returns:
            The mean, or mean and standard deviation, shaped like y, in y's units and dtype.

        Raises:
            ValueError: X with NaN or of another number of columns; return_std with one member.
        """
        post = self.posterior(X)
        mean = post.mean.cpu().numpy().astype(self.y_dtype_)
        if not return_std:
            return mean
        return mean, post.std.cpu().numpy().astype(self.y_dtype_)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted ensemble to a file that runs no code when it is read.

        Args:
            path: the file to be written or replaced.

        Raises:
            ValueError: the path cannot be written, or the method is not one that files can name.

        Example:
            >>> import tempfile
            >>> from bayesnn.networks import NTKLinear
            >>> model = EnsembleRegressor(NTKLinear(1, 1), noise_std=0.1, random_state=0)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     model.fit([[0.0], [1.0], [2.0]], [0.0, 1.1, 1.9]).save(f"{folder}/line")
            ...     loaded = EnsembleRegressor.load(f"{folder}/line")
            >>> bool(loaded.predict([[1.5]]) == model.predict([[1.5]]))
            True
        """
        from ensembles.store import save_ensemble

        check_is_fitted(self)
        save_ensemble(self, path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], network: nn.Module | None = None
    ) -> EnsembleRegressor:
        """Read a fitted ensemble.

        Args:
            path: a file that `save` has written.
            network: the network, where it is made of modules that the file cannot describe.

        Returns:
            The fitted estimator, on the CPU.

        Raises:
            ValueError: a file that is missing, damaged, foreign or newer, or a network that does
                not fit it.
        """
        from ensembles.store import load_ensemble

        loaded: EnsembleRegressor = load_ensemble(cls, path, network=network)
        return loaded

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _network_for(
        self, inputs: Tensor, targets: Tensor, noise_std: Tensor | None, seed: int
    ) -> nn.Module:
        """Return a copy of the user's network, or a new one, ready for functional calls."""
        if self.network is None:
            network = default_network(inputs, targets, noise_std=noise_std, seed=seed)
        elif isinstance(self.network, nn.Module):
            network = copy.deepcopy(self.network)
        else:
            raise ValueError(
                f"network: expected a torch.nn.Module or None, got {type(self.network).__name__}; "
                "bayesnn.networks.mlp builds one."
            )
        return network.to(device=inputs.device, dtype=inputs.dtype).eval()

    def _in_y_units(self, parts: list[Predictive]) -> Predictive:
        units = self.standardizer_

        def shaped(values: Tensor) -> Tensor:
            return values.squeeze(-1) if self.y_ndim_ == 1 else values

        mean = units.values_in_y_units(torch.cat([part.mean for part in parts]))
        n_members = parts[0].n_members
        variance = members = None
        if n_members != 1:
            variance = torch.cat([part.epistemic_variance for part in parts])
            variance = shaped((variance.double() * units.y_scale**2).to(mean.dtype))
        kept = [part.members for part in parts if part.members is not None]
        if kept:
            members = shaped(units.values_in_y_units(torch.cat(kept, dim=1)))
        noise = (self.noise_std_**2).to(mean)
        return Predictive(
            mean=shaped(mean),
            epistemic_variance=variance,
            noise_variance=noise.squeeze(0) if self.y_ndim_ == 1 else noise,
            n_members=n_members,
            members=members,
        )
