"""What both estimators share: settings, data, units, training, the members' values."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from bayesnn.checks import check_count
from bayesnn.executors import Executor
from bayesnn.networks import with_prior
from ensembles.batches import InputCheck, batches
from ensembles.fit import fit_members
from ensembles.gathered import FittedMembers
from ensembles.inputs import (
    check_kind,
    check_network,
    check_points,
    given_weights,
    to_numpy,
    training_device,
    whole_seed,
)
from ensembles.losses import Loss
from ensembles.memory import tensors_within
from ensembles.methods.ntkgp_param import ntkgp_param
from ensembles.methods.protocol import Method, Params, Shift
from ensembles.prediction import EnsembleFunction
from ensembles.preparation import prepared
from ensembles.standardizer import Standardizer
from ensembles.trainers.problem import Trainer
from ensembles.warm_start import go_on

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray
    from torch.export import ExportedProgram

    from ensembles.checkpoint import Checkpoint
    from ensembles.progress import Callback

Estimator = TypeVar("Estimator", bound="EnsembleBase")

DTYPES = [np.float64, np.float32]


@dataclass(frozen=True, kw_only=True)
class FitData:
    """Checked training data.

    Attributes:
        inputs: X, on the device, in the user's units.
        y: as scikit-learn's checks return it.
        row_weight: sample weights, all above 0, of X's dtype; None for 1.
        seed: of the whole fit.
    """

    inputs: Tensor
    y: NDArray[Any]
    row_weight: Tensor | None
    seed: int


class EnsembleBase(BaseEstimator):  # type: ignore[misc]
    """An ensemble of networks behind scikit-learn's interface; see the two estimators."""

    # scikit-learn reads the settings from each estimator's own __init__
    network: nn.Module | None
    method: Method | None
    n_members: int
    standardize: bool | None
    trainer: Trainer | None
    prior_precision: Mapping[str, float | Tensor] | None
    readout: str | None
    warm_start: bool
    memory_budget: int | None
    random_state: int | np.random.RandomState | None
    device: str | torch.device | None
    verbose: bool
    executor: Executor | None

    network_: nn.Module
    method_: Method
    standardizer_: Standardizer
    input_shape_: tuple[int, ...]
    params_: Params
    shift_params_: Shift
    members_: tuple[int, ...]
    converged_: tuple[bool, ...]
    n_iter_: int
    n_drawn_: int  # with the members that diverged
    seed_: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted ensemble to a file that runs no code when it is read.

        Args:
            path: the file to be written or replaced.

        Raises:
            ValueError: the path cannot be written, or the method, the likelihood or the class
                labels are nothing that files can hold.

        Example:
            >>> import tempfile
            >>> from bayesnn.networks import NTKLinear
            >>> from ensembles import EnsembleRegressor
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
        cls: type[Estimator], path: str | os.PathLike[str], network: nn.Module | None = None
    ) -> Estimator:
        """Read a fitted ensemble.

        Args:
            path: a file that `save` has written.
            network: the network, where it is made of modules that the file cannot describe.

        Returns:
            The fitted estimator, on the CPU.

        Raises:
            ValueError: a file that is missing, damaged, foreign, of another version or another
                estimator, or a network that does not fit it.
        """
        from ensembles.store import load_ensemble

        return load_ensemble(cls, path, network=network)

    def _fit_data(
        self,
        X: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        sample_weight: ArrayLike | Tensor | None,
        **y_checks: Any,
    ) -> FitData:
        """Return the data once they and the settings are checked, without rows of weight 0."""
        check_count(self.n_members, "n_members")
        if self.memory_budget is not None:
            check_count(self.memory_budget, "memory_budget")
        check_kind(self.method, Method, "method", "ntkgp_param()")
        check_kind(self.trainer, Trainer, "trainer", "adam()")
        check_kind(self.executor, Executor, "executor", "local_executor(2)")
        check_kind(self.network, nn.Module, "network", "bayesnn.networks.mlp(...)")
        method = ntkgp_param() if self.method is None else self.method
        if self._goes_on() and method != self.method_:
            raise ValueError(
                f"method: expected that of the last fit, {self.method_.name}, with "
                f"warm_start=True, got {method.name}; set warm_start=False."
            )
        self.method_ = method
        seed = self.seed_ if self._goes_on() else whole_seed(self.random_state)
        device = training_device(self.device, X)
        inputs, targets = validate_data(
            self,
            to_numpy(X),
            to_numpy(y),
            dtype=DTYPES,
            ensure_min_samples=2,
            allow_nd=self.network is not None,
            **y_checks,
        )
        weights = given_weights(sample_weight, inputs)
        if weights is not None:
            used = weights > 0
            inputs, targets, weights = inputs[used], targets[used], weights[used]
        shape = tuple(int(size) for size in inputs.shape[1:])
        if self._goes_on() and shape != self.input_shape_:
            raise ValueError(
                f"X: expected points of shape {('n', *self.input_shape_)}, as in the last fit with "
                f"warm_start=True, got {('n', *shape)}; set warm_start=False."
            )
        self.input_shape_ = shape
        return FitData(
            inputs=torch.tensor(inputs, device=device),
            y=targets,
            row_weight=None if weights is None else torch.tensor(weights, device=device),
            seed=seed,
        )

    def _goes_on(self) -> bool:
        """Return whether this fit goes on from the last one."""
        return self.warm_start and hasattr(self, "params_")

    def _standardizes(self) -> bool:
        return self.network is None if self.standardize is None else self.standardize

    def _prepared(self, network: nn.Module, inputs: Tensor, n_outputs: int) -> nn.Module:
        """Return a copy with the user's prior and read-out, once it is known to fit the data."""
        if self.prior_precision is None and self.readout is None:
            network = copy.deepcopy(network)
        else:
            network = with_prior(network, precision=self.prior_precision, readout=self.readout)
        network = network.to(device=inputs.device, dtype=inputs.dtype).eval()
        check_network(network, inputs, n_outputs)
        return prepared(network, self.method_, inputs)

    def _fit_members(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        loss: Loss,
        data: FitData,
        callback: Callback | None,
        checkpoint: str | os.PathLike[str] | Checkpoint | None,
    ) -> None:
        """Draw and train the members, and keep what prediction needs."""
        fit = partial(
            fit_members, self.network_, inputs, targets, method=self.method_,
            trainer=self._trainer(loss, inputs), n_members=self.n_members, loss=loss,
            seed=data.seed, row_weight=data.row_weight, callback=callback, checkpoint=checkpoint,
            memory_budget=tensors_within(self.memory_budget, inputs.device),
            verbose=self.verbose, executor=self.executor,
        )  # fmt: skip
        if self._goes_on():
            earlier = FittedMembers(
                params=self.params_, shift=self.shift_params_, members=self.members_,
                converged=self.converged_, n_steps=self.n_iter_,
            )  # fmt: skip
            fitted = go_on(fit, earlier, drawn=self.n_drawn_, n_members=self.n_members)
        else:
            fitted = fit()
        self.n_drawn_ = self.n_members
        self.seed_ = data.seed
        self.params_ = fitted.params
        self.shift_params_ = fitted.shift
        self.members_ = fitted.members
        self.converged_ = fitted.converged
        self.n_iter_ = fitted.n_steps

    def _trainer(self, loss: Loss, inputs: Tensor) -> Trainer | None:  # noqa: ARG002
        """Return the user's trainer; None: by loss and size of the data."""
        return self.trainer

    def _member_chunks(self, X: Any) -> Iterator[Tensor]:
        """Return an iterator over f̃ of all members at some points after others, [m, points, k].

        In the network's units, without gradients.
        """
        check = InputCheck(
            shape=self.input_shape_,
            validate=self._valid_points,
            by_name=hasattr(self, "feature_names_in_"),
        )
        device = next(iter(self.params_.values())).device
        budget = tensors_within(self.memory_budget, device)
        return self._function().chunks(batches(X, check), memory_budget=budget)

    def _function(self) -> EnsembleFunction:
        return EnsembleFunction(
            network=self.network_,
            method=self.method_,
            params=self.params_,
            shift=self.shift_params_,
            in_units=self.standardizer_.inputs,
        )

    def _exported(
        self,
        outputs: Callable[[Tensor], tuple[Tensor, ...]],
        path: str | os.PathLike[str] | None,
    ) -> ExportedProgram:
        """Return what `outputs` makes of members' values as a program; write it where asked."""
        from ensembles.export import export_outputs, write_program  # slow to import

        program = export_outputs(self._function(), outputs, self.input_shape_)
        if path is not None:
            write_program(program, path)
        return program

    def _valid_points(self, X: Any) -> NDArray[Any]:
        """Return points of the shape that the ensemble was fitted on, or raise ValueError."""
        shape = self.input_shape_
        points: NDArray[Any] = validate_data(
            self, X, dtype=DTYPES, reset=False, allow_nd=len(shape) > 1
        )
        check_points(points, shape)
        return points
