"""Compare the kernels of SiLU and dropout, run by Triton's interpreter, with plain operations.

    TRITON_INTERPRET=1 python -m tests.ct.inr.interpreted_dropout

Triton decides when it is imported whether it compiles or interprets: hence a process of its own.
"""

from __future__ import annotations

import sys

import torch

from ct.inr import dropout_kernels
from ct.inr.counter_masks import draw_keys
from ct.inr.dropout_layers import Plain, stride

CASES = [(19, 0.2), (15, 0.7), (16, 0.0), (280, 0.2)]


def main() -> int:
    """Print every case; return how many are wrong."""
    wrong = 0
    generator = torch.Generator().manual_seed(0)
    for width, rate in CASES:
        for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 8e-3)):
            shape = (23, stride(width))
            values, grads = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
            key = draw_keys(1, generator=generator)[0]
            setting = {"width": width, "rate": rate, "first": 2**24 - 5}
            found = (
                dropout_kernels.activate(values, key, **setting),
                dropout_kernels.activate_backward(grads, values, key, **setting),
            )
            plain = Plain()
            expected = (
                plain.activate(values.float(), key, **setting),
                plain.activate_backward(grads.float(), values.float(), key, **setting),
            )
            good = all(
                torch.equal(one == 0, other == 0)
                and float((one.float() - other).norm() / other.norm()) <= tolerance
                for one, other in zip(found, expected, strict=True)
            )
            wrong += not good
            print("good " if good else "WRONG", width, rate, dtype)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
