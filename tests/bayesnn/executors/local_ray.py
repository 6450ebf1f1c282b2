"""Ray on this machine, for tests: no dashboard, nothing sent to anyone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_ray(num_cpus: int) -> Iterator[None]:
    """Start Ray, and end it."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR",
    )  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


def ray_processes(title: bytes) -> list[int]:
    """Return processes by the title that Ray, started by this one, has given them."""
    found = [path for path in Path("/proc").glob("[0-9]*") if _command(path).startswith(title)]
    return [int(path.name) for path in found if _is_ours(path)]


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def _is_ours(process: Path) -> bool:
    """Return whether a process descends from this one."""
    try:
        while process.name not in {"0", "1"}:
            if process.name == str(os.getpid()):
                return True
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            process = process.parent / parent
    except OSError:
        return False
    return False
