"""Whether a computation is being differentiated, so that it must keep to differentiable forms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad


def wants_derivatives(*tensors: Tensor) -> bool:
    """Return whether autograd, a forward derivative or a transform of torch.func is at work."""
    if torch.is_grad_enabled() and any(each.requires_grad for each in tensors):
        return True
    if torch.compiler.is_compiling():
        return False  # a compiler follows values alone
    if _functorch.peek_interpreter_stack() is not None:
        return True
    duals = (forward_ad.unpack_dual(each) for each in tensors)  # type: ignore[no-untyped-call]
    return any(dual.tangent is not None for dual in duals)
