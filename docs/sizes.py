"""Count the tokens of code by folder, for the architecture page and for the test of their ceilings."""

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
# Tokens that folders may have; "" are the modules of the package itself.
BUDGETS = {
    ("data",): 43_500,
    ("cli",): 27_500,
    ("watch",): 24_000,
    ("serving",): 22_000,
    ("",): 18_000,
    ("models",): 18_000,
    ("backtest", "classification", "forecasting"): 17_500,
    ("apply",): 15_000,
    ("detection",): 16_000,
    ("studies",): 15_000,
    ("estimators", "training"): 14_500,
    ("export",): 12_500,
    ("config",): 9_500,
    ("report", "tour"): 9_500,
    ("kernels",): 9_500,
    ("plots",): 9_000,
    ("search",): 6_500,
    ("bench",): 12_000,
    ("checks",): 5_000,
    ("fleets",): 3_500,
}


def count_tokens(path: Path) -> int:
    """Return the number of tokens that are neither comments nor part of a docstring."""
    text = path.read_text(encoding="utf-8")
    docstrings = set[int]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                docstrings.update(range(first.lineno, (first.end_lineno or 0) + 1))
    count = depth = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        # Python 3.12 splits an f-string into tokens; older ones read it as one.
        name = tokenize.tok_name[token.type]
        if not depth and token.type not in UNCOUNTED and token.start[0] not in docstrings:
            count += 1
        depth += {"FSTRING_START": 1, "FSTRING_END": -1}.get(name, 0)
    return count


def files_of(folder: str) -> Iterator[Path]:
    """Yield the modules of a folder of the package, of `cli`, or, for "", of the package itself."""
    if not folder:
        yield from (ROOT / "lstm_ae").glob("*.py")
    else:
        yield from (ROOT / folder if folder == "cli" else ROOT / "lstm_ae" / folder).rglob("*.py")


def sizes_table() -> str:
    """Return a Markdown table of the folders with their budgets and sizes."""
    lines = ["| folder | budget | tokens |", "|---|---|---|"]
    for folders, budget in BUDGETS.items():
        size = sum(count_tokens(path) for folder in folders for path in files_of(folder))
        names = ", ".join(f"`{folder}`" if folder else "modules of `lstm_ae`" for folder in folders)
        lines.append(f"| {names} | {budget:,} | {size:,} |")
    return "\n".join(lines)
