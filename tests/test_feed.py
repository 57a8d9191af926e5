"""Training batches: targets worked by hand for each output, and the order of the samples."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lstm_ae.data.scaling import Scale, fixed, min_max_per_company, per_window
from lstm_ae.data.windows import Split
from lstm_ae.feed import Shuffle, batches, steps_of


def network(**shapes: tuple[int | None, ...]) -> Any:
    """What a feed needs to know of a network: the names and shapes of its outputs."""
    return SimpleNamespace(output={name: SimpleNamespace(shape=shape) for name, shape in shapes.items()})


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


def only(dataset: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    ((inputs, targets),) = list(dataset)
    return lists(inputs), lists(targets)


SERIES = split([10, 12, 14, 18, 30], [0, 2], 3)


def test_a_reconstruction_aims_at_its_own_input() -> None:
    inputs, targets = only(batches(SERIES, fixed(10, 4), RECONSTRUCTION, 8))
    assert inputs == {"sequence": [[0, 0.5, 1], [1, 2, 5]]}
    assert targets == {"reconstruction": inputs["sequence"]}


def test_the_future_is_the_window_shifted_by_one_step() -> None:
    inputs, targets = only(batches(SERIES, fixed(10, 4), FUTURE, 8))
    assert inputs == {"past": [[0, 0.5], [1, 2]]}
    assert targets == {"future": [[0.5, 1], [2, 5]]}


def test_the_last_day_alone() -> None:
    inputs, targets = only(batches(SERIES, fixed(10, 4), LAST_DAY, 8))
    assert inputs == {"past": [[0, 0.5], [1, 2]]}
    assert targets == {"future": [[1], [5]]}


def test_labels_go_with_their_samples() -> None:
    digits = split([0, 51, 102, 153, 204, 255], [0, 3], 3, label=np.array([7, 2], np.int32))
    inputs, targets = only(batches(digits, fixed(0, 255), DIGIT, 8))
    np.testing.assert_allclose(inputs["sequence"], [[0, 0.2, 0.4], [0.6, 0.8, 1]], rtol=1e-6)
    assert targets["label"] == [7, 2]
    assert targets["reconstruction"] == inputs["sequence"]


def test_each_company_by_its_own_range() -> None:
    series = split([2, 4, 10, 100, 150, 200], [0, 3], 3, company=np.array([1, 1, 1, 2, 2, 2], np.int32))
    assert series.company is not None
    scale = min_max_per_company(series.series, series.company, 2)
    inputs, targets = only(batches(series, scale, FUTURE, 8))
    assert inputs == {"past": [[0, 0.25], [0, 0.5]]}
    assert targets == {"future": [[0.25, 1], [0.5, 1]]}


def test_a_window_is_scaled_by_what_it_reads_alone() -> None:
    """The day to be forecast has no part in the range: 18 lies past the top of 10 to 14."""
    series = split([10, 12, 14, 18, 5, 5, 5, 6], [0, 4], 4)
    inputs, targets = only(batches(series, per_window(1), LAST_DAY, 8))
    assert inputs == {"past": [[0, 0.5, 1], [0, 0, 0]]}
    assert targets == {"future": [[2], [1]]}  # (18 - 10) / 4; a constant window is divided by 1


def test_a_reconstructed_window_is_scaled_as_a_whole() -> None:
    inputs, _ = only(batches(split([10, 12, 18], [0], 3), per_window(1), RECONSTRUCTION, 8))
    assert inputs == {"sequence": [[0, 0.25, 1]]}


@pytest.mark.parametrize("scale", [fixed(3, 7), per_window(1)], ids=["fixed", "window"])
def test_fed_as_the_scale_says(scale: Scale) -> None:
    random = np.random.default_rng(0)
    series = Split(random.uniform(1, 100, (20, 1)).astype(np.float32), np.arange(15), 4)
    inputs, _ = next(iter(batches(series, scale, FUTURE, 15)))
    past = series.windows()[:, :-1]
    offset, span = scale.of(past)
    np.testing.assert_allclose(inputs["past"], (past - offset) / span, rtol=1e-5, atol=1e-6)


# Samples of one row each that hold their own number.
NUMBERED = split([float(number) for number in range(11)], list(range(11)), 1)


def orders(seed: int, first: int, last: int, size: int = 4) -> list[list[list[float]]]:
    """By epoch and batch, the samples as they come."""
    shuffle = Shuffle(seed, first, last)
    dataset = batches(NUMBERED, fixed(), network(reconstruction=(None, 1, 1)), size, shuffle)
    found = [inputs["sequence"].numpy().ravel().tolist() for inputs, _ in dataset]
    steps = steps_of(NUMBERED, size)
    assert len(found) == steps * (last - first)
    return [found[start : start + steps] for start in range(0, len(found), steps)]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    three = orders(5, 0, 3)
    assert orders(5, 0, 3) == three
    assert orders(5, 2, 3) == three[2:]  # as a resumed training takes it up
    assert orders(6, 0, 3)[0] != three[0]
    assert len({str(epoch) for epoch in three}) == 3


def test_seeds_past_31_bits_count() -> None:
    assert orders(2**32 - 1, 0, 1) != orders(2**31 - 1, 0, 1)


def test_every_sample_once_an_epoch_the_short_batch_included() -> None:
    for epoch in orders(1, 0, 4):
        assert [len(batch) for batch in epoch] == [4, 4, 3]
        assert sorted(number for batch in epoch for number in batch) == list(range(11))


def test_without_shuffling_a_single_pass_in_order() -> None:
    dataset = batches(NUMBERED, fixed(), network(reconstruction=(None, 1, 1)), 4)
    found = [inputs["sequence"].numpy().ravel().tolist() for inputs, _ in dataset]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


@pytest.mark.parametrize(("size", "steps"), [(1, 11), (4, 3), (11, 1), (5000, 1)])
def test_steps_of_an_epoch(size: int, steps: int) -> None:
    assert steps_of(NUMBERED, size) == steps
