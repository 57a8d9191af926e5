"""Evaluate a run on a table that it was not trained on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lstm_ae.apply import classify, compare, detect, encode
from lstm_ae.apply.forecast import RunForecaster, load_forecaster
from lstm_ae.apply.run_table import TableRequest, describe_training_period, read_run_table, run_config, too_few_rows
from lstm_ae.arrays import Array
from lstm_ae.checks.table import collect_new_table_warnings
from lstm_ae.classification.baselines import ConvolutionRegression, LogisticRegression, WindowRegression
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.windows import Data, Source, Split, cut_panel
from lstm_ae.detection.baselines import ReconstructionBaseline
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.evaluation import Evaluation, Metric, Metrics
from lstm_ae.forecasting import metrics as forecast_metrics
from lstm_ae.forecasting.baselines import Baselines, ForecastRegression
from lstm_ae.forecasting.intervals import forecast_method
from lstm_ae.formatting import format_names, quote
from lstm_ae.json_types import JsonObject
from lstm_ae.model_store import ModelStore
from lstm_ae.models.inference import model_inputs
from lstm_ae.studies.series import classification, reconstruction
from lstm_ae.studies.series.reconstruction import PcaScores

NEW_DATA = "new data"


def evaluate_table(
    run: ModelStore, request: TableRequest, *, notify: Callable[[str], None] = lambda text: None
) -> Evaluation:
    """Evaluate a run on a table and compare it with the baselines stored in the run.

    A run whose training data included the validation split has no stored baselines. The results are under "new data":

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
    if config.task in ("forecast", "reconstruct") and request.label_col is not None:
        raise ConfigError(
            f"--label-col is for runs of --task anomaly or classify. Received: one of {config.task}",
            code=Code.OPTION_NOT_APPLICABLE,
        )

    def observe(prepared: PreparedTable) -> PreparedTable:
        warnings = collect_new_table_warnings(prepared, symbols=run.symbols)
        for text in (*warnings, *describe_training_period(prepared, run)):
            notify(text)
        return prepared

    # A damaged run is reported before a table that may be large is read.
    if config.task == "forecast":
        forecaster, regression = load_forecaster(run, request.reading), run.find_artifact(ForecastRegression)
        return evaluate_forecasts(forecaster, observe(forecaster.read(request)), regression)
    if config.task == "classify":
        request = request._replace(label_col=request.label_col or config.label_col)
        classifier, regressions = classify.load_classifier(run, request.reading), find_regressions(run)
        classified = classify.classify_table(classifier, read_run_table(config, request))
        observe(classified.prepared)
        return evaluate_classes(classified, regressions, *_describe_labels(request))
    if request.label_col is not None:
        detector = detect.load_detector(run, request.reading)
        baselines = compare.load_baselines(run, detector)
        detection = detect.detect(detector, observe(detector.read(request)))
        comparison = compare.compare(detector, baselines, detection)
        return evaluate_detection(detection, comparison, *_describe_labels(request))
    components, autoencoder = find_components(run), encode.load_autoencoder(run, request.reading)
    return evaluate_reconstruction(autoencoder, observe(autoencoder.read(request)), components)


def _describe_labels(request: TableRequest) -> tuple[str, str]:
    """Return the labels of a table for errors, and the remedy if they cannot be used."""
    return f"The column {request.label_col!r}", "Pass another --label-col"


def evaluate_detection(
    detection: detect.Detection, comparison: compare.Comparison, labels: str, advice: str
) -> Evaluation:
    """Evaluate the scores and events of a table with known anomalies.

    Args:
        detection: The detection of a table with labels.
        comparison: Its comparison with the baselines.
        labels, advice: The labels in errors, and what to do.

    Raises:
        DataError: If no row, or every row, is a known anomaly.
    """
    is_anomaly = detection.labeled_rows()
    if not is_anomaly.any() or is_anomaly.all():
        raise DataError(f"{labels} marks no row, or every row, so there are no metrics. {advice}", code=Code.LABELS)
    return Evaluation({NEW_DATA: _anomaly_metrics(comparison.metrics)})


def find_components(run: ModelStore) -> PcaScores | ReconstructionBaseline | None:
    """Return the artifact with the principal components of a run; None if it has none."""
    # An anomaly detector has the baseline with its scores of normal rows.
    return run.find_artifact(PcaScores) or run.find_artifact(ReconstructionBaseline)


def evaluate_reconstruction(
    autoencoder: encode.RunAutoencoder, prepared: PreparedTable, baseline: PcaScores | ReconstructionBaseline | None
) -> Evaluation:
    """Evaluate the reconstructions of all windows of a table that is on its time grid.

    Args:
        autoencoder: The autoencoder of a run.
        prepared: The table.
        baseline: See `find_components`.

    Raises:
        DataError: If no window contains a value.
    """
    network, window = autoencoder.network, autoencoder.sliding.window
    split = cut_panel(autoencoder.scales.to_common(prepared.grid), window)
    if not split.samples:
        raise DataError(
            f"No window of {window} rows contains a value, so there is no error. Pass other rows",
            code=Code.TOO_FEW_ROWS,
        )

    def model_errors(windows: Array) -> Array:
        scaled = network.scaling(model_inputs(network.inputs, windows, None))["scaled"]
        return np.square(reconstruction.model_residuals(network)(scaled))

    errors: dict[str, reconstruction.WindowFunction] = {"": model_errors}
    if baseline is not None:
        components = baseline.components
        errors[components.name] = reconstruction.squared_errors(components.residuals, baseline.scale.common)
    means = reconstruction.mean_errors(split, errors)
    evaluation = Evaluation({NEW_DATA: {"reconstruction_mse": Metric(means.pop(""), "scaled", means)}})
    if baseline is None or reconstruction.is_lossless(components):
        return evaluation
    verdict = reconstruction.judge_reconstruction(split, model_errors, errors[components.name], components.name)
    return evaluation._replace(verdicts={NEW_DATA: verdict})


def evaluate_forecasts(
    forecaster: RunForecaster, prepared: PreparedTable, regression: ForecastRegression | None
) -> Evaluation:
    """Evaluate the forecasts from all windows of a table that is on its time grid.

    Args:
        forecaster: The forecaster of a run.
        prepared: The table.
        regression: The run's linear regression, a baseline; None if it has none.

    Raises:
        DataError: If no window is followed by a horizon.
    """
    horizon = forecaster.config.horizon
    assert horizon is not None
    split = cut_panel(prepared.grid, prepared.window + horizon)._replace(line=forecaster.scales.lines(prepared.grid))
    if not split.samples:
        raise too_few_rows(prepared, split.span, "a window with its horizon")
    empty = split._replace(starts=split.starts[:0])
    source = Source(prepared.table.name, "", "")
    layout = prepared.grid.layout
    whole = Data(
        empty,
        empty,
        split,
        forecaster.scales.scale,
        source,
        feature_names=layout.values,
        covariates=layout.covariates,
    )
    baselines = Baselines(forecaster.seasons, horizon, regression)
    method = forecast_method(forecaster.rollout.network, split.span)
    errors = forecast_metrics.forecast_errors(method, whole, split, baselines, forecaster.calibration)
    if not errors.known.any():
        raise DataError(
            f"{prepared.table.name}: all values after its windows are missing, so no forecast can be compared. Pass a "
            f"table with values of {format_names([quote(name) for name in layout.targets])}",
            code=Code.TOO_FEW_ROWS,
        )
    columns = forecast_metrics.skill_by_column(errors, whole.feature_names, forecaster.seasons)
    verdict = forecast_metrics.judge_forecasts(errors, whole.feature_names)
    metrics = forecast_metrics.measure_forecasts(errors)
    return Evaluation({NEW_DATA: metrics}, {NEW_DATA: verdict}, columns={NEW_DATA: columns})


def find_regressions(run: ModelStore) -> list[WindowRegression]:
    """Return the logistic regressions of a run, which are baselines of its classes."""
    fitted = (run.find_artifact(kind) for kind in (LogisticRegression, ConvolutionRegression))
    return [regression for regression in fitted if regression is not None]


def evaluate_classes(
    classified: classify.ClassifiedTable,
    regressions: Sequence[WindowRegression],
    labels: str,
    advice: str,
) -> Evaluation:
    """Evaluate the classes of the labeled windows of a table.

    Args:
        classified: The classes of a table with labels.
        regressions: See `find_regressions`.
        labels, advice: The labels in errors, and what to do.

    Raises:
        DataError: If no window has the label of a class.
    """
    grid, window = classified.prepared.grid, classified.prepared.window
    known = (classified.truth >= 0) & (classified.predicted >= 0)
    if not known.any():
        raise DataError(
            f"{labels} holds no class that the run knows ({', '.join(classified.names[:5])}) where a window ends, so "
            f"there are no metrics. {advice}",
            code=Code.LABELS,
        )
    truth = classified.truth[known]
    split = Split(grid.values, classified.ends[known] - window + 1, window, label=truth)
    frequent = int(np.bincount(truth).argmax())
    baselines = classification.baseline_probabilities(regressions, split)
    metrics, verdict = classification.compare(
        split,
        classified.probability[known],
        baselines,
        frequent=frequent,
        name=classified.names[frequent],
        shares=None,
    )
    return Evaluation({NEW_DATA: metrics}, {NEW_DATA: verdict} if verdict else {})


def _anomaly_metrics(by_scorer: Mapping[str, compare.LabelMetrics]) -> dict[str, Metric]:
    """Return the metrics of the model with those of the other scorers as baselines."""
    metrics: Metrics = {}
    for name, scorer in by_scorer.items():
        numbers: JsonObject = scorer.ranking._asdict()
        if scorer.events is not None:
            names = ("precision", "recall", "alarmed_share", "f1", "false")
            numbers |= {f"event_{key}": getattr(scorer.events, key) for key in names}
        metrics[name] = {
            key: Metric(float(value), "", higher_is_better=key != "event_false") for key, value in numbers.items()
        }
    model = metrics.pop(compare.DETECTOR)
    return {
        key: metric._replace(baselines={name: row[key].value for name, row in metrics.items() if key in row})
        for key, metric in model.items()
    }
