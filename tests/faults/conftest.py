"""What tests change in their own process, and leave as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def reconstructs_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take back what functions of `kept_reconstructions` change in the process that calls them."""
    monkeypatch.setattr("ct.checkpoint_file.SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr("ct.checkpoint_file.SHARE", 1e9)
    monkeypatch.setattr("ct.workflow.choose_method", None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
