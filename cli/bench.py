"""`lstmae bench`: measure the package on this machine, against others."""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import Toy
from lstm_ae.config.base import MAX_PARTS
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_decimal, format_range

from .backend import import_tensorflow
from .console import Console
from .options import Folder, GivenOptions, Jobs, RunArgument, command
from .training import open_table_run

if TYPE_CHECKING:
    from lstm_ae.bench.anomalies import SeriesResult
    from lstm_ae.bench.runner import Spread
    from lstm_ae.bench.training import Shape
    from lstm_ae.json_types import JsonObject


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
        series: Annotated[
            int, typer.Option(metavar="<int>", min=0, help="Time a stream of this number of series instead.")
        ] = 0,
        console: Console,
    ) -> None:
        """Time anomaly detection in a table, compared with Keras window by window."""
        if series > rows:
            raise ConfigError(f"--rows must be at least --series, {series}. Received: {rows}")
        if rows < window:
            raise ConfigError(f"--rows must be at least --window, {window}. Received: {rows}")
        import_tensorflow(console)
        from lstm_ae.bench.detecting import DetectionLoad, contestants, stream_contestants
        from lstm_ae.bench.runner import measure_rounds, ratios, spread

        search = DetectionLoad(window, units, features, rows)
        console.say(f"{rows:,} rows of {features} columns, window {window}, {units} units:")
        runners = stream_contestants(search, series, rounds) if series else contestants(search, rounds)
        laps = measure_rounds(
            runners, rounds, lambda number: console.say(f"  round {number}" if number else "  warmed up")
        )
        shown = []
        for name, seconds_taken in laps.items():
            rate = spread([rows / seconds for seconds in seconds_taken])
            ratio = ratios(seconds_taken, next(iter(laps.values())))
            shown.append(
                (
                    name,
                    round(rate.median),
                    format_range(rate.low, rate.high, ",.0f"),
                    _format_spread(ratio, ".2f"),
                )
            )
        console.table(["by", "rows/s", "range", "times one series" if series else "times ours"], shown)
        about = {"search": search._asdict(), "series": series} if series else {"search": search._asdict()}
        console.document(about | {"rounds": rounds, "seconds": laps})


app = typer.Typer(name="bench")

register(app)


@command(app, "scale", "lstmae bench scale saved_models/pump --rows 20000 --rounds 1")
def scale(
    run: RunArgument,
    *,
    rows: Annotated[int, typer.Option(metavar="<int>", min=8, help="Rows of the data set.")] = 100_000,
    jobs: Annotated[
        int, typer.Option(metavar="<int>", min=2, max=1024, help="Processes to compare with one process.")
    ] = 2,
    rounds: Annotated[
        int, typer.Option(metavar="<int>", min=1, help="Rounds in which all contestants run in turn.")
    ] = 3,
    console: Console,
) -> None:
    """Time anomaly detection in a data set with one and with several processes."""
    import tempfile

    opened = open_table_run(run, console)
    from lstm_ae.bench.partitions import measure_scale, write_noise
    from lstm_ae.bench.runner import spread
    from lstm_ae.distributed.jobs import RunTask

    task = RunTask(str(opened.directory.absolute()), "detect", {"id_col": ("series",)})
    config = task.open().config
    step = config.step.size if config.step is not None and config.step.nanoseconds else 60 * 10**9
    files = 4 * jobs
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        size = write_noise(data, config.value_cols, config.time_col, step, rows, files)
        laps = measure_scale(
            task, data, (1, jobs), rounds, lambda lap: console.say(f"  {lap.processes}: {lap.seconds:.1f} s")
        )
    count = rows // files * files
    by_count = {number: [count / lap.seconds for lap in laps if lap.processes == number] for number in (1, jobs)}
    efficiency = spread([many / (one * jobs) for one, many in zip(by_count[1], by_count[jobs], strict=True)])
    console.table(
        ["processes", "rows/s", "range", "MB per process"],
        [
            (
                number,
                round(spread(rates).median),
                format_range(min(rates), max(rates), ",.0f"),
                round(max(lap.memory for lap in laps if lap.processes == number) / 1e6),
            )
            for number, rates in by_count.items()
        ],
    )
    console.show(f"efficiency of {jobs} processes: {_format_spread(efficiency, '.2f')} of linear")
    console.show(f"bytes per row: {size / count:.1f}")
    console.document(
        {"rows": count, "bytes_per_row": size / count, "laps": [lap._asdict() for lap in laps], "rounds": rounds}
    )


DEFAULT_SHAPES = "16x50x1,8x28x28,32x28x28,16x784x1,128x784x1"
# The smallest and the largest one.
WORKER_SHAPES = "16x50x1,128x784x1"


def _parse_shapes(text: str) -> list[tuple[int, ...]]:
    """`16x50x1,8x28x28` as numbers."""
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


@command(app, "train", "lstmae bench train --rounds 3 --shapes 4x10x1x32")
def train(
    *,
    shapes: Annotated[
        str | None,
        typer.Option(
            metavar="<a,b,...>",
            help=f"Units x steps x features (x batch) of the autoencoders (default: {DEFAULT_SHAPES}).",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="<int>", help="Rounds in which all contestants run in turn.")] = 5,
    profile: Annotated[
        bool, typer.Option("--profile", metavar="", help="Show where the time of a training step goes instead.")
    ] = False,
    scaling: Annotated[
        bool,
        typer.Option("--scaling", metavar="", help="Show how the cost grows with steps, units, batch, and data."),
    ] = False,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="<int,...>",
            help=f"Compare one process with workers on Ray (default shapes: {WORKER_SHAPES}).",
        ),
    ] = None,
    console: Console,
) -> None:
    """Time training steps of this package, stock Keras, and PyTorch if installed.

    With --workers, time this package in one process and with workers of a Ray cluster.
    """
    if rounds < 1:
        raise ConfigError(f"--rounds must be a whole number at least 1. Received: {rounds}")
    if profile and scaling:
        raise ConfigError(
            "--profile and --scaling exclude each other. Pass only one of them", code=Code.CONFLICTING_OPTIONS
        )
    if shapes is not None and scaling:
        raise ConfigError("--scaling uses fixed shapes. Remove --shapes or --scaling", code=Code.CONFLICTING_OPTIONS)
    if workers is not None and (profile or scaling):
        raise ConfigError(
            "--workers is not for --profile or --scaling. Pass only one of them", code=Code.CONFLICTING_OPTIONS
        )
    counts = None if workers is None else _parse_counts(workers)
    chosen = _parse_shapes((DEFAULT_SHAPES if counts is None else WORKER_SHAPES) if shapes is None else shapes)
    import_tensorflow(console)
    from lstm_ae.bench.training import Shape

    parsed = [Shape(*numbers) for numbers in chosen]
    if counts is not None:
        document = _compare_workers(counts, parsed, rounds, console)
    elif scaling:
        document = _measure_scaling(rounds, console)
    else:
        document = (_profile_training if profile else _compare_training)(parsed, rounds, console)
    console.document(document)


@command(
    app,
    "tune",
    "lstmae bench tune --sequences 200 --epochs 1 --no-stock",
    Toy,
    hide=("units", "learning_rate", "clip", "patience"),
)
def tune(
    *,
    jobs: Jobs = None,
    no_stock: Annotated[
        bool, typer.Option("--no-stock", metavar="", help="Leave out stock Keras and KerasTuner, which take longest.")
    ] = False,
    given: GivenOptions,
    console: Console,
) -> None:
    """Time the report's grid search, compared with stock Keras and KerasTuner."""
    from lstm_ae.bench.tuning import require_stock_search, time_searches

    config = given.config(Toy, patience=0)
    if not no_stock:
        require_stock_search(config)
    import_tensorflow(console)
    from lstm_ae.startup import cores

    searches = list(
        time_searches(config, jobs or cores(), stock=not no_stock, done=lambda name: console.say(f"{name} ..."))
    )
    fastest = min(search.seconds for search in searches)
    console.table(
        ["by", "seconds", "times the fastest", "trials", "best val_loss"],
        [(s.by, round(s.seconds, 1), s.seconds / fastest, s.trials, s.best) for s in searches],
    )
    console.document({"config": config.to_dict(), "searches": [search._asdict() for search in searches]})


@command(app, "serve", "lstmae bench serve saved_models/toy --no-plain --seconds 1")
def serve(
    folder: Annotated[Path, typer.Argument(help="A run with an exported version; its model must have one input.")],
    *,
    rounds: Annotated[int, typer.Option(metavar="<int>", min=1, help="Rounds in which all servers run in turn.")] = 3,
    seconds: Annotated[float, typer.Option(metavar="<float>", min=0.1, help="Seconds of load for each.")] = 5.0,
    no_plain: Annotated[
        bool, typer.Option("--no-plain", metavar="", help="Leave out the server of FastAPI and model.predict.")
    ] = False,
    requests: Annotated[
        int, typer.Option(metavar="<int>", min=0, help="Also measure memory over this number of requests.")
    ] = 0,
    console: Console,
) -> None:
    """Time the server and its engines with 1, 8, and 64 clients, compared with FastAPI."""
    if not no_plain:
        for module in ("fastapi", "uvicorn"):
            if importlib.util.find_spec(module) is None:
                raise ConfigError(
                    f"The plain server needs {module}: pip install fastapi uvicorn, or --no-plain",
                    code=Code.MISSING_PACKAGE,
                )
    import_tensorflow(console, keras=False)
    from lstm_ae.bench import servers, serving

    _, instance = servers.sample_request(folder)
    body = json.dumps(instance).encode()
    console.say("starting ...")
    with servers.start_servers(folder, plain=not no_plain) as servers_by_name:
        reference = "plain" if not no_plain else serving.reference_server(servers_by_name)
        rows = serving.measure_load(servers_by_name, body, rounds=rounds, seconds=seconds, done=console.say)
        console.table(
            ["by", "clients", "requests/s", "range", f"times {reference}", "p50 ms", "p95 ms", "p99 ms", "failed"],
            [
                (
                    r.by,
                    r.clients,
                    r.rate.median,
                    format_range(r.rate.low, r.rate.high, ".4g"),
                    _format_spread(r.times),
                    *r[4:],
                )
                for r in rows
            ],
        )
        shares = serving.measure_batch_sizes(
            folder, servers_by_name[servers.BATCHING], rounds=rounds, seconds=min(seconds, 2)
        )
        console.table(
            ["samples a call", "no server/s", "gRPC/s", "of no server", "REST/s", "of no server"],
            [
                (
                    s.batch,
                    s.direct.median,
                    s.grpc.median,
                    _format_spread(s.grpc_share),
                    s.rest.median,
                    _format_spread(s.rest_share),
                )
                for s in shares
            ],
        )
        importing = serving.measure_import()
        for by, server in servers_by_name.items():
            console.show(
                f"{by}: first answer after {server.started:.1f} s (importing TensorFlow takes {importing:.1f} s)"
            )
        grown = (
            serving.measure_memory(servers_by_name[servers.BATCHING], body, requests=requests, done=console.say)
            if requests
            else []
        )
        if grown:
            console.show(
                f"memory: {grown[1][1]:.0f} MB after {grown[1][0]:,} requests, "
                f"{grown[-1][1]:.0f} after {grown[-1][0]:,}"
            )
        console.document(
            {
                "rows": [row._asdict() for row in rows],
                "shares": [share._asdict() for share in shares],
                "import_seconds": importing,
                "first_answer_seconds": {by: server.started for by, server in servers_by_name.items()},
                "memory_megabytes": grown,
            }
        )


def _format_spread(spread: "Spread | None", form: str = ".3g") -> str:
    """Return the median and the range of a spread."""
    return "" if spread is None else f"{spread.median:{form}} ({format_range(spread.low, spread.high, form)})"


def _compare_training(shapes: list["Shape"], rounds: int, console: Console) -> "JsonObject":
    """Show the table of all contestants and return the measured times."""
    from lstm_ae.bench.runner import measure_rounds, ratios, spread
    from lstm_ae.bench.training import contestants, measure_peak_flops

    fastest = measure_peak_flops()
    console.say(f"fastest matrix product here: {fastest / 1e9:.0f} GFLOP/s")
    rows, raw = [], []
    for shape in shapes:
        runners = contestants(shape, rounds)
        console.say(f"{shape.units} units, {shape.steps} steps, {shape.features} features, batch {shape.batch}:")
        laps = measure_rounds(
            runners, rounds, lambda number: console.say(f"  round {number}" if number else "  warmed up")
        )
        for name, lap_seconds in laps.items():
            step, ratio = (
                spread([1000 * seconds / shape.laps for seconds in lap_seconds]),
                ratios(lap_seconds, laps["ours"]),
            )
            share = shape.operations() / (step.median / 1000) / fastest
            size = f"{shape.units} x {shape.steps} x {shape.features} x {shape.batch}"
            rows.append(
                (
                    size,
                    name,
                    step.median,
                    format_range(step.low, step.high),
                    _format_spread(ratio, ".2f"),
                    f"{100 * share:.1f}%",
                )
            )
        raw.append({"shape": shape._asdict(), "steps": shape.laps, "seconds": laps})
    console.table(["units x steps x features x batch", "by", "ms a step", "range", "times ours", "of peak"], rows)
    return {"peak_flops": fastest, "rounds": rounds, "shapes": raw}


def _parse_counts(text: str) -> list[int]:
    """Parse different numbers of workers, such as `1,2,4`."""
    items = [item.strip() for item in text.split(",")]
    counts = [int(item) for item in items if item.isascii() and item.isdigit() and len(item) < 3]
    if len(set(counts)) < len(items) or not 0 < min(counts) <= max(counts) <= MAX_PARTS:
        raise ConfigError(
            f"--workers must be different whole numbers from 1 to {MAX_PARTS}, as in 1,2,4. Received: {text[:60]!r}"
        )
    return sorted(counts)


def _compare_workers(counts: list[int], shapes: list["Shape"], rounds: int, console: Console) -> "JsonObject":
    from lstm_ae.bench.runner import measure_rounds, ratios, spread
    from lstm_ae.bench.workers import NETWORKS, contestants, step_traffic
    from lstm_ae.workers.ray_cluster import import_ray

    import_ray()  # refused before anything is timed
    rows: list[tuple[object, ...]] = []
    raw: list[JsonObject] = []
    for shape in shapes:
        name = " x ".join(map(str, shape))
        console.say(f"{name}: {shape.laps} steps a lap, {format_count(max(counts), 'part')} of a batch")
        laps = measure_rounds(
            contestants(shape, counts, rounds),
            rounds,
            lambda number: console.say(f"  round {number}" if number else "  warmed up"),
        )
        alone, *_ = laps.values()
        traffics = {format_count(count, "worker"): step_traffic(shape, count, max(counts)) for count in counts}
        for by, seconds in laps.items():
            step = spread([1000 * each / shape.laps for each in seconds])
            ratio = ratios(seconds, alone)
            traffic = traffics.get(by)
            transfers = [traffic and round(traffic.milliseconds(rate), 2) for rate in NETWORKS.values()]
            cells = (name, by, step.median, format_range(step.low, step.high), _format_spread(ratio, ".2f"))
            rows.append((*cells, *transfers))
        raw.append(
            {
                "shape": shape._asdict(),
                "steps": shape.laps,
                "seconds": laps,
                "bytes": {by: traffic._asdict() for by, traffic in traffics.items()},
            }
        )
    networks = [f"transfer at {network} (ms)" for network in NETWORKS]
    console.table(
        ["units x steps x features x batch", "by", "ms a step", "range", "times one process", *networks], rows
    )
    console.show("The transfer is computed for workers on other machines. On this machine there is none.")
    return {"workers": counts, "rounds": rounds, "shapes": raw}


def _profile_training(shapes: list["Shape"], rounds: int, console: Console) -> "JsonObject":
    from lstm_ae.bench.training import profile_step

    profiles = [(shape, profile_step(shape, 20 * rounds)) for shape in shapes]
    header = ["units x steps x features x batch", *(f"{part} (ms)" for part in profiles[0][1])]
    console.table(header, [(" x ".join(map(str, shape)), *parts.values()) for shape, parts in profiles])
    return {"profile": [{"shape": shape._asdict(), "milliseconds": parts} for shape, parts in profiles]}


def _measure_scaling(rounds: int, console: Console) -> "JsonObject":
    from lstm_ae.bench.scaling import scaling, two_processes

    points = list(scaling(rounds, console.say))
    console.table(
        ["axis", "size", "ms", "range", "growth (1 is linear)"],
        [
            (p.axis, p.size, p.milliseconds.median, format_range(p.milliseconds.low, p.milliseconds.high), p.growth)
            for p in points
        ],
    )
    processes = two_processes(rounds)
    console.show(
        f"two trainings at once: {processes.together:.0f} steps/s together, {processes.alone:.0f} alone "
        f"({processes.together / processes.alone:.2f} times)"
    )
    return {"scaling": [point._asdict() for point in points], "processes": processes._asdict()}


@command(app, "anomalies", "lstmae bench anomalies TSB-AD-U --no-network --published published.csv")
def anomalies(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of files in the form of TSB-AD.")],
    *,
    published: Annotated[
        Path | None, typer.Option(metavar="<file>", help="CSV of published VUS-PR: file, and a column per detector.")
    ] = None,
    no_network: Annotated[
        bool,
        typer.Option("--no-network", metavar="", help="Evaluate the baselines only, and train no network."),
    ] = False,
    link: Annotated[
        str | None, typer.Option(metavar="baseline|none", help="Start of the network, as in series train.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="<int>", min=0, help="Seed of the trainings.")] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="<int>", min=1, help="Files evaluated at once (default: one per core).")
    ] = None,
    out: Folder = None,
    console: Console,
) -> None:
    """Evaluate anomaly detection on labeled series by the protocol of TSB-AD."""
    if not folder.is_dir():
        raise ConfigError(f"{str(folder)!r} is not a folder. Pass a folder of benchmark files", code=Code.INVALID_VALUE)
    for option, value in (("--link", link), ("--seed", seed)):
        if no_network and value is not None:
            raise ConfigError(
                f"{option} is an option of the network. Remove it or --no-network", code=Code.CONFLICTING_OPTIONS
            )
    from lstm_ae.bench import anomalies as benchmark
    from lstm_ae.config import Series
    from lstm_ae.startup import cores

    given = {"link": link, "seed": seed}
    settings = Series().with_values({name: value for name, value in given.items() if value is not None})
    reference = benchmark.read_published(published) if published else None
    files = benchmark.find_series_files(folder)
    jobs = min(jobs or cores(), len(files))

    def report(result: "SeriesResult") -> None:
        best = max(result.detectors, key=lambda name: result.detectors[name].vus_pr, default="")
        text = result.error or f"{result.file}: best VUS-PR {result.detectors[best].vus_pr:.3f} by {best}"
        console.say(text)

    training = None if no_network else benchmark.TrainingOptions(settings.link, settings.seed)
    results = benchmark.evaluate_files(
        files, training, jobs=jobs, threads=max(1, cores() // jobs), out=out, done=report
    )
    refused = [result for result in results if result.error]
    if len(refused) == len(results):
        raise DataError(f"No file can be evaluated; the first: {refused[0].error}", code=Code.BENCHMARK_FILE)
    standings = benchmark.rank_detectors(results, reference)
    console.table(
        ["detector", "series", "mean VUS-PR", "median", "mean AUC-PR", "seconds per series", "wins"],
        [
            (
                standing.name,
                standing.series,
                *(format_decimal(value, ".3f") for value in (standing.mean, standing.median, standing.auc_pr)),
                format_decimal(standing.seconds, ".2f"),
                standing.wins,
            )
            for standing in standings
        ],
    )
    events = benchmark.summarize_events(results)
    if events:
        console.show("Events after the training rows, by the default threshold:")
        console.table(
            ["detector", "found", "mean share", "false", "expected", "median", "as expected", "delay (windows)"],
            [
                (
                    row.name,
                    f"{row.found} of {row.ranges}",
                    format_decimal(row.found_share, ".3f"),
                    *(format_decimal(value, ".2f") for value in (row.false, row.expected)),
                    format_decimal(row.median_false, "g"),
                    f"{row.within:.0%}",
                    format_decimal(row.delay, ".2f"),
                )
                for row in events
            ],
        )
    if refused:
        console.show(f"{format_count(len(refused), 'file')} not evaluated:")
        for result in refused:
            console.show(f"  {result.error}")
    console.document(
        {
            "detectors": [standing._asdict() for standing in standings],
            "events": [row._asdict() for row in events],
            "series": [result.as_json() for result in results],
        }
    )
