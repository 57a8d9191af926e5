"""Evaluate a run on a table that it was not trained on."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lstm_ae.apply import classify, detect, encode
from lstm_ae.apply.forecast import load_forecaster
from lstm_ae.config import Series
from lstm_ae.data.checks import collect_new_table_warnings
from lstm_ae.data.fingerprints import WindowFingerprints
from lstm_ae.data.measurements import Progress
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.time_zones import format_time
from lstm_ae.data.windows import Data, Source, Split, window_starts
from lstm_ae.detection.calibration import windowwise
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.evaluation import Evaluation, Metric, Metrics
from lstm_ae.forecasting import metrics as forecast_metrics
from lstm_ae.forecasting.baselines import TableBaselines
from lstm_ae.formatting import format_count
from lstm_ae.models.sliding import slide
from lstm_ae.run import Run
from lstm_ae.studies.series import classification, reconstruction
from lstm_ae.studies.series.defaults import read_labelled_table, read_with_run_config

NEW_DATA_PART = "new data"

TrainingPeriod = Callable[[PreparedTable], None]


def evaluate_table(
    run: Run,
    data: str,
    *,
    label_col: str | None = None,
    reading: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    remark: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluate a run on a table and compare it with the baselines stored in the run.

    A run whose training data included the validation split has no stored baselines. The results are those of the part
    "new data":

    - forecast: errors of all windows, compared with the last value, the last season, and linear regression; a verdict
    - classify: accuracy, macro-F1, and log loss on `label_col`, compared with logistic regression; a verdict
    - anomaly with `label_col`: ranking metrics of the scores on labeled rows and event metrics on labeled ranges
      (without point adjustment), compared with principal components
    - anomaly without `label_col`, and reconstruct: the mean squared reconstruction error, compared with principal
      components; a verdict

    Args:
        run: A finished run on tables.
        data: The table, with the columns of the training table in any order.
        label_col: Column of known classes, or of 0 and 1 for known anomalies.
        reading: Reading options that differ from the run's, see `settling.read_as`.
        remark: Function that is called with each note about the table.

    Raises:
        ConfigError, DataError: If the run is unfinished or damaged, or the table cannot be read with these options.
    """
    config = run.config()
    assert isinstance(config, Series)
    config = read_with_run_config(config, reading)
    run.metrics()
    known = run.fingerprints()
    if config.task in ("forecast", "reconstruct") and label_col is not None:
        raise ConfigError(f"--label-col is for runs of --task anomaly or classify. Received: one of {config.task}")

    def seen(prepared: PreparedTable) -> None:
        if remark:
            for text in (
                *collect_new_table_warnings(prepared, symbols=run.symbols),
                *describe_known_windows(prepared, known),
            ):
                remark(text)

    if config.task == "forecast":
        return _evaluate_forecasts(run, config, data, progress, seen)
    if config.task == "classify":
        return _evaluate_classes(run, data, label_col or config.label_col, reading, progress, seen)
    if label_col is not None:
        found = detect.detect(run, data, label_col=label_col, reading=reading, progress=progress)
        seen(found.prepared)
        labels = found.labelled()
        if not labels.any() or labels.all():
            raise DataError(
                f"{label_col!r} marks no row, or every row, so nothing can be judged; leave --label-col out"
            )
        return Evaluation({NEW_DATA_PART: _anomaly_metrics(found.judged)})
    return _evaluate_reconstruction(run, config, data, progress, seen)


def describe_known_windows(prepared: PreparedTable, known: WindowFingerprints | None) -> list[str]:
    """Return a note if the table contains windows that the run was trained or selected on; an empty list otherwise."""
    found, windows = known.found_in(prepared) if known else (0, 0)
    if known is None or not found:
        return []
    table, when = prepared.table, ""
    if table.layout.dated and len(known.times):
        when = f" ({' to '.join(format_time(int(time), table.zone) for time in known.times)})"
    return [
        f"About {found:,} of {format_count(windows, 'window')} of {table.name} hold the values of windows that the run "
        f"was trained and chosen on{when}; results on them are optimistic. Evaluate on "
        f"{'later' if when else 'other'} rows"
    ]


def _evaluate_reconstruction(
    run: Run, config: Series, data: str, progress: Progress | None, seen: TrainingPeriod
) -> Evaluation:
    from lstm_ae.models.scaling import series_scales_of

    kept, model = run.components(), run.model()
    halves, levels = slide(model, config.scale), series_scales_of(model, run.symbols)
    prepared = read_labelled_table(dataclasses.replace(config, data=data, label_col=None), progress)
    seen(prepared)
    prepared = levels.to_common(prepared)
    metric = Metric(encode.mean_squared_error(halves.errors, prepared.grid, halves.window), "scaled")
    if kept is None:
        return Evaluation({NEW_DATA_PART: {"reconstruction_mse": metric}})
    components, scale = kept[0], kept[1].common
    linear = reconstruction.component_errors(components, scale)
    theirs = encode.mean_squared_error(windowwise(linear, halves.window), prepared.grid, halves.window)
    metric = metric._replace(baselines={components.name: theirs})
    if reconstruction.is_lossless(components):
        return Evaluation({NEW_DATA_PART: {"reconstruction_mse": metric}})
    judged = reconstruction.judge_reconstruction(
        _make_split(prepared, halves.window), reconstruction.model_errors(model, scale), linear, components.name
    )
    return Evaluation({NEW_DATA_PART: {"reconstruction_mse": metric}}, {NEW_DATA_PART: judged})


def _evaluate_forecasts(
    run: Run, config: Series, data: str, progress: Progress | None, seen: TrainingPeriod
) -> Evaluation:
    forecaster = load_forecaster(run)
    assert config.horizon is not None
    prepared = read_labelled_table(dataclasses.replace(config, data=data, label_col=None), progress)
    seen(prepared)
    split = _make_split(prepared, prepared.window + config.horizon)._replace(company=forecaster.levels.lines(prepared))
    if not split.samples:
        raise DataError(
            f"{prepared.table.name} has no run of {split.span} rows without a long gap, as a window and what follows "
            "it need; give more rows"
        )
    nothing = split._replace(starts=split.starts[:0])
    source = Source(prepared.table.name, "", "")
    whole = Data(nothing, nothing, split, forecaster.levels.scale, source, feature_names=prepared.table.layout.values)
    fitted = TableBaselines(forecaster.seasons, config.horizon, run.regression())
    found = forecast_metrics.table_errors(forecaster.model, whole, split, fitted, forecaster.spread)
    columns = forecast_metrics.skill_by_column(found, whole.feature_names, forecaster.seasons)
    judged = forecast_metrics.judge_forecasts(found, whole.feature_names)
    return Evaluation(
        {NEW_DATA_PART: forecast_metrics.table_metrics(found)},
        {NEW_DATA_PART: judged},
        columns={NEW_DATA_PART: columns},
    )


def _make_split(prepared: PreparedTable, span: int) -> Split:
    """Return all windows of a table that contain a value."""
    grid = prepared.grid
    starts = window_starts(grid.segment, span)
    held = np.r_[0, np.cumsum(~np.isnan(grid.values).all(axis=1))]
    starts = starts[held[starts + span] > held[starts]]
    times = grid.times.view("datetime64[ns]") if prepared.table.layout.dated else None
    return Split(grid.values, starts, span, grid.segment, time=times)


def _evaluate_classes(
    run: Run,
    data: str,
    label_col: str | None,
    reading: Mapping[str, Any] | None,
    progress: Progress | None,
    seen: TrainingPeriod,
) -> Evaluation:
    regression = run.logistic()
    found = classify.classify(run, data, label_col=label_col, reading=reading, progress=progress)
    seen(found.prepared)
    grid, window = found.prepared.grid, found.prepared.window
    known = (found.truth >= 0) & (found.answers >= 0)
    if not known.any():
        raise DataError(
            f"The column {label_col!r} holds no class that the run knows ({', '.join(found.names[:5])}) where a window "
            "ends, so nothing can be judged; give another --label-col"
        )
    split = Split(grid.values, found.ends[known] - window + 1, window, label=found.truth[known])
    linear = None
    if regression is not None:
        linear = np.concatenate([regression.probabilities(split.windows(index)) for index in split.batches()])
    most = int(np.bincount(found.truth[known]).argmax())
    metrics, judged = classification.compare(
        split, found.probability[known], linear, frequent=most, name=found.names[most], shares=None
    )
    return Evaluation({NEW_DATA_PART: metrics}, {NEW_DATA_PART: judged} if judged else {})


def _anomaly_metrics(judged: dict[str, detect.LabelMetrics]) -> dict[str, Metric]:
    metrics: Metrics = {}
    for name, of in judged.items():
        numbers: dict[str, Any] = of.ranking._asdict()
        if name != "raw values":  # Raw values have no threshold.
            numbers |= {f"event_{key}": getattr(of.findings, key) for key in ("precision", "recall", "f1", "false")}
        metrics[name] = {
            key: Metric(float(value), "", higher_is_better=key != "event_false") for key, value in numbers.items()
        }
    ours = metrics.pop("model")
    return {
        key: metric._replace(baselines={name: row[key].value for name, row in metrics.items() if key in row})
        for key, metric in ours.items()
    }
