"""Tables written as files."""

from pathlib import Path

import numpy as np
import pytest

from lstm_ae import files
from lstm_ae.files import write_table


def test_a_long_table_is_written_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"a,b": np.array([1, np.nan, 0.1]), "c": ["x", 'y"', None]}
    whole = write_table(tmp_path / "whole.csv", columns).read_bytes()
    assert whole == b'"a,b",c\n1.0,x\n,"y"""\n0.1,\n'
    monkeypatch.setattr(files, "PIECE", 2)
    assert write_table(tmp_path / "pieces.csv", columns).read_bytes() == whole
    assert write_table(tmp_path / "empty.csv", {"a": []}).read_bytes() == b"a\n"
    with pytest.raises(ValueError, match="shorter"):
        write_table(tmp_path / "uneven.csv", {"a": [1, 2], "b": [1]})
    assert not (tmp_path / "uneven.csv").exists()
