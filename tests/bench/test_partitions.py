"""The benchmark of a detection in parts."""

import json

import pytest
from partitioned import RUN
from searches import call


@pytest.mark.slow
def test_benchmark_measures_one_and_two_processes() -> None:
    said = call(f"bench scale {RUN} --rows 2400 --rounds 1 --json")
    assert said.code == 0, said.err
    result = json.loads(said.out)
    assert [lap["processes"] for lap in result["laps"]] == [1, 2]
    assert all(lap["seconds"] > 0 and lap["memory"] > 10**7 for lap in result["laps"])
    assert 12 < result["bytes_per_row"] < 60
