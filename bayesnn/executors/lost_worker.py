"""The error for work whose workers are lost again and again."""

from __future__ import annotations


class WorkerLostError(RuntimeError):
    """An item's worker was killed, hung or went away, as often as it may be tried."""

    def __init__(self, number: int, tries: int, reason: str) -> None:
        """Say what happened and what to do.

        Args:
            number: of the item.
            tries: how often it was tried.
            reason: why its worker was lost the last time.
        """
        super().__init__(number, tries, reason)
        self.number = number

    def __str__(self) -> str:
        number, tries, reason = self.args
        return (
            f"executor: item {number} was tried {tries} times, and each time its worker was lost: "
            f"{reason}. If workers run out of memory, use fewer of them or a smaller memory "
            "budget; if the work is slow and reports nothing, raise `silence`."
        )
