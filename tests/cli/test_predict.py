"""Test `lstmae predict`: input and output files, and models in folders and on servers."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from searches import call
from served_models import save
from servers import live

from lstm_ae.errors import ConfigError, DataError
from lstm_ae.serving.batch_prediction import (
    FileSamples,
    _are_equal_rows,
    convert_exactly,
    parse_constants,
    predict_file,
    read_samples,
)
from lstm_ae.serving.client import SignatureClient, connect
from lstm_ae.serving.signatures import Signature, TensorSpec

FLOAT = np.dtype(np.float32)
SERIES = Signature(
    "serving_default", {"past": TensorSpec(FLOAT, (None, None, 1))}, {"y": TensorSpec(FLOAT, (None, None, 1))}, True
)
DIGITS = Signature(
    "serving_default", {"sequence": TensorSpec(FLOAT, (None, 2, 2))}, {"y": TensorSpec(FLOAT, (None, 3))}, True
)
FORECAST = SERIES._replace(inputs=SERIES.inputs | {"horizon": TensorSpec(np.dtype(np.int32), (None,))})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("day,value,other\n" + "".join(f"d{k},{k},-{k}.5\n" for k in range(6)))
    return tmp_path / "t.csv"


def test_read_samples_cuts_windows_by_window_and_stride(table: Path) -> None:
    found = read_samples(table, SERIES, columns=["Value"], window=3, stride=2)
    assert len(found) == 2
    np.testing.assert_array_equal(found.part(0, 9)["past"][..., 0], [[0, 1, 2], [2, 3, 4]])
    whole = read_samples(table, SERIES, columns=["other"])
    np.testing.assert_array_equal(whole.part(0, 1)["past"][0, :, 0], [-0.5, -1.5, -2.5, -3.5, -4.5, -5.5])


def test_read_samples_cuts_windows_of_the_length_of_the_model(tmp_path: Path) -> None:
    """A file with one column per feature is a series, which is cut into windows."""
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n5,6\n")
    found = read_samples(tmp_path / "t.csv", DIGITS)
    np.testing.assert_array_equal(found.part(0, 9)["sequence"], [[[1, 2], [3, 4]], [[3, 4], [5, 6]]])
    assert len(read_samples(tmp_path / "t.csv", DIGITS, window=2, stride=2)) == 1
    with pytest.raises(ConfigError, match=r"--window must be 2, the model's window, or omitted\. Received: 3"):
        read_samples(tmp_path / "t.csv", DIGITS, window=3)
    (tmp_path / "three.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(ConfigError, match="4 columns, or 2 as a series, but the file has 3: a, b, c"):
        read_samples(tmp_path / "three.csv", DIGITS)


def test_read_samples_refuses_a_table_with_several_series(tmp_path: Path) -> None:
    """Windows over the whole table would mix rows of different series."""
    path = tmp_path / "t.csv"
    path.write_text("pump,value\n" + "".join(f"{'ns'[k % 2]},{k}\n" for k in range(6)))
    with pytest.raises(DataError, match=r"2 series by 'pump'.*a file for each series"):
        read_samples(path, SERIES, columns=["value"], id_columns=("pump",))
    path.write_text("Pump,value\n" + "".join(f"{'ns'[k % 2]},{k}\n" for k in range(6)))
    with pytest.raises(DataError, match="2 series by 'Pump'"):
        read_samples(path, SERIES, columns=["value"], id_columns=("pump",))
    path.write_text("pump,value\n" + "".join(f"n{' ' * (k % 2)},{k}\n" for k in range(6)))
    assert len(read_samples(path, SERIES, columns=["value"], id_columns=("pump", "site"))) == 1


def test_connect_reads_columns_from_the_manifest(tmp_path: Path) -> None:
    save(tmp_path / "m")
    assert connect(str(tmp_path), None, None, "").id_columns == ()
    (tmp_path / "m" / "1" / "assets.extra").mkdir(exist_ok=True)
    content = '{"id_columns": ["pump"], "features": ["a", "b"]}'
    (tmp_path / "m" / "1" / "assets.extra" / "manifest.json").write_text(content)
    found = connect(str(tmp_path), None, None, "")
    assert (found.id_columns, found.features) == (("pump",), ("a", "b"))


def test_read_samples_finds_the_columns_of_the_training_by_name(tmp_path: Path) -> None:
    """Columns in another order would be scored as if they were the others."""
    path = tmp_path / "t.csv"
    path.write_text("time,B,x,a\n0,1,9,2\n1,3,9,4\n2,5,9,6\n")
    found = read_samples(path, DIGITS, features=("a", "B"))
    np.testing.assert_array_equal(found.inputs["sequence"][0], [[2, 1], [4, 3]])
    named = read_samples(path, DIGITS, columns=("x", "a"), features=("a", "B"))
    np.testing.assert_array_equal(named.inputs["sequence"][0], [[9, 2], [9, 4]])
    with pytest.raises(DataError, match=r"the header lacks c. Rename the columns, or name others with --columns"):
        read_samples(path, DIGITS, features=("a", "c"))
    # A window per row has other names.
    path.write_text("k,l,m,n\n1,2,3,4\n")
    assert read_samples(path, DIGITS, features=("a", "B")).inputs["sequence"].tolist() == [[[1, 2], [3, 4]]]


def test_read_samples_explains_files_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match="separated by semicolons"):
        read_samples(tmp_path / "t.csv", DIGITS, features=("a", "b"))
    with pytest.raises(DataError, match="no column of numbers in its first row"):
        read_samples(tmp_path / "t.csv", DIGITS)
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf[[1, 2], [3, 4]]\n")
    assert len(read_samples(tmp_path / "t.jsonl", DIGITS)) == 1
    (tmp_path / "t.jsonl").write_text("[1,,2]\n")
    with pytest.raises(DataError, match=r"line 1: JSON Parse error: Invalid value\. at offset: 3"):
        read_samples(tmp_path / "t.jsonl", DIGITS)


def test_read_samples_reshapes_each_row_into_one_sample(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,c,d\n1,2,3,4\n5,6,7,8\n")
    found = read_samples(tmp_path / "d.csv", DIGITS)
    np.testing.assert_array_equal(found.inputs["sequence"], [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])


def test_read_samples_reads_npy_npz_and_jsonl(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3, 1))
    assert read_samples(tmp_path / "a.npy", SERIES).inputs["past"].dtype == np.float32
    np.savez(tmp_path / "a.npz", past=np.zeros((2, 3, 1)), horizon=np.array([1, 2]))
    assert read_samples(tmp_path / "a.npz", FORECAST).inputs["horizon"].tolist() == [1, 2]
    (tmp_path / "a.jsonl").write_text(
        '{"past": [[1], [2]], "horizon": 3}\n\n{"past": [[-Infinity], [NaN]], "horizon": 4}\n'
    )
    found = read_samples(tmp_path / "a.jsonl", FORECAST).inputs
    assert found["horizon"].tolist() == [3, 4]
    assert np.isnan(found["past"][1, 1, 0])
    assert found["past"][1, 0, 0] == -np.inf
    (tmp_path / "b.jsonl").write_text("[[1], [2]]\n[[3], [4]]\n")
    set_ = read_samples(tmp_path / "b.jsonl", FORECAST, constants={"horizon": 7}).inputs
    assert set_["horizon"].tolist() == [7, 7]


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("x.txt", "1", {}, "must be a .csv, .jsonl, .npy, or .npz"),
        ("x.csv", "v\n1\n", {"window": 2}, "has 1 row, fewer than a window of 2"),
        ("x.csv", "v\n1\n", {"stride": 2}, "--stride requires --window"),
        ("x.csv", "v,w\n1,2\n", {}, "The model reads 1 column, but the file has v, w. Select columns with --columns"),
        ("x.csv", "v\n1\nx\n", {}, "'x' is not a number"),
        ("x.csv", "v\n", {}, "needs a header and at least one row"),
        ("x.npy", b"no", {}, "is not a NumPy file"),
        ("x.npy", b"", {"window": 3}, "require a .csv file"),
        ("x.jsonl", "[[1]]\n[[1], [2]]\n", {}, "have different shapes"),
        ("x.jsonl", "[[1]]\nnull\n", {}, "line 2: JSON Value: null"),
        ("x.jsonl", "{\n", {}, "line 1: JSON Parse error"),
        ("x.jsonl", '{"x": 1}\n', {}, "an object with the keys past"),
        ("x.jsonl", '[[1]]\n[[1]],"w":[9]\n', {}, "line 2: the line contains more than one JSON value"),
        ("x.jsonl", "[[1e400]]\n", {}, "line 1: JSON Parse error: Number too big to be stored in double"),
        ("x.jsonl", "[[Infinity], [-1e400]]\n", {}, "Number too big to be stored in double"),
        ("x.jsonl", "\n", {}, "contains no samples"),
        ("x.jsonl", "[[1]]\n", {"constants": {"past": 3}}, "only inputs with one value per sample can be set (none)"),
    ],
)
def test_read_samples_refuses_files_that_do_not_match_the_signature(
    tmp_path: Path, name: str, content: Any, options: dict[str, Any], words: str
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((ConfigError, DataError)) as caught:
        read_samples(tmp_path / name, SERIES, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def doubled(calls: list[int], stop_at: int = 99) -> SignatureClient:
    """Return a client that doubles its input and is interrupted at call number `stop_at`."""

    def call_(inputs: Any) -> Any:
        calls.append(len(inputs["past"]))
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return {"y": inputs["past"] * 2}

    return SignatureClient("m/1", "abc", SERIES, call_)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_predict_file_resumes_after_an_interruption(tmp_path: Path, ending: str) -> None:
    samples = FileSamples({"past": np.arange(20, dtype=np.float32).reshape(10, 2, 1)})
    out, other = tmp_path / f"out.{ending}", tmp_path / f"other.{ending}"
    told: list[int] = []
    predict_file(doubled([]), samples, other, batch=3, notify=lambda done, of: told.append(done))
    assert told == [3, 6, 9, 10]
    with pytest.raises(KeyboardInterrupt):
        predict_file(doubled([], 3), samples, out, batch=3, notify=lambda done, of: None)
    assert not out.exists()
    part = tmp_path / f".out.{ending}.part"
    with part.open("ab") as file:
        file.write(b"half a li")  # an incomplete line, as after a power failure
    calls: list[int] = []
    assert predict_file(doubled(calls), samples, out, batch=3, notify=lambda done, of: None) == (10, 6)
    # The last stored row is computed again, to see that the model is the same.
    assert calls == [1, 3, 1]
    assert out.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"other.{ending}", f"out.{ending}"]


def test_predict_file_refuses_output_of_another_model_or_data(tmp_path: Path) -> None:
    samples = FileSamples({"past": np.zeros((4, 2, 1), np.float32)})
    with pytest.raises(KeyboardInterrupt):
        predict_file(doubled([], 2), samples, tmp_path / "o.csv", batch=1, notify=lambda done, of: None)
    others = FileSamples({"past": np.ones((4, 2, 1), np.float32)})
    with pytest.raises(ConfigError, match="belongs to another model, other data"):
        predict_file(doubled([]), others, tmp_path / "o.csv", batch=1, notify=lambda done, of: None)
    for other in ({"model": "m/2"}, {"source": "http://else:8501"}):
        with pytest.raises(ConfigError, match="belongs to another model, other data"):
            predict_file(
                doubled([])._replace(**other), samples, tmp_path / "o.csv", batch=1, notify=lambda done, of: None
            )
    (tmp_path / "there.csv").touch()
    with pytest.raises(ConfigError, match="already exists"):
        predict_file(doubled([]), samples, tmp_path / "there.csv", batch=1, notify=lambda done, of: None)
    with pytest.raises(ConfigError, match=r"must end in \.jsonl or \.csv"):
        predict_file(doubled([]), samples, tmp_path / "o.xls", batch=1, notify=lambda done, of: None)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_predict_file_notices_another_model_behind_the_same_address(tmp_path: Path, ending: str) -> None:
    samples = FileSamples({"past": np.arange(20, dtype=np.float32).reshape(10, 2, 1)})
    out = tmp_path / f"out.{ending}"
    with pytest.raises(KeyboardInterrupt):
        predict_file(doubled([], 3), samples, out, batch=3, notify=lambda done, of: None)
    other = doubled([])._replace(call=lambda inputs: {"y": 2.01 * inputs["past"]})
    with pytest.raises(ConfigError, match=r"m/1 no longer gives the outputs in .* another model"):
        predict_file(other, samples, out, batch=3, notify=lambda done, of: None)
    # The number of the sample does not count.
    assert not _are_equal_rows(b"30000,0.61,0.12", b"30000,0.62,0.12", numbered=True)
    assert not _are_equal_rows(b"30000,0.61,0.12", b"30001,0.61,0.12", numbered=True)
    # Rounding of numbers near zero is no other model.
    assert _are_equal_rows(b"30000,0.61,2.98e-08", b"30000,0.6100001,5.96e-08", numbered=True)
    assert _are_equal_rows(b'{"y":[1.0,-1.1e-9]}', b'{"y":[1.0,1.4e-9]}', numbered=False)
    rounded = doubled([])._replace(call=lambda inputs: {"y": np.float32(2.000001) * inputs["past"]})
    assert predict_file(rounded, samples, out, batch=3, notify=lambda done, of: None) == (10, 6)


def test_predict_file_refuses_a_file_that_another_process_writes(tmp_path: Path) -> None:
    samples, out = FileSamples({"past": np.zeros((4, 2, 1), np.float32)}), tmp_path / "out.csv"

    def again(done: int, of: int) -> None:
        with pytest.raises(ConfigError, match=r"Another process is writing '.*out.csv'\. Wait for it"):
            predict_file(doubled([]), samples, out, batch=2, notify=lambda done, of: None)

    assert predict_file(doubled([]), samples, out, batch=2, notify=again) == (4, 0)


def test_predict_file_numbers_the_columns_of_an_output(tmp_path: Path) -> None:
    def answer(inputs: Any) -> Any:
        count = len(inputs["past"])
        return {"code": np.zeros((count, 2), np.float32), "class": np.ones(count, np.int32), "y": inputs["past"]}

    samples = FileSamples({"past": np.zeros((1, 2, 1), np.float32)})
    predict_file(
        SignatureClient("m/1", "abc", SERIES, answer),
        samples,
        tmp_path / "o.csv",
        batch=8,
        notify=lambda done, of: None,
    )
    assert (tmp_path / "o.csv").read_text() == "sample,code_1,code_2,class,y_1,y_2\n0,0.0,0.0,1,0.0,0.0\n"


@pytest.mark.slow
def test_predict_gives_equal_results_from_folder_rest_and_grpc(tmp_path: Path) -> None:
    save(tmp_path / "plus", 1)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n5,NaN\n")
    with live(tmp_path) as server:
        places = [".", f"http://127.0.0.1:{server.rest}", f"grpc://127.0.0.1:{server.grpc}"]
        said = []
        for number, place in enumerate(places):
            done = call(f"predict {place} x.csv --model plus --out {number}.jsonl --batch-size 2")
            assert done.code == 0, done.err
            said.append((tmp_path / f"{number}.jsonl").read_text())
        assert said == ["[2.0,3.0]\n[4.0,5.0]\n[6.0, NaN]\n"] * 3
        for place in places:
            gone = call(f"predict {place} x.csv --model plus --signature nothing --out n.csv")
            assert gone.code == 2
            assert "--signature must be one of" in gone.err
    gone = call(f"predict {places[1]} x.csv --model plus --out n.csv")
    assert gone.code == 3
    assert "Check that the server is running" in gone.err


def test_predict_sets_the_horizon_of_a_forecast(tmp_path: Path) -> None:
    save(tmp_path / "plus", 3)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    done = call("predict plus x.csv --signature forecast --set horizon=2 --out o.csv --json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"samples": 2, "model": "plus/3", "signature": "forecast", "out": "o.csv"}
    assert (tmp_path / "o.csv").read_text() == "sample,future_1,future_2\n0,2.0,2.0\n1,4.0,4.0\n"


@pytest.mark.parametrize("interrupted", [False, True])
def test_predict_file_pads_forecasts_of_different_horizons(tmp_path: Path, interrupted: bool) -> None:
    save(tmp_path / "plus", 1)
    horizons = np.array([1, 3, 2, 1])
    np.savez(tmp_path / "x.npz", x=np.arange(4.0)[:, None], horizon=horizons)
    found = connect("plus", None, None, "forecast")
    samples = read_samples(tmp_path / "x.npz", found.signature)
    expected = {"o.csv": "sample,future_1,future_2,future_3\n0,0.0,,\n1,1.0,1.0,1.0\n2,2.0,2.0,\n3,3.0,,\n"}
    expected["o.jsonl"] = "[0.0, NaN, NaN]\n[1.0,1.0,1.0]\n[2.0, 2.0, NaN]\n[3.0, NaN, NaN]\n"
    for out, text in expected.items():
        if interrupted:
            calls: list[Any] = []

            def call_(inputs: Any, calls: list[Any] = calls) -> Any:
                calls.append(inputs)
                if len(calls) == 3:
                    raise KeyboardInterrupt
                return found.call(inputs)

            with pytest.raises(KeyboardInterrupt):
                predict_file(found._replace(call=call_), samples, Path(out), batch=1, notify=lambda done, of: None)
        predict_file(found, samples, Path(out), batch=1, notify=lambda done, of: None)
        assert Path(out).read_text() == text


def test_predict_file_refuses_outputs_of_different_width(tmp_path: Path) -> None:
    def answer(inputs: Any) -> Any:
        return {"y": np.zeros((len(inputs["past"]), int(inputs["past"][0, 0, 0])), np.float32)}

    samples = FileSamples({"past": np.array([[[2]], [[3]]], np.float32)})
    with pytest.raises(DataError, match="The columns change at sample 1"):
        predict_file(
            SignatureClient("m/1", "abc", SERIES, answer), samples, Path("o.csv"), batch=1, notify=lambda done, of: None
        )
    # A second call resumes from the partial file and fails in the same way.
    with pytest.raises(DataError, match="change at sample 1"):
        predict_file(
            SignatureClient("m/1", "abc", SERIES, answer), samples, Path("o.csv"), batch=1, notify=lambda done, of: None
        )
    assert not Path("o.csv").exists()


@pytest.mark.parametrize(("cut", "kept"), [(0, 2), (1, 1), (8, 1), (9, 1)], ids=["whole", "end", "quoted", "line"])
def test_predict_file_resumes_csv_rows_with_line_breaks(tmp_path: Path, cut: int, kept: int) -> None:
    """A quoted text can contain a line break, and the partial file can end directly after it."""

    def answer(inputs: Any) -> Any:
        said = [f'"{value:.0f}"\nand on'.encode() for value in inputs["past"][:, 0, 0]]
        return {"y": np.array(said, object)}

    def stopped(inputs: Any) -> Any:
        if inputs["past"][0, 0, 0] == 2:
            raise KeyboardInterrupt
        return answer(inputs)

    samples = FileSamples({"past": np.arange(4, dtype=np.float32).reshape(4, 1, 1)})
    made = SignatureClient("m/1", "abc", SERIES, answer)
    predict_file(made, samples, Path("whole.csv"), batch=1, notify=lambda done, of: None)
    with pytest.raises(KeyboardInterrupt):
        predict_file(made._replace(call=stopped), samples, Path("o.csv"), batch=1, notify=lambda done, of: None)
    part = Path(".o.csv.part")
    part.write_bytes(part.read_bytes()[: len(part.read_bytes()) - cut])
    assert predict_file(made, samples, Path("o.csv"), batch=1, notify=lambda done, of: None) == (4, kept)
    assert Path("o.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_predict_file_restarts_when_no_row_is_complete(tmp_path: Path) -> None:
    samples = FileSamples({"past": np.zeros((1, 1, 1), np.float32)})
    with pytest.raises(KeyboardInterrupt):
        predict_file(doubled([], 1), samples, Path("o.csv"), batch=1, notify=lambda done, of: None)
    Path(".o.csv.part").write_text("sample,y\n0,0")
    predict_file(doubled([]), samples, Path("o.csv"), batch=1, notify=lambda done, of: None)
    assert Path("o.csv").read_text() == "sample,y\n0,0.0\n"


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ([2.5], "int32", "2.5 is not a valid int32"),
        ([1e12], "int32", "1000000000000.0 is not a valid"),
        ([np.nan], "int32", "nan is not a valid"),
        ([np.inf], "int64", "inf is not a valid"),
        ([2.0**63], "int64", "9.22"),
        ([2**63], "int64", "9223372036854775808 is not a valid"),
        ([-1], "uint64", "-1 is not a valid"),
        ([2], "bool", "2 is not a valid bool"),
        ([1e39], "float32", "1e+39 is not a valid float32"),
        ([1], "object", "reads text"),
    ],
)
def test_convert_exactly_refuses_numbers_that_the_dtype_cannot_represent(
    values: list[Any], dtype: str, words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        convert_exactly(np.array(values), np.dtype(dtype))


def test_convert_exactly_accepts_representable_numbers() -> None:
    assert convert_exactly(np.array([2.0, -(2.0**31)]), np.dtype(np.int32)).tolist() == [2, -(2**31)]
    assert convert_exactly(np.array([2**64 - 1], np.uint64), np.dtype(np.uint64)).tolist() == [2**64 - 1]
    assert convert_exactly(np.array([1.0, 0.0]), np.dtype(np.bool_)).tolist() == [True, False]
    assert convert_exactly(np.array([0.1, np.inf, -np.inf]), np.dtype(np.float32)).tolist() == [
        np.float32(0.1),
        np.inf,
        -np.inf,
    ]
    assert np.isnan(convert_exactly(np.array([np.nan]), np.dtype(np.float32))).all()
    assert convert_exactly(np.array([7], np.float16), np.dtype(np.int64)).tolist() == [7]


def test_read_samples_refuses_numbers_invalid_for_the_input_dtype(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", past=np.zeros((1, 3, 1)), horizon=np.array([1.5]))
    with pytest.raises(DataError, match=r"'a\.npz', input 'horizon': 1\.5 is not a valid int32"):
        read_samples(Path("a.npz"), FORECAST)
    (tmp_path / "t.csv").write_text("v\n1\n1e39\n")
    with pytest.raises(DataError, match=r"'t\.csv', input 'past': 1e\+39 is not a valid float32"):
        read_samples(Path("t.csv"), SERIES)
    (tmp_path / "t.csv").write_text("v\n1\n0.1\n")
    for text in ("2.5", "1e12", "nan", "99999999999"):
        with pytest.raises(ConfigError, match=r"--set horizon: .* is not a valid int32"):
            read_samples(Path("t.csv"), FORECAST, constants=parse_constants([f"horizon={text}"]))
    for text in ("2", "2.0", "2e0"):
        found = read_samples(Path("t.csv"), FORECAST, constants=parse_constants([f"horizon={text}"]))
        assert found.inputs["horizon"].tolist() == [2]
    assert parse_constants(["n=9007199254740993"]) == {"n": 9007199254740993}


def test_read_samples_sets_a_text_for_all_samples(tmp_path: Path) -> None:
    """The name of a series may look like a number."""
    named = SERIES._replace(inputs=SERIES.inputs | {"series": TensorSpec(np.dtype(object), (None,))})
    (tmp_path / "t.csv").write_text("v\n1\n2\n3\n")
    for text, expected in (("7", b"7"), ("a=b", b"a=b"), ("\N{LATIN SMALL LETTER U WITH DIAERESIS}", b"\xc3\xbc")):
        constants = parse_constants([f"series={text}"], named)
        found = read_samples(Path("t.csv"), named, window=2, constants=constants)
        assert found.inputs["series"].tolist() == [expected, expected]
    with pytest.raises(ConfigError, match=r"--set series: .*surrogate"):
        read_samples(Path("t.csv"), named, constants=parse_constants(["series=\udcff"], named))


def test_connect_selects_the_model_and_version(tmp_path: Path) -> None:
    save(tmp_path / "a", 1)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2").symlink_to(tmp_path / "a" / "1")
    assert connect(str(tmp_path / "a" / "1"), None, None, "").model == "a/1"
    assert connect(str(tmp_path / "a" / "1"), "a", 1, "").model == "a/1"
    assert connect(str(tmp_path), "b", 2, "").model == "b/2"
    save(tmp_path / "else" / "a", 1, amount=2.0)
    one, same, other = (connect(str(tmp_path / name), None, None, "") for name in ("a/1", "b/2", "else/a/1"))
    assert (other.model, other.source == one.source) == (one.model, False)
    assert same.source == one.source
    for where, model, version, words in (
        (tmp_path, None, None, "--model must be one of a, b"),
        (tmp_path, "c", None, "--model must be one of a, b"),
        (tmp_path, "a", 7, "--model-version must be one of 1"),
        (tmp_path / "a" / "1", "b", None, "is a version, so --model must be a or omitted. Received: b"),
        (tmp_path / "a" / "1", "a", 2, "is a version, so --model-version must be 1 or omitted. Received: 2"),
        ("http://127.0.0.1:1", None, None, "--model is required"),
    ):
        with pytest.raises(ConfigError, match=words):
            connect(str(where), model, version, "")
    with pytest.raises(ConfigError, match="does not return one row per sample"):
        connect(str(tmp_path / "a"), None, None, "whole")
    with pytest.raises(DataError, match="is not a folder"):
        connect("nowhere", None, None, "")
