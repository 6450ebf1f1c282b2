"""Attention and recurrence that every transform of torch.func can take."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

_ATTRIBUTE = "_bayesnn_plain_attention"


def use_plain_attention(network: nn.Module) -> None:
    """Make `torch.nn.MultiheadAttention` run by plain matrix products, in place.

    In evaluation mode torch replaces it, and the transformer layers about it, by fused kernels
    that have no derivatives of higher order, no forward-mode derivatives and no batching rules.

    Args:
        network: a network whose attention layers get a pair of hooks.

    Example:
        >>> layer = nn.MultiheadAttention(4, 2)
        >>> use_plain_attention(layer)
        >>> layer(*3 * (torch.ones(3, 1, 4),))[0].shape
        torch.Size([3, 1, 4])
    """
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention) and not _has_hook(module):
            module.register_forward_pre_hook(_enter)
            module.register_forward_hook(_leave, always_call=True)


def _has_hook(module: nn.Module) -> bool:
    return _enter in _pre_hooks(module)


def _enter(module: nn.Module, _: Any) -> None:
    plain = sdpa_kernel(SDPBackend.MATH)
    plain.__enter__()
    setattr(module, _ATTRIBUTE, (plain, torch.backends.mha.get_fastpath_enabled()))
    torch.backends.mha.set_fastpath_enabled(False)


def _leave(module: nn.Module, *_: Any) -> None:
    plain, fast = getattr(module, _ATTRIBUTE)
    delattr(module, _ATTRIBUTE)
    torch.backends.mha.set_fastpath_enabled(fast)
    plain.__exit__(None, None, None)


def use_plain_recurrence(network: nn.Module) -> None:
    """Make `torch.nn.RNN`, `GRU` and `LSTM` run without cuDNN on a GPU, in place.

    cuDNN has no derivative in evaluation mode, and takes weights in one piece of memory alone, as
    those of a member never are.

    Args:
        network: a network whose recurrent layers get a pair of hooks.

    Example:
        >>> layer = nn.GRU(2, 4, batch_first=True)
        >>> use_plain_recurrence(layer)
        >>> layer(torch.ones(3, 5, 2))[0].shape
        torch.Size([3, 5, 4])
    """
    for module in network.modules():
        if isinstance(module, nn.RNNBase) and _without_cudnn not in _pre_hooks(module):
            module.register_forward_pre_hook(_without_cudnn)
            module.register_forward_hook(_with_cudnn, always_call=True)


_CUDNN = "_bayesnn_cudnn_enabled"


def _without_cudnn(module: nn.Module, _: Any) -> None:
    setattr(module, _CUDNN, torch.backends.cudnn.enabled)
    torch.backends.cudnn.enabled = False


def _with_cudnn(module: nn.Module, *_: Any) -> None:
    torch.backends.cudnn.enabled = getattr(module, _CUDNN)
    delattr(module, _CUDNN)


def _pre_hooks(module: nn.Module) -> list[Any]:
    return list(module._forward_pre_hooks.values())
