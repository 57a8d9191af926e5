"""`lstmae bench`: compare this package with others on this machine."""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_range

from .backend import import_tensorflow
from .console import Console, JobCounter
from .options import command, named, switch
from .results import require_table

if TYPE_CHECKING:
    from lstm_ae.json_types import JsonObject

DEFAULT_SHAPES = "16x50x1,8x28x28,32x28x28,16x784x1,128x784x1"

app = typer.Typer(name="bench")

Rounds = Annotated[int, named("<int>", "Rounds in which all contestants run in turn.", min=1)]


@command(app, "train", "lstmae bench train --rounds 3 --shapes 4x10x1x32")
def train(
    *,
    shapes: Annotated[
        str, named("<a,b,...>", "Units x steps x features (x batch) of the autoencoders.")
    ] = DEFAULT_SHAPES,
    rounds: Rounds = 5,
    console: Console,
) -> None:
    """Time training steps of this package and of stock Keras."""
    sizes = _parse_shapes(shapes)
    import_tensorflow(console)
    import pandas as pd

    from lstm_ae.bench.runner import measure_rounds
    from lstm_ae.bench.training import Shape, contestants

    rows, raw = [], []
    for shape in (Shape(*size) for size in sizes):
        name = " x ".join(map(str, shape))
        console.say(f"{name}:")
        laps = measure_rounds(
            contestants(shape, rounds),
            rounds,
            lambda number: console.say(f"  round {number}" if number else "  warmed up"),
        )
        steps = pd.DataFrame(laps) * 1000 / shape.laps
        ratios = steps.div(steps["ours"], axis=0)
        for engine in steps:
            ranges = (format_range(each[engine].min(), each[engine].max(), ".3g") for each in (steps, ratios))
            rows.append((name, engine, *(f"{each[engine].median():.3g} ({next(ranges)})" for each in (steps, ratios))))
        raw.append({"shape": shape._asdict(), "steps": shape.laps, "seconds": laps})
    console.table(["units x steps x features x batch", "by", "ms a step", "times ours"], rows)
    console.document({"rounds": rounds, "shapes": raw})


@command(app, "serve", "lstmae bench serve saved_models/toy --no-plain --seconds 1")
def serve(
    folder: Annotated[Path, typer.Argument(help="A run with an exported version; its model must have one input.")],
    *,
    rounds: Rounds = 3,
    seconds: Annotated[float, named("<float>", "Seconds of load for each.", min=0.1)] = 5.0,
    no_plain: Annotated[bool, switch("no-plain", "Leave out the server of FastAPI and model.predict.")] = False,
    console: Console,
) -> None:
    """Time the server with 1, 8, and 64 clients, compared with FastAPI and model.predict."""
    if not no_plain and not all(importlib.util.find_spec(module) for module in ("fastapi", "uvicorn")):
        raise ConfigError(
            "The plain server needs FastAPI: pip install fastapi uvicorn, or --no-plain", code=Code.MISSING_PACKAGE
        )
    import_tensorflow(console, keras=False)
    from lstm_ae.bench.serving import measure_load, sample_request, start_servers, summarize_loads

    body = json.dumps(sample_request(folder)).encode()
    console.say("starting ...")
    with start_servers(folder, body, plain=not no_plain) as servers:
        loads = measure_load(servers, body, rounds=rounds, seconds=seconds, done=console.say)
    table = summarize_loads(loads)
    console.table([str(name) for name in table], table.to_numpy().tolist())
    started = {name: server.started for name, server in servers.items()}
    for name, duration in started.items():
        console.show(f"{name}: first answer after {duration:.1f} s")
    console.document({"rows": table.to_dict("records"), "first_answer_seconds": started})


@command(app, "anomalies", "lstmae bench anomalies TSB-AD-U --no-network")
def anomalies(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of files in the form of TSB-AD.")],
    *,
    no_network: Annotated[bool, switch("no-network", "Evaluate the baselines only, and train no network.")] = False,
    seed: Annotated[int, named("<int>", "Seed of the trainings.", min=0)] = 0,
    views: Annotated[str | None, named("<a,b,...>", "Views of the network's score (default: automatic).")] = None,
    jobs: Annotated[int | None, named("<int>", "Files evaluated at once (default: one per core).", min=1)] = None,
    out: Annotated[Path | None, named("<file>", "CSV or Parquet file for the results of each series.")] = None,
    console: Console,
) -> None:
    """Evaluate anomaly detection on labeled series by the protocol of TSB-AD."""
    import pandas as pd

    from lstm_ae.bench import anomalies as benchmark
    from lstm_ae.parallel import Engine, run_jobs
    from lstm_ae.table_files import write_table

    if out is not None:
        require_table("--out", out)
    files = benchmark.find_series_files(folder)
    options = {"freq": "rows"} | ({"views": tuple(views.split(","))} if views else {})
    work = benchmark.EvaluationWork(None if no_network else {"random_state": seed, "options": options})
    tasks = (benchmark.FileJob(number, path) for number, path in enumerate(files))
    rows: list[JsonObject] = []
    counter, give_up = JobCounter(console, "evaluating", "files"), benchmark.FileJob.give_up
    for result in run_jobs(work, tasks, len(files), give_up, Engine(jobs=jobs), counter):
        rows += result
        if "error" in result[0]:
            console.say(result[0]["error"])
    rows.sort(key=lambda row: str(row["file"]))
    refused = [row["error"] for row in rows if "error" in row]
    if len(refused) == len(rows):
        raise DataError(f"No file can be evaluated; the first: {refused[0]}", code=Code.BENCHMARK_FILE)
    results = pd.DataFrame(rows)
    if out is not None:
        write_table(out, {str(name): column.tolist() for name, column in results.items()})
    detectors, events = benchmark.rank_detectors(results), benchmark.summarize_events(results)
    for table in (detectors, events):
        console.table([str(name) for name in table], table.to_numpy().tolist())
    reference = benchmark.reference_detector(detectors)
    console.show(
        f"difference: mean VUS-PR of {reference} minus that of the detector, on the series of both, with its 95% "
        "interval and p-value"
    )
    for error in refused:
        console.show(f"not evaluated: {error}")
    ranked = {"detectors": detectors.to_dict("records"), "reference": reference}
    console.document({**ranked, "events": events.to_dict("records"), "series": rows})


def _parse_shapes(text: str) -> list[tuple[int, ...]]:
    """Parse shapes such as `16x50x1,8x28x28`."""
    try:
        shapes = [tuple(int(number) for number in item.split("x")) for item in text.split(",")]
    except ValueError:
        shapes = []
    if not shapes or any(len(item) not in (3, 4) or min(item) < 1 for item in shapes):
        raise ConfigError(
            "--shapes must be units x steps x features (x batch), separated by commas, such as 16x50x1,8x28x28. "
            f"Received: {text!r}"
        )
    return shapes
