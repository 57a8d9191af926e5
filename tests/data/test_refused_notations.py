"""Notations that are not read: each is refused with a code, the place, and the option or line that converts it."""

from pathlib import Path
from typing import Any

import pytest

from lstm_ae.config import Reading
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import Code, DataError

TS = "@problemName Two\n@classLabel true a b\n@data\n1,2,3:a\n"
# Case name: content, options, code, then fragments of the error: the place, the cell, and the remedy.
REFUSED: dict[str, tuple[str, dict[str, Any], Code, tuple[str, ...]]] = {
    ".ts": (TS, {}, Code.FILE_FORMAT, ("line 1", "'@problemName Two'", "aeon.datasets.load_from_ts_file")),
    ".ts below comments": ("\n" + "# a\n" * 80 + TS, {}, Code.FILE_FORMAT, ("line 82", "load_from_ts_file")),
    ".arff": (
        "% a\n@RELATION x\n@data\n1,2\n",
        {},
        Code.FILE_FORMAT,
        ("line 2", "'@RELATION x'", "load_from_arff_file"),
    ),
    ".arff, lines to skip": ("@relation x\na,b\n1,2\n", {"skip_rows": 1}, Code.FILE_FORMAT, ("line 1", "aeon")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_notation_is_refused_with_place_and_remedy(case: str) -> None:
    content, options, code, fragments = REFUSED[case]
    Path("t.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        read_panel(Reading(data="t.csv", **options))
    assert caught.value.code is code
    for fragment in fragments:
        assert fragment in str(caught.value)
