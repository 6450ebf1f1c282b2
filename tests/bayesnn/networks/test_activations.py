"""Erf's own gradient is torch's, in every transform that members are evaluated and trained by."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, jvp, vjp, vmap

from bayesnn.networks import activations
from bayesnn.networks.activations import Erf
from bayesnn.seeds import seeded_generator

TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]] = {
    "value": lambda f, x: f(x),
    "grad": lambda f, x: grad(lambda v: (f(v) ** 2).sum())(x),
    "second derivative": lambda f, x: grad(lambda v: grad(lambda w: (f(w) ** 2).sum())(v).sum())(x),
    "jvp": lambda f, x: jvp(f, (x,), (x.cos(),))[1],
    "vmap": lambda f, x: vmap(f)(x),
    "vmap grad": lambda f, x: vmap(grad(lambda v: (f(v) ** 2).sum()))(x),
    "vmap jvp": lambda f, x: vmap(lambda v: jvp(f, (v,), (v.cos(),))[1])(x),
    "vmap vjp": lambda f, x: vmap(lambda v: vjp(f, v)[1](v.cos())[0])(x),
    "vmap in dimension 1": lambda f, x: vmap(f, in_dims=1, out_dims=1)(x),
    "jacrev": lambda f, x: jacrev(f)(x),
    "jvp of vjp": lambda f, x: jvp(lambda v: vjp(f, v)[1](v)[0], (x,), (x,))[1],
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_shorter_gradient_is_erfs(
    name: str, dtype: torch.dtype, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = 2 * torch.randn(5, 7, dtype=torch.float64, generator=seeded_generator(0)).to(device)
    expected = TRANSFORMS[name](torch.erf, x)
    monkeypatch.setattr(activations, "MANY", 1)
    tolerance = 1e-13 if dtype == torch.float64 else 3e-6
    found = TRANSFORMS[name](Erf(), x.to(dtype))
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_many_cotangents_are_pulled_back_at_once(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the Jacobian's rows of a wide network are, where nothing is differentiated again."""
    monkeypatch.setattr(activations, "MANY", 1)
    x = torch.randn(3, 8, dtype=torch.float64, generator=seeded_generator(1)).to(device)
    cotangents = torch.randn(4, 3, 8, dtype=x.dtype, generator=seeded_generator(2)).to(device)
    with torch.no_grad():
        pull_back = vjp(Erf(), x)[1]
        found = vmap(pull_back)(cotangents)[0]
    slope = 2 / math.sqrt(math.pi) * torch.exp(-(x**2))
    torch.testing.assert_close(found, cotangents * slope, rtol=1e-13, atol=1e-13)


def test_autograd_takes_it_side_by_side(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "MANY", 1)
    x = torch.randn(3, 8, dtype=torch.float64, generator=seeded_generator(1)).to(device)
    x.requires_grad_()
    (found,) = torch.autograd.grad(vmap(Erf())(x).square().sum(), x)
    (expected,) = torch.autograd.grad(torch.erf(x).square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    assert torch.autograd.gradcheck(Erf(), x)
    assert torch.autograd.gradgradcheck(Erf(), x)
