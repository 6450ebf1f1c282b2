"""One Ray for all tests of a process: starting it takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bayesnn.executors import ray_executor
from bayesnn.executors.on_ray import RayWorkers


@pytest.fixture(scope="session")
def ray_workers() -> Iterator[RayWorkers]:
    """An executor on a Ray of this machine, with two cores."""
    import ray

    from tests.bayesnn.executors.local_ray import local_ray

    with local_ray(num_cpus=2), ray_executor(tries=3, silence=20.0).kept() as workers:
        assert ray.is_initialized()
        yield workers
