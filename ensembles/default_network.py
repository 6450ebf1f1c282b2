"""The network for users who give none."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles.noise import fit_noise

PLACE = (0, 2)  # of its random stream; members have places of one number
# chosen on held-out training rows: benchmarks/ensemble_defaults.py
WEIGHT_STDS = (0.5, 1.0, 1.5)  # the larger, the rougher the functions
BIAS_STD = 1.0
SMALL_DATA = 512  # points up to which a wider network costs little


def default_network(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n t"],
    *,
    n_outputs: int,
    noise_std: Float[Tensor, " t"] | None,
    seed: int,
    row_weight: Float[Tensor, " n"] | None = None,
    width: int | None = None,
    weight_stds: tuple[float, ...] = WEIGHT_STDS,
    bias_std: float = BIAS_STD,
) -> nn.Module:
    """Return an erf MLP with two hidden layers whose prior suits standardised data.

    Of a few weight scales, the one with the largest evidence on (a subset of) the training data is
    taken. Biases have the inputs' scale, so that functions need not be odd about the mean of X.

    Args:
        x: standardised inputs.
        y: standardised targets.
        n_outputs: outputs of the network.
        noise_std: σ in y's units, where it is known.
        seed: of the network's own parameters and of the evidence.
        row_weight: weights of the rows; None for 1.
        width: units of a hidden layer; None for 256 on small data and 128 on larger.
        weight_stds: the candidates.
        bias_std: of all layers.

    Returns:
        The network, of x's dtype and device.
    """

    def build(weight_std: float, out_features: int) -> nn.Module:
        network: nn.Module = mlp(
            in_features=x.shape[1],
            out_features=out_features,
            width=width or (256 if x.shape[0] <= SMALL_DATA else 128),
            depth=2,
            activation=Erf(),
            weight_std=weight_std,
            bias_std=bias_std,
            generator=seeded_generator(seed, *PLACE),
        )
        return network.to(device=x.device, dtype=x.dtype)

    evidence = [
        # all outputs have one prior, so the network of one output has the same kernel
        fit_noise(
            build(weight_std, 1), x, y, seed=seed, noise_std=noise_std, row_weight=row_weight
        ).log_evidence
        for weight_std in weight_stds
    ]
    return build(weight_stds[evidence.index(max(evidence))], n_outputs)
