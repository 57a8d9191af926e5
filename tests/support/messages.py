"""The last line of a command that failed."""

import re


def message_of(err: str) -> str:
    """Return the message in the last line of stderr, without the name of the command and the code."""
    last = err.splitlines()[-1]
    assert last.startswith("lstmae: "), err
    return re.sub(r"^\[LAE\d{3}\] ", "", last.removeprefix("lstmae: "))


def code_of(err: str) -> str:
    """Return the code in the last line of stderr, such as LAE201."""
    found = re.match(r"lstmae: \[(LAE\d{3})\] ", err.splitlines()[-1])
    assert found, err
    return found[1]
