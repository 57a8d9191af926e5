"""`lstmae bench detect`: how many rows a second are searched for anomalies."""

from typing import Annotated

import typer

from .backend import import_tensorflow
from .options import command
from .talk import Talk


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "detect", "lstmae bench detect --rows 5000 --rounds 2")
    def detect(
        *,
        window: Annotated[int, typer.Option(metavar="<int>", min=2, max=100_000, help="Steps of a window.")] = 100,
        units: Annotated[int, typer.Option(metavar="<int>", min=1, max=4096, help="Hidden units.")] = 16,
        features: Annotated[int, typer.Option(metavar="<int>", min=1, max=1000, help="Columns of the table.")] = 1,
        rows: Annotated[int, typer.Option(metavar="<int>", min=1, help="Rows of the table.")] = 100_000,
        rounds: Annotated[
            int, typer.Option(metavar="<int>", min=1, help="Rounds in which all contestants run in turn.")
        ] = 5,
        talk: Talk,
    ) -> None:
        """Time the search of a table for anomalies, as `series detect` does it, beside Keras window by window."""
        from lstm_ae.errors import ConfigError

        if rows < window:
            raise ConfigError(f"--rows must be at least --window, {window}. Received: {rows}")
        import_tensorflow(talk)
        from lstm_ae.bench.detecting import Search, contestants
        from lstm_ae.bench.turns import ratios, spread, take_turns

        search = Search(window, units, features, rows)
        talk.say(f"{rows:,} rows of {features} columns, window {window}, {units} units:")
        runners = contestants(search, rounds)
        laps = take_turns(runners, rounds, lambda number: talk.say(f"  round {number}" if number else "  warmed up"))
        shown = []
        for name, taken in laps.items():
            rate = spread([rows / seconds for seconds in taken])
            ratio = ratios(taken, laps["ours"])
            shown.append(
                (
                    name,
                    round(rate.median),
                    f"{rate.low:,.0f} to {rate.high:,.0f}",
                    f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                )
            )
        talk.table(["by", "rows/s", "range", "times ours"], shown)
        talk.document({"search": search._asdict(), "rounds": rounds, "seconds": laps})
