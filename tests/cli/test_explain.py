"""Test `lstmae explain` and the codes of error messages."""

import json

import pytest
from messages import code_of
from searches import call

from lstm_ae.errors import Code


def test_explain_lists_all_codes():
    done = call("explain")
    assert done.code == 0
    assert [line.split(":")[0] for line in done.out.splitlines()] == [str(code) for code in Code]


@pytest.mark.parametrize("spelled", ["LAE201", "lae201", "[LAE201]"])
def test_explain_shows_the_page_of_a_code(spelled):
    done = call(f"explain {spelled} --json")
    assert done.code == 0
    (found,) = json.loads(done.out)["codes"]
    assert found["code"] == "LAE201"
    assert len(found["page"].splitlines()) > 2


def test_explain_refuses_an_unknown_code():
    done = call("explain LAE000")
    assert done.code == 2
    assert "LAE000" in done.err


def test_config_file_can_name_the_table(tmp_path):
    (tmp_path / "c.json").write_text('{"task": "series", "config": {"data": "nowhere.csv"}}')
    assert "nowhere.csv" in call(f"series train --config {tmp_path / 'c.json'}").err
    assert code_of(call("series train").err) == str(Code.MISSING_OPTION)
