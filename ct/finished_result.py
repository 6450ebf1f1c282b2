"""A result that is whole: which work it is of, so that the same work is not done twice."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

from ct.data.result_file import open_reconstruction
from ct.result_metadata import Metadata

_OF_RAYS = ("raised", "missing")  # counts of each slice that a result's metadata leave out


def work_to_json(work: Metadata, records: Sequence[Metadata]) -> str:
    """Return what a result file keeps, beside its metadata, to be told from other work's.

    Args:
        work: all that the numbers depend on, as JSON can hold it.
        records: what is to be said of each slice.
    """
    counts = {name: [one[name] for one in records] for name in _OF_RAYS}
    return json.dumps({"digests": _digests(work), **counts})


def finished_records(output: Path, work: Metadata) -> list[Metadata] | None:
    """Return what is to be said of each slice of a whole result.

    Args:
        output: a result file.
        work: all that the numbers of this run depend on.

    Returns:
        The slices' records; None for a file that does not say of which work it is.

    Raises:
        ValueError: the result is of other work.

    Warns:
        UserWarning: the file does not say.
    """
    with open_reconstruction(output) as stored:
        metadata, said = stored.metadata, stored.work
    if said is None:
        warnings.warn(
            f"{output}: does not say of which work it is, so there is nothing to resume; it is "
            "made anew.",
            stacklevel=2,
        )
        return None
    kept = json.loads(said)
    ours, its = _digests(work), kept["digests"]
    different = sorted(key for key in {*ours, *its} if ours.get(key) != its.get(key))
    if different:
        raise ValueError(
            f"{output}: cannot resume, it is whole and differs in {', '.join(different)}; repeat "
            "its options, name another output, or leave --resume out to replace it."
        )
    coverage = metadata.get("held_out_coverage", [None] * len(metadata["slices"]))
    return [
        {
            "slice": number,
            "noise_std": metadata["noise_std"][place],
            "noise_std_source": metadata["noise_std_source"],
            "calibration": metadata["calibration"],
            "diagnostics": metadata["diagnostics"][place],
            "held_out_coverage": coverage[place],
            **{name: kept[name][place] for name in _OF_RAYS},
        }
        for place, number in enumerate(metadata["slices"])
    ]


def _digests(work: Metadata) -> dict[str, str]:
    """Return a digest of each entry: short, and enough to name those that differ."""
    return {
        key: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        for key, value in work.items()
    }
