"""Classification by an ensemble, with scikit-learn's conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from bayesnn.checks import check_positive
from bayesnn.class_probabilities import ClassProbabilities
from ensembles.class_codes import class_codes
from ensembles.class_posterior import class_posterior
from ensembles.default_network import default_network
from ensembles.estimators.base import EnsembleBase
from ensembles.fit import default_trainer, fit_members
from ensembles.inputs import check_kind
from ensembles.likelihoods.cross_entropy import class_trainer, cross_entropy
from ensembles.likelihoods.one_hot_regression import one_hot_regression
from ensembles.likelihoods.protocol import ClassLikelihood
from ensembles.memory import tensors_within
from ensembles.prediction import EnsembleFunction
from ensembles.standardizer import fit_standardizer, identity_standardizer
from ensembles.temperature import fit_temperature, held_out_rows
from ensembles.trainers.adam import Adam

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray
    from torch.export import ExportedProgram

    from bayesnn.executors import Executor
    from ensembles.checkpoint import Checkpoint
    from ensembles.estimators.base import FitData
    from ensembles.losses import Loss
    from ensembles.methods.protocol import Method
    from ensembles.progress import Callback
    from ensembles.trainers.problem import Trainer

WIDTH = 128  # of the default network
TEMPERATURE_MEMBERS = 4  # of the ensemble that the temperature is fitted with


class EnsembleClassifier(ClassifierMixin, EnsembleBase):  # type: ignore[misc]
    """Classification by an ensemble of networks whose disagreement is the model's uncertainty.

    The probability of a class is mean_m softmax(f̃_m(x)/T), with a temperature T. `posterior` takes
    its entropy apart: what the members disagree on, and the noise that each of them sees.

    T is fitted on a fifth of the rows of each class, drawn by the seed. They are held out of a
    smaller ensemble (4 members at most) that serves this alone; the members themselves are then
    trained on all rows, because a fifth of the data is worth more than the small difference between
    the two temperatures. Where fewer than 10 rows would be held out (about 50 rows of data), T is
    1 and `temperature_fitted_` says so.

    Args:
        network: a module [n, ...] -> [n, classes] (2 for two classes) whose layers know their
            prior, see `bayesnn.networks`; it is copied, never changed. None builds an MLP.
        method: what is fixed, regularised and perturbed; `ntkgp_param()` by default.
        n_members: number of members.
        likelihood: `cross_entropy()` (the default) or `one_hot_regression()`.
        temperature: T; None fits it.
        standardize: whether the networks see X with mean 0 and variance 1; None does so for
            network=None alone.
        trainer: `adam(...)`, or for `one_hot_regression()` also `gauss_newton(...)`; None picks by
            likelihood and size of the data.
        prior_precision: one over the prior variance of parameters, by name, where the network's
            layers do not say it or something else is wanted.
        readout: name of the network's last linear layer, where it cannot be found.
        warm_start: whether `fit` goes on from the last fit. With a larger n_members its members
            stay as they are, and new ones are trained beside them; with the same all are trained
            further, on the data that are given. Draws, units, classes and the network stay.
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
        classes_: labels of the classes, sorted.
        temperature_: T.
        temperature_fitted_: whether T was fitted to the data.
        network_: the copy of the network, in X's dtype, on the device.
        params_: trained parameters, stacked over members.
        shift_params_: the parameters of each member's fixed function, stacked.
        standardizer_: the change of units.
        members_: the members' numbers; those that diverged are missing.
        converged_: which members met the trainer's criterion.
        n_features_in_: number of columns of X.

    Example:
        >>> X = [[0.0], [0.2], [0.4], [1.6], [1.8], [2.0]]
        >>> y = ["low", "low", "low", "high", "high", "high"]
        >>> model = EnsembleClassifier(n_members=4, random_state=0).fit(X, y)
        >>> model.predict([[0.1], [1.9]]).tolist()
        ['low', 'high']
        >>> post = model.posterior([[0.1], [12.0]])
        >>> bool(post.epistemic_entropy[1] > post.epistemic_entropy[0])
        True
    """

    classes_: NDArray[Any]

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        method: Method | None = None,
        n_members: int = 10,
        likelihood: ClassLikelihood | None = None,
        temperature: float | None = None,
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
        self.likelihood = likelihood
        self.temperature = temperature
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
    ) -> EnsembleClassifier:
        """Draw and train the members, and fit the temperature.

        Args:
            X: inputs, [n, features], or of more dimensions where the network takes them. Float64
                trains in float64, float32 in float32.
            y: classes, [n], of any type of label that can be sorted.
            sample_weight: what multiplies the loss of each row (for `one_hot_regression()`, a row
                of weight w has noise of variance σ²/w); rows of weight 0 are left out. None for 1.
            callback: hears of every step, a `Progress`; where it returns True the members that it
                was told of stay as they are, and the next ones are trained.
            checkpoint: a folder or an fsspec address, or `checkpoint_at(...)`: a fit that was
                interrupted and is called again goes on from there, and ends as if it had not been.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: X or y with NaN or of lengths that differ, y that is no class or of one
                class alone, a network that does not fit them, has parameters without a prior or no
                read-out, a setting that is not possible.
        """
        check_kind(self.likelihood, ClassLikelihood, "likelihood", "cross_entropy()")
        given = self.temperature
        temperature = None if given is None else check_positive(given, "temperature")
        data = self._fit_data(X, y, sample_weight)
        known = self.classes_ if self._goes_on() else None
        self.classes_, codes = class_codes(data.y, known=known)
        self.likelihood_ = cross_entropy() if self.likelihood is None else self.likelihood
        inputs, dtype = data.inputs, data.inputs.dtype
        n_classes = len(self.classes_)
        one_hot = nn.functional.one_hot(codes, n_classes).to(device=inputs.device, dtype=dtype)
        if self._goes_on():
            pass  # the members know these units alone
        elif self._standardizes():
            none = torch.zeros_like(one_hot)  # of them keeps its units
            self.standardizer_ = fit_standardizer(inputs, none, row_weight=data.row_weight)
        else:
            self.standardizer_ = identity_standardizer(inputs, one_hot)
        inputs = self.standardizer_.inputs(inputs, dtype)
        network = self.network_ if self._goes_on() else self.network
        if network is None:
            network = default_network(
                inputs, one_hot_regression().targets(one_hot), n_outputs=n_classes, noise_std=None,
                seed=data.seed, row_weight=data.row_weight, width=WIDTH,
            )  # fmt: skip
        self.network_ = self._prepared(network, inputs, n_classes)
        targets = self.likelihood_.targets(one_hot)
        loss = self.likelihood_.loss(
            self.network_, inputs, targets, seed=data.seed, row_weight=data.row_weight
        )
        self._fit_members(
            inputs, targets, loss=loss, data=data, callback=callback, checkpoint=checkpoint
        )
        held_out = held_out_rows(codes, seed=data.seed) if temperature is None else None
        self.temperature_fitted_ = held_out is not None
        if held_out is not None:
            temperature = self._temperature(inputs, one_hot, loss, data, held_out.to(inputs.device))
        self.temperature_ = 1.0 if temperature is None else temperature
        return self

    def posterior(
        self, X: ArrayLike | Tensor | Iterable[Any], keep_members: bool = False
    ) -> ClassProbabilities:
        """Return the predictive distribution over classes at X, its entropy taken apart.

        Args:
            X: inputs, shaped as in `fit`: an array, a table or a tensor; a `numpy.memmap`, which is
                read part by part; or a `torch.utils.data.DataLoader` or another iterable (but no
                list) of batches, each of them inputs or a tuple that begins with inputs.
            keep_members: keep all members' probabilities, for joint samples; they take members × n
                × classes numbers.

        Returns:
            Probabilities and entropies, computed in chunks of points.

        Raises:
            ValueError: X with NaN or of another shape than in `fit`.

        Example:
            >>> from bayesnn.networks import NTKLinear
            >>> model = EnsembleClassifier(NTKLinear(1, 2), random_state=0)
            >>> post = model.fit([[0.0], [1.0], [2.0]], [0, 1, 1]).posterior([[1.5]])
            >>> parts = post.epistemic_entropy + post.noise_entropy
            >>> bool(torch.allclose(post.total_entropy, parts))
            True
        """
        if not hasattr(self, "params_"):  # looked up first: the check takes longer than a network
            check_is_fitted(self)
        return class_posterior(
            self._member_chunks(X), temperature=self.temperature_, keep_members=keep_members,
            classes=self.classes_,
        )  # fmt: skip

    def predict_proba(self, X: ArrayLike | Tensor | Iterable[Any]) -> NDArray[Any]:
        """Return the probability of each class, in the order of `classes_`.

        Args:
            X: inputs, as in `posterior`.

        Returns:
            Probabilities, [n, classes], in the dtype of training.

        Raises:
            ValueError: X with NaN or of another shape than in `fit`.
        """
        probabilities: NDArray[Any] = self.posterior(X).probabilities.cpu().numpy()
        return probabilities

    def predict(self, X: ArrayLike | Tensor | Iterable[Any]) -> NDArray[Any]:
        """Return the most probable class.

        Args:
            X: inputs, as in `posterior`.

        Returns:
            Labels, [n].

        Raises:
            ValueError: X with NaN or of another shape than in `fit`.
        """
        best = self.predict_proba(X).argmax(1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def export(self, path: str | os.PathLike[str] | None = None) -> ExportedProgram:
        """Return the probabilities as a program that runs without this package.

        The program's module takes points like those of `fit`, any number of them, as a tensor of
        the members' dtype on their device, and returns probabilities [n, classes], in the order of
        `classes_`. It holds all points at once, and does not check them.

        Args:
            path: also write the program there in torch's own format, for `torch.export.load`; the
                name ends in .pt2. Of the two formats `save` is the safe one: torch's runs what a
                file says.

        Returns:
            The program; `program.module()` is the module.

        Raises:
            ValueError: a path that cannot be written, or a network whose operations depend on how
                many points there are.

        Example:
            >>> from bayesnn.networks import NTKLinear
            >>> model = EnsembleClassifier(NTKLinear(1, 2), random_state=0)
            >>> program = model.fit([[0.0], [1.0], [2.0]], [0, 1, 1]).export()
            >>> probabilities = program.module()(torch.tensor([[1.5]], dtype=torch.float64))
            >>> probabilities.shape
            torch.Size([1, 2])
        """
        check_is_fitted(self)
        temperature = self.temperature_
        return self._exported(lambda values: ((values / temperature).softmax(-1).mean(0),), path)

    def _trainer(self, loss: Loss, inputs: Tensor) -> Trainer | None:
        """Return the user's trainer, or one for classes; None: Gauss–Newton for few rows."""
        if self.trainer is not None:
            return self.trainer
        default = default_trainer(len(inputs), len(self.classes_), loss)
        return class_trainer(len(inputs)) if isinstance(default, Adam) else default

    def _temperature(
        self, inputs: Tensor, one_hot: Tensor, loss: Loss, data: FitData, held_out: Tensor
    ) -> float:
        """Return T, fitted with members that have not seen the rows that are held out."""
        kept, weight = ~held_out, data.row_weight
        budget = tensors_within(self.memory_budget, inputs.device)
        fitted = fit_members(
            self.network_, inputs[kept], self.likelihood_.targets(one_hot[kept]),
            method=self.method_, trainer=self._trainer(loss, inputs[kept]),
            n_members=min(self.n_members, TEMPERATURE_MEMBERS), loss=loss, seed=data.seed,
            row_weight=None if weight is None else weight[kept], memory_budget=budget,
            executor=self.executor,
        )  # fmt: skip
        function = EnsembleFunction(
            network=self.network_,
            method=self.method_,
            params=fitted.params,
            shift=fitted.shift,
            in_units=lambda x, dtype: x.to(dtype),
        )
        chunks = function.chunks([inputs[held_out]], memory_budget=budget)
        return fit_temperature(
            torch.cat(list(chunks), dim=1),
            one_hot[held_out],
            row_weight=None if weight is None else weight[held_out],
        )
