"""The command line `bayesnn-ct`: its commands, and what an error looks like."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from bayesnn.versions import installed_versions
from ct.commands.convert import convert
from ct.commands.demo import demo
from ct.commands.evaluate import evaluate
from ct.commands.find_center import find_center
from ct.commands.info import info
from ct.commands.output import note, one_line
from ct.commands.reconstruct import reconstruct
from ct.commands.region import region
from ct.commands.simulate import simulate
from ct.commands.spelling import as_typed, typed_options

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130

# typer brings click with it, in later releases under another name
_UsageError: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="bayesnn-ct",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"bayesnn-ct {installed_versions('bayesnn')['bayesnn']}")
        raise typer.Exit
    return wanted


@app.callback()
def _before_any_command(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say the version and leave."
        ),
    ] = False,
) -> None:
    """CT images from sinograms, with an error bar for every pixel."""


for command in (demo, simulate, info, find_center, reconstruct, evaluate, region, convert):
    app.command()(command)


def main() -> None:
    """Run the command line and leave with its exit code."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # batch systems end work so
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name.

    Returns:
        0 done; 2 wrong usage or bad input, said in one line on stderr; 130 interrupted.
    """
    command = typer.main.get_command(app)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _said_once()
            code = command.main(
                list(arguments) or ["--help"], prog_name="bayesnn-ct", standalone_mode=False
            )
    except _UsageError as error:
        message = one_line(error.format_message()).rstrip(".")
        hint = "" if error.ctx is None else f"; try '{error.ctx.command_path} --help'"
        note(f"error: {message}{hint}.")
        return BAD_INPUT
    except (ValueError, OSError) as error:
        note(f"error: {as_typed(str(error), typed_options(command, arguments))}")
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted.")
        return INTERRUPTED
    return code if isinstance(code, int) else DONE


def _said_once() -> Callable[..., None]:
    """Return what says a warning, the first time alone: thousands of slices may have the same."""
    told: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in told:
            told.add(str(message))
            note(f"warning: {message}")

    return show
