"""Count the lines of code by folder, for the architecture page and for the test of their ceilings."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNCOUNTED = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}
# Lines that folders may have; "" are the modules of the package itself.
BUDGETS = {
    ("data",): 3850,
    ("cli",): 3125,
    ("watch",): 2300,
    ("serving",): 2250,
    ("",): 2000,
    ("models",): 1450,
    ("backtest", "classification", "forecasting"): 1450,
    ("apply",): 1400,
    ("studies",): 1400,
    ("estimators", "training"): 1350,
    ("detection",): 1225,
    ("config",): 1225,
    ("export",): 1200,
    ("report", "tour"): 900,
    ("kernels",): 850,
    ("search",): 700,
    ("plots",): 700,
    ("bench",): 500,
    ("checks",): 475,
    ("fleets",): 400,
}


def count_lines(path: Path) -> int:
    """Return the number of lines with a token that is neither a comment nor part of a docstring."""
    text = path.read_text(encoding="utf-8")
    docstrings = set[int]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                docstrings.update(range(first.lineno, (first.end_lineno or 0) + 1))
    lines = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in UNCOUNTED and token.start[0] not in docstrings:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


def files_of(folder: str) -> Iterator[Path]:
    """Yield the modules of a folder of the package, of `cli`, or, for "", of the package itself."""
    if not folder:
        yield from (ROOT / "lstm_ae").glob("*.py")
    else:
        yield from (ROOT / folder if folder == "cli" else ROOT / "lstm_ae" / folder).rglob("*.py")


def sizes_table() -> str:
    """Return a Markdown table of the folders with their budgets and sizes."""
    lines = ["| folder | budget | lines |", "|---|---|---|"]
    for folders, budget in BUDGETS.items():
        size = sum(count_lines(path) for folder in folders for path in files_of(folder))
        names = ", ".join(f"`{folder}`" if folder else "modules of `lstm_ae`" for folder in folders)
        lines.append(f"| {names} | {budget:,} | {size:,} |")
    return "\n".join(lines)
