"""Parse the TOML of a file of `lstmae watch`, with limits for keys and numbers."""

import re
import tomllib
from pathlib import Path

from lstm_ae.errors import Code, DataError
from lstm_ae.json_types import JsonObject

# Largest TOML file in bytes.
LARGEST_TOML = 2**20

# `tomllib` takes quadratic time and memory for a key of many parts, and Python converts no number of many digits.
_TOO_LONG = re.compile(r"(?:\.[ \t]*+[\w-]++[ \t]*+){10}|(?<![\w+.-])[\w+-]{1001}")
_STRINGS_AND_COMMENTS = re.compile(
    r""""{3}(?:\\.|[^\\])*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*""", re.DOTALL
)


def parse_toml(text: str, path: Path) -> JsonObject:
    """Return the content of a TOML file; `path` is for errors.

    Raises:
        DataError: the text is not TOML, or a key or number is too long.
    """
    bare = _STRINGS_AND_COMMENTS.sub(lambda match: "_" + "\n" * match[0].count("\n"), text)
    if long := _TOO_LONG.search(bare):
        what = "a key has more than ten parts" if long[0][0] == "." else "a word has more than 1,000 characters"
        number = bare.count("\n", 0, long.start()) + 1
        raise DataError(f"{str(path)!r}, line {number}: {what}. Shorten it", code=Code.CONFIG_FILE)
    try:
        return tomllib.loads(text)
    except RecursionError:
        problem = "it is nested too deeply"
    except tomllib.TOMLDecodeError as error:
        problem = str(error)
    raise DataError(
        f"{str(path)!r} is not TOML: {problem}. Write keys as in port = 9464, with text in quotation marks",
        code=Code.CONFIG_FILE,
    )
