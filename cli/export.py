"""`lstmae export`: a SavedModel that needs none of this package."""

from pathlib import Path
from typing import Annotated

import typer

from .backend import import_tensorflow
from .options import RunArgument, command
from .results import show_files
from .talk import Talk


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "export", "lstmae export latest")
    def export(
        run: RunArgument,
        *,
        to: Annotated[
            Path | None,
            typer.Option(
                metavar="<folder>", help="Where the model's folder is made (default: the run is that folder)."
            ),
        ] = None,
        name: Annotated[
            str | None,
            typer.Option(metavar="<name>", help="Name of the model's folder below --to (default: the study)."),
        ] = None,
        talk: Talk,
    ) -> None:
        """Write a run's model as the next version of a SavedModel folder and check that it says the same."""
        from lstm_ae.errors import ConfigError
        from lstm_ae.run import open_run

        opened = open_run(run)
        if name is not None and to is None:
            raise ConfigError("--name is for --to; add --to, or leave --name out")
        if name is not None and (Path(name).name != name or name in ("", "..")):
            raise ConfigError(f"--name must be the name of one folder, without its path. Received: {name!r}")
        opened.metrics()
        import_tensorflow(talk)
        from lstm_ae.card import card, write_card
        from lstm_ae.export import described
        from lstm_ae.export import export as write

        task = opened.about()["task"]
        base = opened.directory if to is None else to / (name or task)
        exported = write(opened.model(), base, about=described(opened))
        written = write_card(base, card(base.resolve().name, opened, exported.endpoints))
        talk.table(
            ["endpoint", "inputs", "outputs"],
            [(e.name, ", ".join(e.inputs), ", ".join(e.outputs)) for e in exported.endpoints],
        )
        if leaky := opened.about()["data"]["leaky"]:
            talk.show(f"LEAKY: {leaky}")
        talk.show(f"largest difference from the trained model: {exported.difference:.2g}")
        show_files(talk, {"saved model": exported.directory} | ({"model card": written} if written else {}))
        talk.document(
            {
                "saved_model": str(exported.directory),
                "model_card": str(written) if written else None,
                "difference": exported.difference,
                "endpoints": [endpoint._asdict() for endpoint in exported.endpoints],
            }
        )
