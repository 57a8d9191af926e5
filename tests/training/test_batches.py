"""Tests of training batches: the targets of each output, and the order of the samples."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lstm_ae.data.scaling import Scale, company_scale, fixed_scale, window_scale
from lstm_ae.data.windows import Split
from lstm_ae.training.batches import Batches, shuffled_order

ANY = SimpleNamespace(shape=(None, None, 1))


def network(**shapes: tuple[int | None, ...]) -> Any:
    """Return a stand-in for a network with the names and shapes of its outputs and the input `past`."""
    return SimpleNamespace(
        output={name: SimpleNamespace(shape=shape) for name, shape in shapes.items()}, input={"past": ANY}
    )


def horizon_network(steps: int, horizon: int) -> Any:
    """Return a stand-in for a forecaster of a fixed horizon."""
    past = {"past": SimpleNamespace(shape=(None, steps, 1))}
    return SimpleNamespace(output=network(future=(None, horizon, 1)).output, input=past)


RECONSTRUCTION = network(reconstruction=(None, 3, 1))
FUTURE = network(future=(None, None, 1))
LAST_DAY = network(future=(None, 1, 1))
DIGIT = network(reconstruction=(None, 3, 1), label=(None, 10))


def split(values: list[float], starts: list[int], span: int, **others: Any) -> Split:
    return Split(np.array(values, np.float32)[:, None], np.array(starts, np.int64), span, **others)


def lists(tensors: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tensor.numpy().squeeze(-1).tolist() if tensor.ndim == 3 else tensor.numpy().tolist()
        for name, tensor in tensors.items()
    }


def whole(series: Split, scale: Scale, outputs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all samples in one batch."""
    inputs, targets = Batches(series, scale, outputs).cut(np.arange(series.samples))
    return lists(inputs), lists(targets)


SERIES = split([10, 12, 14, 18, 30], [0, 2], 3)


@pytest.mark.parametrize(
    ("outputs", "inputs", "targets"),
    [
        (RECONSTRUCTION, {"sequence": [[0, 0.5, 1], [1, 2, 5]]}, {"reconstruction": [[0, 0.5, 1], [1, 2, 5]]}),
        (FUTURE, {"past": [[0, 0.5], [1, 2]]}, {"future": [[0.5, 1], [2, 5]]}),
        (LAST_DAY, {"past": [[0, 0.5], [1, 2]]}, {"future": [[1], [5]]}),
        # A network that reads two steps of windows of three forecasts the third; one that reads one, both others.
        (horizon_network(2, 1), {"past": [[0, 0.5], [1, 2]]}, {"future": [[1], [5]]}),
        (horizon_network(1, 2), {"past": [[0], [1]]}, {"future": [[0.5, 1], [2, 5]]}),
    ],
    ids=["reconstruction", "shifted window", "last day", "one step", "two steps"],
)
def test_targets_follow_the_outputs_of_the_network(
    outputs: Any, inputs: dict[str, Any], targets: dict[str, Any]
) -> None:
    assert whole(SERIES, fixed_scale(10, 4), outputs) == (inputs, targets)


def test_label_targets_match_their_samples() -> None:
    digits = split([0, 51, 102, 153, 204, 255], [0, 3], 3, label=np.array([7, 2], np.int32))
    inputs, targets = whole(digits, fixed_scale(0, 255), DIGIT)
    np.testing.assert_allclose(inputs["sequence"], [[0, 0.2, 0.4], [0.6, 0.8, 1]], rtol=1e-6)
    assert targets["label"] == [7, 2]
    assert targets["reconstruction"] == inputs["sequence"]


def test_company_scale_uses_the_range_of_each_company() -> None:
    series = split([2, 4, 10, 100, 150, 200], [0, 3], 3, line=np.array([1, 1, 1, 2, 2, 2], np.int32))
    assert series.line is not None
    scale = company_scale(series.series, series.line, 2)
    inputs, targets = whole(series, scale, FUTURE)
    assert inputs == {"past": [[0, 0.25], [0, 0.5]]}
    assert targets == {"future": [[0.25, 1], [0.5, 1]]}


def test_window_scale_excludes_the_day_to_forecast() -> None:
    """The range is 10 to 14, without the 18 of the day to forecast."""
    series = split([10, 12, 14, 18, 5, 5, 5, 6], [0, 4], 4)
    inputs, targets = whole(series, window_scale(1), LAST_DAY)
    assert inputs == {"past": [[0, 0.5, 1], [0, 0, 0]]}
    assert targets == {"future": [[2], [1]]}  # (18 - 10) / 4; a constant window is divided by 1


def orders(seed: int, first: int, last: int) -> list[list[int]]:
    return [shuffled_order(11, seed, epoch).numpy().tolist() for epoch in range(first, last)]


def test_shuffled_order_depends_only_on_seed_and_epoch() -> None:
    three = orders(5, 0, 3)
    assert orders(5, 0, 3) == three
    assert orders(5, 2, 3) == three[2:]  # as in a resumed training
    assert orders(6, 0, 1)[0] != three[0]
    assert len({str(epoch) for epoch in three}) == 3


def test_shuffled_order_distinguishes_seeds_above_31_bits() -> None:
    assert orders(2**32 - 1, 0, 1) != orders(2**31 - 1, 0, 1)


def test_shuffled_order_contains_every_sample_once() -> None:
    for epoch in orders(1, 0, 4):
        assert sorted(epoch) == list(range(11))
