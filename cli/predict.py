"""`lstmae predict`: predictions of an exported model for a file."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_ae.formatting import format_count

from .backend import import_tensorflow
from .console import Console
from .options import Trust, command, named


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "predict", "lstmae predict saved_models/toy week.csv --out answers.csv")
    def predict(
        model: Annotated[Path, typer.Argument(help="Folder of an exported model, or of one of its versions.")],
        data: Annotated[Path, typer.Argument(help="Table: CSV or Parquet.")],
        *,
        out: Annotated[Path, named("<file>", "New file: .csv or .parquet.")],
        signature: Annotated[
            str, named("<name>", "Endpoint of the model, such as encode or forecast.")
        ] = "serving_default",
        horizon: Annotated[int | None, named("<int>", "Steps of a forecast.", min=1, max=100_000)] = None,
        trust: Trust = False,
        console: Console,
    ) -> None:
        """Write the predictions of an exported model for a file, with time and series."""
        from lstm_ae.errors import require_extra

        import_tensorflow(console, keras=False)
        with require_extra("lstmae predict", "serve"):
            from lstm_ae.serving.batch_prediction import predict_file
            from lstm_ae.serving.callable_signature import open_signature

        served = open_signature(model, signature, trust=trust)
        with console.progress() as bar:
            rows = predict_file(served, data, out, horizon=horizon, progress=bar.scoring)
        console.show(f"{format_count(rows, 'row')} by {served.model} written to {out}")
        console.document({"rows": rows, "model": served.model, "signature": served.signature.name, "out": out})
