"""The page on scaling out: its cluster file is one that Ray takes, its table is true."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import yaml

from bayesnn.executors import executor_from, local_executor, ray_executor, serial_executor

PAGE = (Path(__file__).parents[2] / "docs" / "scale-out.md").read_text()
PLACES = {
    "local_executor": local_executor,
    "ray_executor": ray_executor,
    "serial_executor": serial_executor,
}


def test_ray_takes_the_cluster_file() -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = yaml.safe_load(text)
    # what `ray up` does before it connects to any machine
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])
    # the address that users type is that of its head
    port = re.search(r"--ray-client-server-port=(\d+)", text)
    assert port is not None
    assert f"ray://{config['provider']['head_ip']}:{port[1]}" in PAGE


def test_python_and_the_shell_name_the_same_executors() -> None:
    rows = re.findall(r"^\|.*?\| `([a-z]+_executor\(.*?\))` \| `([^`]+)` \|$", PAGE, re.MULTILINE)
    for python, shell in rows:
        if "cuda" not in shell:  # no GPU is here
            assert eval(python, PLACES) == executor_from(shell), python  # noqa: S307
    assert len(rows) >= 5
