"""Format numbers, ranges, sizes, durations, option values, and names for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def format_number(value: object) -> str:
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


def format_value(value: object, missing: str = "-") -> str:
    """Format a value for a table of plain text: floats with four significant digits, with ASCII signs.

    Args:
        value: number or other value.
        missing: text for None and NaN.

    >>> [format_value(value) for value in (1234567, 0.00016683, -12345.6, True, None)]
    ['1,234,567', '0.0001668', '-1.235e+04', 'True', '-']
    """
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return str(value)
    return format_decimal(value, ".4g" if isinstance(value, float) else ",", missing)


def format_decimal(value: float | None, form: str, missing: str = "-") -> str:
    """Format a number by a format specification; return `missing` for None and NaN.

    >>> format_decimal(0.25, ".1%"), format_decimal(float("nan"), ".1%")
    ('25.0%', '-')
    """
    return missing if value is None or value != value else format(value, form)


def format_range(low: float, high: float, form: str = ".3g") -> str:
    """Format the two ends of a range by a format specification; an end that is NaN is a question mark.

    >>> format_range(1.2345, 2), format_range(1000, float("nan"), ",.2f")
    ('1.23 to 2', '1,000.00 to ?')
    """
    return f"{format_decimal(low, form, '?')} to {format_decimal(high, form, '?')}"


def format_expected_count(number: float) -> str:
    """Format the mean of a count: with one decimal below 10, else whole.

    >>> [format_expected_count(number) for number in (0.25, 3.0, 1234.5)]
    ['0.2', '3', '1,234']
    """
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")


def format_option(value: object) -> str:
    """Format the value of an option as typed; "-" for none.

    >>> format_option((8, 16)), format_option(None), format_option(0.5)
    ('8,16', '-', '0.5')
    """
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)


def format_setting(value: object) -> str:
    """Format the value of a searched option as `format_option` does, numbers with six significant digits.

    >>> format_setting(0.00123456789), format_setting("vector")
    ('0.00123457', 'vector')
    """
    return f"{value:g}" if isinstance(value, float) else format_option(value)


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


def format_skill(skill: float | None) -> str:
    """Format a skill in percent, below -100% the error as a multiple of the baseline's, and below -1,000% a bound.

    An exact multiple of a tiny error is not informative.

    >>> format_skill(0.2745), format_skill(-0.02), format_skill(-3.49), format_skill(-8055.26), format_skill(None)
    ('+27.45%', '-2.00%', 'error x4.49', 'over 1,000% worse', '-')
    """
    if skill is None or skill != skill:
        return "-"
    if skill < -10:
        return "over 1,000% worse"
    return f"{skill:+.2%}" if skill >= -1 else f"error x{1 - skill:.3g}"


def format_measure(name: str, value: object, form: Callable[[object], str] = format_value) -> str:
    """Format the value of a measure: a skill as everywhere else, other measures by `form`.

    >>> format_measure("skill", 0.00939), format_measure("mae", 0.00939)
    ('+0.94%', '0.00939')
    """
    return format_skill(value) if name == "skill" and isinstance(value, int | float) else form(value)


def format_epoch(epoch: int) -> str:
    """Format the number of an epoch; epoch 0 is the untrained network.

    >>> format_epoch(3), format_epoch(0)
    ('epoch 3', 'epoch 0 (the untrained start)')
    """
    return f"epoch {epoch:,}" if epoch else "epoch 0 (the untrained start)"


def format_best_epochs(training: Mapping[str, Any]) -> str:
    """Format the best epoch of a training, an entry of `metrics.json`; of several networks, each one.

    The share of the correction that a forecaster was shrunk to follows.

    >>> format_best_epochs({"best_epoch": 3}), format_best_epochs({"best_epoch": 3, "share": 0.68})
    ('epoch 3', 'epoch 3, shrunk to 68%')
    >>> format_best_epochs({"best_epoch": 7, "members": [{"best_epoch": 7}, {"best_epoch": 0}]})
    'epochs 7 and 0 of 2 networks'
    """
    members = training.get("members", [training])
    shares = [member.get("share", 1.0) for member in members]
    shrunk = f", shrunk to {_join([f'{share:.0%}' for share in shares])}" if min(shares) < 1 else ""
    if "members" not in training:
        return format_epoch(training["best_epoch"]) + shrunk
    epochs = _join([f"{member['best_epoch']:,}" for member in members])
    return f"epochs {epochs} of {len(members)} networks{shrunk}"


def _join(texts: list[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


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


def format_period(seconds: float, units: dict[str, int]) -> str:
    """Format a long duration in the largest unit that it reaches, else in the smallest.

    Args:
        seconds: duration in seconds.
        units: seconds of each unit, in ascending order.

    >>> format_period(200_000, {"hour": 3600, "day": 86_400, "week": 604_800})
    '2.3 days'
    """
    unit = next((unit for unit, size in reversed(units.items()) if seconds >= size), next(iter(units)))
    return f"{seconds / units[unit]:.1f} {unit}s"


def quote(text: object) -> str:
    """Quote untrusted text for an error message: escape control characters and limit the length."""
    quoted = repr(str(text))
    return quoted if len(quoted) <= 200 else quoted[:120] + "..." + quoted[-60:]


def format_heading(name: str) -> str:
    """Return a column's name, quoted if it is long or contains unprintable characters."""
    return name if name.isprintable() and len(name) <= 60 else quote(name)[:60]


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural.

    >>> format_count(1, "row"), format_count(2000, "company"), format_count(2, "day")
    ('1 row', '2,000 companies', '2 days')
    """
    plural = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def format_headings(names: Sequence[str]) -> str:
    """Join the names of columns, series, or classes as in `format_names`, see `format_heading`."""
    return format_names(list(map(format_heading, names)))


def format_names(names: Sequence[str]) -> str:
    """Join the first ten names and the number of further ones."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
