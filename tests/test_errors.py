"""Test error codes: every error has a code, and every code is explained and used."""

import ast
import pickle
import re
from pathlib import Path

from lstm_ae import errors
from lstm_ae.errors import Code, ConfigError, DataError, LstmAeError

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("lstm_ae", "cli") for path in sorted((ROOT / folder).rglob("*.py"))]
# Errors of these classes have several causes, so each construction must name its code.
UNSPECIFIC = {"LstmAeError", "DataError"}


def constructions(path):
    """Return the line, the class, and the keywords of each construction of an error in a module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in vars(errors):
            yield node.lineno, node.func.id, {keyword.arg for keyword in node.keywords}


def test_error_codes_are_unique_and_well_formed():
    assert len(Code.__members__) == len(list(Code))
    assert all(re.fullmatch(r"LAE\d{3}", str(code)) for code in Code)


def test_errors_of_unspecific_classes_name_their_code():
    unnamed = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        for line, name, keywords in constructions(path)
        if name in UNSPECIFIC and "code" not in keywords
    ]
    assert not unnamed


def test_every_error_code_is_used():
    text = "\n".join(path.read_text("utf-8") for path in SOURCES)
    assert not [code.name for code in Code if not re.search(rf"\bCode\.{code.name}\b", text)]


def test_pickled_error_keeps_its_code():
    error = pickle.loads(pickle.dumps(DataError("damaged", code=Code.RUN_DAMAGED)))
    assert (str(error), error.code) == ("damaged", Code.RUN_DAMAGED)
    assert ConfigError("x").code is Code.INVALID_VALUE
    assert isinstance(error, LstmAeError)
