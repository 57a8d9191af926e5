"""Training of runs, and opening of finished runs."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstm_ae import run as runs
from lstm_ae.arrays import Array
from lstm_ae.config import DATA_PATHS, Config, Snp
from lstm_ae.data.windows import Data
from lstm_ae.errors import Code, ConfigError, DataError, DivergedError
from lstm_ae.evaluation import Evaluation, Verdict
from lstm_ae.files import as_json, load_state
from lstm_ae.formatting import format_best_epochs
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import CONFIG_FILE, HISTORY_FILE, METRICS_FILE, FittedModel, History, format_history
from lstm_ae.models.network import Network
from lstm_ae.run import Run
from lstm_ae.significance import compare_classifiers
from lstm_ae.startup import load_tensorflow
from lstm_ae.studies import Study, build_model, load_study
from lstm_ae.studies.networks import reduce_to_single_network
from lstm_ae.training.observer import NO_TRAINING_OBSERVER, ForwardingObserver, TrainingObserver

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from lstm_ae.training.loop import TrainingResult


NOTHING_LEARNED = "No epoch improved on the validation loss of the untrained network, which is therefore the model"


class _HistoryWriter(ForwardingObserver):
    """Observer that writes the history after every epoch, so that users can follow a long training."""

    def __init__(self, run: Run, observer: TrainingObserver) -> None:
        super().__init__(observer)
        self.run = run

    def on_epoch(self, history: History) -> None:
        self.run.write_history(history)
        self.observer.on_epoch(history)


def train(
    config: Config,
    data: Data,
    *,
    out: Path | None,
    command: str = "",
    observer: TrainingObserver = NO_TRAINING_OBSERVER,
    figures: bool = True,
) -> Run:
    """Train a model and write a complete run.

    Args:
        config: config of the study. If its number of networks is open (see `lstm_ae.studies.networks`), one is trained.
        data: data as loaded by the study.
        out: a new or empty directory; None for a new one in `runs/`.
        command: command to record.
        observer: receives the events of the training.
        figures: draw the figures.

    Raises:
        ConfigError: `out` is in use.
        DivergedError: the loss became NaN or infinite; after the first epoch the run is complete nevertheless, with the
            weights of the best epoch.
    """
    run = runs.create_run(out, config, data.source, data.symbols, command)
    return _train(run, config, data, observer, figures)


def resume(
    run: Run, config: Config, data: Data, *, observer: TrainingObserver = NO_TRAINING_OBSERVER, figures: bool = True
) -> Run:
    """Resume an unfinished run; the result is the same as without the interruption.

    Args:
        run: the unfinished run.
        config: its config.
        data: its data.
        observer: receives the events of the training.
        figures: draw the figures.

    Raises:
        ConfigError: the run is finished, in use, or was started with another config or other versions.
        DataError: the data differs from that of the run.
        DivergedError: the loss became NaN or infinite.
    """
    if run.about()["data"]["sha256"] != data.source.sha256:
        raise DataError(
            f"The data differs from that of {str(run.directory)!r} ({run.about()['data']['text']}). "
            "Pass the same file or start a new run",
            code=Code.OTHER_DATA,
        )
    if run.finished:
        raise ConfigError(
            f"The run {str(run.directory)!r} is finished, so it cannot be resumed. "
            "Run evaluate on it or train a new run",
            code=Code.NOT_RESUMABLE,
        )
    return _train(run, config, data, observer, figures)


def train_or_resume(
    run: Run,
    config: Config,
    data: Data,
    *,
    command: str,
    observer: TrainingObserver,
) -> Run:
    """Return a finished run, without figures: train it, resume it, or return it unchanged.

    A training of other package versions restarts, since a mixture would not be reproducible; see `train` for the
    arguments.
    """
    if run.finished:
        return run
    if run.begun and run.about().get("versions") == runs.installed_versions():
        return resume(run, config, data, observer=observer, figures=False)
    if run.begun:
        shutil.rmtree(run.directory)
    return train(config, data, out=run.directory, command=command, observer=observer, figures=False)


def _train(run: Run, config: Config, data: Data, observer: TrainingObserver, figures: bool) -> Run:
    with run.hold():
        observer.on_start(run.directory)
        known = identity(config, data) | {"versions": runs.installed_versions()}
        details = {"state": run.state, "identity": known, "observer": _HistoryWriter(run, observer)}
        fitted, result = train_model(config, data, record=run.about(), name=run.name, **details)
        if fitted is None:
            remove_states(config, run.state)
            raise DivergedError(f"{_why(result.stopped)}; no epoch was completed, so there is no model")
        write_run(run, fitted, data, figures=figures)
    if result.diverged:
        raise DivergedError(
            f"{_why(result.stopped)}; {run.directory} contains the weights of "
            f"{format_best_epochs(run.metrics()['training'])}"
        )
    return run


def identity(config: Config, data: Data) -> JsonObject:
    """Return the values that must be equal to resume a training; the path of the data may change."""
    options = {name: value for name, value in config.to_dict().items() if name not in DATA_PATHS}
    return {"config": options, "data": data.source.sha256}


def identity_in(state: Path, config: Config, data: Data) -> JsonObject:
    """Return the values that must be equal to resume a part of a long command, including the versions.

    A checkpoint of other versions is deleted, so that its training restarts: a mixture would not be reproducible.

    Args:
        state: checkpoint file, of the first network if several are averaged.
        config: config of the part.
        data: data of the part.

    Raises:
        DataError: the checkpoint is damaged.
    """
    versions = runs.installed_versions()
    for path in member_states(config, state):
        if path.exists():
            advice = "delete that file and run the same command to train again"
            meta, _ = load_state(path, {}, advice)
            if meta["identity"].get("versions") != versions:
                path.unlink()
    return identity(config, data) | {"versions": versions}


def member_states(config: Config, state: Path) -> list[Path]:
    """Return the checkpoint file of each network that is averaged, given that of the first."""
    members = range(2, config.networks + 1)
    return [state, *(state.with_stem(f"{state.stem}-{number}") for number in members)]


def remove_states(config: Config, state: Path) -> None:
    """Delete the checkpoints of a training."""
    for path in member_states(config, state):
        path.unlink(missing_ok=True)


def train_model(
    config: Config, data: Data, *, record: JsonMapping, name: str, **details: Any
) -> "tuple[FittedModel | None, TrainingResult]":
    """Train and evaluate a model.

    Args:
        config: config of the study.
        data: its data.
        record: content of `config.json`.
        name: name of the model in error messages.
        details: further arguments of `fit_model`.

    Returns:
        The model and the result of the training. There is no model if the loss became NaN or infinite before the first
        epoch was complete.
    """
    model, result = fit_model(config, data, **details)
    if result.diverged and not result.epochs:
        return None, result
    return assemble(config, data, model, result, record=record, name=name), result


def fit_model(
    config: Config,
    data: Data,
    *,
    state: Path | None = None,
    observer: TrainingObserver = NO_TRAINING_OBSERVER,
    as_trained: bool = False,
    **details: Any,
) -> "tuple[keras.Model, TrainingResult]":
    """Build a study's model and train it.

    With `config.networks` above 1, several networks are trained one after another, each as if alone, and averaged. Each
    has its own checkpoint, so that a resumed training does not repeat those that are complete.

    Args:
        config: config of the study.
        data: its data.
        state: checkpoint file of the first network; None to write no checkpoints.
        observer: receives the progress and the history.
        as_trained: return the networks as trained, neither shrunk to the best share of their correction on validation
            (see `lstm_ae.training.shrinkage`) nor compared with their linear start (see `lstm_ae.studies.start`).
        details: further arguments of `lstm_ae.training.loop.fit`, and `start`: initial weights of each network.

    Returns:
        The model and the result. If a network diverges before its first epoch is complete, those of this network.
    """
    load_tensorflow()
    details["as_trained"] = as_trained
    if config.networks == 1:
        model, result = _fit_network(config, data, observer=observer, state=state, **details)
    else:
        states = [None] * config.networks if state is None else member_states(config, state)
        model, result = _fit_average(config, data, states, observer, **details)
    return (model, result) if as_trained else keep_better(config, data, model, result, observer)


def _fit_network(
    config: Config, data: Data, *, as_trained: bool, start: Sequence[Array] | None = None, **details: Any
) -> "tuple[keras.Model, TrainingResult]":
    """Train one network; `start` is its initial weights, see `lstm_ae.models.initializers.assign_start`."""
    from lstm_ae.models.forecaster import correction_variables
    from lstm_ae.models.initializers import assign_start
    from lstm_ae.models.scaling import inner_network
    from lstm_ae.training.loop import fit

    model = _build(config, data)
    network = inner_network(model)
    if start is not None:
        assign_start(network, start)
    corrected = correction_variables(network) if config.starts_linear and not as_trained else []
    return model, fit(network, data, config, correction_variables=corrected, **details)


def _fit_average(
    config: Config, data: Data, states: Sequence[Path | None], observer: TrainingObserver, **details: Any
) -> "tuple[keras.Model, TrainingResult]":
    """Train several networks, each with its own checkpoint, and average them."""
    from lstm_ae.training.loop import TrainingResult, join_results
    from lstm_ae.training.observer import MemberObserver

    models, results = [], dict[int, TrainingResult]()
    for number, (member, state) in enumerate(zip(config.for_members(), states, strict=True), start=1):
        history = join_results(results).history if results else []
        forwarder = MemberObserver(observer, member=number, members=len(states), seed=member.seed, before=history)
        model, result = _fit_network(member, data, observer=forwarder, state=state, **details)
        if result.diverged and not result.epochs:
            return model, result
        models.append(model)
        results[member.seed] = result
    return average_models(config, data, models), join_results(results)


def average_models(config: Config, data: Data, models: "Sequence[keras.Model]") -> "keras.Model":
    """Return the model of a config that averages trained models of its members."""
    from lstm_ae.models.ensemble import assign_members
    from lstm_ae.models.scaling import inner_network

    average = build_model(config, data)
    assign_members(inner_network(average), list(map(inner_network, models)))
    return average


def keep_better(
    config: Config,
    data: Data,
    model: "keras.Model",
    result: "TrainingResult",
    observer: TrainingObserver,
) -> "tuple[keras.Model, TrainingResult]":
    """Return a trained model, or its linear start if the model is not significantly better."""
    from lstm_ae.models.keras_network import KerasNetwork
    from lstm_ae.studies.start import compare_with_start, replaces_start

    if not config.starts_linear or not result.best_epoch:
        return model, result
    start = _build(config, data)
    if data.classes:
        comparison, seconds = compare_out_of_fold(config, data, result.best_epoch, observer)
        result = result._replace(seconds=result.seconds + seconds)
    else:
        comparison = compare_with_start(data, KerasNetwork(model), KerasNetwork(start))
    result = result._replace(comparison=comparison)
    return (model, result) if replaces_start(comparison) else (start, result.at_start())


def _build(config: Config, data: Data) -> "keras.Model":
    """Build a model with the initial weights of its seed."""
    seed(config)
    return build_model(config, data)


def compare_out_of_fold(
    config: Config,
    data: Data,
    epochs: int,
    observer: TrainingObserver,
) -> tuple[Verdict, float]:
    """Compare a classifier with its linear start by cross-validation on training and validation.

    Args:
        config: config of a classifier; one network of it is trained on each fold.
        data: its data.
        epochs: epoch whose weights are compared, so that none is chosen on a fold.
        observer: receives the progress.

    Returns:
        McNemar's test on the windows of all folds, and the training time in seconds. The test is undecided, without
        any training, if the folds hold too few windows.
    """
    from lstm_ae.models.keras_network import KerasNetwork
    from lstm_ae.studies.start import MIN_WINDOWS, OUT_OF_FOLD, START, divide_into_folds, find_correct
    from lstm_ae.training.observer import MemberObserver, ProgressObserver

    folds = divide_into_folds(data)
    windows = sum(fold.test.samples for fold in folds)
    if windows < MIN_WINDOWS:
        return Verdict("undecided against", START, np.nan, np.nan, windows=windows, remark=OUT_OF_FOLD), 0.0
    observer.on_folds(len(folds))
    single = reduce_to_single_network(config).with_values({"patience": 0})
    seconds, ours, theirs = 0.0, [], []
    for number, (rows, held) in enumerate(folds, start=1):
        shown = ProgressObserver(observer.on_progress)
        forwarder = MemberObserver(shown, member=number, members=len(folds), seed=single.seed, before=())
        model, result = fit_model(single, rows, until=epochs, as_trained=True, best=False, observer=forwarder)
        seconds += result.seconds
        network = KerasNetwork(model)
        ours.append(find_correct(network, held) & (not result.diverged))
        # With weights of zero, the network adds nothing to its linear start, which is not trainable.
        for variable in model.trainable_variables:
            variable.assign(np.zeros(variable.shape))
        theirs.append(find_correct(network, held))
    verdict = compare_classifiers(np.concatenate(ours), np.concatenate(theirs), name=START, what="windows")
    return verdict._replace(remark=OUT_OF_FOLD), seconds


def write_run(run: Run, fitted: FittedModel, data: Data, *, figures: bool = True) -> None:
    """Write the files of a trained run and delete its checkpoints."""
    drawn: Mapping[str, Figure] = {}
    if figures:
        from lstm_ae.models.keras_network import KerasNetwork

        study = load_study(fitted.config())
        drawn = study.figures(KerasNetwork(fitted.model()), data, fitted.history())
    run.write(fitted, drawn)
    remove_states(fitted.config(), run.state)


def assemble(
    config: Config,
    data: Data,
    model: "keras.Model",
    result: "TrainingResult",
    *,
    record: JsonMapping,
    name: str,
    note: JsonMapping | None = None,
) -> FittedModel:
    """Evaluate a trained model and return it with its metrics and artifacts.

    Args:
        config: its config.
        data: the data that it was trained on.
        model: the trained model.
        result: result of the training.
        record: content of `config.json`.
        name: name of the model in error messages.
        note: additional entries of "training" in `metrics.json`.
    """
    from lstm_ae.models.keras_network import KerasNetwork
    from lstm_ae.models.scaling import inner_network

    study = load_study(config)
    network = KerasNetwork(model)
    evaluation = study.evaluate(network, data)
    statistics = study.fit_artifacts(config, network, data, evaluation)
    training = {
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "seconds": round(result.seconds, 2),
        "parameters": int(inner_network(model).count_params()),
        **_describe_share(result),
        **({"members": _describe_members(config, result)} if result.members else {}),
        **(note or {}),
        **_describe_start(result),
    }
    fitted = {**statistics.metrics, **_describe_period(data)}
    metrics = {**evaluation.as_json(), **fitted, "training": training, "leaky": data.source.leaky}
    files = {CONFIG_FILE: as_json(record), METRICS_FILE: as_json(metrics)}
    if result.history:
        files[HISTORY_FILE] = format_history(result.history)
    return FittedModel(files | {each.file: each.content() for each in statistics.artifacts}, name, model)


def _describe_period(data: Data) -> JsonObject:
    """Return the times of the first and the last row that a model was fitted to, for `metrics.json`."""
    times = [
        split.times([0, -1]).astype("datetime64[ns]").astype(np.int64)
        for split in (data.train, data.validation)
        if split.time is not None and split.samples
    ]
    if not times:
        return {}
    return {"training_period": [int(min(map(np.min, times))), int(max(map(np.max, times)))]}


def _describe_members(config: Config, result: "TrainingResult") -> list[JsonObject]:
    """Return the trainings of several networks for `metrics.json`."""
    return [
        {"seed": member.seed, "epochs": each.epochs, "best_epoch": each.best_epoch, "stopped": each.stopped}
        | _describe_share(each)
        for member, each in zip(config.for_members(), result.members, strict=True)
    ]


def _describe_share(result: "TrainingResult") -> JsonObject:
    """Return the share of the correction that a network has, if it is not all, for `metrics.json`."""
    return {"share": result.share} if result.share < 1 else {}


def _describe_start(result: "TrainingResult") -> JsonObject:
    """Return the comparison with the linear start, and why the start is the model if it is, for `metrics.json`."""
    from lstm_ae.studies.start import describe_kept_start

    if result.comparison is None:
        return {} if result.best_epoch else {"note": NOTHING_LEARNED}
    comparison = {"start": result.comparison.as_json() | {"windows": result.comparison.windows}}
    return comparison if result.best_epoch else comparison | {"note": describe_kept_start(result.comparison)}


def _why(stopped: str) -> str:
    return f"{stopped[0].upper()}{stopped[1:]} (try a lower --learning-rate, or --clip 1)"


def seed(config: Config) -> None:
    """Seed all random number generators, and enable deterministic kernels if configured."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


class RunWithData(NamedTuple):
    """Run with its study, config, data, and model."""

    run: Run
    task: Study
    config: Config
    data: Data
    model: Network

    def evaluate(self) -> Evaluation:
        """Evaluate the model again."""
        return self.task.evaluate(self._trained, self.data)

    @property
    def _trained(self) -> Network:
        """The Keras model, whose results equal those of the training bit by bit."""
        from lstm_ae.models.keras_network import KerasNetwork

        return KerasNetwork(self.run.model())

    def plot(self) -> list[Path]:
        """Draw the figures again and return their paths."""
        history = self.run.history()
        if not history:
            raise DataError(
                f"The run {str(self.run.directory)!r} has no history.csv. Train a new run", code=Code.RUN_DAMAGED
            )
        return self.run.write_figures(self.task.figures(self._trained, self.data, history))


def open_trained(run: Run, data: Data | None = None) -> RunWithData:
    """Open a finished run with its data and model.

    Args:
        run: the run.
        data: its data; None to load it again.

    Raises:
        DataError: the run is unfinished or damaged, or the data differs from that of the training.
    """
    config = run.config()
    model = run.network()
    study = load_study(config)
    data = study.load(config) if data is None else data
    if data.source.sha256 != run.about()["data"]["sha256"]:
        raise DataError(
            f"The data differs from that of {str(run.directory)!r} ({run.about()['data']['text']}). "
            f"Received: {data.source.text}. Pass the same file to --data, or set or unset LSTMAE_DATA_DIR",
            code=Code.OTHER_DATA,
        )
    return RunWithData(run, study, config, data, model)


def open_on_new_data(run: Run, config: Config) -> RunWithData:
    """Open a finished price forecaster with new data.

    Args:
        run: the run.
        config: config whose `data` is the new file; all of it becomes the test split.

    Raises:
        DataError: the run has no calibration, or the data is not usable.
    """
    from lstm_ae.data.prices import load_new_prices
    from lstm_ae.forecasting.intervals import ErrorQuantiles

    assert isinstance(config, Snp)
    data = load_new_prices(config, run.artifact(ErrorQuantiles).scale, run.symbols, run.training_period)
    return RunWithData(run, load_study(config), config, data, run.network())
