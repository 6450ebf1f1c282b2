"""Regression by an ensemble, with scikit-learn's conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from bayesnn.predictive import Predictive
from ensembles.default_network import default_network
from ensembles.estimators.base import EnsembleBase
from ensembles.inputs import check_kind, check_numbers, given_noise
from ensembles.likelihoods.gaussian import gaussian
from ensembles.likelihoods.protocol import RegressionLikelihood
from ensembles.noise import fit_noise
from ensembles.regression_posterior import RegressionSummary
from ensembles.standardizer import fit_standardizer, identity_standardizer

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray
    from sklearn.utils import Tags
    from torch.export import ExportedProgram

    from bayesnn.executors import Executor
    from ensembles.checkpoint import Checkpoint
    from ensembles.methods.protocol import Method
    from ensembles.progress import Callback
    from ensembles.trainers.problem import Trainer


class EnsembleRegressor(RegressorMixin, EnsembleBase):  # type: ignore[misc]
    """Regression by an ensemble of networks whose spread is the uncertainty of the function.

    By default every member is a sample of the posterior of the network's NTK Gaussian process
    (`ntkgp_param`), given the data and noise σ. The predictive variance is the members' unbiased
    variance plus σ², and `posterior` reports the two apart.

    Args:
        network: a module [n, ...] -> [n, outputs] whose layers know their prior, see
            `bayesnn.networks`; it is copied, never changed. None builds an MLP for the data.
        method: what is fixed, regularised and perturbed; `ntkgp_param()` by default.
        n_members: number of members.
        noise_std: σ in y's units, one number or one an output; None estimates it from the
            training data (`noise_std_`).
        likelihood: `gaussian()` (the default), or `heteroscedastic()` for noise that depends on
            X, or `student_t()` if it has heavy tails too; both need twice as many outputs.
        standardize: whether the networks see X and y with mean 0 and variance 1; None does so
            for network=None alone. Results are in y's units in either case.
        trainer: `gauss_newton(...)` or `adam(...)`; None picks by likelihood and size of the data.
        prior_precision: one over the prior variance of parameters, by name, where the network's
            layers do not say it or something else is wanted.
        readout: name of the network's last linear layer, where it cannot be found.
        warm_start: whether `fit` goes on from the last fit. With a larger n_members its members
            stay as they are, and new ones are trained beside them; with the same all are trained
            further, on the data that are given. Draws, units and the network stay.
        memory_budget: bytes that fitting and predicting may take of the memory, beside the data,
            the fitted members and the results; see docs/nothing-lost.md. One member, or one point,
            may take more.
        random_state: whole number; member i depends on it and on i alone. None is another
            ensemble at each fit.
        device: where to train; None for the device of a torch X, else the CPU.
        verbose: whether to show the progress of training.
        executor: where members are trained, from `bayesnn.executors`: `local_executor(...)` for
            several devices of this machine, `ray_executor(...)` for a cluster; None for here.

    Attributes:
        network_: the copy of the network, in X's dtype, on the device.
        params_: trained parameters, stacked over members.
        shift_params_: the parameters of each member's fixed function, stacked.
        noise_std_: σ of each output, in y's units, for a row of weight 1.
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
        likelihood: RegressionLikelihood | None = None,
        standardize: bool | None = None,
        trainer: Trainer | None = None,
        prior_precision: Mapping[str, float | Tensor] | None = None,
        readout: str | None = None,
        warm_start: bool = False,
        memory_budget: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: str | torch.device | None = None,
        verbose: bool = False,
        executor: Executor | None = None,
    ) -> None:
        self.network = network
        self.method = method
        self.n_members = n_members
        self.noise_std = noise_std
        self.likelihood = likelihood
        self.standardize = standardize
        self.trainer = trainer
        self.prior_precision = prior_precision
        self.readout = readout
        self.warm_start = warm_start
        self.memory_budget = memory_budget
        self.random_state = random_state
        self.device = device
        self.verbose = verbose
        self.executor = executor

    def fit(
        self,
        X: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        sample_weight: ArrayLike | Tensor | None = None,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    ) -> EnsembleRegressor:
        """Draw and train the members.

        Args:
            X: inputs, [n, features], or of more dimensions where the network takes them. Float64
                trains in float64, float32 in float32.
            y: targets, [n] or [n, outputs].
            sample_weight: a row of weight w has noise of variance σ²/w, and perturbed targets
                scatter so; rows of weight 0 are left out. None for 1.
            callback: hears of every step, a `Progress`; where it returns True the members that it
                was told of stay as they are, and the next ones are trained.
            checkpoint: a folder or an fsspec address, or `checkpoint_at(...)`: a fit that was
                interrupted and is called again goes on from there, and ends as if it had not been.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: X or y with NaN or of lengths that differ, y that is no number, a network
                that does not fit them, has parameters without a prior or no read-out, a setting
                that is not possible.
        """
        check_kind(self.likelihood, RegressionLikelihood, "likelihood", "gaussian()")
        data = self._fit_data(X, y, sample_weight, multi_output=True, y_numeric=True)
        check_numbers(data.y)
        self.likelihood_ = gaussian() if self.likelihood is None else self.likelihood
        self.y_ndim_ = data.y.ndim
        self.y_dtype_ = np.dtype(np.float32 if data.y.dtype == np.float32 else np.float64)
        inputs, dtype = data.inputs, data.inputs.dtype
        targets = torch.tensor(data.y, device=inputs.device, dtype=torch.float64)
        targets = targets.reshape(len(inputs), -1)
        known_noise = given_noise(self.noise_std, targets.shape[1])
        if self._goes_on():
            units = self.standardizer_
            self._check_outputs(targets.shape[1])
        elif self._standardizes():
            units = fit_standardizer(inputs, targets, row_weight=data.row_weight)
        else:
            units = identity_standardizer(inputs, targets)
        self.standardizer_ = units
        inputs, targets = units.inputs(inputs, dtype), units.targets(targets, dtype)
        noise = None if known_noise is None else known_noise.to(units.y_scale) / units.y_scale
        n_outputs = self.likelihood_.n_network_outputs(targets.shape[1])
        network = self.network_ if self._goes_on() else self.network
        if network is None:
            network = default_network(
                inputs, targets, n_outputs=n_outputs, noise_std=noise, seed=data.seed,
                row_weight=data.row_weight,
            )  # fmt: skip
        self.network_ = self._prepared(network, inputs, n_outputs)
        if noise is None:
            noise = fit_noise(
                self.network_, inputs, targets, seed=data.seed, row_weight=data.row_weight
            ).noise_std
        self.noise_std_ = noise * units.y_scale
        self._fit_members(
            inputs, targets, loss=self.likelihood_.loss(noise), data=data, callback=callback,
            checkpoint=checkpoint,
        )  # fmt: skip
        return self

    def posterior(
        self,
        X: ArrayLike | Tensor | Iterable[Any],
        keep_members: bool = False,
        covariance: bool = False,
    ) -> Predictive:
        """Return the predictive distribution of y at X, in y's units.

        Args:
            X: inputs, shaped as in `fit`: an array, a table or a tensor; a `numpy.memmap`, which is
                read part by part; or a `torch.utils.data.DataLoader` or another iterable (but no
                list) of batches, each of them inputs or a tuple that begins with inputs.
            keep_members: keep all members' values, for joint samples; they take members × n ×
                outputs numbers.
            covariance: also return the joint covariance of the function over all points, without
                the noise, n² × outputs numbers.

        Returns:
            Mean, epistemic and noise variance, shaped like y; computed in chunks of points whose
            activations fit `memory_budget`.

        Raises:
            ValueError: X with NaN or of another shape than in `fit`; a covariance of one member, or
                one larger than `memory_budget` (1 GiB by default).

        Example:
            >>> from bayesnn.networks import NTKLinear
            >>> model = EnsembleRegressor(NTKLinear(1, 1), noise_std=0.1, random_state=0)
            >>> post = model.fit([[0.0], [1.0], [2.0]], [0.0, 1.1, 1.9]).posterior([[1.5]])
            >>> bool(torch.allclose(post.variance, post.epistemic_variance + 0.1**2))
            True
        """
        if not hasattr(self, "params_"):  # looked up first: the check takes longer than a network
            check_is_fitted(self)
        return self._summary().posterior(
            self._member_chunks(X), flat=self.y_ndim_ == 1, keep_members=keep_members,
            covariance=covariance, memory_budget=self.memory_budget,
        )  # fmt: skip

    def predict(
        self, X: ArrayLike | Tensor | Iterable[Any], return_std: bool = False
    ) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
        """Return the predictive mean, and the standard deviation of an observation if asked.

        Args:
            X: inputs, as in `posterior`.
            return_std: also return the standard deviation; it includes the noise.

        Returns:
            The mean, or mean and standard deviation, shaped like y, in y's units and dtype.

        Raises:
            ValueError: X with NaN or of another shape; return_std with one member.
        """
        post = self.posterior(X)
        mean = post.mean.cpu().numpy().astype(self.y_dtype_)
        if not return_std:
            return mean
        return mean, post.std.cpu().numpy().astype(self.y_dtype_)

    def export(self, path: str | os.PathLike[str] | None = None) -> ExportedProgram:
        """Return mean and standard deviation as a program that runs without this package.

        The program's module takes points like those of `fit`, any number of them, as a tensor of
        the members' dtype on their device, and returns (mean, std), as `predict` does with
        return_std, shaped like y. It holds all points at once, and does not check them.

        Args:
            path: also write the program there in torch's own format, for `torch.export.load`; the
                name ends in .pt2. Of the two formats `save` is the safe one: torch's runs what a
                file says.

        Returns:
            The program; `program.module()` is the module.

        Raises:
            ValueError: one member, a path that cannot be written, or a network whose operations
                depend on how many points there are.

        Example:
            >>> from bayesnn.networks import NTKLinear
            >>> model = EnsembleRegressor(NTKLinear(1, 1), noise_std=0.1, random_state=0)
            >>> program = model.fit([[0.0], [1.0], [2.0]], [0.0, 1.1, 1.9]).export()
            >>> mean, std = program.module()(torch.tensor([[1.5], [4.0]], dtype=torch.float64))
            >>> bool(torch.allclose(mean, torch.from_numpy(model.predict([[1.5], [4.0]]))))
            True
        """
        check_is_fitted(self)
        if len(self.members_) == 1:
            raise ValueError("export: one member has no spread; use at least 2 members.")
        summary = self._summary()

        def outputs(values: Tensor) -> tuple[Tensor, ...]:
            mean, std = summary.mean_and_std(values)
            return (mean.squeeze(-1), std.squeeze(-1)) if self.y_ndim_ == 1 else (mean, std)

        return self._exported(outputs, path)

    def _check_outputs(self, n_outputs: int) -> None:
        """Raise ValueError unless y has as many columns as in the fit before."""
        before = len(self.standardizer_.y_scale)
        if n_outputs != before:
            raise ValueError(
                f"y: expected {before} outputs, as in the last fit with warm_start=True, got "
                f"{n_outputs}; set warm_start=False."
            )

    def _summary(self) -> RegressionSummary:
        return RegressionSummary(
            likelihood=self.likelihood_, noise_std=self.noise_std_, units=self.standardizer_
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
