"""MC dropout with the settings, the masks and the loss of UncertaINR's public code."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.inference.mc_dropout import sample_moments
from bayesnn.seeds import seeded_generator
from ct.classical.total_variation import anisotropic_tv
from ct.inr.counter_masks import draw_keys
from ct.inr.pixel_dropout import PixelDropoutImage, PixelDropoutNetwork
from ct.posterior.chunked import tensor_budget
from ct.posterior.held_out_views import check_held_out, solve_with_held_out_scale
from ct.posterior.normalisation import ValueRange, value_range
from ct.posterior.repeated_step import RepeatedStep
from ct.posterior.training import check_tv
from ct.problem import Estimate, Problem, Progress, Setting

# places of the random streams under a slice's seed
_INITIAL, _TRAINING, _SAMPLES = 0, 1, 2


def published_mc_dropout(
    *,
    n_frequencies: int = 363,
    frequency_std: float = 40.0,
    width: int = 280,
    depth: int = 6,
    dropout: float = 0.2,
    steps: int = 15_000,
    learning_rate: float = 3e-4,
    tv_weight: float = 0.008,
    n_samples: int = 50,
    lowest: float | None = None,
    highest: float | None = None,
    held_out: float = 0.0,
) -> PublishedMCDropout:
    """Make UncertaINR's MC dropout as its authors ran it: to compare with, not to rely on.

    The image is x = lowest + (highest − lowest) · f_θ, with f_θ a perceptron behind Fourier
    features that ends in a sigmoid and loses units anew at each pixel
    (`ct.inr.pixel_dropout.PixelDropoutNetwork`). Each step of Adam, on all rays, lowers

        mean over rays of ½ ((A x − y) / σ)² + c · TV(f_θ) / side

    under fresh masks, with anisotropic total variation of the image within a margin of zeros,
    and side the pixels along the square around the image at any angle. Samples are images under
    fresh masks; their mean and standard deviation are the result.

    `ct.mc_dropout` is more accurate and takes seconds. A step of 512² pixels is 0.8 TFLOP: a few
    milliseconds on an H100 (benchmarks/results/ct_published_gpu.md), and not meant for a CPU.

    Args:
        n_frequencies: Fourier frequencies.
        frequency_std: Ω₀, in radians per half the image's longer side.
        width: units of each hidden layer.
        depth: number of hidden layers.
        dropout: probability that a unit is lost.
        steps: optimisation steps.
        learning_rate: Adam's, the same in all steps.
        tv_weight: c.
        n_samples: how many samples stand behind mean and standard deviation, at least 2.
        lowest: the least value that the image can have, in its units; published: 0, of images
            that are known to lie in [0, 1]. None takes both ends from a filtered
            back-projection.
        highest: the largest value.
        held_out: share of the views that a first fit leaves out, to scale the error bars by
            them (`ct.posterior.held_out_views`); published: 0.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range, or one end of the range without the other.

    Source:
        F. Vasconcelos, B. He, N. Singh, Y. W. Teh, UncertaINR, TMLR 2023, arXiv 2202.10847, and
        its public code.

    Example:
        >>> published_mc_dropout(lowest=0.0, highest=1.0).settings()["width"]
        280
    """
    return PublishedMCDropout(
        n_frequencies=n_frequencies,
        frequency_std=frequency_std,
        width=width,
        depth=depth,
        dropout=dropout,
        steps=steps,
        learning_rate=learning_rate,
        tv_weight=tv_weight,
        n_samples=n_samples,
        lowest=lowest,
        highest=highest,
        held_out=held_out,
    )


@dataclass(frozen=True, kw_only=True)
class PublishedMCDropout:
    """The method behind `published_mc_dropout`, which says what the settings mean."""

    n_frequencies: int
    frequency_std: float
    width: int
    depth: int
    dropout: float
    steps: int
    learning_rate: float
    tv_weight: float
    n_samples: int
    lowest: float | None
    highest: float | None
    held_out: float

    def __post_init__(self) -> None:
        if not 0 < self.dropout < 1:
            raise ValueError(f"dropout: expected a rate between 0 and 1, got {self.dropout!r}.")
        _ = self._network  # which checks its sizes
        check_count(self.steps, "steps")
        check_count(self.n_samples, "n_samples", minimum=2)
        check_positive(self.learning_rate, "learning_rate")
        check_tv(self.tv_weight, "tv_weight")
        check_held_out(self.held_out)
        if (self.lowest is None) != (self.highest is None):
            raise ValueError("lowest, highest: expected both ends of the range, or neither.")
        for name in ("lowest", "highest"):
            end = getattr(self, name)
            if end is not None and not (isinstance(end, int | float) and math.isfinite(end)):
                raise ValueError(f"{name}: expected a number, or none to estimate it, got {end!r}.")
        if self.lowest is not None and self.highest is not None:
            check_positive(self.highest - self.lowest, "highest − lowest")

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "published-mc-dropout"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name."""
        return dict(vars(self))

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice.

        The same seed gives the same result on the same machine.

        Args:
            problem: what was measured.
            seed: seed of the initial parameters, the training masks and the samples.
            progress: called after every step and sample.

        Returns:
            Mean, standard deviation and, if the problem asks for them, the samples.

        Raises:
            ValueError: training diverged.
        """
        return solve_with_held_out_scale(
            self._solve, problem, share=self.held_out, seed=seed, progress=progress
        )

    def _solve(self, problem: Problem, seed: int, progress: Progress | None) -> Estimate:
        def report(done: int) -> None:
            if progress is not None:
                progress(done, self.steps + self.n_samples)

        values = self._range(problem)
        network, loss = self._trained(values.normalised(problem), seed, report)
        moments = sample_moments(
            (values.to_image(image) for image in self._samples(network, seed, report)),
            n_samples=self.n_samples,
            keep_samples=problem.keep_samples,
        )
        diagnostics: dict[str, Setting] = {
            "loss": loss,
            "chi_squared_per_ray": problem.chi_squared_per_ray(moments.mean),
            "offset": values.offset,
            "scale": values.scale,
            "arithmetic": network.arithmetic,
            "pixels_at_once": network.pixels_at_once,
        }
        return Estimate(
            mean=moments.mean, std=moments.std, samples=moments.samples, diagnostics=diagnostics
        )

    @property
    def _network(self) -> PixelDropoutNetwork:
        return PixelDropoutNetwork(
            n_frequencies=self.n_frequencies,
            frequency_std=self.frequency_std,
            width=self.width,
            depth=self.depth,
            dropout=self.dropout,
        )

    def _range(self, problem: Problem) -> ValueRange:
        if self.lowest is None or self.highest is None:
            return value_range(problem)
        return ValueRange(offset=self.lowest, scale=self.highest - self.lowest, level=0.5)

    def _trained(
        self, problem: Problem, seed: int, report: Callable[[int], None]
    ) -> tuple[PixelDropoutImage, float]:
        """Train, with fewer pixels at once where the memory runs out.

        Returns:
            The network and the last step's loss.
        """
        shape, at_once, said = problem.grid.shape, None, False
        budget = tensor_budget(problem.sinogram.device, problem.memory_budget)
        while True:
            network = self._network.build(shape, generator=seeded_generator(seed, _INITIAL))
            network = network.to(problem.sinogram)
            at_once = network.that_fit(budget) if at_once is None else at_once
            network.pixels_at_once = at_once
            try:
                return network, self._train(network, problem, seed, report)
            except torch.OutOfMemoryError:
                if at_once == 1:
                    raise
            # outside the handler, whose traceback holds on to the memory
            del network
            gc.collect()
            at_once = at_once // 2
            if not said:
                warnings.warn(
                    f"published-mc-dropout: {2 * at_once} pixels at once do not fit the device's "
                    "memory; training begins again with fewer.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            said = True

    def _train(
        self,
        network: PixelDropoutImage,
        problem: Problem,
        seed: int,
        report: Callable[[int], None],
    ) -> float:
        keys = torch.stack([
            draw_keys(self.depth, generator=seeded_generator(seed, _TRAINING, step))
            for step in range(self.steps)
        ]).to(problem.sinogram.device)
        weight = self.tv_weight / padded_side(problem.grid.shape)

        def loss(keys: Tensor) -> Tensor:
            image = network(keys)
            residual = (problem.projector(image) - problem.sinogram) / problem.noise_std
            margin = torch.nn.functional.pad(image, (1, 1, 1, 1))
            return residual.square().mean() / 2 + weight * anisotropic_tv(margin)

        descent = RepeatedStep(
            loss, list(network.parameters()), learning_rate=self.learning_rate, draws=keys[0]
        )
        begin = descent.load(problem.checkpoint.load())
        for step in range(begin, self.steps):
            descent(keys[step])
            report(step + 1)
            if problem.checkpoint.due():
                problem.checkpoint.save(descent.state())
        final = float(descent.loss)
        if begin < self.steps and not math.isfinite(final):
            raise ValueError(
                "published-mc-dropout: training diverged (the loss is no number any more); lower "
                "learning_rate, or check noise_std."
            )
        return final

    def _samples(
        self, network: PixelDropoutImage, seed: int, report: Callable[[int], None]
    ) -> Iterator[Float[Tensor, "rows columns"]]:
        device = network.weights[0].device
        for index in range(self.n_samples):
            keys = draw_keys(self.depth, generator=seeded_generator(seed, _SAMPLES, index))
            with torch.no_grad():
                image: Tensor = network(keys.to(device))
            report(self.steps + index + 1)
            yield image


def padded_side(shape: tuple[int, int]) -> int:
    """Return the side of the square that holds the image turned by any angle, in pixels.

    The published code pads images to it, equally on all sides, and divides by it.

    Example:
        >>> padded_side((512, 512))
        726
    """
    side = max(shape)
    return side + 2 * (int((math.sqrt(2) * side - side) / 2) + 1)
