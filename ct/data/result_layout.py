"""Where the images of a result file lie, so that slices can be written without HDF5's help."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

_ITEM_BYTES = 4
"""Images are float32."""


@dataclass(frozen=True, kw_only=True)
class ResultLayout:
    """An HDF5 file whose datasets have their place but not yet their values.

    Attributes:
        shapes: shape of each dataset, slices first.
        offsets: where each begins in the file.
        size: length of the file.
        structure: all that is not values: the bytes at each offset. Written back, they mend a
            file whose structure was being changed when the process ended.
    """

    shapes: dict[str, tuple[int, ...]]
    offsets: dict[str, int]
    size: int
    structure: dict[int, bytes]

    def place(self, name: str, index: int) -> int:
        """Return where a slice's values begin."""
        return self.offsets[name] + index * self.slice_bytes(name)

    def slice_bytes(self, name: str) -> int:
        """Return how many bytes a slice's values take."""
        return _ITEM_BYTES * math.prod(self.shapes[name][1:])


def create_result(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> ResultLayout:
    """Make an HDF5 file with contiguous float32 datasets whose values nobody has written.

    Args:
        path: the file to make or replace.
        shapes: shape of each dataset.

    Returns:
        Where everything lies.
    """
    offsets = {}
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, shape in shapes.items():
            how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            how.set_layout(h5py.h5d.CONTIGUOUS)
            how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            how.set_obj_track_times(False)
            space = h5py.h5s.create_simple(tuple(shape))
            data = h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, how)
            offsets[name] = int(data.get_offset())
    size = path.stat().st_size
    layout = ResultLayout(shapes=dict(shapes), offsets=offsets, size=size, structure={})
    with path.open("rb") as raw:
        for start, stop in _between(layout):
            raw.seek(start)
            layout.structure[start] = raw.read(stop - start)
    return layout


def layout_to_json(layout: ResultLayout) -> dict[str, Any]:
    """Return a layout as JSON can hold it."""
    structure = {
        str(offset): base64.b64encode(content).decode()
        for offset, content in layout.structure.items()
    }
    return {
        "shapes": layout.shapes,
        "offsets": layout.offsets,
        "size": layout.size,
        "structure": structure,
    }


def layout_from_json(content: dict[str, Any]) -> ResultLayout:
    """Return what `layout_to_json` was given."""
    structure = {
        int(offset): base64.b64decode(text) for offset, text in content["structure"].items()
    }
    shapes = {name: tuple(shape) for name, shape in content["shapes"].items()}
    return ResultLayout(
        shapes=shapes, offsets=content["offsets"], size=content["size"], structure=structure
    )


def _between(layout: ResultLayout) -> list[tuple[int, int]]:
    """Return the stretches of the file that hold no values."""
    stretches, start = [], 0
    for name in sorted(layout.offsets, key=layout.offsets.__getitem__):
        stretches.append((start, layout.offsets[name]))
        start = layout.place(name, layout.shapes[name][0])
    stretches.append((start, layout.size))
    return [(start, stop) for start, stop in stretches if start < stop]
