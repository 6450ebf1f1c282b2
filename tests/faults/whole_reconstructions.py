"""No file beside a reconstruction is ever half-written: it reads whole, or its name says so."""

from __future__ import annotations

import json
from pathlib import Path

from ct.partial_result import journal_path
from ct.result import Reconstruction
from ensembles.tensor_file import read_tensor_file


def assert_reconstruction_is_whole(output: Path) -> list[int]:
    """Read all files beside an output that nobody writes now.

    Returns:
        Numbers of the chunks that are on record as finished.
    """
    state = f".{output.name}.state"
    temporary = {f".{output.name}.partial", f".{output.name}.journal", state}
    for path in output.parent.iterdir():
        if path == output:
            Reconstruction.load(path)
        else:
            # names of files that were about to be made begin with a dot too
            assert path.name in temporary or path.name.startswith("."), path.name
    for path in (output.parent / state).glob("[!.]*"):
        read_tensor_file(path, file_format="bayesnn-ct-state", version=1)
    if not journal_path(output).exists():
        return []
    whole = journal_path(output).read_bytes().rpartition(b"\n")[0]
    entries = [json.loads(line.partition(b" ")[2]) for line in whole.splitlines()]
    return [entry["chunk"] for entry in entries if "chunk" in entry]
