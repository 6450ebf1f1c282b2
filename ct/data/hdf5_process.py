"""The program that reads HDF5 files for us, in a process of its own.

libhdf5 is not safe on damaged files: some of them end the process that reads them, others keep it
busy or let it take all memory. So it runs here, where that ends this process alone, under limits on
memory and processor time. It imports nothing of ours, so that it starts at once.

Each request is one line of JSON on stdin; the answer is one line on stdout, followed by `n_bytes`
of values. Nothing outside of the file is read: links to other files and values that lie in other
files are named, and not followed.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

try:
    import resource
except ImportError:  # not on Windows, where memory has no limit
    resource = None  # type: ignore[assignment]

_MOST_OBJECTS = 20_000
_MOST_HOPS = 16  # from soft link to soft link
_SECONDS, _BYTES_PER_SECOND = 1.0, 10e6  # of processor time, far more than reading takes
_TOLD = ("MATLAB_class", "axes", "units")  # attributes of datasets that readers look at
_TOO_MUCH = "it claims more memory than a file of its size may take"
_OUT_OF_MEMORY = ("allocation failed", "unable to allocate", "can't allocate")  # libhdf5's words
_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RecursionError,
           RuntimeError, TypeError, ValueError)  # fmt: skip


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], NDArray[Any] | None]:
    """Return what was asked for: the file's contents, or values of one dataset.

    Args:
        request: {"path", "memory"} and, for values, {"name", "axis", "first", "last", "size"};
            `axis` None for the whole dataset.

    Returns:
        The answer and its values; an answer with "error" where there are none.
    """
    path = request["path"]
    try:
        size = os.stat(path).st_size
        if request.get("size", size) != size:
            raise ValueError("it was replaced while it was read")
        with _limits(size, request["memory"]), h5py.File(path, "r") as file:
            if "name" not in request:
                return _contents(file), None
            values = _values(file, request)
            return {
                "dtype": values.dtype.str,
                "shape": values.shape,
                "n_bytes": values.nbytes,
            }, values
    except MemoryError:
        return {"error": _TOO_MUCH}, None
    except _ERRORS as error:
        said = str(error) or type(error).__name__
        too_much = any(words in said.lower() for words in _OUT_OF_MEMORY)
        return {"error": _TOO_MUCH if too_much else said}, None


@contextmanager
def _limits(size: int, memory: int | None) -> Iterator[None]:
    """End this process where a file keeps it busy, and give it no more than some memory."""
    if memory is None or resource is None:  # not a process of its own, or no such limits
        yield
        return
    held = _address_space()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if held:
        usual = () if soft == resource.RLIM_INFINITY else (soft,)
        resource.setrlimit(resource.RLIMIT_AS, (min((held + memory, *usual)), hard))
    signal.setitimer(signal.ITIMER_PROF, _SECONDS + size / _BYTES_PER_SECOND)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0  # systems that do not say, and have no such limit


def _contents(file: h5py.File) -> dict[str, Any]:
    found: dict[str, Any] = {"datasets": {}, "groups": [], "outside": {}}
    links: dict[str, str] = {}
    seen = {_address(file)}
    waiting = [("", file)]
    while waiting:
        prefix, group = waiting.pop()
        for key in sorted(group):
            name = _text(f"{prefix}{key}")
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.SoftLink):
                links[name] = _joined(prefix, link.path)
            elif not isinstance(link, h5py.HardLink):
                found["outside"][name] = "a link to another file"
            else:
                item = group[key]
                if isinstance(item, h5py.Dataset):
                    _add(found, name, item)
                elif isinstance(item, h5py.Group) and _address(item) not in seen:
                    seen.add(_address(item))
                    found["groups"].append(name)
                    waiting.append((f"{name}/", item))
            if len(found["datasets"]) + len(seen) + len(links) > _MOST_OBJECTS:
                raise ValueError(f"it holds more than {_MOST_OBJECTS} objects")
    _follow(found, links)
    return {**found, "attributes": {_text(name): _attribute(file, name) for name in file.attrs}}


def _add(found: dict[str, Any], name: str, item: h5py.Dataset) -> None:
    if item.is_virtual or item.external:
        found["outside"][name] = "a dataset whose values lie in other files"
        return
    try:
        dtype = item.dtype.str if item.dtype.kind in "biuf" else str(item.dtype)
        kind, item_bytes = item.dtype.kind, item.dtype.itemsize
    except (TypeError, ValueError):  # a type that NumPy does not have
        dtype, kind, item_bytes = "unknown", "V", 1
    scalar = item.shape == () and kind in "OSU"
    found["datasets"][name] = {
        "name": name,
        "shape": item.shape,  # None where it holds nothing
        "dtype": dtype,
        "numbers": kind in "biuf",
        "item_bytes": item_bytes,
        "chunks": item.chunks,
        "attributes": {key: _attribute(item, key) for key in _TOLD if key in item.attrs},
        "text": _text(item[()]) if scalar else None,
    }


def _follow(found: dict[str, Any], links: dict[str, str]) -> None:
    """Add datasets that soft links name, where these lead to others of the same file."""
    for name, target in links.items():
        for _ in range(_MOST_HOPS):
            if target not in links:
                break
            target = links[target]
        for kind in ("datasets", "outside"):
            if target in found[kind]:
                found[kind][name] = found[kind][target]


def _values(file: h5py.File, request: dict[str, Any]) -> NDArray[Any]:
    item: Any = file
    for part in request["name"].split("/"):
        if not isinstance(item.get(part, getlink=True), h5py.HardLink):
            raise ValueError("its contents changed while it was read")
        item = item[part]
    if item.is_virtual or item.external or item.dtype.kind not in "biuf":
        raise ValueError("its contents changed while it was read")
    axis, first, last = request["axis"], request["first"], request["last"]
    where = {None: (), 0: np.s_[first:last], 1: np.s_[:, first:last]}[axis]
    values = item[where]
    return np.ascontiguousarray(values).reshape(np.shape(values))


def _joined(prefix: str, target: str) -> str:
    whole = target if target.startswith("/") else f"{prefix}{target}"
    parts = [part for part in whole.split("/") if part not in {"", "."}]
    return _text("/".join(parts))


def _address(item: Any) -> int:
    return int(h5py.h5o.get_info(item.id).addr)


def _attribute(item: Any, name: str) -> Any:
    """Return an attribute as JSON can hold it; it lies in the file as it is, never packed."""
    held = h5py.h5a.open(item.id, name.encode("utf-8", "surrogateescape"))
    if math.prod(held.shape or ()) * held.get_type().get_size() > item.file.id.get_filesize():
        raise ValueError("an attribute claims more than the file holds")
    try:
        return _plain(item.attrs[name])
    except (TypeError, ValueError):  # a type that NumPy does not have
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bool | int | float | None):
        return value
    return None if isinstance(value, h5py.Empty | complex) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).encode(errors="replace").decode()


def main() -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked decides what Ctrl-C means
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        said, values = answer(json.loads(line))
        _send(answers, memoryview(json.dumps(said).encode() + b"\n"))
        if values is not None and values.nbytes:
            _send(answers, values.reshape(-1).view(np.uint8).data)


def _send(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]


if __name__ == "__main__":
    main()
