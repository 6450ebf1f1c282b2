"""An executor that does in this process what others do elsewhere: everything travels as bytes."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bayesnn.executors import Context, Needs
from bayesnn.executors.sending import packed, unpacked


@dataclass
class ScatteredExecutor:
    """Hands items out in order and gives results back in another one.

    Attributes:
        at_once: items that are handed out before the first result.
        seed: of the order.
        asked: what each run needed.
        handed_out: numbers of the items, as they were asked for.
    """

    at_once: int = 3
    seed: int = 0
    device_type: str | None = None
    asked: list[Needs] = field(default_factory=list)
    handed_out: list[int] = field(default_factory=list)

    def n_workers(self, needs: Needs = Needs()) -> int:  # noqa: B008
        return self.at_once

    def kept(self) -> Any:
        raise NotImplementedError

    def run(
        self,
        work: Any,
        items: Sequence[Any],
        *,
        shared: Any,
        needs: Needs = Needs(),  # noqa: B008
        heard: Any = None,
    ) -> Generator[tuple[int, Any], None, None]:
        self.asked.append(needs)
        sent = packed((work, shared), "the work")
        rng, waiting = random.Random(self.seed), list(range(len(items)))
        out: dict[int, bytes] = {}
        while waiting or out:
            while waiting and len(out) < self.at_once:
                number = waiting.pop(0)
                self.handed_out.append(number)
                out[number] = packed(items[number], "an item")
            number = rng.choice(sorted(out))

            def report(message: Any, number: int = number) -> bool:
                return bool(heard(number, message()))

            there, shared_there = unpacked(sent)
            result = there(
                shared_there, unpacked(out.pop(number)), Context(device=None, report=report)
            )
            yield number, unpacked(packed(result, "a result"))
