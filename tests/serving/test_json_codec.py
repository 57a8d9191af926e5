"""Test requests and responses in JSON: cases documented by TensorFlow Serving, and errors of clients."""

import json

import numpy as np
import pytest

from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.json_codec import PredictRequest, read_predict_request, write_predictions

DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "long": np.int64,
    "byte": np.uint8,
    "bool": np.bool_,
    "text": object,
}


def read(body: str | bytes, **inputs: str) -> PredictRequest:
    """Read a request whose inputs have these dtypes."""
    dtypes = {name: np.dtype(DTYPES[kind]) for name, kind in inputs.items()}
    return read_predict_request(
        body.encode() if isinstance(body, str) else body, {"serving_default": dtypes, "s": dtypes}
    )


def refused(body: str | bytes, **inputs: str) -> str:
    """Return the message with which a request is refused."""
    with pytest.raises(Refusal) as caught:
        read(body, **inputs)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT
    assert caught.value.http == 400
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ('{"instances": [[1,2],[3,4],[5,6]]}', "int", [[1, 2], [3, 4], [5, 6]]),
        ('{"instances": [1, 2.0, 3, 5.003, 0.007, 0.0]}', "float", [1, 2, 3, 5.003, 0.007, 0]),
        ('{"instances": [1.0, 2, 0.662, 0]}', "double", [1.0, 2.0, 0.662, 0.0]),
        ('{"instances": ["foo", "bar", "b\\u00e4r"]}', "text", [b"foo", b"bar", "bär".encode()]),
        ('{"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}', "text", [b"hello", b"world"]),
        ('{"instances": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]}', "text", [[b"hello"], [b"world"]]),
        ('{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}', "int", [[1, 2], [3, 4]]),
        ('{"instances": [true, false]}', "bool", [True, False]),
        ('{"instances": [9223372036854775807, -9223372036854775808]}', "long", [2**63 - 1, -(2**63)]),
        ('{"instances": [NaN, Infinity, -Infinity]}', "float", [np.nan, np.inf, -np.inf]),
        ('{"instances": [-0.0, 1e-45, 1E5, 3.4028235e38]}', "float", [-0.0, 1e-45, 1e5, 3.4028235e38]),
        ('{"instances": [16777217, 16777219, 16777217.0]}', "float", [16777216, 16777220, 16777216]),
        ('{"instances": [9007199254740993, 1e39, 99999999999999999999999]}', "double", [2.0**53, 1e39, 1e23]),
        ('{"instances": [3.4028235677973366e38, -1e39, 1e39]}', "float", [np.inf, -np.inf, np.inf]),
        ('{"instances": [NaN, 1e39, 1.5]}', "float", [np.nan, np.inf, 1.5]),
        ('{"inputs": [[[1,2],[3,4]]]}', "int", [[[1, 2], [3, 4]]]),
        ('{"inputs": {"x": [[1,2],[3,4]]}}', "int", [[1, 2], [3, 4]]),
        ('{"inputs": {"b64": "aGVsbG8="}}', "text", b"hello"),
        ('{"inputs": [{"b64": "aGVsbG8"}, {"b64": " aGVs\\nbG8= "}]}', "text", [b"hello", b"hello"]),
        ('{"inputs": 5}', "int", 5),
        ('{"inputs": [[], []]}', "float", [[], []]),
        ('{"inputs": []}', "float", []),
        ('{"instances": [2.3e-308, -2.3e-308]}', "float", [0.0, -0.0]),
        ('{"instances": [{"x": [[{"b64": "b25l"}], [{"b64": "dHdv"}]]}]}', "text", [[[b"one"], [b"two"]]]),
        ('\ufeff{"inputs": [1.5]}', "float", [1.5]),
        ('{"unknown": {"a": [null]}, "inputs": [1.5]}', "float", [1.5]),
        ('{"inputs" : [0.1], "signature_name": ""}', "float", [0.1]),
    ],
)
def test_request_with_one_input_is_read(body: str, kind: str, expected: object) -> None:
    array = read(body, x=kind).inputs["x"]
    assert array.dtype == DTYPES[kind]
    wanted = np.array(expected, DTYPES[kind])
    assert array.shape == wanted.shape
    np.testing.assert_array_equal(array, wanted)
    assert (np.signbit(array) == np.signbit(wanted)).all() if array.dtype.kind == "f" else True


def test_request_with_several_inputs_in_row_format() -> None:
    body = """{"signature_name": "s", "instances": [
        {"i": [[1,2],[3,4]], "s": ["foo", "bar"], "f": [1.0, NaN], "d": [NaN]},
        {"i": [[7,8],[9,0]], "s": ["baz", "bat"], "f": [2.0, Infinity], "d": [2.0]}]}"""
    asked = read(body, i="int", s="text", f="float", d="double")
    assert (asked.signature, asked.rows) == ("s", True)
    np.testing.assert_array_equal(asked.inputs["i"], [[[1, 2], [3, 4]], [[7, 8], [9, 0]]])
    np.testing.assert_array_equal(asked.inputs["s"], np.array([[b"foo", b"bar"], [b"baz", b"bat"]], object))
    np.testing.assert_array_equal(asked.inputs["f"], np.float32([[1, np.nan], [2, np.inf]]))
    np.testing.assert_array_equal(asked.inputs["d"], [[np.nan], [2.0]])


def test_request_with_several_inputs_in_column_format() -> None:
    body = '{"inputs": {"i": [[1,2]], "s": ["foo", "bar"], "b": {"b64": "aGVsbG8="}}}'
    asked = read(body, i="int", s="text", b="text")
    assert not asked.rows
    assert asked.inputs["b"].shape == ()
    assert asked.inputs["b"].item() == b"hello"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "document is empty"),
        ("{", "JSON Parse error"),
        ('{"instances": [1.0\x00]}', "JSON Parse error"),
        ('{"instances": [nan]}', "JSON Parse error"),
        ("[1]", "Is not object"),
        ("null", "Is not object"),
        ('{"instances": [1]}x', "JSON Parse error"),
        (b'{"inputs": ["\xff"]}', "not UTF-8"),
        (b'\xff\xfe{\x00"', "not UTF-8"),
        ('{"inputs": [1], "inputs": [2]}', "contains a key twice"),
        ('{"instances": [{"x": 1, "x": 2}]}', "contains a key twice"),
        ('{"instances": [[1]], "instances" \t: [[2]]}', "contains a key twice"),
        ("[" * 200_000, "nested too deeply"),
        ('{"inputs": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
        ('{"a": {"b": ' * 100_000, "nested too deeply"),
        ('{"signature_name": 5, "instances": [1]}', "must be a string value"),
        ('{"instances": [1], "inputs": [1]}', "expecting only one of"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"instances": []}', "No values in 'instances'"),
        ('{"instances": 5}', "to be an list/array"),
        ('{"instances": {"x": [1]}}', "to be an list/array"),
        (
            '{"instances": [[1,2],[3,4],[5,6,7]]}',
            "element: 2 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3",
        ),
        ('{"instances": [[1,2],[3,4],[[5,6]]]}', "Expecting shape [2] but got: [1,2]"),
        ('{"instances": [1, [1]]}', "Expecting shape [] but got: [1]"),
        ('{"instances": [[1, 2], 1]}', "Expecting tensor size: 2 but got: 1"),
        ('{"instances": [[[1, 2], [3]]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"instances": [[1, [1]]]}', "Encountered list at unexpected level: 1 expected < 1"),
        ('{"instances": [[[1], 1]]}', "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ('{"instances": [1, {"x": 1}]}', "Expecting value/list but got object at item 1"),
        ('{"instances": [{"x": 1}, 1]}', "Expecting object but got list at item 1"),
        ('{"instances": [{"x": 1}, {"y": 1}]}', "element: 1 key: y of 'instances' list"),
        ('{"instances": [{"x": 1, "y": 1}]}', "JSON object: does not have named input: y"),
        ('{"instances": [{}]}', "keys must be equal to: x"),
        ('{"instances": [null]}', "JSON Value: null Type: Null is not of expected type: float"),
        ('{"instances": [true]}', "JSON Value: true Type: True is not of expected type: float"),
        ('{"instances": ["1.5"]}', 'JSON Value: "1.5" Type: String is not of expected type: float'),
        ('{"instances": [[{}]]}', "JSON Value: {} Type: Object is not of expected type: float"),
        ('{"instances": [1e400]}', "Number too big to be stored in double"),
        ('{"instances": [' + "9" * 400 + "]}", "Number too big to be stored in double"),
        ('{"instances": [NaN, 1e400]}', "Number too big to be stored in double"),
        ('{"instances": [NaN, ' + "9" * 400 + ".5]}", "Number too big to be stored in double"),
        ('{"inputs": {"y": [1]}}', "Missing named input: x in 'inputs' object."),
        ('{"inputs": null}', "Null is not of expected type: float"),
        ('{"inputs": "x"}', "String is not of expected type: float"),
        ('{"inputs": [[1], 2]}', "found at incorrect level: 2"),
    ],
)
def test_invalid_requests_are_refused(body: str | bytes, words: str) -> None:
    assert words in refused(body, x="float")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ('{"instances": [1.5]}', "int", "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ('{"instances": [2147483648]}', "int", "is not of expected type: int32"),
        ('{"instances": [9223372036854775808]}', "long", "is not of expected type: int64"),
        ('{"instances": [1, 256]}', "byte", "is not of expected type: uint8"),
        ('{"instances": [1]}', "bool", "is not of expected type: bool"),
        ('{"instances": [5]}', "text", "JSON Value: 5 Type: Number is not of expected type: string"),
        ('{"instances": [{"b64": "***"}]}', "text", "Unable to base64 decode"),
        ('{"instances": [[{"b64": 5}]]}', "text", "not formatted correctly for base64 data"),
        ('{"instances": ["\\ud800"]}', "text", "surrogate pair in string is invalid"),
    ],
)
def test_values_of_wrong_dtype_are_refused(body: str, kind: str, words: str) -> None:
    assert words in refused(body, x=kind)


def test_request_with_several_inputs_requires_names() -> None:
    assert "expecting list of objects" in refused('{"instances": [1, 2]}', x="int", y="int")
    assert "expecting an object" in refused('{"inputs": [1, 2]}', x="int", y="int")


def test_error_messages_are_limited_to_1000_characters() -> None:
    assert len(refused('{"signature_name": "' + "x" * 10_000_000 + '", "instances": 5}', x="float")) == 1000
    with pytest.raises(Refusal) as caught:
        raise Refusal(StatusCode.INVALID_ARGUMENT, "x" * 5000)
    assert len(caught.value.message) == 1000


def test_predictions_in_row_and_column_format() -> None:
    numbers = np.float32([[0.1, 1], [1e10, -3e-8]])
    assert write_predictions({"y": numbers}, rows=True) == b'{"predictions":[[0.1,1.0],[10000000000.0,-3e-8]]}'
    assert json.loads(write_predictions({"y": numbers}, rows=False)) == {"outputs": [[0.1, 1.0], [1e10, -3e-8]]}
    two = {"y": numbers, "n": np.int32([1, 2])}
    assert json.loads(write_predictions(two, rows=True))["predictions"][1] == {"y": [1e10, -3e-8], "n": 2}
    assert json.loads(write_predictions(two, rows=False))["outputs"]["n"] == [1, 2]


def test_predictions_write_nan_and_infinity() -> None:
    said = write_predictions({"y": np.float32([0.1, np.nan, np.inf, -np.inf])}, rows=True)
    assert said == b'{"predictions": [0.1, NaN, Infinity, -Infinity]}'
    rows = write_predictions({"y": np.float32([[np.nan], [0.2]]), "t": np.array([True, False])}, rows=True)
    assert rows == b'{"predictions": [{"y": [NaN], "t": true}, {"y": [0.2], "t": false}]}'


def test_predictions_write_text_and_base64() -> None:
    text = np.array([b"a", "ä".encode()], object)
    assert json.loads(write_predictions({"s": text}, rows=True)) == {"predictions": ["a", "ä"]}
    assert json.loads(write_predictions({"s_bytes": text}, rows=True))["predictions"][0] == {"b64": "YQ=="}
    with pytest.raises(Refusal, match="contains bytes that are not text"):
        write_predictions({"s": np.array([b"\xff"], object)}, rows=True)


def test_predictions_without_rows_require_column_format() -> None:
    with pytest.raises(Refusal, match=r"no shape information; .* send 'inputs' instead of 'instances'"):
        write_predictions({"y": np.float32(5)}, rows=True)
    for rows in (0, 2):
        with pytest.raises(Refusal, match=rf"z has inconsistent batch size: 3 expecting: {rows}; .* send 'inputs'"):
            write_predictions({"y": np.zeros(rows, np.float32), "z": np.zeros(3, np.float32)}, rows=True)
    assert json.loads(write_predictions({"y": np.zeros((0, 2), np.float32)}, rows=True)) == {"predictions": []}
    for outputs, words in (({}, "empty tensor map"), ({"c": np.complex64([1])}, "tensor type: complex64")):
        with pytest.raises(Refusal, match=words):
            write_predictions(outputs, rows=True)
    assert write_predictions({"y": np.float32(5)}, rows=False) == b'{"outputs":5.0}'


def test_float32_values_round_trip_through_json() -> None:
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, 10_000, np.uint64).astype(np.uint32).view(np.float32)
    for values in (bits[np.isfinite(bits)], bits):
        said = write_predictions({"y": values}, rows=False)
        back = np.array(json.loads(said)["outputs"], np.float32)
        np.testing.assert_array_equal(back, values)
