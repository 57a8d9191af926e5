"""Compare a detection with simple detectors by the same rule, and with labels."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.detect import Detection, RunDetector, detect
from lstm_ae.arrays import Array
from lstm_ae.config.threshold import Rule
from lstm_ae.data.scaling import SeriesScales
from lstm_ae.detection.baselines import MAHALANOBIS
from lstm_ae.detection.events import Event
from lstm_ae.detection.metrics import EventMetrics, RankingMetrics, event_metrics, ranking_metrics
from lstm_ae.detection.row_means import mean_over_features
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series import reconstruction
from lstm_ae.studies.series.reconstruction import MahalanobisScores, PcaScores

# Names of scorers in results: the detector, and its baselines.
DETECTOR, PCA, RAW_VALUES = "model", "PCA", "raw values"


class LabelMetrics(NamedTuple):
    """The ranking metrics of final scores on labeled rows and the event metrics on labeled ranges.

    The event metrics are None for scores without a threshold.
    """

    ranking: RankingMetrics
    events: EventMetrics | None


class Comparison(NamedTuple):
    """Detections by baselines with the same rule, and metrics on labels.

    Args:
        pca: Name of the principal components, such as "PCA with 16 numbers".
        baselines: Detections by name; "Mahalanobis" only if the table has labels.
        metrics: Metrics by scorer ("model", "PCA", "Mahalanobis", "raw values"); empty if the table has no labels.
    """

    pca: str
    baselines: dict[str, Detection]
    metrics: dict[str, LabelMetrics]


def load_baselines(run: ModelStore, detector: RunDetector) -> dict[str, RunDetector]:
    """Return the baselines of the detector of a run, by name.

    Raises:
        DataError: The run is damaged.
    """
    pca, mahalanobis = run.artifact(PcaScores), run.artifact(MahalanobisScores)
    scales, config = SeriesScales(pca.scale, run.symbols), detector.config
    by_components = reconstruction.component_residuals(pca)
    return {
        name: RunDetector(config, scales, normal, reconstruction.window_sources(by_components, normal))
        for name, normal in ((PCA, pca), (MAHALANOBIS, mahalanobis))
    }


def compare(
    detector: RunDetector,
    baselines: Mapping[str, RunDetector],
    detection: Detection,
    rule: str | None = None,
    *,
    adapt: int | None = None,
) -> Comparison:
    """Compare a detection with the baselines of its run.

    Args:
        detector: The detector of the run.
        baselines: See `load_baselines`.
        detection: The detection by this detector.
        rule, adapt: Its options.
    """
    prepared, labeled = detection.prepared, detection.prepared.grid.labels is not None
    found = {
        name: detect(baseline, prepared, rule, adapt=adapt)
        for name, baseline in baselines.items()
        if labeled or name == PCA
    }
    metrics = _evaluate_on_labels(detector, detection, found, detector.rule(rule)) if labeled else {}
    pca = baselines[PCA].normal
    assert isinstance(pca, PcaScores)
    return Comparison(pca.components.name, found, metrics)


def _evaluate_on_labels(
    detector: RunDetector, detection: Detection, baselines: Mapping[str, Detection], rule: Rule
) -> dict[str, LabelMetrics]:
    """Return the metrics of scores and events on the labels, by scorer.

    Rows without a label count as normal, and rows without a score have the lowest score. Metrics that need both
    labeled and unlabeled rows are NaN otherwise.
    """
    grid, window = detection.prepared.grid, detection.normal.window
    by_scorer: dict[str, tuple[Array, Sequence[Event] | None]] = {
        # A fixed threshold is in units of the model's scores.
        name: (each.final, None if rule.kind == "fixed" and name == MAHALANOBIS else each.events)
        for name, each in {DETECTOR: detection, **baselines}.items()
    }
    scale = detector.scales.scale.common
    if scale.kind == "fixed":
        distances = np.square((detector.scales.to_common(grid).values - scale.offset) / scale.range)
        by_scorer[RAW_VALUES] = mean_over_features(distances), None
    labels, metrics = detection.labeled_rows(), {}
    for name, (scores, events) in by_scorer.items():
        filled = np.where(np.isnan(scores), np.nanmin(scores), scores)
        metrics[name] = LabelMetrics(
            ranking_metrics(labels, filled, window, grid.segment),
            None if events is None else event_metrics(labels, events, window, grid.segment),
        )
    return metrics
