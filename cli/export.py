"""`lstmae export`: a SavedModel of a run or a fleet that needs none of this package, or the same checked again."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lstm_ae.errors import Code, ConfigError, DataError

from .backend import import_tensorflow, silence_stderr
from .console import Console
from .options import RunArgument, command, refuse_options
from .results import show_files


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "export", "lstmae export latest")
    def export(
        run: RunArgument,
        *,
        out: Annotated[
            Path | None,
            typer.Option(metavar="<folder>", help="Directory for the model's folder (default: export into the run)."),
        ] = None,
        name: Annotated[
            str | None,
            typer.Option(metavar="<name>", help="Name of the model's folder below --out (default: the study)."),
        ] = None,
        format: Annotated[
            str,
            typer.Option(
                metavar="<a,b,...>",
                help="Formats: savedmodel (always), onnx, litert (extras [onnx], [litert]).",
            ),
        ] = "savedmodel",
        verify_only: Annotated[
            bool,
            typer.Option(
                "--verify-only",
                metavar="",
                help="Only check an exported version, or all in a model's folder.",
            ),
        ] = False,
        no_examples: Annotated[
            bool,
            typer.Option(
                "--no-examples",
                metavar="",
                help="Export no windows of the test data as examples.",
            ),
        ] = False,
        console: Console,
    ) -> None:
        """Export a run or a fleet as the next version of a SavedModel folder, and verify it."""
        if verify_only:
            if out is not None or name is not None or format != "savedmodel" or no_examples:
                raise ConfigError(
                    "--verify-only writes nothing. Remove --out, --name, --format, and --no-examples",
                    code=Code.OPTION_NOT_APPLICABLE,
                )
            _verify(Path(run), console)
            return
        from lstm_ae.fleets.directory import Fleet, is_fleet
        from lstm_ae.run import Run, open_run

        fleet = Fleet(Path(run)) if is_fleet(run) else None
        if fleet:
            refuse_options({"--format": format != "savedmodel"}, "a fleet", ", or export one of the fleet's runs")
            fleet.require_finished()
        opened = fleet.common if fleet else open_run(run)
        directory = fleet.directory if fleet else opened.directory
        if name is not None and out is None:
            raise ConfigError("--name needs --out. Add --out or remove --name", code=Code.MISSING_OPTION)
        if name is not None and (Path(name).name != name or name in ("", "..")):
            raise ConfigError(f"--name must be the name of one folder, without its path. Received: {name!r}")
        opened.metrics()
        task = opened.about()["task"]
        base = directory if out is None else out / (name or task)
        if (Run(base).begun or is_fleet(base)) and not base.samefile(directory):
            raise ConfigError(
                f"{str(base)!r} is another run or fleet. Choose another --name for the folder of this model",
                code=Code.OUTPUT_EXISTS,
            )
        import_tensorflow(console)
        from lstm_ae.export.card import render_card, write_card
        from lstm_ae.export.samples import Examples, select_examples
        from lstm_ae.export.saved_model import export_run
        from lstm_ae.fleets.export import export_fleet, select_fleet_examples, summarize_results

        formats = [word for each in format.split(",") if (word := each.strip()) != "savedmodel"]
        with silence_stderr(console):
            select = partial(select_fleet_examples, fleet) if fleet else partial(select_examples, opened)
            examples = Examples([]) if no_examples else select()
        if examples.why_none:
            console.say(f"no example windows: {examples.why_none}")
        with silence_stderr(console):
            exported = (
                export_fleet(fleet, base, examples.windows)
                if fleet
                else export_run(opened, base, list(dict.fromkeys(formats)), examples.windows)
            )
        results = summarize_results(fleet) if fleet else None
        written = write_card(
            base, render_card(base.resolve().name, exported.directory.name, opened, exported.endpoints, results)
        )
        console.table(
            ["endpoint", "inputs", "outputs"],
            [(e.name, ", ".join(e.inputs), ", ".join(e.outputs)) for e in exported.endpoints],
        )
        if leaky := opened.about()["data"]["leaky"]:
            console.show(f"LEAKY: {leaky}")
        console.show(_format_difference(exported.difference))
        for other, difference in exported.formats.items():
            console.show(f"{other}: {_format_difference(difference)}")
        show_files(console, {"saved model": exported.directory} | ({"model card": written} if written else {}))
        console.document(
            {
                "saved_model": str(exported.directory),
                "model_card": str(written) if written else None,
                "difference": exported.difference,
                "formats": exported.formats,
                "endpoints": [endpoint._asdict() for endpoint in exported.endpoints],
            }
        )


def _verify(folder: Path, console: Console) -> None:
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {str(folder)!r}. Pass an exported version, or a model's folder",
            code=Code.MODEL_NOT_FOUND,
        )
    import_tensorflow(console)
    from lstm_ae.export.verification import verify_versions
    from lstm_ae.fleets.directory import is_fleet
    from lstm_ae.fleets.export import expect_fleet

    done = []
    # A version may be given instead of the folder that contains it.
    of_fleet = is_fleet(folder) or is_fleet(folder.absolute().parent)
    for one in verify_versions(folder, expect_fleet if of_fleet else None):
        result = (
            "runs, compared with no trained model" if one.difference is None else _format_difference(one.difference)
        )
        console.show(f"{one.directory}: {', '.join(one.endpoints)}: {result}")
        for each in one.unchecked:
            console.show(f"{one.directory}: not checked: {each}")
        done.append(one._asdict() | {"directory": str(one.directory)})
    console.document({"verified": done})


def _format_difference(difference: float) -> str:
    if difference == 0:
        return "equal to the trained model to the last bit"
    return f"largest difference from the trained model: {difference:.2g} of the largest value"
