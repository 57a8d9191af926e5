"""Test that parsing large messages in pieces gives the same result as the parser of protobuf."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from lstm_ae.serving import proto_parsing
from lstm_ae.serving.proto_parsing import parse_message


def predict_request() -> PredictRequest:
    made = PredictRequest()
    made.model_spec.name, made.model_spec.version.value = "m" * 9, 3
    made.inputs["words"].string_val.extend([b"", b"a", b"b" * 40] * 20)
    made.inputs["words"].dtype = 7
    made.inputs["numbers"].float_val.extend([0.5] * 30)
    made.inputs["empty"].dtype = 1
    made.output_filter.extend(["y", "z" * 30])
    return made


def classification_request() -> ClassificationRequest:
    made = ClassificationRequest()
    listed = made.input.example_list_with_context
    for number in range(9):
        features = listed.examples.add().features.feature
        features["x" * number].float_list.value.extend([1.5] * number)
        features["y"].bytes_list.value.extend([b"", b"cd"] * number)
    listed.context.features.feature["z"].int64_list.value.append(-1)
    return made


@pytest.mark.parametrize("made", [predict_request(), classification_request()], ids=["predict", "classify"])
@pytest.mark.parametrize("piece", [0, 1, 5, 20, 64, 10**6])
def test_parsing_in_pieces_matches_protobuf(monkeypatch: pytest.MonkeyPatch, made: Any, piece: int) -> None:
    monkeypatch.setattr(proto_parsing, "PIECE_BYTES", piece)
    content = made.SerializeToString()
    assert parse_message(type(made), content) == made
    # Singular messages are merged, lists are concatenated, and the last entry of a map wins for equal keys.
    twice = content + content
    assert parse_message(type(made), twice) == type(made).FromString(twice)
    unknown = content + b"\xfa\x3f\x05hello" + b"\xf8\x3f\x01"
    assert parse_message(type(made), unknown).SerializeToString() == type(made).FromString(unknown).SerializeToString()


def test_map_entry_fields_may_repeat_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proto_parsing, "PIECE_BYTES", 1)
    value, other = b"\x12\x02\x08\x01", b"\x12\x06\x2a\x04\x00\x00\x80\x3f"  # dtype 1, and a float_val
    for entry in (value + b"\x0a\x01k" + other, b"\x0a\x01a" + value + b"\x0a\x01b", value + other, b"\x0a\x01k"):
        content = b"\x12" + bytes([len(entry)]) + entry
        assert parse_message(PredictRequest, content) == PredictRequest.FromString(content)


def test_map_entry_with_unknown_field_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proto_parsing, "PIECE_BYTES", 1)
    entry = b"\x0a\x01k\x12\x02\x08\x01\x38\x01"
    content = b"\x12" + bytes([len(entry)]) + entry
    assert not PredictRequest.FromString(content).inputs
    assert not parse_message(PredictRequest, content).inputs


@pytest.mark.parametrize("piece", [1, 16, 10**6])
@pytest.mark.parametrize(
    "content",
    [
        predict_request().SerializeToString()[:-3],
        b"\x0a\x7f" + b"a" * 20,
        b"\xff" * 30,
        b"\x0a" + b"\x80" * 30 + b"\x01",
        b"\x1a\x14" + b"\xff" * 20,  # a name that is not UTF-8
        b"\x00" * 40,
    ],
    ids=["cut", "longer than the rest", "no tag", "endless number", "no text", "field 0"],
)
def test_damaged_message_raises_decode_error(monkeypatch: pytest.MonkeyPatch, content: bytes, piece: int) -> None:
    monkeypatch.setattr(proto_parsing, "PIECE_BYTES", piece)
    with pytest.raises(DecodeError):
        PredictRequest.FromString(content)
    with pytest.raises(DecodeError):
        parse_message(PredictRequest, content)


def test_groups_and_deeply_nested_messages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proto_parsing, "PIECE_BYTES", 8)
    with pytest.raises(DecodeError, match="group"):
        parse_message(PredictRequest, b"\x7b" * 20)
    monkeypatch.setattr(proto_parsing, "MAX_DEPTH", 1)
    with pytest.raises(DecodeError, match="deep"):
        parse_message(ClassificationRequest, classification_request().SerializeToString())
