"""Calendar features: known covariates that are computed from the times of rows.

A periodic feature is a point on a circle, given by its sine and cosine, so that the end of a period is next to the
start of the following one. The feature of a holiday is 1 on holidays and 0 on other days.
"""

import datetime
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.config.reading import CALENDAR, HOLIDAY, UNITS, TimeStep
from lstm_ae.data.panel import Panel
from lstm_ae.data.time_zones import Zone, to_local_times
from lstm_ae.errors import Code, ConfigError, install_hint

MONDAY = np.datetime64("1970-01-05")


def calendar_columns(features: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns of calendar features.

    >>> calendar_columns(["hour", "holiday:DE"])
    ('hour sine', 'hour cosine', 'holiday:DE')
    """
    pairs = ([f"{name} sine", f"{name} cosine"] if name in CALENDAR else [name] for name in features)
    return tuple(column for pair in pairs for column in pair)


def known_columns(config: Reading) -> tuple[str, ...]:
    """Return the names of all known covariates, those of the calendar last."""
    return (*config.known_future, *config.static_cols, *calendar_columns(config.calendar))


def input_columns(config: Reading) -> tuple[str, ...]:
    """Return the names of all features that a forecaster of these columns reads, in their order."""
    return (*config.value_cols, *config.past_cols, *known_columns(config))


def calendar_values(features: Sequence[str], times: Int64Array, zone: Zone) -> Float32Array:
    """Return calendar features, `(*times.shape, columns)`, see `calendar_columns`.

    Args:
        features: values of `--calendar`.
        times: nanoseconds since 1970 in UTC.
        zone: time zone of the local days and hours; None for UTC.

    Raises:
        ConfigError: if the package for holidays is not installed or does not know the country.
    """
    local = to_local_times(times.ravel(), zone if isinstance(zone, datetime.tzinfo) else None)
    moments = local.view("datetime64[ns]")
    days = moments.astype("datetime64[D]")
    shares = {
        "hour": lambda: (local % UNITS["d"]) / UNITS["d"],
        "weekday": lambda: weekday_numbers(days) / 7,
        "month": lambda: (days.astype("datetime64[M]").astype(np.int64) % 12) / 12,
    }
    columns = []
    for name in features:
        if name in shares:
            angle = 2 * np.pi * shares[name]()
            columns += [np.sin(angle), np.cos(angle)]
        else:
            columns.append(_mark_holidays(name, days))
    return np.stack(columns, axis=-1).astype(np.float32).reshape(*times.shape, len(columns))


def weekday_numbers(days: NDArray[np.datetime64]) -> Array:
    """Return the day of the week, from 0 for Monday to 6 for Sunday."""
    return ((days - MONDAY) // np.timedelta64(1, "D") % 7).astype(int)


def _mark_holidays(name: str, days: NDArray[np.datetime64]) -> Array:
    """Return 1 for the public holidays of a country, such as `holiday:DE`, and 0 for other days."""
    try:
        import holidays
    except ImportError:
        raise ConfigError(
            f"--calendar {name} needs the package holidays: {install_hint('holidays')}", code=Code.MISSING_PACKAGE
        ) from None
    try:
        calendar = holidays.country_holidays(name.removeprefix(HOLIDAY))
    except NotImplementedError:
        raise ConfigError(
            f"--calendar {name}: the package holidays does not know this country. Pass an ISO code, as in holiday:DE",
            code=Code.UNKNOWN_NAME,
        ) from None
    distinct, place = np.unique(days, return_inverse=True)
    marked = np.array([day in calendar for day in distinct.tolist()], np.float32)
    return marked[place]


def add_calendar(grid: Panel, features: Sequence[str]) -> Panel:
    """Return rows with the columns of calendar features as the last known covariates."""
    if not features:
        return grid
    names, layout = calendar_columns(features), grid.layout
    return grid._replace(
        values=np.concatenate([grid.values, calendar_values(features, grid.times, grid.zone)], axis=1),
        layout=layout._replace(values=(*layout.values, *names), known=(*layout.known, *names)),
    )


def require_calendar(config: Reading, table: Panel, step: TimeStep) -> None:
    """Raise `ConfigError` if calendar features are requested that the times of a table do not determine."""
    if not config.calendar:
        return
    if not table.layout.dated or step == TimeStep():
        lacks = "a regular sampling interval" if table.layout.dated else "a column of dates"
        raise ConfigError(
            f"--calendar needs {lacks}, which {table.name} does not have. Leave it out", code=Code.OPTION_NOT_APPLICABLE
        )
