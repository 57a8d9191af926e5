"""Artifacts of a run: fitted thresholds, intervals, and baselines stored with its model.

normal.npz        scores of normal rows, for thresholds of anomaly detectors
components.npz    principal components, the baseline of reconstructions without a normal.npz
logistic.npz      logistic regression, the baseline of classifiers of tables
regression.npz    linear regression, a baseline of forecasts of tables
spread.npz        quantiles of the validation errors, for intervals of forecasts of tables
fingerprints.npz  hashes of training and validation windows of tables
detection.npz     the last search of a table for anomalies, downsampled for reports
baselines.npz     baselines of price forecasts on new data
calibration.npz   scale and validation errors of price forecasts, for intervals on new data
"""

import dataclasses
import shutil
from pathlib import Path

from lstm_ae.arrays import Array
from lstm_ae.classification.baselines import LogisticRegression, read_logistic_regression, write_logistic_regression
from lstm_ae.data.fingerprints import WindowFingerprints, read_fingerprints, write_fingerprints
from lstm_ae.data.scaling import Scale
from lstm_ae.detection.baselines import PrincipalComponents, read_principal_components, write_principal_components
from lstm_ae.detection.calibration import NormalScores, read_normal_scores, write_normal_scores
from lstm_ae.detection.sketch import TableSketch, read_sketches, write_sketches
from lstm_ae.errors import DataError
from lstm_ae.forecasting.baselines import (
    LinearCoefficients,
    PriceBaselines,
    TableBaselines,
    read_price_baselines,
    read_regression,
    write_price_baselines,
    write_regression,
)
from lstm_ae.forecasting.intervals import (
    Calibration,
    read_calibration,
    read_error_quantiles,
    write_calibration,
    write_error_quantiles,
)


@dataclasses.dataclass(frozen=True)
class ArtifactFiles:
    """Directory with artifacts."""

    directory: Path

    def calibration(self) -> tuple[Calibration, Scale, str]:
        """Read the calibration of price forecasts, the scale, and the last day of the validation split.

        Raises:
            DataError: the file is missing or damaged.
        """
        return read_calibration(self._require("calibration.npz"))

    def write_calibration(self, calibration: Calibration, scale: Scale, until: str) -> None:
        """Write the calibration of price forecasts; `until` is the last day of the validation split."""
        write_calibration(self.directory / "calibration.npz", calibration, scale, until)

    def baselines(self) -> PriceBaselines:
        """Read the baselines of price forecasts; return only persistence if there is no file."""
        path = self.directory / "baselines.npz"
        return read_price_baselines(path) if path.is_file() else PriceBaselines()

    def write_baselines(self, fitted: PriceBaselines) -> None:
        """Write the baselines of price forecasts."""
        write_price_baselines(self.directory / "baselines.npz", fitted)

    def normal(self) -> tuple[NormalScores, Scale]:
        """Read the scores of normal rows and the scale.

        Raises:
            DataError: the file is missing or damaged.
        """
        advice = "It is not an anomaly detector; train one with lstmae series train --task anomaly"
        return read_normal_scores(self._require("normal.npz", advice))

    def write_normal(self, normal: NormalScores, scale: Scale) -> None:
        """Write the scores of normal rows and the scale."""
        write_normal_scores(self.directory / "normal.npz", normal, scale)

    def components(self) -> tuple[PrincipalComponents, Scale] | None:
        """Read the principal components and the scale; return None if there is no file."""
        if (self.directory / "normal.npz").is_file():
            normal, scale = self.normal()
            return normal.components, scale
        path = self.directory / "components.npz"
        return read_principal_components(path) if path.is_file() else None

    def write_components(self, components: PrincipalComponents, scale: Scale) -> None:
        """Write the principal components and the scale."""
        write_principal_components(self.directory / "components.npz", components, scale)

    def logistic(self) -> LogisticRegression | None:
        """Read the logistic regression; return None if there is no file."""
        path = self.directory / "logistic.npz"
        return read_logistic_regression(path) if path.is_file() else None

    def write_logistic(self, regression: LogisticRegression) -> None:
        """Write the logistic regression."""
        write_logistic_regression(self.directory / "logistic.npz", regression)

    def regression(self) -> LinearCoefficients | None:
        """Read the linear regression of table forecasts; return None if there is no file."""
        path = self.directory / "regression.npz"
        return read_regression(path) if path.is_file() else None

    def write_regression(self, fitted: TableBaselines) -> None:
        """Write the linear regression."""
        write_regression(self.directory / "regression.npz", fitted)

    def spread(self) -> tuple[Array, Scale]:
        """Read the quantiles of scaled validation errors, `(features, horizon, 199)`, and the scale.

        Raises:
            DataError: the file is missing or damaged.
        """
        return read_error_quantiles(self._require("spread.npz"))

    def write_spread(self, quantiles: Array, scale: Scale) -> None:
        """Write the quantiles of scaled validation errors and the scale."""
        write_error_quantiles(self.directory / "spread.npz", quantiles, scale)

    def fingerprints(self) -> WindowFingerprints | None:
        """Read the fingerprints of training and validation windows; return None if there is no file."""
        path = self.directory / "fingerprints.npz"
        return read_fingerprints(path) if path.is_file() else None

    def write_fingerprints(self, fingerprints: WindowFingerprints) -> None:
        """Write the fingerprints of training and validation windows."""
        write_fingerprints(self.directory / "fingerprints.npz", fingerprints)

    def copy_artifacts(self, other: "ArtifactFiles") -> None:
        """Copy the calibration, baselines, and fingerprints of another run."""
        fitted = ("normal", "components", "logistic", "regression", "spread", "baselines", "calibration")
        for name in (*fitted, "fingerprints"):
            if (other.directory / f"{name}.npz").is_file():
                shutil.copyfile(other.directory / f"{name}.npz", self.directory / f"{name}.npz")

    def _require(self, name: str, advice: str = "Train a new run") -> Path:
        """Return the path of an artifact; raise `DataError` if the file is missing."""
        path = self.directory / name
        if not path.is_file():
            raise DataError(f"The run {str(self.directory)!r} has no {name}. {advice}")
        return path

    def detection(self) -> TableSketch | None:
        """Read the downsampled table of the last search; return None if there is no file."""
        path = self.directory / "detection.npz"
        return read_sketches(path) if path.is_file() else None

    def write_detection(self, sketch: TableSketch) -> None:
        """Write the downsampled table of a search."""
        write_sketches(self.directory / "detection.npz", sketch)
