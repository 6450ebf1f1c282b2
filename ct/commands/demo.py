"""`bayesnn-ct demo`: the whole way once, on a real CT slice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ct.commands.output import progress_bar


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path(
        "bayesnn-demo"
    ),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Take a real CT slice to a sinogram of 60 views and back, with error bars and a picture."""
    from rich.console import Console

    from ct.commands.score_table import remarks, score_tables
    from ct.demo import DemoConfig, run_demo

    start = time.monotonic()
    with progress_bar("reconstructing") as progress:
        result = run_demo(DemoConfig(folder=out, device=device, seed=seed), progress=progress)
    typer.echo("A real CT slice (128×128, pydicom's CT_small.dcm), 60 views, noise at 40 dB.\n")
    tables = score_tables(result.evaluation, name="jackknife, mean", others=result.baselines)
    for table in tables:
        Console().print(table)
    for remark in remarks(result.evaluation):
        typer.echo(remark)
    typer.echo(f"\nsinogram        {result.sinogram}")
    typer.echo(f"reconstruction  {result.reconstruction}")
    typer.echo(f"picture         {result.figure}")
    typer.echo(f"{time.monotonic() - start:.0f} s")
