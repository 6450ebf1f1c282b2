"""`bayesnn-ct reconstruct`: from a sinogram file to images with error bars."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ct.commands import options
from ct.commands.config_file import ConfigFile, read_config
from ct.commands.output import note, print_json, progress_bar
from ct.commands.spelling import errors_as_typed
from ct.method_names import METHOD_NAMES
from ct.reconstruct_config import ReconstructConfig

if TYPE_CHECKING:
    from ct.run_summary import ReconstructSummary

_PLAIN = {
    "method": str,
    "device": str,
    "executor": str,
    "seed": int,
    "slices": str,
    "checkpoint": str,
    "noise_std": float,
    "samples": bool,
}
_OWN = {
    **_PLAIN,
    "figure": str,
    "figures": str,
    "memory_budget": str,
    "remove_stripes": bool,
    "hu": bool,
    "mu_water": float,
}
_IN_CONFIG_FILES = {**_OWN, **options.SCAN_OPTIONS, "settings": dict}


@options.takes_scan_options
def reconstruct(
    sinogram: Annotated[
        Path, typer.Argument(metavar="SINO.h5", help="Sinogram: HDF5, MATLAB, TIFF or .npy.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="REC.h5", help="Result file to write.")
    ],
    scan: dict[str, Any],
    method: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(METHOD_NAMES[:-1])} or {METHOD_NAMES[-1]} "
            f"(default {ReconstructConfig.method})."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N.")] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Workers for the slices: local:2 or local:cuda:0,cuda:1 (processes of this "
            "machine), ray or ray://HOST:PORT (a Ray cluster). The numbers stay the same.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=f"Of all randomness (default {ReconstructConfig.seed}).")
    ] = None,
    slices: Annotated[
        str | None, typer.Option(metavar="A:B", help="Slices from A to before B (default all).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run stopped, if it did.")
    ] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="A folder or an address such as s3://bucket/scan that keeps finished slices too, "
            "so that another machine can --resume.",
        ),
    ] = None,
    noise_std: Annotated[
        float | None,
        typer.Option(
            help="Noise of a ray in the sinogram's units (default: by the counts, or estimated)."
        ),
    ] = None,
    remove_stripes: Annotated[
        bool | None,
        typer.Option("--remove-stripes", help="Take stripes out first: no rings in the image."),
    ] = None,
    hu: Annotated[
        bool | None,
        typer.Option("--hu", help="Give the image in Hounsfield units; needs --mu-water."),
    ] = None,
    mu_water: Annotated[
        float | None,
        typer.Option(help="Attenuation of water in 1/mm, as this scan measures it, for --hu."),
    ] = None,
    samples: Annotated[
        bool | None,
        typer.Option(
            "--samples/--no-samples",
            help="Keep the joint samples, which 'region' needs (default: up to 256 MiB).",
            show_default=False,
        ),
    ] = None,
    memory_budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory for what is in work at once, such as 2GB (default 256MiB on a CPU, a "
            "share of a GPU's).",
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw the middle slice, with its error bars."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw every slice, into a folder."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON or TOML with these options' names, and the method's own settings under "
            "'settings'; the command line comes first.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Reconstruct every slice, with a standard deviation for every pixel."""
    said = {
        "method": method,
        "device": device,
        "executor": executor,
        "seed": seed,
        "slices": slices,
        "checkpoint": checkpoint,
        "noise_std": noise_std,
        "samples": samples,
        "memory_budget": memory_budget,
        "figure": figure,
        "figures": figures,
        "remove_stripes": remove_stripes,
        "hu": hu,
        "mu_water": mu_water,
        **scan,
    }
    on_line = {name: value for name, value in said.items() if value is not None}
    found = ConfigFile(values={}, typed={})
    if config is not None:
        found = read_config(config, _IN_CONFIG_FILES)
    given = {**found.values, **on_line}
    typed = {name: word for name, word in found.typed.items() if name not in on_line}
    with errors_as_typed(typed):
        given |= _executor(given)
        work = _work(sinogram, output, given, resume=resume)
        if "settings" in given:
            _check_settings(work, typed["settings"])
        summary = _run(work)
    for warning in summary.warnings:
        note(f"warning: {warning}")
    if json:
        print_json(dataclasses.asdict(summary))
        return
    from ct.commands.run_report import report_lines

    for line in report_lines(summary):
        typer.echo(line)
    if work.figure is not None:
        typer.echo(f"picture       {work.figure}")
    if work.figures is not None:
        typer.echo(f"pictures      {work.figures}")


def _work(
    sinogram: Path, output: Path, given: dict[str, Any], *, resume: bool
) -> ReconstructConfig:
    return ReconstructConfig(
        sinogram=sinogram,
        output=output,
        resume=resume,
        settings=given.get("settings", {}),
        scan=options.scan_options({name: given.get(name) for name in options.SCAN_OPTIONS}),
        **{name: given[name] for name in _PLAIN if name in given},
        remove_stripes=bool(given.get("remove_stripes")),
        figure=Path(given["figure"]) if "figure" in given else None,
        figures=Path(given["figures"]) if "figures" in given else None,
        memory_budget=_memory_budget(given),
        mu_water=_mu_water(given),
    )


def _check_settings(work: ReconstructConfig, typed: str) -> None:
    """Refuse settings by the name of the file that they stand in."""
    from ct.method_choice import choose_method

    choose_method(work.method)  # another method than there is is no fault of the settings
    try:
        choose_method(work.method, work.settings)
    except ValueError as error:
        raise ValueError(f"{typed}: {error}") from error


def _run(work: ReconstructConfig) -> ReconstructSummary:
    from ct.workflow import reconstruct_file

    try:
        with progress_bar(f"{work.method}, {work.sinogram.name}") as progress:
            return reconstruct_file(work, progress=progress)
    except KeyboardInterrupt as error:
        note(str(error) or "interrupted: nothing had been finished.")
        raise typer.Exit(130) from None


def _executor(given: dict[str, Any]) -> dict[str, Any]:
    if "executor" not in given:
        return {}
    from ct.executor_choice import choose_executor

    default = ReconstructConfig.device
    executor, device = choose_executor(given["executor"], given.get("device", default))
    return {"executor": executor, "device": device}


def _memory_budget(given: dict[str, Any]) -> int | None:
    from ct.run_options import parse_bytes

    return parse_bytes(given["memory_budget"]) if "memory_budget" in given else None


def _mu_water(given: dict[str, Any]) -> float | None:
    wanted, mu_water = bool(given.get("hu")), given.get("mu_water")
    if wanted and mu_water is None:
        raise ValueError(
            "--hu: needs --mu-water, the attenuation of water in 1/mm as this scan measures it "
            "(such as 0.0193 for X-rays of 70 keV)."
        )
    if mu_water is not None and not wanted:
        raise ValueError("--mu-water: is for Hounsfield units; say --hu too, or leave it out.")
    return mu_water
