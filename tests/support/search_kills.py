"""Searches to be killed, and the results they must still reach."""

import numpy as np
from searches import table_of

SMALL = "toy tune --deterministic --epochs 4 --seed 1"
# Its trials take long enough to be killed at a moment that only a clock tells.
GRID = f"{SMALL} --sequences 2000 --units 2,4 --learning-rate 0.1,0.01"


RESUME = "toy tune --resume --out s"


def outcome(place):
    """Return what must not depend on kills: all trials, and the weights of the best one."""
    import keras

    (winner,) = (place / "trials").iterdir()
    weights = keras.saving.load_model(winner / "model.keras", compile=False).get_weights()
    return table_of(place), winner.name, weights


def assert_equal(place, reference):
    table, winner, weights = outcome(place)
    assert (table, winner) == reference[:2]
    for one, other in zip(weights, reference[2], strict=True):
        assert np.array_equal(one, other)
    left = {path.name for path in place.iterdir() if not path.name.startswith(".")}
    assert left == {"search.json", "journal.jsonl", "table.csv", "figures", "trials", "states"}
    assert not list((place / "states").iterdir())
