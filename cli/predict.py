"""`lstmae predict`: an exported or served model's answers for a file."""

from pathlib import Path
from typing import Annotated

import typer

from .backend import import_tensorflow
from .console import Console, ProgressCounter
from .options import Formulas, Trust, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "predict", "lstmae predict saved_models week.csv --model toy --out answers.jsonl")
    def predict(
        where: Annotated[
            str,
            typer.Argument(help="Folder of exported models, or a server: http://host:port or grpc://host:port."),
        ],
        data: Annotated[Path, typer.Argument(help="A .csv, .jsonl, .npy, or .npz file.")],
        *,
        out: Annotated[Path, typer.Option(metavar="<file>", help="File to write: .jsonl or .csv.")],
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
            typer.Option(metavar="<a,b,...>", help="Columns of a .csv, in the model's order (default: as trained)."),
        ] = "",
        window: Annotated[
            int | None,
            typer.Option(metavar="<int>", min=1, help="Rows per window cut from a .csv (default: as the model reads)."),
        ] = None,
        stride: Annotated[
            int, typer.Option(metavar="<int>", min=1, help="Rows between the starts of two windows.")
        ] = 1,
        set_: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="name=value", help="Input with the same value for every sample."),
        ] = None,
        trust: Trust = False,
        batch_size: Annotated[int, typer.Option(metavar="<int>", min=1, help="Samples per call.")] = 256,
        keep_formulas: Formulas = False,
        console: Console,
    ) -> None:
        """Write the predictions of an exported model for a file; an interrupted call resumes."""
        from lstm_ae.installation import require_extra

        import_tensorflow(console, keras=False)
        with require_extra("lstmae predict", "serve"):
            from lstm_ae.serving.batch_prediction import parse_constants, predict_file, read_samples
            from lstm_ae.serving.client import connect

        served = connect(where, model, model_version, signature, trust=trust)
        samples = read_samples(
            data,
            served.signature,
            columns=[column.strip() for column in columns.split(",")] if columns else (),
            window=window,
            stride=stride,
            constants=parse_constants(set_ or [], served.signature),
            id_columns=served.id_columns,
            features=served.features,
        )
        count = ProgressCounter(console, "samples")
        done, had = predict_file(served, samples, out, batch=batch_size, notify=count, keep_formulas=keep_formulas)
        count.clear()
        console.show(f"{done:,} predictions of {served.model} written to {out}")
        if had:
            console.say(f"{had:,} of them are from an earlier call")
        console.document({"samples": done, "model": served.model, "signature": served.signature.name, "out": str(out)})
