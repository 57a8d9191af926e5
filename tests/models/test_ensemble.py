"""Test networks that average several members: their weights, their outputs, and the training of the members."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from price_makers import days_of, prices
from sampling import sampled

from lstm_ae import experiment
from lstm_ae.config import Config, Series, Snp
from lstm_ae.data.windows import Data
from lstm_ae.experiment import average_models, member_states
from lstm_ae.models.scaling import inner_network
from lstm_ae.studies import build_model, load_study
from lstm_ae.training.checkpoint import completed_epochs
from lstm_ae.training.observer import Progress, TrainingObserver

SMALL: dict[str, Any] = {"window": 8, "units": 2, "batch_size": 64, "deterministic": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    values = np.sin(np.arange(600) / 5) + random.normal(0, 0.1, 600)
    with (place / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["x", "y", "label"], *zip(values, values**2, values > 0, strict=True)])
    prices(place, days_of("AAA", 500), days_of("BBB", 500, seed=1, price=9))
    return place


def load(config: Config) -> tuple[Config, Data]:
    if isinstance(config, Series):
        from lstm_ae.studies.series.defaults import load_complete

        return tuple(load_complete(config))
    return config, load_study(config).load(config)


def table(folder: Path, **options: Any) -> Series:
    columns = {"value_cols": ("x", "y")} | ({"label_col": "label"} if options["task"] == "classify" else {})
    return Series(data=str(folder / "table.csv"), **SMALL | columns | options)


def stocks(folder: Path, **options: Any) -> Snp:
    return Snp(data=str(folder / "prices.csv"), **SMALL | options)


def config_of(kind: str, folder: Path, **options: Any) -> Config:
    if kind == "prices":
        return stocks(folder, **options)
    return table(folder, task=kind, **({"horizon": 3} if kind == "forecast" else {}) | options)


def scaled_inputs(network: Any) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    shapes = {name: tensor.shape for name, tensor in network.input.items()}
    return {name: random.normal(size=(5, *(size or 8 for size in shape[1:]))) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("forecast", {"layers": 2, "dropout": 0.2, "bidirectional": True}),
        pytest.param("forecast", {"segment": 3, "dropout": 0.2}, marks=pytest.mark.slow),
        pytest.param("classify", {"bidirectional": True}, marks=pytest.mark.exhaustive),
        pytest.param("prices", {"link": "none", "last_day_only": True}, marks=pytest.mark.exhaustive),
        pytest.param("prices", {"target": "level"}, marks=pytest.mark.slow),
        ("prices", {"inputs": "ohlc"}),
    ],
    ids=str,
)
def test_average_has_the_mean_output_of_its_members(folder: Path, kind: str, options: dict[str, Any]) -> None:
    config, data = load(config_of(kind, folder, seeds=3, **options))
    models = [build_model(member, data) for member in config.for_members()]
    random = np.random.default_rng(0)
    for model in models:
        network = inner_network(model)
        for weight in network.trainable_variables:
            weight.assign(np.asarray(weight) + random.normal(0, 0.01, weight.shape))
    average, members = inner_network(average_models(config, data, models)), list(map(inner_network, models))

    inputs = scaled_inputs(average)
    (output,) = average.output
    separate = [np.asarray(member(inputs)[output], np.float64) for member in members]
    assert abs(separate[0] - separate[1]).max() > 1e-5
    mean = np.mean(separate, axis=0)
    if "link" in {layer.name for layer in average.layers}:
        # The evidence is averaged before the probabilities are computed.
        mean = np.exp(np.mean(np.log(separate), axis=0))
        mean /= mean.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(average(inputs)[output], mean, rtol=1e-4, atol=2e-6)


class Interruption(TrainingObserver):
    """Interrupt the training in an epoch of a member, and record the trained epochs."""

    def __init__(self, member: int = 0, epoch: int = 0) -> None:
        self.at, self.trained = (member, epoch), set[tuple[int, int]]()
        self.history: list[Mapping[str, float]] = []

    def on_progress(self, progress: Progress) -> None:
        self.trained.add((progress.member, progress.epoch))
        assert progress.members == 2
        if (progress.member, progress.epoch) == self.at and not progress.finished:
            raise KeyboardInterrupt

    def on_epoch(self, history: Sequence[Mapping[str, float]]) -> None:
        self.history = list(history)


@pytest.mark.parametrize("kind", sampled(("forecast", "prices", "classify"), slow=("forecast",)))
def test_members_equal_single_trainings_also_after_an_interruption(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "keep_better", lambda config, data, model, result, *others: (model, result))
    options: dict[str, Any] = {"dropout": 0.2, "epochs": 2, "seed": 5, "learning_rate": 0.02}
    config, data = load(config_of(kind, folder, seeds=2, **options))
    state = Path("state.npz")
    stopped = Interruption(member=2, epoch=2)
    with pytest.raises(KeyboardInterrupt):
        experiment.fit_model(config, data, state=state, observer=stopped)
    assert all(path.exists() for path in member_states(config, state))
    assert [(row["seed"], row["epoch"]) for row in stopped.history] == [(5, 0), (5, 1), (5, 2), (6, 0), (6, 1)]

    resumed = Interruption()
    model, result = experiment.fit_model(config, data, state=state, observer=resumed)
    # Only the last epoch of the second network is left.
    assert resumed.trained == {(2, 2)}
    assert (len(result.members), result.epochs) == (2, 4)

    average = inner_network(model)
    for number, member in enumerate(config.for_members(), start=1):
        assert (member.seed, len(member.for_members())) == (4 + number, 1)
        alone, own = experiment.fit_model(member, data)
        joined = result.members[number - 1]
        assert (joined.best_epoch, completed_epochs(joined.history)) == (own.best_epoch, 2)
        assert [row["val_loss"] for row in joined.history] == [row["val_loss"] for row in own.history]
        for layer in inner_network(alone).layers:
            if layer.name not in ("linear", "link") and layer.weights and not layer.name.startswith("convolutions"):
                ours = average.get_layer(f"member_{number}_{layer.name}").get_weights()
                for ours_weight, theirs in zip(ours, layer.get_weights(), strict=True):
                    np.testing.assert_array_equal(ours_weight, theirs)
