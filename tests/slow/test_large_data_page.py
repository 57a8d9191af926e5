"""The scripts on the page about data larger than memory run as they are."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from partitioned import ROWS, RUN, machine_rows
from processes import CEILING

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/pages/how-to/large-data.md"


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_script_on_the_page_scores_each_series(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not all(importlib.util.find_spec(name) for name in (("ray",) if engine == "ray" else ("fugue", "distributed"))):
        pytest.skip("The engine is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Otherwise the script uses another cluster of this machine.
    monkeypatch.setenv("RAY_ADDRESS", "local")
    shutil.copytree(RUN, "runs/pump")
    frames = [pd.DataFrame({"machine": machine, **machine_rows(machine)}) for machine in "ab"]
    pd.concat(frames).to_parquet("pumps.parquet")
    output = f"scored-by-{engine}"
    (script,) = [
        block
        for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
        if output in block
    ]
    Path("script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=CEILING)
    assert done.returncode == 0, done.stderr
    scores = pd.read_parquet(output)
    assert scores["machine"].value_counts().to_dict() == {"a": ROWS, "b": ROWS}
    assert set(scores.loc[scores["anomaly"], "machine"]) == {"a"}
