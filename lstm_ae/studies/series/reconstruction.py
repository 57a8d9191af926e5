"""Anyone's own table: give windows back from a code, and find what the code cannot give back."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lstm_ae.config import Series
from lstm_ae.config.threshold import Rule, parse_threshold
from lstm_ae.data.padding import rows_from_first_value
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, Split
from lstm_ae.detection.baselines import MOST_NUMBERS, MOST_WINDOWS, PrincipalComponents, fit_principal_components
from lstm_ae.detection.calibration import NormalScores, default_rule, default_smooth, score_rows, windowwise
from lstm_ae.detection.outliers import describe_outlying_rows
from lstm_ae.detection.scores import feature_weights, row_scores
from lstm_ae.evaluation import Evaluation, Metric, Metrics, RunningMean, Verdict, sample_means
from lstm_ae.models.sliding import slide
from lstm_ae.plots import base, signals
from lstm_ae.run import Run
from lstm_ae.significance import compare_forecasts
from lstm_ae.studies import History, all_training_data, evaluated_parts, history_columns
from lstm_ae.studies.reconstruction import code_size

Numbers = NDArray[Any]

# From windows `(windows, window, features)` in own units to their squared errors in scaled values, alike.
Errors = Callable[[Any], Any]


def build(config: Series, data: Data) -> Any:
    """An autoencoder from `sequence` to `reconstruction`, both `(batch, window, features)`, in the table's units."""
    from lstm_ae.models.autoencoder import pooled_autoencoder
    from lstm_ae.models.initializers import set_initial_values
    from lstm_ae.models.scaling import in_own_units

    steps, features = data.train.span, data.train.features
    network = pooled_autoencoder(config, steps=steps, features=features, missing=data.train.missing, fill=data.usual)
    return in_own_units(set_initial_values(network, config, steps), data.scale)


def model_errors(model: Any, scale: Scale) -> Errors:
    """Squared errors of the model's reconstruction of windows, in scaled values; NaN where a value is missing.

    Args:
        scale: of the windows: of a model with a scale by series that of `Data.levelled`.
    """
    import tensorflow as tf

    from lstm_ae.models.scaling import inner_network

    network = inner_network(model)
    spec = tf.TensorSpec(network.input["sequence"].shape, tf.float32)
    function = tf.function(lambda x: network({"sequence": x}, training=False)["reconstruction"])
    # Traced once, here: TensorFlow takes models that are opened one after the other for one that is traced too often.
    call = function.get_concrete_function(spec)
    return _squared(lambda scaled: call(tf.constant(scaled, tf.float32)).numpy(), scale)


def component_errors(components: PrincipalComponents, scale: Scale) -> Errors:
    """The same of principal components."""

    def errors(windows: Any) -> Any:
        return components.errors(scale.scaled(windows, windows))

    return errors


def mean_errors_of_windows(scale: Scale) -> Errors:
    """The same of the mean of each window."""

    def errors(windows: Any) -> Any:
        scaled = scale.scaled(windows, windows)
        return np.square(scaled - _means(scaled))

    return errors


def _squared(give_back: Callable[[Any], Any], scale: Scale) -> Errors:
    def errors(windows: Any) -> Any:
        scaled = scale.scaled(windows, windows)
        return np.square(give_back(scaled) - scaled)

    return errors


def principal_components(data: Data, numbers: int, seed: int = 0) -> PrincipalComponents:
    """The best linear code of so many numbers, fitted on training windows; fewer where there are not as many."""
    most = min(numbers, data.train.span * data.train.features, data.train.samples)
    # Long windows of many columns are as many numbers as fit, and no fewer than an honest baseline needs.
    drawn = max(MOST_NUMBERS // (data.train.span * data.train.features), 10 * numbers)
    index = np.unique(np.linspace(0, data.train.samples - 1, min(MOST_WINDOWS, drawn)).astype(np.int64))
    windows = data.train.windows(index)
    return fit_principal_components(data.scale.scaled(windows, windows), most, seed)


def score_normal_rows(model: Any, data: Data, config: Series) -> NormalScores:
    """The scores of the validation part, which the weights were not fitted to, and the baseline's."""
    assert config.code is not None
    data = data.levelled
    components = principal_components(data, config.code, config.seed)
    split, window = data.validation, data.validation.span
    segment = split.segment_ids()
    smooth = config.smooth or default_smooth(window)
    by_feature = [
        score_rows(errors, split.series, segment, window, smooth)
        for errors in (
            slide(model, config.scale).errors,
            windowwise(component_errors(components, data.scale), window),
        )
    ]
    weights = None
    if split.features > 1:
        spread = _spread(split.series, data.scale)
        weights = np.stack([feature_weights(found, spread) for found in by_feature])
        by_feature = [found * weight for found, weight in zip(by_feature, weights, strict=True)]
    scores, baseline = map(row_scores, by_feature)
    if config.short == "pad":  # nothing that is no row of the table is searched, nor counted here
        there = np.asarray(~np.isnan(split.series).all(axis=1))
        padding = ~rows_from_first_value(segment, there)
        scores[padding] = baseline[padding] = np.nan
    step = config.step
    return NormalScores(scores, baseline, segment, components, smooth, step.nanoseconds if step else 0, weights)


def _spread(series: Numbers, scale: Scale) -> Numbers:
    """The variance of each column `(features,)`, in scaled values."""
    spread: Numbers = np.ma.masked_invalid(series).var(axis=0, dtype=np.float64).filled(0)
    # Within its own range a window that goes up and down evenly has that variance.
    return spread / np.square(scale.range[0], dtype=np.float64) if scale.kind == "fixed" else (spread > 0) / 12


def threshold_rule(config: Series, normal: NormalScores, *, dated: bool = True) -> Rule:
    """The rule that a config asks for, or the usual one, which is none by the calendar where rows are not `dated`."""
    if config.threshold:
        return parse_threshold(config.threshold)
    return default_rule(normal.step if dated else 0, normal.window)


def threshold_record(normal: NormalScores, config: Series, *, dated: bool = True) -> dict[str, Any]:
    """What `metrics.json` says of the threshold; `dated` as of `threshold_rule`."""
    found = normal.threshold(threshold_rule(config, normal, dated=dated))
    return {
        "value": found.value,
        "rule": str(found.rule),
        "how": found.how,
        "smooth": normal.smooth,
        "alarms_a_row": list(found.alarms),
    }


def keep(run: Run, config: Series, model: Any, data: Data, evaluation: Evaluation) -> dict[str, Any]:
    """Write how normal rows are scored, which a threshold rests on; else the principal components alone."""
    if config.task != "anomaly":
        run.write_components(evaluation.kept, data.scale)
        return {}
    found = score_normal_rows(model, data, config)
    run.write_normal(found, data.scale)
    note = describe_outlying_rows(found.scores, found.segment, data.validation.time, config.zone)
    dated = data.validation.time is not None
    return {"threshold": threshold_record(found, config, dated=dated) | ({"note": note} if note else {})}


def evaluate(model: Any, data: Data, judged_by: Run | None = None) -> Evaluation:
    """Error of the reconstruction beside that of as many principal components, and of the mean of the window.

    The verdict is on the better of the two.
    """
    size = code_size(model)
    assert size is not None
    data = data.levelled
    components = principal_components(all_training_data(data, judged_by), size)
    ours = model_errors(model, data.scale)
    others = {
        components.name: component_errors(components, data.scale),
        "mean of the window": mean_errors_of_windows(data.scale),
    }
    metrics: Metrics = {}
    verdicts = {}
    for part, split in evaluated_parts(data, judged_by).items():
        means = {name: RunningMean() for name in ("", *others)}
        for index in split.batches():
            windows = split.windows(index)
            there = ~np.isnan(windows)
            for name, errors in {"": ours, **others}.items():
                means[name].add(errors(windows)[there])
        baselines = {name: means[name].value for name in others}
        metrics[part] = {"reconstruction_mse": Metric(means[""].value, "scaled", baselines)}
        if not is_lossless(components):
            best = min(baselines, key=baselines.__getitem__)
            verdicts[part] = judge_reconstruction(split, ours, others[best], best)
    return Evaluation(metrics, verdicts, components)


def is_lossless(components: PrincipalComponents) -> bool:
    """Whether the components are as many as the numbers of a window, which leaves no error to compare."""
    return bool(len(components.axes) >= components.axes.shape[1])


def judge_reconstruction(split: Split, ours: Errors, theirs: Errors, name: str) -> Verdict:
    """Whether windows are given back better than by a baseline, told from those that share no row.

    Windows of several series that end within one window's length of time count as one. The errors of neighbours are
    still alike: as many of them as Newey and West (1994) advise count as dependent.

    Args:
        ours, theirs: the errors of the model and of the baseline.
        name: of the baseline.
    """
    kept = split._replace(starts=split.starts[split.apart()])
    found = []
    for index in kept.batches():
        windows = kept.windows(index)
        found.append([sample_means(errors(windows)) for errors in (ours, theirs)])
    mine, other = np.concatenate(found, axis=1)
    known = ~np.isnan(mine)
    moments = _moments(kept)[known]
    lags = int(4 * (len(np.unique(moments)) / 100) ** (2 / 9))
    return compare_forecasts(mine[known], other[known], moments, name=name, steps=lags + 1, kernel="bartlett")


def _moments(split: Split) -> Numbers:
    """A number for windows that end within one window's length of time, `(samples,)`; each its own without times."""
    if split.time is None:
        return split.starts
    last = split.time[split.starts + split.span - 1].astype(np.int64)
    length = int(np.median(last - split.time[split.starts].astype(np.int64))) * split.span // (split.span - 1)
    numbers: Numbers = (last - last.min()) // max(length, 1)
    return numbers


def _means(windows: Any) -> Any:
    """The mean of each window and feature over what is there; 0 where nothing is."""
    there = ~np.isnan(windows)
    sums = np.where(there, windows, 0).sum(axis=1, keepdims=True)
    return sums / np.maximum(there.sum(axis=1, keepdims=True), 1)


def figures(model: Any, data: Data, history: History, judged_by: Run | None = None) -> dict[str, Figure]:
    """The first column of two test windows with their reconstructions, and the loss over the epochs."""
    from lstm_ae.models.inference import model_inputs

    split = data.latest
    index = np.unique([0, split.samples - 1])
    window = split.windows(index)
    given_back = np.asarray(model(model_inputs(model, window, split.companies(index)))["reconstruction"])
    drawn = signals.reconstructions(window[..., 0], given_back[..., 0], data.feature_names[0])
    if (others := data.train.features - 1) > 0:
        base.with_title(drawn, f"The first of {others + 1:,} columns, in its own units")
    return {
        "reconstruction": drawn,
        "loss": base.curves(history_columns(history), [base.HistoryPanel("loss", "MSE (scaled)", "log")]),
    }


def predict(model: Any, data: Data) -> dict[str, Sequence[Any]]:
    """Every step of test windows side by side, beside its reconstruction, column by column."""
    from lstm_ae.models.inference import model_inputs

    split = _side_by_side(data.latest)
    windows = split.windows()
    given_back = np.asarray(model(model_inputs(model, windows, split.companies()))["reconstruction"])
    samples, steps, features = windows.shape
    table: dict[str, Sequence[Any]] = {
        "sample": np.repeat(np.arange(samples), steps).tolist(),
        "step": np.tile(np.arange(steps), samples).tolist(),
    }
    for k, name in enumerate(data.feature_names[:features]):
        table[name] = list(windows[..., k].ravel())
        table[f"{name} reconstruction"] = list(given_back[..., k].ravel())
    return table


def _side_by_side(split: Split) -> Split:
    return split.recut(split.span, split.span)
