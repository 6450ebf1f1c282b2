"""Files of an interrupted run that were damaged, or are of another run: named, and not trusted."""

from __future__ import annotations

import json
import random
import shutil
import warnings
from pathlib import Path

import pytest

from ct.earlier_run import _VERSION
from ct.journal import _digest
from ct.partial_result import journal_path, partial_path
from ct.workflow import Interrupted
from tests.ct.workflow_runs import interrupt_after
from tests.faults.damage import DAMAGES, flip_a_bit
from tests.faults.kept_reconstructions import reconstructed, scan_of_slices, use_walk

N_TRIES = 2


@pytest.fixture(autouse=True)
def _walk(reconstructs_here: None) -> None:
    use_walk(steps=6)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scan_of_slices(tmp_path_factory.mktemp("scan"))


@pytest.fixture
def output(scan: Path, tmp_path: Path) -> Path:
    """The output of a run that was interrupted in the third slice; beside it `whole.h5`."""
    reconstructed(scan, tmp_path / "whole.h5")
    (tmp_path / "out").mkdir()
    with pytest.raises(Interrupted):
        reconstructed(scan, tmp_path / "out" / "rec.h5", progress=interrupt_after(2.6, 4))
    return tmp_path / "out" / "rec.h5"


def _resumed(scan: Path, output: Path) -> tuple[str, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = reconstructed(scan, output)
        except ValueError as error:
            result = str(error).partition(": nothing says")[0]
            return result, [result]
    return result, [str(one.message) for one in caught]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["partial", "journal", "state"])
def test_a_damaged_file_is_named_or_refused_and_never_trusted(
    scan: Path, output: Path, which: str, damage: str
) -> None:
    bits = reconstructed(scan, output.parent.parent / "whole.h5")
    sound = Path(shutil.copytree(output.parent, output.parent.parent / "sound"))
    rng = random.Random(f"{which} {damage}")
    named = 0
    for _ in range(N_TRIES):
        shutil.rmtree(output.parent)
        shutil.copytree(sound, output.parent)
        path = {
            "partial": partial_path(output),
            "journal": journal_path(output),
            "state": output.parent / ".rec.h5.state" / "work.slice-2.walk.safetensors",
        }[which]
        DAMAGES[damage](path, rng)
        found, said = _resumed(scan, output)
        if found == f"{path}: damaged, or of another release":
            assert which == "journal"  # neither of its first lines can be read
        else:
            assert found == bits
        assert all(path.name in one for one in said), said
        named += len(said)
    # a journal that ends early is that of a run that was killed; bits of a partial file may be of
    # slices that nobody has written yet
    assert named or (which == "journal" and damage in {"cut", "empty"})
    assert named == N_TRIES or which != "state"


def test_only_slices_that_are_damaged_are_made_again(scan: Path, output: Path) -> None:
    content = bytearray(partial_path(output).read_bytes())
    before = reconstructed_slices(output)
    content[content.rfind(b"\x80\x3f") - 1] ^= 8  # of the standard deviations, which are 1
    partial_path(output).write_bytes(content)
    bits, (said,) = _resumed(scan, output)
    assert ".rec.h5.partial: damaged in slice 1 (the values do not match their digest)" in said
    assert before == [0, 1]
    assert bits == reconstructed(scan, output.parent.parent / "whole.h5")


def test_one_damaged_line_of_the_journal_costs_one_slice(scan: Path, output: Path) -> None:
    lines = journal_path(output).read_bytes().splitlines(keepends=True)
    lines[0] = lines[0].replace(b'"seed": 0', b'"seed": 1')  # the second line says the same
    lines[2] = lines[2].replace(b"chunk", b"chump")
    journal_path(output).write_bytes(b"".join(lines))
    bits, (said,) = _resumed(scan, output)
    assert ".rec.h5.journal: damaged in lines 1, 3; slices that stood there are made again" in said
    assert bits == reconstructed(scan, output.parent.parent / "whole.h5")


def test_a_journal_of_a_later_release_is_refused_and_kept(scan: Path, output: Path) -> None:
    newer = []
    for line in journal_path(output).read_bytes().splitlines():
        record = json.loads(line.partition(b" ")[2])
        text = json.dumps({**record, "version": _VERSION + 1}).encode()
        newer.append(b"%s %s\n" % (_digest(text), text))
    journal_path(output).write_bytes(b"".join(newer))
    before = {path: path.read_bytes() for path in output.parent.glob(".rec.h5.*l")}
    with pytest.raises(ValueError, match=r"journal: expected version 1, found version 2; a later"):
        reconstructed(scan, output)
    assert {path: path.read_bytes() for path in before} == before


def test_values_of_another_run_are_not_taken_over(scan: Path, output: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "rec.h5"
    other.parent.mkdir()
    use_walk(steps=5)
    with pytest.raises(Interrupted):
        reconstructed(scan, other, progress=interrupt_after(2.6, 4))
    use_walk(steps=6)
    partial_path(other).replace(partial_path(output))
    for path in (other.parent / ".rec.h5.state").iterdir():
        path.replace(output.parent / ".rec.h5.state" / path.name)
    bits, said = _resumed(scan, output)
    assert "damaged in slices 0, 1" in said[0]
    assert any("it is of another run" in one for one in said[1:])
    assert bits == reconstructed(scan, tmp_path / "whole.h5")


def test_what_a_kill_left_after_the_result_was_whole_is_removed(scan: Path, output: Path) -> None:
    journal, state = journal_path(output).read_bytes(), output.parent / ".rec.h5.state"
    bits = reconstructed(scan, output)
    journal_path(output).write_bytes(journal)
    state.mkdir()
    flip_a_bit(journal_path(output), random.Random(0))
    assert _resumed(scan, output) == (bits, [])
    assert [path.name for path in output.parent.iterdir()] == ["rec.h5"]


def reconstructed_slices(output: Path) -> list[int]:
    """Return the finished chunks on record."""
    lines = journal_path(output).read_bytes().splitlines()
    entries = [json.loads(line.partition(b" ")[2]) for line in lines]
    return [entry["chunk"] for entry in entries if "chunk" in entry]
