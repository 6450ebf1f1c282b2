"""`bayesnn-ct evaluate`: scores of a reconstruction and its error bars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct.commands.options import Json
from ct.commands.output import print_json, progress_bar


def evaluate(
    result: Annotated[Path, typer.Argument(metavar="REC.h5", help="Reconstruction.")],
    truth: Annotated[Path, typer.Option(metavar="IMAGE", help=".npy, TIFF, grey PNG or DICOM.")],
    json: Json = False,
) -> None:
    """Compare a reconstruction and its error bars with the truth."""
    from ct.evaluation import evaluate_file

    with progress_bar(f"scores of {result.name}") as progress:
        evaluation = evaluate_file(result, truth, progress=progress)
    if json:
        print_json(evaluation.to_dict())
        return
    from rich.console import Console

    from ct.commands.score_table import score_tables

    for table in score_tables(evaluation):
        Console().print(table)
