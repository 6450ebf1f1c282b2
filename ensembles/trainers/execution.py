"""How a training step is run: in which precision, compiled or not, as a CUDA graph or not."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache

import torch

WARM_UP = 3  # steps before the capture: libraries set themselves up in them


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How steps are run; results agree to the rounding of the precision that is chosen.

    Attributes:
        compile: whether torch.compile fuses the forward and the backward pass. The first step
            takes up to a minute then; worth it for long trainings on many points.
        autocast: floating type of the forward pass's products, such as torch.bfloat16; parameters
            and updates keep their own.
        tf32: whether products of float32 matrices may round their factors to TF32 (10 bits) on
            a GPU that has it.
        cuda_graph: whether a CUDA device replays the step as one graph, which spares the launches.
            Where the network cannot be captured the step runs as usual.
    """

    compile: bool = False
    autocast: torch.dtype | None = None
    tf32: bool = False
    cuda_graph: bool = True

    def forward_pass(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context of forward passes on the device."""
        if self.autocast is None:
            return nullcontext()
        # the cache would outlive a captured step
        return torch.autocast(device.type, dtype=self.autocast, cache_enabled=False)

    @contextmanager
    def products(self) -> Iterator[None]:
        """Set the precision of matrix products, and set it back in the end."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if self.tf32 else before)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    def runner(self, step: Callable[[], None], device: torch.device) -> Callable[[], None]:
        """Return what runs `step`, which takes and leaves all its data in the same tensors."""
        return GraphedStep(step, device) if self.cuda_graph and device.type == "cuda" else step


class GraphedStep:
    """A step that becomes one CUDA graph after a few runs; where it cannot, it runs as it is."""

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step = step
        self._stream = _side_stream(device)
        self._runs = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captures = True

    def __call__(self) -> None:
        """Run the step, by whatever way is ready."""
        self._runs += 1
        if self._captures and self._graph is None and self._runs > WARM_UP:
            self._capture()
        if self._graph is not None:
            self._graph.replay()
        elif self._captures:
            current = torch.cuda.current_stream(self._stream.device)
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                self._step()
            current.wait_stream(self._stream)
        else:
            self._step()

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # a collection could free another graph, which no capture survives
            with _no_collection(), torch.cuda.graph(graph, stream=self._stream):
                self._step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # the network reads values back, say
            self._captures = False
            torch.cuda.synchronize(self._stream.device)
            warnings.warn(
                f"training: the step cannot be a CUDA graph ({str(error).splitlines()[0]}); it "
                "runs without, which is slower for small networks.",
                RuntimeWarning,
                stacklevel=2,
            )
        else:
            self._graph = graph


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream for captures: each would keep 32 MiB of cuBLAS' for good."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def _no_collection() -> Iterator[None]:
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
