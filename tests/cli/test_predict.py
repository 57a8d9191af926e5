"""Test `lstmae predict`: tables, and models in folders."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from searches import call
from served_models import save

from lstm_ae.config.reading import UNITS, TimeStep
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.serving import batch_prediction
from lstm_ae.serving.batch_prediction import predict_file
from lstm_ae.serving.callable_signature import CallableSignature, open_signature
from lstm_ae.serving.errors import invalid_argument
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, Signature, TensorSpec

FLOAT = np.dtype(np.float32)
# Two series of four hours, whose rows alternate.
TABLE = "time,pump,a,b\n" + "".join(f"2024-01-01T0{k // 2}:00:00,{'ns'[k % 2]},{k},{10 * k}\n" for k in range(8))
NORTH, SOUTH = [0, 2, 4, 6], [1, 3, 5, 7]


def client(
    inputs: tuple[int | None, ...], answer: Any, horizon: bool = False, other: str = "", **outputs: Any
) -> CallableSignature:
    """Return a client of a model with one input, and perhaps a horizon or another input of a dtype."""
    specs = {"past": TensorSpec(FLOAT, (None, *inputs))}
    if horizon:
        specs["horizon"] = TensorSpec(np.dtype(np.int32), (None,))
    if other:
        specs["other"] = TensorSpec(np.dtype(other), (None,))
    given = {name: TensorSpec(FLOAT, (None, *shape)) for name, shape in outputs.items()}
    signature = Signature("serving_default", specs, given, True)
    return CallableSignature("m/1", signature, answer, ("pump",), ("a", "b"), TimeStep(UNITS["h"]))


def predicted(made: CallableSignature, **request: Any) -> pd.DataFrame:
    """Return the table of predictions for the two series."""
    Path("t.csv").write_text(TABLE)
    rows = predict_file(made, Path("t.csv"), Path("o.csv"), **request)
    frame = pd.read_csv("o.csv")
    assert len(frame) == rows
    return frame


@pytest.mark.parametrize(("window", "samples"), [(None, 1), (3, 2)], ids=["whole series", "windows"])
def test_output_for_each_step_has_one_row_for_each_row_of_the_table(window: int | None, samples: int) -> None:
    """The last window ends at the last row, also where it overlaps the one before it."""
    sent = []

    def answer(inputs: Any) -> Any:
        sent.append(inputs["past"].shape)
        return {"score": 2 * inputs["past"][..., 0], "limit": inputs["past"][:, -1, 0]}

    found = predicted(client((window, 2), answer, score=(window,), limit=()))
    assert sent == [(samples, window or 4, 2)] * 2
    table = pd.read_csv("t.csv")
    assert found[["time", "pump"]].equals(table[["time", "pump"]])
    assert found["score"].tolist() == [2 * k for k in range(8)]
    assert found["limit"][:2].tolist() == ([6, 7] if window is None else [4, 5])


def test_reconstruction_has_the_columns_of_the_table() -> None:
    found = predicted(client((2, 2), lambda inputs: {"y": -inputs["past"]}, y=(2, 2)))
    assert list(found) == ["pump", "time", "y_a", "y_b"]
    assert (found["y_a"].tolist(), found["y_b"].tolist()) == ([-k for k in range(8)], [-10 * k for k in range(8)])


def test_forecast_has_one_row_for_each_step_with_its_time() -> None:
    def answer(inputs: Any) -> Any:
        steps = int(inputs["horizon"][0])
        return {"future": inputs["past"][:, -1:] + np.arange(1, steps + 1)[:, None]}

    forecaster = client((None, 2), answer, horizon=True, future=(None, 2))
    found = predicted(forecaster, horizon=2)
    assert found["pump"].tolist() == ["n", "n", "s", "s"]
    assert found["step"].tolist() == [1, 2, 1, 2]
    assert found["time"].tolist() == ["2024-01-01T04:00:00", "2024-01-01T05:00:00"] * 2
    assert found["origin"].tolist() == ["2024-01-01T03:00:00"] * 4
    assert found["future_a"].tolist() == [7, 8, 8, 9]


def test_output_as_long_as_a_window_is_not_laid_beside_the_rows_that_it_reads() -> None:
    found = predicted(client((3, 2), lambda inputs: {"future": inputs["past"]}, future=(3, 2)))
    assert found["time"][:3].tolist() == [f"2024-01-01T0{hour}:00:00" for hour in (3, 4, 5)]
    assert len(found) == 2 * 2 * 3
    Path("o.csv").unlink()
    found = predicted(client((2, 2), lambda inputs: {"code": inputs["past"][:, 0, :]}, code=(2,)))
    assert (list(found), len(found)) == (["pump", "time", "code_1", "code_2"], 2 * 3)


def test_output_for_each_sample_has_the_time_of_its_last_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = client((2, 2), lambda inputs: {"code": inputs["past"][:, 0, :]}, code=(2,))
    monkeypatch.setattr(batch_prediction, "BATCH", 2)
    found = predicted(made)
    assert found["time"].tolist() == [f"2024-01-01T0{hour}:00:00" for hour in (1, 2, 3)] * 2
    assert found["code_1"].tolist() == [0, 2, 4, 1, 3, 5]
    with pytest.raises(ConfigError) as caught:
        predict_file(made, Path("t.csv"), Path("o.csv"))
    assert caught.value.code.name == "OUTPUT_EXISTS"


@pytest.mark.parametrize("error", [invalid_argument("no"), DataError("no")], ids=["refusal", "data"])
def test_failed_call_names_its_rows_and_writes_no_file(error: Exception) -> None:
    def answer(inputs: Any) -> Any:
        if inputs["past"][0, 0, 0] == SOUTH[0]:
            raise error
        return {"y": inputs["past"]}

    with pytest.raises(DataError, match=r"^'t\.csv', line 3 to 9: no"):
        predicted(client((None, 2), answer, y=(None, 2)))
    assert [path.name for path in Path().iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("made", "request_", "words"),
    [
        (client((None, 3), None), {}, "reads 3 columns, but the table has 2"),
        (client((9, 2), None), {}, "line 2: the series has 4 rows, fewer than a window of 9"),
        (client((None, 2), None, horizon=True), {}, "needs --horizon"),
        (client((None, 2), None), {"horizon": 2}, "does not accept --horizon"),
        (client((None, 2), None, other="int32"), {}, "has past (float32), other (int32)"),
        (client((None, 2), None)._replace(id_columns=()), {}, "line 3: a series has two rows of this time"),
        # A window across a gap would join rows that the model never saw side by side.
        (client((2, 2), None)._replace(step=TimeStep(20 * UNITS["min"])), {}, "line 4: the table lacks 2 rows before"),
        (client((1, 2), lambda inputs: {"y": np.zeros(9)}, y=()), {}, "one row per sample"),
        (client((2, 2), lambda inputs: {"score": np.zeros((3, 1))}, score=(2,)), {}, "line 2 to 8"),
        (client((1, 2), lambda inputs: {"time": np.zeros(4)}, time=()), {}, "'time', which is the name of an output"),
        (
            client((1, 2), lambda inputs: {"y": np.zeros((4, 1 + int(inputs["past"][0, 0, 0])))}, y=(None,)),
            {},
            "line 3 to 9: An output has a different size",
        ),
    ],
)
def test_predict_file_refuses_tables_and_options_that_do_not_fit(
    made: CallableSignature, request_: dict[str, Any], words: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(words)):
        predicted(made, **request_)
    assert not Path("o.csv").exists()


def test_series_without_times_are_placed_by_line() -> None:
    Path("x.csv").write_text("b,a\n1,2\n\n3,4\n")
    made = client((2,), lambda inputs: {"y": inputs["past"]}, y=(2,))._replace(id_columns=())
    assert predict_file(made, Path("x.csv"), Path("o.csv")) == 2
    # The columns are those of the training by name, in any order.
    assert Path("o.csv").read_text() == "line,y_1,y_2\n2,2.0,1.0\n4,4.0,3.0\n"


def test_predict_sets_the_horizon_of_a_forecast(tmp_path: Path) -> None:
    save(tmp_path / "plus", 3)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    done = call("predict plus x.csv --signature forecast --horizon 2 --out o.csv --json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"rows": 4, "model": "plus/3", "signature": "forecast", "out": "o.csv"}
    assert (tmp_path / "o.csv").read_text() == "line,step,future\n2,1,2.0\n2,2,2.0\n3,1,4.0\n3,2,4.0\n"


def test_signature_has_the_columns_and_the_step_from_the_manifest(tmp_path: Path) -> None:
    save(tmp_path / "m")
    assert open_signature(tmp_path / "m", DEFAULT_SIGNATURE)[3:] == ((), (), TimeStep(), {})
    (tmp_path / "m" / "1" / "assets.extra").mkdir(exist_ok=True)
    times = {"time_zone": "Europe/Berlin"}
    content = {"format": 1, "files": {}, "id_columns": ["pump"], "features": ["a", "b"], "freq": "1h", "times": times}
    (tmp_path / "m" / "1" / "assets.extra" / "manifest.json").write_text(json.dumps(content))
    found = open_signature(tmp_path / "m", DEFAULT_SIGNATURE)
    assert found[3:] == (("pump",), ("a", "b"), TimeStep(UNITS["h"]), times)


def test_open_signature_selects_the_newest_version_of_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "a", 9)
    (tmp_path / "a" / "10").symlink_to("9")
    for folder, model in (("a", "a/10"), ("a/9", "a/9")):
        assert open_signature(tmp_path / folder, DEFAULT_SIGNATURE).model == model
    with pytest.raises(ConfigError, match="does not return one row per sample"):
        open_signature(tmp_path / "a", "whole")
    with pytest.raises(ConfigError, match=r"--signature must be one of .*forecast"):
        open_signature(tmp_path / "a", "x")
    for folder in (tmp_path, tmp_path / "nowhere", Path("http://127.0.0.1:1")):
        with pytest.raises(DataError) as caught:
            open_signature(folder, DEFAULT_SIGNATURE)
        assert caught.value.code is Code.MODEL_NOT_FOUND
