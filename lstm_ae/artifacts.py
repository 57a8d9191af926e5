"""What some tasks keep in a run besides its model: what thresholds, intervals and baselines rest on.

    normal.npz      how a model that finds anomalies scored normal rows: what its threshold rests on
    components.npz  the principal components that a reconstruction stands beside, where there is no normal.npz
    logistic.npz    the logistic regression that a table's classes stand beside
    regression.npz  the linear regression that a table's forecasts stand beside
    spread.npz      quantiles of the errors of a table's forecasts on validation: what its intervals rest on
    fingerprints.npz  which windows a table's model was trained and chosen on
    detection.npz   the last search of a table for anomalies, thinned: what a report draws
    baselines.npz   what stands beside the forecasts of prices that are new to a run
    calibration.npz a forecaster's scale and how far it was off on validation: what forecasts of new data need

Each is read as it was written, or told of as damaged.
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lstm_ae.classification.baselines import LogisticRegression, read_logistic_regression, write_logistic_regression
from lstm_ae.data.fingerprints import WindowFingerprints, read_fingerprints, write_fingerprints
from lstm_ae.data.scaling import Scale
from lstm_ae.detection.baselines import PrincipalComponents, read_principal_components, write_principal_components
from lstm_ae.detection.calibration import NormalScores, read_normal_scores, write_normal_scores
from lstm_ae.detection.sketch import TableSketch, read_sketches, write_sketches
from lstm_ae.errors import DataError
from lstm_ae.forecasting.intervals import Calibration, read_calibration, read_spread, write_calibration, write_spread
from lstm_ae.forecasting.price_baselines import PriceBaselines, read_baselines, write_baselines
from lstm_ae.forecasting.table_baselines import TableBaselines, read_regression, write_regression


@dataclasses.dataclass(frozen=True)
class ArtifactFiles:
    """A directory that may hold such files."""

    directory: Path

    def calibration(self) -> tuple[Calibration, Scale, str]:
        """How far the forecasts were off on validation, the scale, and the last day of validation.

        Raises `DataError` where there is none.
        """
        return read_calibration(self._kept("calibration.npz"))

    def write_calibration(self, calibration: Calibration, scale: Scale, until: str) -> None:
        """Save what forecasts of new data need besides the model; `until` is the last day of validation."""
        write_calibration(self.directory / "calibration.npz", calibration, scale, until)

    def baselines(self) -> PriceBaselines:
        """The fitted baselines of a forecaster of prices; persistence alone where they were not kept."""
        path = self.directory / "baselines.npz"
        return read_baselines(path) if path.is_file() else PriceBaselines()

    def write_baselines(self, fitted: PriceBaselines) -> None:
        """Save what forecasts of new data are compared with."""
        write_baselines(self.directory / "baselines.npz", fitted)

    def normal(self) -> tuple[NormalScores, Scale]:
        """How normal rows were scored, and the scale; raises `DataError` where that was not kept."""
        why = "it was not trained to find anomalies; train one by lstmae series train --task anomaly"
        return read_normal_scores(self._kept("normal.npz", why))

    def write_normal(self, normal: NormalScores, scale: Scale) -> None:
        """Save how normal rows were scored."""
        write_normal_scores(self.directory / "normal.npz", normal, scale)

    def components(self) -> tuple[PrincipalComponents, Scale] | None:
        """The linear baseline of reconstructions, and the scale; None where it was not kept."""
        if (self.directory / "normal.npz").is_file():
            normal, scale = self.normal()
            return normal.components, scale
        path = self.directory / "components.npz"
        return read_principal_components(path) if path.is_file() else None

    def write_components(self, components: PrincipalComponents, scale: Scale) -> None:
        """Save what reconstructions of other tables are compared with."""
        write_principal_components(self.directory / "components.npz", components, scale)

    def logistic(self) -> LogisticRegression | None:
        """The linear baseline of classes; None where it was not kept."""
        path = self.directory / "logistic.npz"
        return read_logistic_regression(path) if path.is_file() else None

    def write_logistic(self, regression: LogisticRegression) -> None:
        """Save what classes of other tables are compared with."""
        write_logistic_regression(self.directory / "logistic.npz", regression)

    def regression(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """The linear baseline of forecasts of a table, its weights and bias; None where it was not kept."""
        path = self.directory / "regression.npz"
        return read_regression(path) if path.is_file() else None

    def write_regression(self, fitted: TableBaselines) -> None:
        """Save what forecasts of other tables are compared with."""
        write_regression(self.directory / "regression.npz", fitted)

    def spread(self) -> tuple[NDArray[Any], Scale]:
        """Quantiles of errors on validation `(features, horizon, 199)`, and the scale that they are in.

        Raises `DataError` where there is none.
        """
        return read_spread(self._kept("spread.npz"))

    def write_spread(self, quantiles: NDArray[Any], scale: Scale) -> None:
        """Save what intervals of forecasts rest on."""
        write_spread(self.directory / "spread.npz", quantiles, scale)

    def fingerprints(self) -> WindowFingerprints | None:
        """Some of the windows that the model was trained and chosen on; None where they were not kept."""
        path = self.directory / "fingerprints.npz"
        return read_fingerprints(path) if path.is_file() else None

    def write_fingerprints(self, found: WindowFingerprints) -> None:
        """Save what tells the rows that the model has learned from."""
        write_fingerprints(self.directory / "fingerprints.npz", found)

    def take_over(self, other: "ArtifactFiles") -> None:
        """Copy what another holds of how its model did on validation."""
        fitted = ("normal", "components", "logistic", "regression", "spread", "baselines", "calibration")
        for name in (*fitted, "fingerprints"):
            if (other.directory / f"{name}.npz").is_file():
                shutil.copyfile(other.directory / f"{name}.npz", self.directory / f"{name}.npz")

    def _kept(self, name: str, why: str = "train a new run") -> Path:
        """The path of a file that a run need not have; raises `DataError` where it has none."""
        path = self.directory / name
        if not path.is_file():
            raise DataError(f"The run {str(self.directory)!r} holds no {name}: {why}")
        return path

    def detection(self) -> TableSketch | None:
        """What is kept of the last detection; None where there was none. Raises `DataError` where it is damaged."""
        path = self.directory / "detection.npz"
        return read_sketches(path) if path.is_file() else None

    def write_detection(self, found: TableSketch) -> None:
        """Keep what a report draws of a detection."""
        write_sketches(self.directory / "detection.npz", found)
