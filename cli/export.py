"""`lstmae export`: write SavedModels that run without this package, or verify them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.errors import Code, ConfigError

from .backend import import_tensorflow, silence_stderr
from .console import Console
from .options import RunArgument, command, named, switch
from .results import show_files

if TYPE_CHECKING:
    from lstm_ae.json_types import JsonObject
    from lstm_ae.run import Run


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "export", "lstmae export latest")
    def export(
        run: RunArgument,
        *,
        out: Annotated[Path | None, named("<folder>", "Folder of the model's versions (default: the run).")] = None,
        format: Annotated[
            str,
            named("<a,b,...>", "Formats: savedmodel (always), onnx, litert (extras onnx and litert)."),
        ] = "savedmodel",
        verify_only: Annotated[
            bool, switch("verify-only", "Only check one exported version, or all in a folder.")
        ] = False,
        console: Console,
    ) -> None:
        """Export a run as the next version of a SavedModel folder, and verify it."""
        if verify_only:
            if out is not None or format != "savedmodel":
                raise ConfigError(
                    "--verify-only writes nothing. Remove --out and --format", code=Code.OPTION_NOT_APPLICABLE
                )
            _verify(Path(run), console)
            return
        from lstm_ae.run import open_run

        formats = list(dict.fromkeys(word for each in format.split(",") if (word := each.strip()) != "savedmodel"))
        opened = open_run(run)
        opened.metrics()
        base = _choose_base(opened, out or opened.directory)
        import_tensorflow(console)
        console.document(_export_run(opened, base, formats, console))


def _choose_base(run: "Run", base: Path) -> Path:
    """Return the folder of a model's versions; raise if it belongs to another run or to a fleet."""
    from lstm_ae.fleets.directory import Fleet
    from lstm_ae.run import Run

    if (Run(base).begun or Fleet(base).begun) and not base.samefile(run.directory):
        raise ConfigError(
            f"{str(base)!r} is another run or fleet. Choose another --out for this model",
            code=Code.OUTPUT_EXISTS,
        )
    return base


def _export_run(run: "Run", base: Path, formats: list[str], console: Console) -> "JsonObject":
    """Export the model of a run with its card, show both, and return them as JSON values."""
    from lstm_ae.export.card import render_card, write_card
    from lstm_ae.export.saved_model import export_run

    with silence_stderr(console):
        exported = export_run(run, base, formats)
    written = write_card(base, render_card(base.resolve().name, exported.directory.name, run, exported.endpoints))
    console.table(
        ["endpoint", "inputs", "outputs"],
        [(e.name, ", ".join(e.inputs), ", ".join(e.outputs)) for e in exported.endpoints],
    )
    if leaky := run.about()["data"]["leaky"]:
        console.show(f"LEAKY: {leaky}")
    console.show(_format_difference(exported.difference))
    for name, difference in exported.formats.items():
        console.show(f"{name}: {_format_difference(difference)}")
    show_files(console, {"saved model": exported.directory} | ({"model card": written} if written else {}))
    return {
        "saved_model": exported.directory,
        "model_card": written,
        "difference": exported.difference,
        "formats": exported.formats,
        "endpoints": [endpoint._asdict() for endpoint in exported.endpoints],
    }


def _verify(folder: Path, console: Console) -> None:
    import_tensorflow(console)
    from lstm_ae.export.verification import verify_versions

    verified = []
    for each in verify_versions(folder):
        if each.difference is None:
            console.show(f"{each.directory}: loads; it can be compared with the trained model only in its run")
        else:
            console.show(f"{each.directory}: {', '.join(each.endpoints)}: {_format_difference(each.difference)}")
        verified.append(each._asdict())
    console.document({"verified": verified})


def _format_difference(difference: float) -> str:
    if difference == 0:
        return "equal to the trained model to the last bit"
    return f"largest difference from the trained model: {difference:.2g} of the largest value"
