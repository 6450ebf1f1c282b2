"""The methods' names as the command line spells them, in a file that loads nothing."""

from __future__ import annotations

METHOD_NAMES = (
    "mc-dropout",
    "fbp",
    "sirt",
    "cgls",
    "tv",
    "bm3d",
    "published-mc-dropout",
    "ensemble",
    "ntkgp",
    "hmc",
    "mean-field",
    "infinite-width",
    "jackknife",
    "laplace",
)
"""Each is a function of `ct` with underscores: "mc-dropout" is `ct.mc_dropout`."""
