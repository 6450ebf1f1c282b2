"""Layers of sequences [n, tokens, features] that mix their tokens by constant weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import as_finite_tensor, check_count


class AttentionMixing(nn.Module):
    """Attention whose weights are drawn once and held: y = A x over the tokens of a sequence.

    A = softmax(s Z) row by row, Z ~ N(0, 1), so every row has the sum 1; A is the buffer `weights`
    and is not trained. With s = 0 every query sees the mean of all tokens. The kernels go to
    A K Aᵀ and A Θ Aᵀ.

    Args:
        tokens: length of the sequences that come in.
        queries: length of those that go out; `tokens` if None.
        logit_std: s, how far from uniform the weights are.
        generator: source of Z; torch's default generator if None.

    Raises:
        ValueError: a length below 1, or a logit_std that is negative.

    Example:
        >>> mixing = AttentionMixing(6, queries=2)
        >>> mixing(torch.zeros(5, 6, 3)).shape
        torch.Size([5, 2, 3])
    """

    weights: Tensor

    def __init__(
        self,
        tokens: int,
        *,
        queries: int | None = None,
        logit_std: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.tokens = check_count(tokens, "tokens")
        self.queries = self.tokens if queries is None else check_count(queries, "queries")
        if not 0 <= logit_std < float("inf"):
            raise ValueError(f"logit_std: expected a number of at least 0, got {logit_std!r}.")
        draw = torch.randn(self.queries, self.tokens, dtype=torch.float64, generator=generator)
        weights = torch.softmax(logit_std * draw, dim=1)
        self.register_buffer("weights", weights.to(torch.get_default_dtype()))

    @classmethod
    def from_weights(cls, weights: Tensor) -> AttentionMixing:
        """Return the layer with a matrix A of your choice.

        Args:
            weights: A, [queries, tokens]; any finite numbers.

        Raises:
            ValueError: weights that are no matrix of finite numbers.

        Example:
            >>> AttentionMixing.from_weights(torch.eye(3))
            AttentionMixing(tokens=3, queries=3)
        """
        matrix = as_finite_tensor(weights, "weights", ndim=(2,))
        layer = cls(matrix.shape[1], queries=matrix.shape[0], generator=torch.Generator())
        layer.weights = matrix.detach().clone()
        return layer

    def forward(
        self, x: Float[Tensor, "*batch tokens features"]
    ) -> Float[Tensor, "*batch queries features"]:
        """Return A x, [..., queries, features]."""
        return self.weights @ x

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"tokens={self.tokens}, queries={self.queries}"


class TokenMean(nn.Module):
    """The mean over the tokens of a sequence.

    Example:
        >>> TokenMean()(torch.zeros(5, 6, 3)).shape
        torch.Size([5, 3])
    """

    def forward(
        self, x: Float[Tensor, "*batch tokens features"]
    ) -> Float[Tensor, "*batch features"]:
        """Return the mean, [..., features]."""
        return x.mean(-2)
