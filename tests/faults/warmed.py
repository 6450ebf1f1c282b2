"""Imports what the children need, and runs fits: for the process that they are forked from."""

from __future__ import annotations

from contextlib import suppress

import torch

import tests.faults.kept_reconstructions  # noqa: F401
from tests.ensembles.checkpointed import fit
from tests.faults.kept_saves import fitted

torch.set_num_threads(1)
with suppress(Exception):  # the children will say it better
    fit()
    fitted(1)
    fitted(2)
