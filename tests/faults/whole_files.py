"""No file is ever half-written: each can be read whole, or has a temporary name."""

from __future__ import annotations

from pathlib import Path

from ensembles.checkpoint_files import CheckpointFiles
from ensembles.state_folder import LocalFolder
from ensembles.tensor_file import MissingFileError


def assert_checkpoint_is_whole(folder: Path) -> int:
    """Read all files of a checkpoint, and return how many there were.

    Another process may be writing there: what it removes meanwhile does not count.
    """
    found = sorted(path.name for path in folder.glob("*"))
    hidden = [name for name in found if name.startswith(".")]
    temporary = [name for name in hidden if ".safetensors" in name or name.startswith(".tmp")]
    read = 0
    for name in set(found) - {".lock", *temporary}:
        assert name.startswith(("members-", "training-")), f"{name} is no name of ours"
    for name in CheckpointFiles(LocalFolder(folder), {}).names():
        try:
            CheckpointFiles(LocalFolder(folder), {}).read(name)
        except MissingFileError:  # it went whole, after it was listed
            assert not (folder / str(name)).exists()
        else:
            read += 1
    return read
