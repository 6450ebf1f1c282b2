"""UncertaINR's MC dropout as one writes it down: float32, autograd, nothing fused.

Initial weights and biases, masks, loss and optimiser are those of the public code; the image is
projected by whatever is passed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class NaiveNetwork(nn.Module):
    """Fourier features, six layers with dropout before all but the first, a sigmoid."""

    def __init__(self, shape: tuple[int, int], *, seed: int, width: int = 280) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.shape = shape
        self.register_buffer("b", 40 * torch.randn(363, 2, generator=generator))
        rows, columns = (torch.linspace(-1, 1, n) for n in shape)
        points = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)
        self.register_buffer("points", points.reshape(-1, 2))
        sizes = [726, *[width] * 6, 1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        with torch.no_grad():
            for layer in self.layers:
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.copy_(bound * torch.randn(layer.weight.shape, generator=generator))
                uniform = torch.rand(layer.bias.shape, generator=generator)
                layer.bias.copy_(bound * (2 * uniform - 1))

    def forward(self) -> Tensor:
        """Return an image under fresh masks."""
        phase = self.points @ self.b.T + math.pi / 4
        hidden = torch.cat((torch.sin(phase), torch.cos(phase)), dim=-1)
        for index, layer in enumerate(self.layers):
            if index > 0:
                hidden = nn.functional.dropout(nn.functional.silu(hidden), 0.2)
            hidden = layer(hidden)
        return torch.sigmoid(hidden).reshape(self.shape)


class NaiveTraining:
    """Steps of Adam on the published loss."""

    def __init__(
        self,
        network: NaiveNetwork,
        project: Callable[[Tensor], Tensor],
        sinogram: Tensor,
        noise_std: float,
    ) -> None:
        self.network, self._project = network, project
        self._sinogram, self._noise_std = sinogram, noise_std
        self._adam = torch.optim.Adam(network.parameters(), lr=3e-4)
        side = max(network.shape)
        self._margin = int((math.sqrt(2) * side - side) / 2) + 1

    def step(self) -> None:
        """Take one step."""
        self._adam.zero_grad()
        image = self.network()
        residual = (self._project(image) - self._sinogram) / self._noise_std
        padded = nn.functional.pad(image, (self._margin,) * 4)
        down = (padded[1:] - padded[:-1]).abs().sum()
        right = (padded[:, 1:] - padded[:, :-1]).abs().sum()
        loss = residual.square().mean() / 2 + 0.008 * (down + right) / len(padded)
        loss.backward()
        self._adam.step()

    def samples(self, n_samples: int) -> Tensor:
        """Return images under fresh masks."""
        with torch.no_grad():
            return torch.stack([self.network() for _ in range(n_samples)])
