"""One step of Adam, taken many times: on a GPU as one graph, with a state that can be kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ensembles.trainers.execution import Execution


class RepeatedStep:
    """Adam on a loss of the parameters and of one tensor that is drawn anew for each step.

    Attributes:
        loss: the last step's.
    """

    def __init__(
        self,
        loss: Callable[[Tensor], Tensor],
        params: list[torch.nn.Parameter],
        *,
        learning_rate: float,
        draws: Tensor,
    ) -> None:
        device = params[0].device
        self._evaluate, self._params = loss, params
        self._draws = draws.clone()  # graphs read what stands in the same place
        on_gpu = device.type == "cuda"
        self._adam = torch.optim.Adam(params, lr=learning_rate, fused=on_gpu, capturable=on_gpu)
        self._run = Execution().runner(self._step, device)
        self._done = 0
        self.loss = torch.zeros((), dtype=params[0].dtype, device=device)

    def __call__(self, draws: Tensor) -> None:
        """Take one step under these draws."""
        self._draws.copy_(draws)
        self._run()
        self._done += 1

    def state(self) -> dict[str, Tensor]:
        """Return copies of all that decides the next steps."""
        state = {"done": torch.tensor(self._done), "loss": self.loss.clone()}
        for index, param in enumerate(self._params):
            state[f"param.{index}"] = param.detach().clone()
            for name, value in self._adam.state[param].items():
                state[f"{name}.{index}"] = value.clone()
        return state

    def load(self, state: Mapping[str, Tensor] | None) -> int:
        """Go on from a state, where there is one.

        Args:
            state: what `state` returned, on any device.

        Returns:
            How many steps were taken before it.
        """
        if state is None:
            return 0
        with torch.no_grad():
            for index, param in enumerate(self._params):
                param.copy_(state[f"param.{index}"])
                self._adam.state[param] = {
                    name: state[f"{name}.{index}"].clone().to(param.device)
                    for name in ("step", "exp_avg", "exp_avg_sq")
                }
            self.loss.copy_(state["loss"])
        self._done = int(state["done"])
        return self._done

    def _step(self) -> None:
        self._adam.zero_grad()
        loss = self._evaluate(self._draws)
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        self.loss.copy_(loss.detach())
