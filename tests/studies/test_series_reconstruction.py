"""Test autoencoders of tables."""

from typing import Any

import numpy as np
import pytest
from labeled_windows import labeled_data
from sampling import sampled

from lstm_ae.arrays import Array
from lstm_ae.config import Series
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.scaling import fit_scale, fixed_scale, window_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.sliding import slide
from lstm_ae.significance import UNIMPROVED
from lstm_ae.studies import build_model
from lstm_ae.studies.series import reconstruction

WINDOW, CODE = 8, 5


def linear_data(scale: str = "standard", *, features: int = 2, count: int = 40) -> Data:
    """Return windows that four numbers describe, with noise."""
    random = np.random.default_rng(0)
    axes = random.normal(size=(4, WINDOW * features))
    windows = random.normal(size=(count, 4)) @ axes + 0.1 * random.normal(size=(count, WINDOW * features))
    windows = (50 + 7 * windows).reshape(count, WINDOW, features).astype(np.float32)
    scales = {"none": fixed_scale(), "window": window_scale(features)}
    fitted = scales.get(scale) or fit_scale(scale, windows.reshape(-1, features))
    return labeled_data(windows, np.zeros(count, int), scale=fitted)


def scaled_windows(data: Data) -> Array:
    return data.scale.scaled(data.train.windows(), data.train.windows())


def untrained_residuals(data: Data, **options: Any) -> Array:
    config = Series(**{"data": "x.csv", "window": WINDOW, "code": CODE, "units": 4} | options)
    return reconstruction.model_residuals(KerasNetwork(build_model(config, data)))(scaled_windows(data))


@pytest.mark.parametrize(
    "scale", sampled(("standard", "minmax", "window", "none"), quick=("standard",), slow=("window", "none"))
)
@pytest.mark.parametrize(
    ("task", "features", "components"), [("reconstruct", 2, CODE), ("anomaly", 1, reconstruction.LINKED_COMPONENTS)]
)
def test_untrained_autoencoder_reconstructs_as_principal_components_do(
    scale: str, task: str, features: int, components: int
) -> None:
    data = linear_data(scale, features=features)
    windows = scaled_windows(data)
    expected = reconstruction.principal_components(data, components).residuals(windows)
    found = untrained_residuals(data, task=task, scale=scale)
    largest = np.abs(windows).max()
    np.testing.assert_allclose(found / largest, expected / largest, atol=1e-6)
    assert np.square(expected).mean() < np.square(reconstruction.mean_residuals(windows)).mean()


@pytest.mark.parametrize("options", [{"task": "reconstruct", "link": "none"}, {"task": "anomaly"}])
def test_autoencoder_without_link_starts_at_random(options: dict[str, str]) -> None:
    """A detector of several columns has no link."""
    data = linear_data()
    expected = reconstruction.principal_components(data, CODE).residuals(scaled_windows(data))
    assert np.square(untrained_residuals(data, **options)).mean() > 2 * np.square(expected).mean()


def test_components_without_variance_are_unused() -> None:
    """Windows of a line vary in two directions; rounding errors are no further ones."""
    rows = np.add.outer(np.random.default_rng(0).normal(size=30), np.arange(WINDOW)) * np.float32(0.3)
    data = labeled_data(rows[..., None], np.zeros(30, int), scale=fixed_scale(1, 2))
    link = reconstruction.fit_link(Series(data="x.csv", window=WINDOW, code=4, task="reconstruct"), data)
    assert link
    assert np.abs(link.encoder).any(axis=0).tolist() == np.abs(link.decoder).any(axis=1).tolist()
    assert np.abs(link.encoder).any(axis=0).sum() <= 2
    assert np.abs(link.encoder).max() < 100


def test_verdict_of_the_start_is_a_tie() -> None:
    """The reconstructions of the untrained network and of its baseline differ by rounding."""
    data = linear_data()
    config = Series(data="x.csv", window=WINDOW, code=CODE, units=4, task="reconstruct")
    verdict = reconstruction.evaluate(KerasNetwork(build_model(config, data)), data).verdicts["test"]
    assert verdict.outcome == "ties with"
    assert verdict.words == UNIMPROVED


def test_change_of_a_constant_series_is_an_anomaly() -> None:
    """A constant series is reconstructed exactly, so that its residuals have no size of their own."""
    rows = np.full((300, 1), 5, np.float32)
    splits = (Split(rows, np.arange(293), WINDOW, np.zeros(300, np.int32)) for _ in range(3))
    data = Data(*splits, fit_scale("standard", rows), Source("t", "", ""))
    config = Series(data="x.csv", window=WINDOW, code=2, units=3)
    model = KerasNetwork(build_model(config, data))
    (normal, *_), _ = reconstruction.fit_detector(model, data, config, reconstruction.principal_components(data, 2))
    threshold = normal.threshold(parse_threshold("quantile:0.99")).value
    changed = rows.copy()
    changed[150:156] += 0.001
    scorer = normal.scorer(reconstruction.window_sources(slide(model, config).residuals, normal))
    same, other = (scorer.score_rows(each, np.zeros(len(each), np.int32)).scores for each in (rows, changed))
    assert (same[WINDOW - 1 :] <= threshold).all()
    assert other[152] > 100 * threshold


def test_columns_that_are_constant_in_validation_rows_differ_from_those_that_never_change() -> None:
    """A change of the second column, which is constant in all normal rows, has a deviation of a hundredth."""
    rows = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    rows[:, 1] = 0
    rows[200:] = 0
    parts = [rows[:200], rows[200:], rows[200:]]
    splits = (Split(part, np.arange(len(part) - 4), 5, np.zeros(len(part), np.int32)) for part in parts)
    data = Data(*splits, fixed_scale(), Source("t", "", ""))
    config = Series(data="x.csv", window=5, code=2, units=3)
    (_, pca, _), _ = reconstruction.fit_detector(
        KerasNetwork(build_model(config, data)), data, config, reconstruction.principal_components(data, 2)
    )
    # The columns have a standard deviation of 1 in the training rows.
    np.testing.assert_allclose(pca.views["network"].calibration.deviation, [0.75, 0.01], rtol=0.1)
