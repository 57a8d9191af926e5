"""Evaluate a run on a table that it was not trained on."""

from collections.abc import Callable

import numpy as np

from lstm_ae.apply import classify, detect, encode
from lstm_ae.apply.forecast import load_forecaster
from lstm_ae.apply.run_table import TableRequest, run_config, too_few_rows
from lstm_ae.classification.baselines import ConvolutionRegression, LogisticRegression
from lstm_ae.data.checks import collect_new_table_warnings
from lstm_ae.data.fingerprints import WindowFingerprints
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.time_zones import format_time
from lstm_ae.data.windows import Data, Source, Split, cut_panel
from lstm_ae.detection.baselines import ReconstructionBaseline
from lstm_ae.detection.calibration import NormalScores, windowwise
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.evaluation import Evaluation, Metric, Metrics
from lstm_ae.forecasting import metrics as forecast_metrics
from lstm_ae.forecasting.baselines import TableBaselines, TableRegression
from lstm_ae.formatting import format_count
from lstm_ae.json_types import JsonObject
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series import classification, reconstruction

NEW_DATA_PART = "new data"

# Function that is called with the table before it is evaluated.
TableObserver = Callable[[PreparedTable], None]


def evaluate_table(
    run: ModelStore, request: TableRequest, *, notify: Callable[[str], None] | None = None
) -> Evaluation:
    """Evaluate a run on a table and compare it with the baselines stored in the run.

    A run whose training data included the validation split has no stored baselines. The results are those of the part
    "new data":

    - forecast: errors of all windows, compared with the last value, the last season, and linear regression; a verdict
    - classify: accuracy, macro-F1, and log loss on `label_col`, compared with the logistic regressions; a verdict
    - anomaly with `label_col`: ranking metrics of the scores on labeled rows and event metrics on labeled ranges
      (without point adjustment), compared with principal components, Mahalanobis distance, and raw values
    - anomaly without `label_col`, and reconstruct: the mean squared reconstruction error, compared with principal
      components; a verdict

    Args:
        run: A finished run on tables.
        request: The table.
        notify: Function that is called with each note about the table.

    Raises:
        ConfigError, DataError: If the run is unfinished or damaged, or the table cannot be read with these options.
    """
    config = run_config(run, reading=request.reading)
    run.metrics()
    fingerprints = run.find_artifact(WindowFingerprints)
    if config.task in ("forecast", "reconstruct") and request.label_col is not None:
        raise ConfigError(
            f"--label-col is for runs of --task anomaly or classify. Received: one of {config.task}",
            code=Code.OPTION_NOT_APPLICABLE,
        )

    def observe(prepared: PreparedTable) -> None:
        if notify:
            for text in (
                *collect_new_table_warnings(prepared, symbols=run.symbols),
                *describe_known_windows(prepared, fingerprints),
            ):
                notify(text)

    if config.task == "forecast":
        return _evaluate_forecasts(run, request, observe)
    if config.task == "classify":
        return _evaluate_classes(run, request._replace(label_col=request.label_col or config.label_col), observe)
    if request.label_col is not None:
        return _evaluate_detection(run, request, observe)
    return _evaluate_reconstruction(run, request, observe)


def describe_known_windows(prepared: PreparedTable, fingerprints: WindowFingerprints | None) -> list[str]:
    """Return a note if the table contains windows that the run was trained or selected on; an empty list otherwise."""
    known, windows = fingerprints.found_in(prepared) if fingerprints else (0, 0)
    if fingerprints is None or not known:
        return []
    table, when = prepared.table, ""
    if table.layout.dated and len(fingerprints.times):
        when = f" ({' to '.join(format_time(int(time), table.zone) for time in fingerprints.times)})"
    return [
        f"About {known:,} of {format_count(windows, 'window')} of {table.name} hold the values of windows that the run "
        f"was trained and chosen on{when}; results on them are optimistic. Evaluate on "
        f"{'later' if when else 'other'} rows"
    ]


def _evaluate_detection(run: ModelStore, request: TableRequest, observe: TableObserver) -> Evaluation:
    detection = detect.detect(run, request)
    observe(detection.prepared)
    labels = detection.labeled_rows()
    if not labels.any() or labels.all():
        raise DataError(
            f"{request.label_col!r} marks no row, or every row, so nothing can be judged; leave --label-col out",
            code=Code.LABELS,
        )
    return Evaluation({NEW_DATA_PART: _anomaly_metrics(detection.metrics)})


def _evaluate_reconstruction(run: ModelStore, request: TableRequest, observe: TableObserver) -> Evaluation:
    # An anomaly detector has the baseline with its scores of normal rows.
    baseline = run.find_artifact(NormalScores) or run.find_artifact(ReconstructionBaseline)
    autoencoder = encode.load_autoencoder(run, request.reading)
    prepared = autoencoder.read(request)
    observe(prepared)
    prepared, sliding = autoencoder.scales.to_common(prepared), autoencoder.sliding
    metric = Metric(encode.mean_squared_error(sliding.errors, prepared.grid, sliding.window), "scaled")
    if baseline is None:
        return Evaluation({NEW_DATA_PART: {"reconstruction_mse": metric}})
    components, scale = baseline.components, baseline.scale.common
    linear = reconstruction.component_errors(components, scale)
    linear_error = encode.mean_squared_error(windowwise(linear, sliding.window), prepared.grid, sliding.window)
    metric = metric._replace(baselines={components.name: linear_error})
    if reconstruction.is_lossless(components):
        return Evaluation({NEW_DATA_PART: {"reconstruction_mse": metric}})
    verdict = reconstruction.judge_reconstruction(
        cut_panel(prepared.grid, sliding.window),
        reconstruction.model_errors(autoencoder.model, scale),
        linear,
        components.name,
    )
    return Evaluation({NEW_DATA_PART: {"reconstruction_mse": metric}}, {NEW_DATA_PART: verdict})


def _evaluate_forecasts(run: ModelStore, request: TableRequest, observe: TableObserver) -> Evaluation:
    forecaster = load_forecaster(run, request.reading)
    horizon = forecaster.config.horizon
    assert horizon is not None
    prepared = forecaster.read(request)
    observe(prepared)
    split = cut_panel(prepared.grid, prepared.window + horizon)._replace(line=forecaster.scales.lines(prepared))
    if not split.samples:
        raise too_few_rows(prepared, split.span, "a window with its horizon")
    empty = split._replace(starts=split.starts[:0])
    source = Source(prepared.table.name, "", "")
    whole = Data(empty, empty, split, forecaster.scales.scale, source, feature_names=prepared.table.layout.values)
    regression = run.find_artifact(TableRegression)
    fitted = TableBaselines(forecaster.seasons, horizon, regression.linear if regression else None)
    errors = forecast_metrics.table_errors(forecaster.rollout.model, whole, split, fitted, forecaster.error_quantiles)
    columns = forecast_metrics.skill_by_column(errors, whole.feature_names, forecaster.seasons)
    verdict = forecast_metrics.judge_forecasts(errors, whole.feature_names)
    return Evaluation(
        {NEW_DATA_PART: forecast_metrics.table_metrics(errors)},
        {NEW_DATA_PART: verdict},
        columns={NEW_DATA_PART: columns},
    )


def _evaluate_classes(run: ModelStore, request: TableRequest, observe: TableObserver) -> Evaluation:
    fitted = (run.find_artifact(kind) for kind in (LogisticRegression, ConvolutionRegression))
    regressions = [regression for regression in fitted if regression is not None]
    classified = classify.classify(run, request)
    observe(classified.prepared)
    grid, window = classified.prepared.grid, classified.prepared.window
    known = (classified.truth >= 0) & (classified.predicted >= 0)
    if not known.any():
        raise DataError(
            f"The column {request.label_col!r} holds no class that the run knows ({', '.join(classified.names[:5])}) "
            "where a window ends, so nothing can be judged. Pass another --label-col",
            code=Code.LABELS,
        )
    truth = classified.truth[known]
    split = Split(grid.values, classified.ends[known] - window + 1, window, label=truth)
    frequent = int(np.bincount(truth).argmax())
    metrics, verdict = classification.compare(
        split,
        classified.probability[known],
        classification.baseline_probabilities(regressions, split),
        frequent=frequent,
        name=classified.names[frequent],
        shares=None,
    )
    return Evaluation({NEW_DATA_PART: metrics}, {NEW_DATA_PART: verdict} if verdict else {})


def _anomaly_metrics(by_scorer: dict[str, detect.LabelMetrics]) -> dict[str, Metric]:
    """Return the metrics of the model with those of the other scorers as baselines."""
    metrics: Metrics = {}
    for name, scorer in by_scorer.items():
        numbers: JsonObject = scorer.ranking._asdict()
        if scorer.events is not None:
            numbers |= {f"event_{key}": getattr(scorer.events, key) for key in ("precision", "recall", "f1", "false")}
        metrics[name] = {
            key: Metric(float(value), "", higher_is_better=key != "event_false") for key, value in numbers.items()
        }
    model = metrics.pop("model")
    return {
        key: metric._replace(baselines={name: row[key].value for name, row in metrics.items() if key in row})
        for key, metric in model.items()
    }
