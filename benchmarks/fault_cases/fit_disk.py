"""Disks that are full, limited or not to be written, while a fit is kept on them."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import ensembles.open_checkpoint
from benchmarks.fault_cases.case import FaultCase, NotPossibleError, Outcome
from ensembles.checkpoint import checkpoint_at
from ensembles.progress import Progress
from tests.ensembles.checkpointed import all_bits, fit
from tests.faults.children import ran
from tests.faults.half_written import HalfWritingStore
from tests.faults.kept_fits import (
    bits_of_a_fit,
    fit_in_a_folder_without_permission,
    fit_that_loses_permission,
    fit_with_small_files,
    kept_fit,
)
from tests.faults.small_disk import MountError, fill, make_read_only, small_disk
from tests.faults.whole_files import assert_checkpoint_is_whole

_NO_RIGHTS = "this process cannot give up root's rights"
_PLACES = [(first, step) for first in (0, 2, 4) for step in range(1, 20)]


def full_disk(number: int, folder: Path) -> Outcome:
    """Fill the disk at a random step, all but a few kilobytes; free it later, or never."""
    rng = random.Random(number)
    filled, freed = sorted(rng.sample(_PLACES, 2))
    stays = rng.random() < 0.5
    try:
        with small_disk(folder / "disk", 128) as disk:
            where = disk / "fit"
            ballast: list[Path] = []

            def fill_and_free(progress: Progress) -> None:
                place = (progress.members[0], progress.step)
                if place == filled:
                    ballast.append(fill(disk, leaving=rng.randrange(9)))
                if place == freed and not stays:
                    ballast[0].unlink()

            bits, said = _fitted(where, fill_and_free)
            whole = assert_checkpoint_is_whole(where)
            ballast[0].unlink(missing_ok=True)
            again = all_bits(fit(checkpoint=where))
    except MountError as error:
        raise NotPossibleError(f"no right to mount: {error}") from error
    survived = all("No space left" in one for one in said) and (stays or whole == 3)
    return Outcome(struck=bool(said), survived=survived, equal=bits == again == bits_of_a_fit())


def read_only_disk(number: int, folder: Path) -> Outcome:
    """Refuse a read-only disk before work; read a finished fit from it."""
    try:
        with small_disk(folder / "disk", 128) as disk:
            if number % 2:
                fit(checkpoint=disk / "fit")
            make_read_only(disk)
            try:
                said = all_bits(fit(checkpoint=disk / "fit"))
            except ValueError as error:
                said = str(error)
    except MountError as error:
        raise NotPossibleError(f"no right to mount: {error}") from error
    right = said == bits_of_a_fit() if number % 2 else "Read-only file system" in said
    return Outcome(struck=True, survived=right, equal=right)


def permission_lost(number: int, folder: Path) -> Outcome:
    """Take the permission to write at a random step, and give it back later, or never."""
    rng = random.Random(number)
    lost, regained = sorted(rng.sample(_PLACES, 2))
    found = ran(fit_that_loses_permission, folder, lost, rng.choice([regained, None]))[0]
    folder.chmod(0o755)
    if found == _NO_RIGHTS:
        raise NotPossibleError(found)
    said, bits = found
    assert_checkpoint_is_whole(folder)
    again = ran(kept_fit, folder)[0]
    return Outcome(
        struck=bool(said),
        survived=all("Permission denied" in one for one in said),
        equal=bits == again == bits_of_a_fit(),
    )


def no_permission(number: int, folder: Path) -> Outcome:
    """Refuse a folder that cannot be written, with and without a lock file, before work."""
    if number % 2:
        (folder / ".lock").touch()
    folder.chmod(0o555)
    said = ran(fit_in_a_folder_without_permission, folder)[0]
    folder.chmod(0o755)
    if said == _NO_RIGHTS:
        raise NotPossibleError(said)
    right = "Permission denied" in said and ran(kept_fit, folder)[0] == bits_of_a_fit()
    return Outcome(struck=True, survived=right, equal=right)


def small_files(number: int, folder: Path) -> Outcome:
    """Limit the length of files, as a quota does, to one that no file, or members only, fit."""
    most = random.Random(number).randrange(500, 9000)
    said, bits = ran(fit_with_small_files, folder, most)[0]
    assert_checkpoint_is_whole(folder)
    again = ran(kept_fit, folder)[0]
    return Outcome(
        struck=bool(said),
        survived=all("File too large" in one for one in said),
        equal=bits == again == bits_of_a_fit(),
    )


def connection_lost(number: int, folder: Path) -> Outcome:  # noqa: ARG001
    """Break off random writes to a store of fsspec's, with half of the object written."""
    rng = random.Random(number)
    HalfWritingStore.fresh(
        failing=set(rng.sample(range(1, 64), 8)), keeps_halves=rng.random() < 0.5
    )
    address = f"half-writing://fit-{number}"
    bits, said = _fitted(address, None)
    HalfWritingStore.failing.clear()
    again = all_bits(fit(checkpoint=address))
    return Outcome(
        struck=bool(said),
        survived=all("connection reset" in one for one in said),
        equal=bits == again == bits_of_a_fit(),
    )


CASES = (
    FaultCase(name="fit: the disk is full", tries=15, quick=1, attempt=full_disk),
    FaultCase(name="fit: the disk is read-only", tries=4, quick=2, attempt=read_only_disk),
    FaultCase(name="fit: permission is lost midway", tries=15, quick=1, attempt=permission_lost),
    FaultCase(name="fit: a folder without permission", tries=4, quick=1, attempt=no_permission),
    FaultCase(name="fit: files of limited length", tries=6, quick=1, attempt=small_files),
    FaultCase(
        name="fit: writes to an fsspec address break off", tries=15, quick=1,
        attempt=connection_lost,
    ),
)  # fmt: skip


def _fitted(where: Path | str, callback: object) -> tuple[str, list[str]]:
    """Return the bits of a fit with every step saved, and what it warned of."""
    ensembles.open_checkpoint.SHARE = 1e9
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = fit(checkpoint=checkpoint_at(where, seconds=1e-9), callback=callback)
    return all_bits(fitted), [str(one.message) for one in caught]
