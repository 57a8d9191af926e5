"""`lstmae predict`: an exported model's answers for a file."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_ae.formatting import format_count

from .backend import import_tensorflow
from .console import Console
from .options import Trust, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "predict", "lstmae predict saved_models week.csv --model toy --out answers.csv")
    def predict(
        where: Annotated[
            str,
            typer.Argument(help="Folder of exported models."),
        ],
        data: Annotated[Path, typer.Argument(help="Table: CSV or Parquet.")],
        *,
        out: Annotated[Path, typer.Option(metavar="<file>", help="New file: .csv or .parquet.")],
        model: Annotated[
            str | None, typer.Option(metavar="<name>", help="Name of the model (default: the only one).")
        ] = None,
        model_version: Annotated[
            int | None, typer.Option(metavar="<int>", min=0, help="Version of the model (default: the newest).")
        ] = None,
        signature: Annotated[
            str, typer.Option(metavar="<name>", help="Endpoint of the model, such as encode or forecast.")
        ] = "serving_default",
        columns: Annotated[
            str,
            typer.Option(metavar="<a,b,...>", help="Columns of a table, in the model's order (default: as trained)."),
        ] = "",
        id_col: Annotated[
            str,
            typer.Option(metavar="<a,b,...>", help="Columns that identify series (default: as trained)."),
        ] = "",
        set_: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="name=value", help="Input with the same value for every sample."),
        ] = None,
        trust: Trust = False,
        console: Console,
    ) -> None:
        """Write the predictions of an exported model for a file, with time and series."""
        from lstm_ae.errors import require_extra

        import_tensorflow(console, keras=False)
        with require_extra("lstmae predict", "serve"):
            from lstm_ae.serving.batch_prediction import predict_file
            from lstm_ae.serving.callable_signature import open_signature

        served = open_signature(where, model, model_version, signature, trust=trust)
        with console.progress() as bar:
            rows = predict_file(
                served,
                data,
                out,
                columns=_split_names(columns),
                id_col=_split_names(id_col),
                constants=set_ or (),
                progress=bar.scoring,
            )
        console.show(f"{format_count(rows, 'row')} by {served.model} written to {out}")
        console.document({"rows": rows, "model": served.model, "signature": served.signature.name, "out": str(out)})


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()
