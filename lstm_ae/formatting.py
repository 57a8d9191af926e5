"""Format numbers, durations, and names for people."""

from collections.abc import Sequence
from typing import Any


def format_number(value: Any) -> str:
    """Format a number with four significant digits; return other values as text, and "-" for None and NaN.

    >>> [format_number(value) for value in (1234567, 0.00016683, -12345.6, True, None)]
    ['1,234,567', '0.0001668', '−12,346', 'True', '-']
    """
    if value is None or value != value:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, float) and 1e3 <= abs(value) < 1e9:
        text = f"{value:,.{0 if abs(value) >= 1e4 else 1}f}".removesuffix(".0")
    else:
        text = f"{value:.4g}".replace("e-0", "e-") if isinstance(value, float) else f"{value:,}"
    return text.replace("-", "−")


def format_cell(text: str) -> str:
    """Shorten the number of a table cell to six significant digits; return other text unchanged.

    >>> format_cell("0.6864300958594717"), format_cell("2024"), format_cell("IBM")
    ('0.68643', '2024', 'IBM')
    """
    try:
        return f"{float(text):.6g}" if len(text) > 8 and "." in text else text
    except ValueError:
        return text


def format_name(name: str) -> str:
    """Return the name of an option, a metric, or a column as words.

    >>> format_name("val_label_loss")
    'validation label loss'
    """
    return ("validation " if name.startswith("val_") else "") + name.removeprefix("val_").replace("_", " ")


def shorten_paths(names: Sequence[str], limit: int) -> list[str]:
    """Return paths without their common parents, shortened to at most `limit` characters.

    >>> shorten_paths(["runs/search-2026/trials/0000", "runs/search-2026/trials/0001"], 12)
    ['0000', '0001']
    >>> shorten_paths(["runs/one", "elsewhere/with/a/long/path/two"], 12)
    ['runs/one', 'elsew…th/two']
    """
    parts = [name.split("/") for name in names]
    same = 0
    while len(names) > 1 and len({tuple(part[: same + 1]) for part in parts}) == 1 and same + 1 < min(map(len, parts)):
        same += 1
    ends = ["/".join(part[same:]) for part in parts]
    return [end if len(end) <= limit else f"{end[: (limit - 1) // 2]}…{end[-(limit // 2) :]}" for end in ends]


def format_skill(skill: float | None) -> str:
    """Format a skill in percent, or below -100% the error as a multiple of the baseline's.

    >>> format_skill(0.2745), format_skill(-0.02), format_skill(-13.49), format_skill(None)
    ('+27.45%', '-2.00%', 'error x14.5', '-')
    """
    if skill is None or skill != skill:
        return "-"
    return f"{skill:+.2%}" if skill >= -1 else f"error x{1 - skill:.3g}"


def format_epoch(epoch: int) -> str:
    """Format the number of an epoch; epoch 0 is the untrained network.

    >>> format_epoch(3), format_epoch(0)
    ('epoch 3', 'epoch 0 (the untrained start)')
    """
    return f"epoch {epoch:,}" if epoch else "epoch 0 (the untrained start)"


def format_duration(seconds: float) -> str:
    """Format a duration in seconds.

    >>> format_duration(0.25), format_duration(59.2), format_duration(238.17), format_duration(7300)
    ('0.25 s', '59 s', '3 min 58 s', '2 h 01 min')
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def quote(text: object) -> str:
    """Quote untrusted text for an error message: escape control characters and limit the length."""
    quoted = repr(str(text))
    return quoted if len(quoted) <= 200 else quoted[:120] + "..." + quoted[-60:]


def format_heading(name: str) -> str:
    """Return a column's name, quoted if it is long or contains unprintable characters."""
    return name if name.isprintable() and len(name) <= 60 else quote(name)[:60]


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural.

    >>> format_count(1, "row"), format_count(2000, "company")
    ('1 row', '2,000 companies')
    """
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def format_names(names: Sequence[str]) -> str:
    """Join the first ten names and the number of further ones."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
