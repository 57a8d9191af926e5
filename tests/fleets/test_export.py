"""Export of a fleet: a model for each series, and refused options."""

import json
from pathlib import Path

import numpy as np
import pytest
from fleet_makers import copy_pump_fleet
from searches import done, refused

from lstm_ae.fleets.directory import Fleet

SERIES = ("a", "b/c")


@pytest.mark.slow
@pytest.mark.parametrize("out", ["", " --out models"])
def test_each_series_has_a_model_with_the_threshold_of_its_run(out: str, proven_here: None) -> None:
    import tensorflow as tf

    fleet = Fleet(copy_pump_fleet(Path("fleet"), SERIES, without=("d",)))
    said = done(f"export fleet{out} --json")
    models = json.loads(said.out)["models"]
    assert list(models) == list(SERIES)
    thresholds = []
    for series, run in fleet.runs().items():
        if series in models:
            path = Path(models[series]["saved_model"])
            assert path.parent == Path("models" if out else "fleet/runs", run.directory.name)
            loaded = tf.saved_model.load(str(path))
            found = loaded.signatures["score"](sequence=tf.zeros((1, 200, 3)))["threshold"].numpy()
            np.testing.assert_allclose(found, [run.metrics()["threshold"]["value"]], rtol=1e-6)
            thresholds.append(found)
    assert len(thresholds) == 2
    assert "budget" in said.err


def test_options_and_fleets_that_cannot_be_exported(tmp_path: Path) -> None:
    fleet = Fleet(copy_pump_fleet(Path("fleet"), (), without=("d",)))
    assert refused("export fleet --out . --name x", 2).startswith("--name does not apply to a fleet")
    assert refused("export fleet", 3) == "No series of the fleet 'fleet' has a model"
    assert "is another run or fleet" in refused("export fleet/common --out . --name fleet", 2)
    fleet.table.unlink()
    assert "is unfinished" in refused("export fleet", 3)
