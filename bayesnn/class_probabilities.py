"""The predictive distribution over classes, its entropy split into the model's and the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bayesnn.checks import check_count
from bayesnn.seeds import seeded_generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class ClassProbabilities:
    """Probabilities of classes, from members that each give their own.

    With members' probabilities p_m and their mean p̄, in nats,

        H[p̄] = mean_m KL(p_m ‖ p̄) + mean_m H[p_m]:

    the total entropy is the epistemic one, the mutual information of class and member, which more
    data would remove, plus the entropy of the noise, which they would not (Depeweg et al., 2018,
    arXiv 1710.07283; as the "BALD" score, Houlsby et al., 2011, arXiv 1112.5745). The sum over
    members of KL is taken of deviations from p̄, never as a difference of entropies, so that small
    disagreement is not lost in rounding.

    All arguments are keyword only; the object is immutable, and its tensors carry no gradients.

    Args:
        probabilities: p̄, [n, classes]; rows sum to 1.
        noise_entropy: mean_m H[p_m], [n].
        epistemic_entropy: mean_m KL(p_m ‖ p̄), [n]; None if one member alone is known.
        n_members: number of members behind them.
        members: p_m, [n_members, n, classes], where they were kept.
        classes: labels of the classes, in the columns' order; None for 0, 1, ….

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities or entropies, or a
            missing epistemic entropy.

    Example:
        >>> members = torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]])
        >>> post = ClassProbabilities.from_members(members)
        >>> post.probabilities
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
        >>> post.noise_entropy, post.epistemic_entropy  # not sure of a fair coin; of nothing
        (tensor([0.6931, 0.0000]), tensor([0.0000, 0.6931]))
    """

    __slots__ = ("_classes", "_epistemic", "_members", "_n_members", "_noise", "_probabilities")

    def __init__(
        self,
        *,
        probabilities: Tensor,
        noise_entropy: Tensor,
        epistemic_entropy: Tensor | None,
        n_members: int,
        members: Tensor | None = None,
        classes: ArrayLike | None = None,
    ) -> None:
        self._probabilities = _checked_probabilities(probabilities, "probabilities", ndim=2)
        n, n_classes = probabilities.shape
        self._n_members = check_count(n_members, "n_members")
        self._noise = _checked_entropy(noise_entropy, "noise_entropy", n)
        if epistemic_entropy is None and n_members != 1:
            raise ValueError("epistemic_entropy: expected a tensor, got None with n_members != 1.")
        self._epistemic = None
        if n_members != 1 and epistemic_entropy is not None:
            self._epistemic = _checked_entropy(epistemic_entropy, "epistemic_entropy", n)
        self._members = None
        if members is not None:
            self._members = _checked_probabilities(members, "members", ndim=3)
            if members.shape != (n_members, n, n_classes):
                raise ValueError(
                    f"members: expected shape {(n_members, n, n_classes)}, "
                    f"got {tuple(members.shape)}."
                )
        self._classes = None if classes is None else np.asarray(classes)
        if self._classes is not None and self._classes.shape != (n_classes,):
            raise ValueError(
                f"classes: expected {n_classes} labels, one a column of probabilities, got "
                f"shape {self._classes.shape}."
            )

    @classmethod
    def from_members(
        cls,
        members: Float[Tensor, "members n classes"],
        *,
        keep_members: bool = False,
        classes: ArrayLike | None = None,
    ) -> ClassProbabilities:
        """Summarise the members' probabilities.

        Args:
            members: each member's probabilities.
            keep_members: keep them, for joint samples; otherwise n × (classes + 2) numbers stay.
            classes: labels of the classes.

        Returns:
            The predictive distribution; with one member it has no epistemic entropy.

        Example:
            >>> ClassProbabilities.from_members(torch.full((3, 2, 4), 0.25)).total_entropy
            tensor([1.3863, 1.3863])
        """
        members = _checked_probabilities(members, "members", ndim=3)
        mean = members.mean(0)
        mean = mean / mean.sum(-1, keepdim=True)
        return cls(
            probabilities=mean,
            noise_entropy=torch.special.entr(members.clamp(max=1)).sum(-1).mean(0),
            epistemic_entropy=None if len(members) == 1 else _mean_divergence(members, mean),
            n_members=len(members),
            members=members if keep_members else None,
            classes=classes,
        )

    @property
    def probabilities(self) -> Tensor:
        """Probability of each class, [n, classes]."""
        return self._probabilities

    @property
    def n_members(self) -> int:
        """How many members the probabilities are the mean of."""
        return self._n_members

    @property
    def members(self) -> Tensor | None:
        """Each member's probabilities, [n_members, n, classes]; None if they were not kept."""
        return self._members

    @property
    def classes(self) -> NDArray[np.generic] | None:
        """Labels of the classes, in the columns' order; None where they are 0, 1, …."""
        return self._classes

    @property
    def total_entropy(self) -> Tensor:
        """Entropy of the class, [n], in nats: epistemic plus noise."""
        if self._epistemic is None:
            return self._noise
        return self._epistemic + self._noise

    @property
    def noise_entropy(self) -> Tensor:
        """Mean of the members' entropies, [n], in nats: what no more data would remove."""
        return self._noise

    @property
    def epistemic_entropy(self) -> Tensor:
        """Mutual information of class and member, [n], in nats: what more data would remove.

        Raises:
            ValueError: there is only one member.
        """
        if self._epistemic is None:
            raise ValueError(
                "epistemic_entropy: one member disagrees with none, so the uncertainty is unknown; "
                "use at least 2 members (10 or more give steady values)."
            )
        return self._epistemic

    def sample(self, n: int, *, seed: int | torch.Generator = 0) -> Int[Tensor, "draws n"]:
        """Draw classes, as column numbers.

        Where members were kept, all points of one draw come from one member, drawn at random, so
        that they are correlated as they should be; otherwise the points are independent.

        Args:
            n: number of draws.
            seed: seed or generator (on the CPU) of the draws.

        Returns:
            Numbers of classes, [n, points]; `classes[...]` turns them into labels.

        Raises:
            ValueError: n below 1.
        """
        n = check_count(n, "n")
        generator = seed if isinstance(seed, torch.Generator) else seeded_generator(seed)
        shape = (n, len(self._probabilities))
        level = torch.rand(shape, generator=generator, dtype=torch.float64)
        drawn = torch.empty(shape, dtype=torch.long)
        if self._members is None:
            chosen = torch.zeros(n, dtype=torch.long)
            tables = self._probabilities.unsqueeze(0)
        else:
            chosen = torch.randint(self._n_members, (n,), generator=generator)
            tables = self._members
        for number in sorted(set(chosen.tolist())):  # one member's table at a time
            cumulative = tables[number].double().cpu().cumsum(-1)
            cumulative /= cumulative[:, -1:].clone()
            rows = chosen == number
            level_of = level[rows].T.contiguous()
            drawn[rows] = torch.searchsorted(cumulative, level_of, right=True).T
        return drawn.to(self._probabilities.device)

    def log_prob(self, y: ArrayLike | Tensor) -> Tensor:
        """Log probability of an observed class at each point.

        Args:
            y: observed classes, [n]: labels, or column numbers where there are no labels.

        Returns:
            Log probabilities, [n]; −∞ where the class was given probability 0.

        Raises:
            ValueError: y of another length, or a class that is unknown here.

        Example:
            >>> post = ClassProbabilities.from_members(
            ...     torch.tensor([[[0.25, 0.75]]]), classes=["cat", "dog"]
            ... )
            >>> post.log_prob(["dog"]).exp()
            tensor([0.7500])
        """
        values = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
        n, n_classes = self._probabilities.shape
        if values.shape != (n,):
            raise ValueError(f"y: expected {n} classes, one a point, got shape {values.shape}.")
        known = np.arange(n_classes) if self._classes is None else self._classes
        order = np.argsort(known)
        try:
            place = np.searchsorted(known, values, sorter=order).clip(max=n_classes - 1)
        except TypeError:  # labels of types that do not compare
            place = np.zeros(n, dtype=np.int64)
        columns = order[place]
        wrong = known[columns] != values
        if wrong.any():
            raise ValueError(
                f"y: expected classes among {known.tolist()!r:.200}, got "
                f"{values[wrong][0].item()!r:.80}."
            )
        index = torch.from_numpy(columns).to(self._probabilities.device).unsqueeze(1)
        return self._probabilities.gather(1, index).squeeze(1).log()

    def __repr__(self) -> str:
        n, n_classes = self._probabilities.shape
        return f"ClassProbabilities(points={n}, classes={n_classes}, members={self._n_members})"


def _mean_divergence(
    members: Float[Tensor, "m n c"], mean: Float[Tensor, "n c"]
) -> Float[Tensor, " n"]:
    """Return mean_m KL(p_m ‖ p̄) as a sum of terms p·log(p/p̄) − p + p̄, none below 0."""
    part = torch.where(mean > 0, (members - mean) / mean, 0.0)
    # with p = p̄(1 + d) a term is p̄·((1 + d)·log(1 + d) − d), which is p̄·d²/2 for a small d
    exact = torch.special.xlog1py(1 + part, part) - part
    series = part**2 * (1 / 2 - part * (1 / 6 - part * (1 / 12 - part / 20)))
    terms = torch.where(part.abs() < 0.02, series, exact)
    return (mean * terms).sum(-1).mean(0).clamp(min=0)


def _checked_probabilities(values: Tensor, name: str, *, ndim: int) -> Tensor:
    if not values.is_floating_point() or values.ndim != ndim or 0 in values.shape:
        raise ValueError(
            f"{name}: expected a floating-point tensor of {ndim} dimensions, the last for classes, "
            f"got {values.dtype} of shape {tuple(values.shape)}."
        )
    off = (values.detach().sum(-1) - 1).abs().max()
    if not bool((values >= 0).all()) or not float(off) < 1e-3:  # NaN fails too
        raise ValueError(
            f"{name}: expected probabilities, at least 0 and with a sum of 1 over the classes; "
            "take softmax of scores first."
        )
    return values.detach()


def _checked_entropy(values: Tensor, name: str, n: int) -> Tensor:
    if values.shape != (n,) or not bool((values >= 0).all()):
        raise ValueError(
            f"{name}: expected {n} values of at least 0, one a point, got shape "
            f"{tuple(values.shape)} or values below 0."
        )
    return values.detach()
