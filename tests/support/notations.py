"""Tables of cells and what they mean, one file per table."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "notations"


def cases(name: str) -> list[Any]:
    """Return the rows of a table."""
    rows: list[Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return rows
