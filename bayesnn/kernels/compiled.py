"""Functions fused by torch's compiler, and run as they are where it cannot."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import FunctionType
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def compiled_or_eager(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function compiled; it warns once, and runs uncompiled, if that fails.

    Args:
        function: of tensors and what holds them, the same for all sizes of the tensors.
    """
    fused: Callable[P, T] = torch.compile(_copied(function), fullgraph=True, dynamic=True)
    failed = False

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal failed
        if not failed:
            try:
                return fused(*args, **kwargs)
            # whatever a compiler or its tools raise: the same call without them says more
            except Exception as error:  # noqa: BLE001
                failed = True
                warnings.warn(
                    f"torch.compile failed ({type(error).__name__}: {str(error)[:200]}); the "
                    "kernel runs uncompiled.",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return function(*args, **kwargs)

    return run


def _copied(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function with code of its own: the compiler allows eight variants of each code."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
