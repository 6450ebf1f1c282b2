"""Reports that say where their numbers come from: Markdown to read, JSON to compare."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bayesnn.files import atomic_write

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "scikit-learn")


def machine() -> dict[str, str]:
    """Processor, cores and GPU of this machine, and the versions that matter."""
    facts = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    for package in PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return facts


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


PLACES = {
    "--data-dir": "DIR",
    "--dicom-dir": "D",
    "--fashion": "FOLDER",
    "--join": "A",
    "--note": "…",
    "--output": "OUT",
}
"""Options whose values are places on a machine, and what stands for them in a report."""
_NO_NUMBER = ("--out", "--kept")  # where files are written, which changes no number


def command_line(*words: str) -> str:
    """Return a command as a report shows it: without places of this machine.

    Example:
        >>> command_line("python", "x.py", "--data-dir", "/home/me", "--out", "a", "--quick")
        'python x.py --data-dir DIR --quick'
    """
    return shlex.join(
        PLACES.get(before, word)
        for before, word in zip(("", *words[:-1]), words, strict=True)
        if not {before, word.partition("=")[0]} & set(_NO_NUMBER)
    )


def current_commit() -> str:
    """The commit that is checked out, with "+ changes" where files differ from it."""
    given = os.environ.get("BAYESNN_COMMIT")
    if given:
        return given
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=here, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=here, check=False)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + (" + changes" if changed.returncode else "")


@dataclass(frozen=True, kw_only=True)
class Report:
    """One question, its command, and a table that answers it.

    Attributes:
        name: of the files.
        title: the question.
        command: that answers it.
        columns: of the table.
        rows: of the table.
        notes: paragraphs after the table.
        lead: first paragraph, before all else: what came out, losses included.
    """

    name: str
    title: str
    command: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str] = field(default_factory=list)
    lead: str = ""

    def write(self, folder: Path = RESULTS) -> Path:
        """Write NAME.md and NAME.json; return the Markdown file's path."""
        facts = machine() | {
            "commit": current_commit(),
            "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        }
        table = [
            "| " + " | ".join(self.columns) + " |",
            "|" + "---|" * len(self.columns),
            *("| " + " | ".join(row) + " |" for row in self.rows),
        ]
        parts = [
            f"# {self.title}",
            *([self.lead] if self.lead else []),
            f"Command: `{self.command}`",
            "\n".join(table),
            *self.notes,
            "Measured on: " + "; ".join(f"{key} {value}" for key, value in facts.items()) + ".",
        ]
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / f"{self.name}.md") as path:
            path.write_text("\n\n".join(parts) + "\n")
        content = {
            "title": self.title,
            **({"lead": self.lead} if self.lead else {}),
            "command": self.command,
            "columns": self.columns,
            "rows": self.rows,
            "notes": self.notes,
            "machine": facts,
        }
        with atomic_write(folder / f"{self.name}.json") as path:
            path.write_text(json.dumps(content, indent=1) + "\n")
        return folder / f"{self.name}.md"
