"""Work that executors are tested with; a module of its own, so that other processes find it."""

from __future__ import annotations

import torch

from bayesnn.executors import Context


def scaled_square(shared: int, item: int, context: Context) -> int:
    return shared * item**2


def failing(shared: object, item: int, context: Context) -> int:
    if item == 2:
        raise ValueError("item 2: expected another.")
    return item


def counting(shared: int, item: int, context: Context) -> int:
    """Count to `shared`, saying every number; return where it was stopped."""
    for count in range(1, shared + 1):
        if context.report(lambda count=count: (item, count)):
            return count
    return shared


def where(shared: object, item: int, context: Context) -> tuple[str, int]:
    return str(context.device), torch.get_num_threads()
