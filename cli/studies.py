"""Commands of the studies: `lstmae toy`, `lstmae mnist`, and `lstmae snp`."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_ae.config import TASKS, Config, Mnist

from . import search, snp, training
from .backend import import_tensorflow
from .console import Console
from .options import OUTPUT, ChosenRun, GivenOptions, Out, Resume, command, named
from .results import require_png, show_files, show_metrics, show_predictions, show_training

# Options of the examples: small enough to try, and for a test to run.
EXAMPLE_OPTIONS = {
    "toy": "--sequences 1000 --epochs 1",
    "mnist": "--units 4 --epochs 1",
    "snp": "--symbols IBM --start 2009-01-01 --epochs 1",
}


def study_app(name: str) -> typer.Typer:
    """Return the commands of a study."""
    app = typer.Typer(name=name)
    _add_common_commands(app, name, TASKS[name])
    {"toy": _add_toy_commands, "mnist": _add_mnist_commands, "snp": snp.register}[name](app, EXAMPLE_OPTIONS[name])
    return app


def _add_common_commands(app: typer.Typer, name: str, config: type[Config]) -> None:
    small = EXAMPLE_OPTIONS[name]

    @command(app, "data", f"lstmae {name} data {small.split(' --epochs')[0]}", config)
    def data(
        *,
        figure: Annotated[
            Path | None,
            named("<file>", f"PNG file for the figure (default: {name}-data.png).", OUTPUT),
        ] = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Describe the data and draw it."""
        from lstm_ae.files import write
        from lstm_ae.plots.base import png
        from lstm_ae.studies import load_study

        if figure is not None:
            require_png(figure)
        chosen = given.config(config)
        study = load_study(chosen)
        loaded = study.load(chosen)
        training.describe_data(loaded, console)
        splits = [("train", loaded.train), ("validation", loaded.validation), ("test", loaded.test)]
        console.table(
            ["split", "samples", "steps", "features"], [(k, s.samples, s.span, s.features) for k, s in splits]
        )
        (drawing,) = study.describe(chosen, loaded).values()
        path = write(figure or Path(f"{name}-data.png"), png(drawing))
        show_files(console, {"figure": path})
        samples = {name: split.samples for name, split in splits}
        console.document({"data": loaded.source._asdict(), "samples": samples, "figure": path})

    @command(app, "train", f"lstmae {name} train {small}", config)
    def train(
        *,
        out: Out = None,
        resume: Resume = False,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train a model and write a run: config, metrics, history, model, and figures."""
        if resume:
            run = training.resume(given, config, console, out=out)
        else:
            run = training.train(given.config(config), console, out=out)
        show_training(console, run)

    @command(app, "evaluate", f"lstmae {name} evaluate {small}", config)
    def evaluate(*, run: ChosenRun = None, given: GivenOptions, console: Console) -> None:
        """Evaluate a trained model and its baselines on the validation and test splits."""
        opened = training.obtain_run(given, config, console, run)
        import_tensorflow(console)
        metrics = opened.evaluate().as_json()
        leaky = opened.data.source.leaky
        show_metrics(console, metrics, leaky)
        console.document({"run": opened.run.directory, "metrics": metrics, "leaky": leaky})

    @command(app, "plot", f"lstmae {name} plot {small}", config)
    def plot(*, run: ChosenRun = None, given: GivenOptions, console: Console) -> None:
        """Draw the figures of a run."""
        opened = training.obtain_run(given, config, console, run)
        import_tensorflow(console)
        paths = opened.plot()
        show_files(console, {path.stem: path for path in paths})
        console.document({"run": opened.run.directory, "figures": paths})

    search.register(app, name, config)


def _add_toy_commands(app: typer.Typer, small: str) -> None:
    @command(app, "predict", f"lstmae toy predict {small}", TASKS["toy"])
    def predict(*, run: ChosenRun = None, given: GivenOptions, console: Console) -> None:
        """Write the test signals and their reconstructions."""
        show_predictions(training.obtain_run(given, TASKS["toy"], console, run), console)


def _add_mnist_commands(app: typer.Typer, small: str) -> None:
    @command(app, "predict", f"lstmae mnist predict {small}", TASKS["mnist"])
    def predict(
        images: Annotated[
            list[Path] | None, typer.Argument(help="Pictures of one digit each; the test digits if none.")
        ] = None,
        *,
        run: ChosenRun = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Classify pictures of digits, or all digits of the test split."""
        from lstm_ae.data.digit_images import read_image

        # The pictures are read first, because there may be no model yet and its training takes long.
        pictures = [(str(path), read_image(str(path))) for path in images or ()]
        if not pictures:
            show_predictions(training.obtain_run(given, TASKS["mnist"], console, run), console)
            return
        opened, config, model = training.obtain_model(given, TASKS["mnist"], console, run)
        from lstm_ae.studies.mnist import classify

        assert isinstance(config, Mnist)
        rows, drawing = classify(model, config.read, pictures)
        (path,) = opened.write_figures({"pictures": drawing})
        console.table(["image", "label", "probability", "reconstruction_mse"], [list(row.values()) for row in rows])
        show_files(console, {"figure": path})
        console.document({"run": opened.directory, "images": rows, "figure": path})
