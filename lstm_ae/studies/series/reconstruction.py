"""Reconstruction of the windows of a table, and detection of anomalies, which are reconstructed badly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.config import Series
from lstm_ae.config.threshold import Rule, parse_threshold
from lstm_ae.data.scaling import Scale
from lstm_ae.data.time_zones import format_time
from lstm_ae.data.windows import Data, Split, evenly_spaced
from lstm_ae.detection.baselines import (
    MAX_VALUES,
    MAX_WINDOWS,
    LinearAutoencoder,
    PrincipalComponents,
    ReconstructionBaseline,
    fit_linear_autoencoder,
    fit_principal_components,
)
from lstm_ae.detection.calibration import NormalScores, calibrate, default_rule
from lstm_ae.detection.row_means import Residuals, batch_size, sliding_windows
from lstm_ae.detection.screening import Outlier
from lstm_ae.detection.views import (
    NETWORK,
    VALUE_ROUNDING,
    VALUES,
    NetworkView,
    TrainingWindows,
    View,
    WindowsView,
    find_continuous,
    fit_views,
)
from lstm_ae.evaluation import Evaluation, Metric, Metrics, Verdict, mean_over_batches, sample_means
from lstm_ae.formatting import format_count
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import History
from lstm_ae.models.network import Network
from lstm_ae.models.sliding import slide
from lstm_ae.significance import compare_forecasts
from lstm_ae.studies import FittedArtifacts, draw_history, evaluated_splits
from lstm_ae.studies.reconstruction import code_size
from lstm_ae.studies.series.defaults import load

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

__all__ = ["build", "evaluate", "figures", "fit_artifacts", "load"]

# A function from windows `(windows, window, features)` to values of the same shape: from scaled windows to their
# residuals, or from windows in original units to their squared scaled errors.
WindowFunction = Callable[[Array], Array]

# Rounding error of reconstructions in scaled units, by networks and by principal components.
ROUNDING = 1e-5

# Principal components at which a detector starts; docs/pages/results/tables.md compares them with a random start.
LINKED_COMPONENTS = 3

# Largest number of outliers that a note names.
MAX_NAMED_OUTLIERS = 5

# Largest number of training windows to which a detector is calibrated.
MAX_CALIBRATION_WINDOWS = 4096


def build(config: Series, data: Data) -> "keras.Model":
    """Build an autoencoder from `sequence` to `reconstruction`, both `(batch, window, features)`."""
    from lstm_ae.models.autoencoder import pooled_autoencoder

    steps, features = data.train.span, data.train.features
    link = fit_link(config, data)
    return pooled_autoencoder(
        config, steps=steps, features=features, missing=data.train.missing, fill=data.scaled_means, link=link
    )


def fit_link(config: Series, data: Data) -> LinearAutoencoder | None:
    """Return the linear autoencoder at which a network starts; None for a random start.

    For `reconstruct`, it is the baseline: as many principal components as the code has numbers. A detector starts at
    the first ones: the level and trend of the window, or its season. A network that reconstructs what all components
    do reconstructs anomalies as well. Components of several columns spread an anomaly of one column over the others, so
    that its cause is not found.
    """
    assert config.code is not None
    if config.link == "none" or (config.task == "anomaly" and data.train.features > 1):
        return None
    data = data.in_common_scale
    size = min(LINKED_COMPONENTS, config.code) if config.task == "anomaly" else config.code
    components = principal_components(data, size)
    return fit_linear_autoencoder(components, _training_windows(data, 10 * size), size)


def model_residuals(model: Network) -> WindowFunction:
    """Return a function of scaled windows to the residuals of their reconstruction; NaN for missing values.

    Args:
        model: an autoencoder in original units.
    """

    def residuals(scaled: Array) -> Array:
        return model.inner({"sequence": scaled})["reconstruction"] - scaled

    return residuals


def mean_residuals(scaled: Array) -> Array:
    """Return the differences of each window's mean from its values."""
    means: Array = np.ma.masked_invalid(scaled).mean(axis=1, keepdims=True).filled(0)
    return means - scaled


def squared_errors(residuals: WindowFunction, scale: Scale) -> WindowFunction:
    """Return a function of windows in original units to their squared scaled errors.

    Args:
        residuals: function of scaled windows to their residuals.
        scale: scale of the windows; for models with a scale per series that of `Data.in_common_scale`.
    """
    return lambda windows: np.square(residuals(scale.scaled(windows, windows)))


def sliding_residuals(residuals: WindowFunction, scale: Scale, window: int) -> Residuals:
    """Return a function of rows in original units and a stride to the residuals of windows, see `Residuals`.

    Args:
        residuals: function of scaled windows to their residuals.
        scale: scale of the rows, see `squared_errors`.
        window: steps per window.
    """

    def sliding(rows: Array, stride: int) -> Array:
        if scale.kind not in ("fixed", "log", "series"):
            windows = sliding_windows(rows, window, stride)
            return residuals(scale.scaled(windows, windows))
        # All windows have the same scale, so that each row is scaled once.
        (scaled,) = scale.scaled(rows[None], rows[None])
        return residuals(sliding_windows(scaled.astype(np.float32), window, stride))

    return sliding


def principal_components(data: Data, numbers: int) -> PrincipalComponents:
    """Fit principal components on training windows.

    Args:
        data: training windows with their scale.
        numbers: number of components; reduced if there are fewer windows or values per window.
    """
    size = min(numbers, data.train.span * data.train.features, data.train.samples)
    # Fit on at least ten windows per component.
    return fit_principal_components(_training_windows(data, 10 * numbers), size)


def _training_windows(data: Data, min_windows: int = 1, max_windows: int = MAX_WINDOWS) -> Array:
    """Return evenly spaced scaled training windows; fewer, but at least `min_windows`, if windows are large."""
    limit = max(MAX_VALUES // (data.train.span * data.train.features), min_windows)
    windows = data.train.windows(evenly_spaced(data.train.samples, min(max_windows, limit)))
    return data.scale.scaled(windows, windows)


@dataclass(frozen=True)
class PcaScores(NormalScores):
    """Alarm scores of normal rows by the residuals of principal components, as many as the code has numbers.

    Args:
        components: the principal components.
    """

    file = "pca.npz"

    components: PrincipalComponents


@dataclass(frozen=True)
class MahalanobisScores(NormalScores):
    """Alarm scores of normal rows by the Mahalanobis distance of windows."""

    file = "mahalanobis.npz"


def fit_detector(
    model: Network, data: Data, config: Series, components: PrincipalComponents
) -> tuple[tuple[NormalScores, PcaScores, MahalanobisScores], list[Outlier]]:
    """Fit the views on the training split and calibrate them on the validation split, and so the baselines.

    Returns:
        The detector with its baselines, and the rows of the validation split that were left out.
    """
    scale, step = data.scale, config.step
    data = data.in_common_scale
    split, segment = data.validation, data.validation.segment_ids()
    sample = _training_windows(data, max_windows=MAX_CALIBRATION_WINDOWS)
    training = TrainingWindows(
        windows=_training_windows(data),
        sample=sample,
        residuals=_in_batches(model_residuals(model), sample),
        # The validation rows may be constant, and would then not show which columns vary.
        spread=_spread(data.train.series, data.scale),
        rounding=_rounding(data.scale),
        continuous=find_continuous(data.train.series),
        seed=config.seed,
    )
    facts = {"segment": segment, "window": split.span, "step": step.nanoseconds if step else 0, "scale": scale}

    def calibrated(
        views: Mapping[str, View], sources: Mapping[str, Residuals], training: TrainingWindows
    ) -> tuple[dict[str, Any], list[Outlier]]:
        found = calibrate(views, sources, split.series, segment, None if config.keep_outliers else training)
        return {"views": found.views, "scores": found.scores, **facts}, found.outliers

    values = sliding_residuals(_unchanged, data.scale, split.span)
    residuals = slide(model, config, repeated=True).residuals
    by_components = sliding_residuals(components.residuals, data.scale, split.span)
    of_pca = training._replace(residuals=_in_batches(components.residuals, sample))
    mahalanobis = replace(WindowsView.fit(training), ranks=True)
    normal, outliers = calibrated(fit_views(training, config.views), {NETWORK: residuals, VALUES: values}, training)
    by_pca, _ = calibrated({"network": NetworkView.fit(of_pca)}, {NETWORK: by_components}, of_pca)
    by_distance, _ = calibrated({"windows": mahalanobis}, {VALUES: values}, training)
    artifacts = NormalScores(**normal), PcaScores(**by_pca, components=components), MahalanobisScores(**by_distance)
    return artifacts, outliers


def _in_batches(function: WindowFunction, windows: Array) -> Array:
    """Return the results of a function of windows, as many at once as a network computes."""
    size = batch_size(*windows.shape[1:])
    return np.concatenate([function(windows[first : first + size]) for first in range(0, len(windows), size)])


def window_sources(network: Residuals, normal: NormalScores) -> dict[str, Residuals]:
    """Return the sources of the windows of views, see `lstm_ae.detection.views`.

    Args:
        network: the residuals of a network.
        normal: scores of normal rows.
    """
    return {NETWORK: network, VALUES: sliding_residuals(_unchanged, normal.scale.common, normal.window)}


def component_residuals(normal: PcaScores) -> Residuals:
    """Return the residuals of the windows of rows by principal components."""
    return sliding_residuals(normal.components.residuals, normal.scale.common, normal.window)


def _unchanged(scaled: Array) -> Array:
    return scaled


def _spread(series: Array, scale: Scale) -> Array:
    """Return the variance of each column `(features,)` in scaled values."""
    spread: Array = np.ma.masked_invalid(series).var(axis=0, dtype=np.float64).filled(0)
    # The variance of a uniform distribution over the window's range.
    return spread / np.square(scale.range[0], dtype=np.float64) if scale.kind == "fixed" else (spread > 0) / 12


def _rounding(scale: Scale) -> Array | float:
    """Return the rounding error of the scaled values of each column `(features,)`, which grows with their offset."""
    if scale.kind != "fixed":
        return VALUE_ROUNDING
    relative: Array = np.abs(scale.offset[0] / scale.range[0])
    return VALUE_ROUNDING * np.maximum(relative, 1)


def threshold_rule(config: Series, normal: NormalScores, *, dated: bool = True) -> Rule:
    """Return the threshold rule of a config, or the default rule; without a budget if rows are not `dated`."""
    if config.threshold:
        return parse_threshold(config.threshold)
    return default_rule(normal.step if dated else 0, normal.window)


def fit_artifacts(config: Series, model: Network, data: Data, evaluation: Evaluation) -> FittedArtifacts:
    """Return the calibration of anomaly detection, or the principal components for other tasks."""
    if config.task != "anomaly":
        return FittedArtifacts((ReconstructionBaseline(evaluation.fitted, data.scale),))
    artifacts, outliers = fit_detector(model, data, config, evaluation.fitted)
    rule = threshold_rule(config, artifacts[0], dated=data.validation.time is not None)
    threshold = artifacts[0].threshold(rule)
    record = {"value": threshold.value, "rule": str(threshold.rule), "how": threshold.how}
    metrics: JsonObject = {"threshold": record | {"alarms_a_row": list(threshold.alarms)}}
    if outliers:
        metrics["outliers"] = [_outlier_facts(outlier, data) for outlier in outliers]
        metrics["notes"] = [*evaluation.notes, _describe_outliers(metrics["outliers"])]
    return FittedArtifacts(artifacts, metrics)


def _outlier_facts(outlier: Outlier, data: Data) -> JsonObject:
    """Return what is said of rows that were left out."""
    split = data.validation

    def place(row: int) -> str:
        if split.time is None:
            return str(row)
        return format_time(int(split.time[row].astype("datetime64[ns]").astype(np.int64)), data.clock)

    line = 0 if split.line is None else int(split.line[outlier.first])
    series = {"series": data.symbols[line]} if len(data.symbols) > line > 0 else {}
    ends = {"start": place(outlier.first), "end": place(outlier.last)}
    return {**series, **ends, "column": data.feature_names[outlier.column], "times_usual": outlier.times}


def _describe_outliers(outliers: Sequence[JsonMapping]) -> str:
    """Return a sentence on the rows that were left out, and what to do."""
    texts = []
    for each in outliers[:MAX_NAMED_OUTLIERS]:
        ends = each["start"] if each["start"] == each["end"] else f"{each['start']} to {each['end']}"
        series = f"{each['series']}: " if "series" in each else ""
        texts.append(f"{series}{ends} ({each['column']}, {each['times_usual']:.3g} times the usual highest score)")
    more = len(outliers) - len(texts)
    texts += [f"{more} more (see outliers in metrics.json)"] if more else []
    return (
        f"Left out of the normal rows as outliers: {'; '.join(texts)}. This is right if they are anomalies; if such "
        "rows are normal, train with --keep-outliers"
    )


def evaluate(model: Network, data: Data) -> Evaluation:
    """Evaluate the reconstruction error with those of principal components of equal size and of the window's mean.

    The verdict compares the model with the better baseline. Windows that hold a labeled anomaly are omitted, because a
    detector should reconstruct them badly. A split without other windows has a note instead of metrics.
    """
    size = code_size(model)
    assert size is not None
    data = data.in_common_scale
    components = principal_components(data, size)
    by_model = squared_errors(model_residuals(model), data.scale)
    others = {
        components.name: squared_errors(components.residuals, data.scale),
        "mean of the window": squared_errors(mean_residuals, data.scale),
    }
    metrics: Metrics = {}
    verdicts, notes = {}, []
    for name, whole in evaluated_splits(data).items():
        split = whole.without_anomalies()
        if not split.samples:
            notes.append(
                f"No reconstruction error on {name}: each of its {format_count(whole.samples, 'window')} holds a "
                "labeled anomaly. Pass another --split, or evaluate other rows"
            )
            continue
        means = mean_errors(split, {"": by_model, **others})
        baselines = {key: means[key] for key in others}
        metrics[name] = {"reconstruction_mse": Metric(means[""], "scaled", baselines)}
        if not is_lossless(components):
            best = min(baselines, key=baselines.__getitem__)
            verdict = judge_reconstruction(split, by_model, others[best], best)
            if omitted := whole.samples - split.samples:
                verdict = verdict._replace(remark=f"without {format_count(omitted, 'window')} with labeled anomalies")
            verdicts[name] = verdict
    return Evaluation(metrics, verdicts, components, notes=tuple(notes))


def mean_errors(split: Split, errors: Mapping[str, WindowFunction]) -> dict[str, float]:
    """Return the means of errors over all values of the windows that are not missing, by name."""

    def measure(index: slice) -> list[Array]:
        windows = split.windows(index)
        present = ~np.isnan(windows)
        return [function(windows)[present] for function in errors.values()]

    return dict(zip(errors, mean_over_batches(map(measure, split.batches())), strict=True))


def is_lossless(components: PrincipalComponents) -> bool:
    """Return whether there are as many components as values of a window, so that there is no error to compare."""
    return bool(len(components.axes) >= components.axes.shape[1])


def judge_reconstruction(split: Split, model: WindowFunction, baseline: WindowFunction, name: str) -> Verdict:
    """Return the verdict of the model against a baseline on non-overlapping windows.

    Windows of several series that end within one window length count as one. Errors of consecutive windows are still
    correlated: as many lags as Newey and West (1994) recommend are taken into account.

    Args:
        split: windows to compare on.
        model: errors of the model.
        baseline: errors of the baseline.
        name: name of the baseline.
    """
    disjoint = split._replace(starts=split.starts[split.disjoint_samples()])
    pairs = []
    for index in disjoint.batches():
        windows = disjoint.windows(index)
        pairs.append([sample_means(errors(windows)) for errors in (model, baseline)])
    model_means, baseline_means = np.concatenate(pairs, axis=1)
    known = ~np.isnan(model_means)
    moments = _moments(disjoint)[known]
    lags = int(4 * (len(np.unique(moments)) / 100) ** (2 / 9))
    model_means, baseline_means = model_means[known], baseline_means[known]
    # The largest difference between the losses of reconstructions that differ by rounding only.
    rounding = 2 * ROUNDING * np.sqrt(baseline_means) + ROUNDING**2
    return compare_forecasts(
        model_means, baseline_means, moments, name=name, steps=lags + 1, kernel="bartlett", rounding=rounding
    )


def _moments(split: Split) -> Array:
    """Return equal numbers for windows that end within one window length, `(samples,)`; unique ones without times."""
    if split.time is None:
        return split.starts
    first, last = split.times([0, -1]).astype(np.int64).T
    length = int(np.median(last - first)) * split.span // (split.span - 1)
    numbers: Array = (last - last.min()) // max(length, 1)
    return numbers


def figures(model: Network, data: Data, history: History) -> dict[str, "Figure"]:
    """Draw the first column of two test windows with their reconstructions, and the loss by epoch."""
    from lstm_ae.models.inference import model_inputs
    from lstm_ae.plots.base import with_title
    from lstm_ae.plots.lines import comparison

    split = data.latest.thin(2)
    window = split.windows()
    outputs = model(model_inputs(model.inputs, window, split.lines()))["reconstruction"]
    names = ["First window", "Last window"][: split.samples]
    quantity = data.feature_names[0]
    figure = comparison(split.times(), window[..., 0], outputs[..., 0], names, quantity=quantity, zone=data.clock)
    where = "Test split" if data.test.samples else "Validation split"
    return {
        "reconstruction": with_title(figure, where),
        "loss": draw_history(history),
    }
