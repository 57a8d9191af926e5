"""Audit of price forecasters for leakage of future values, and for skill beyond a copy of the last value.

Leaks are detected by changing values that a forecast must not depend on.
"""

from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.config import Snp
from lstm_ae.data.panel import Panel
from lstm_ae.data.prices import describe_future, prepare_prices, select_prices
from lstm_ae.data.split import split_by_date
from lstm_ae.data.windows import OPEN_FEATURE, Data, Split, evenly_spaced
from lstm_ae.errors import Code, ConfigError
from lstm_ae.forecasting.intervals import ForecastMethod
from lstm_ae.forecasting.metrics import price_errors
from lstm_ae.models.network import Network
from lstm_ae.studies.snp.forecasting import forecast_one_day, forecasts

# Windows that are forecast twice, evenly spaced over the test split.
MOST = 1024

# Predicted changes of less than this share of the actual ones count as none.
STILL = 0.01


class AuditFinding(NamedTuple):
    """Result of one check.

    Args:
        check: name of the check.
        outcome: "passed", "leak", or "remark" for the check of skill.
        text: observation with numbers.
    """

    check: str
    outcome: str
    text: str


def audit(model: Network, config: Snp, data: Data, panel: Panel) -> list[AuditFinding]:
    """Check a forecaster and the data that it was trained on.

    Args:
        model: a one-day forecaster.
        config: its config.
        data: data of its training.
        panel: rows of the file that `data` was prepared from.

    Raises:
        ConfigError: the model is not a forecaster.
    """
    if not forecasts(model):
        raise ConfigError(
            "audit is for forecasters. Received: a run with --goal reconstruct", code=Code.OPTION_NOT_APPLICABLE
        )
    method = forecast_one_day(model, data.test.span - 1)
    unread = [AuditFinding("the day to forecast", "passed", "is not an input")]
    return [
        *(_future(method, data.test) if method.with_open else unread),
        *([] if config.last_day_only else _later_days(model, method, data.test)),
        _inputs(config, data),
        _preparation(method, config, data, panel),
        _scale_of_training(config, data, panel),
        _scale_of_model(model, data),
        _overlap(data),
        _copy(method, data),
    ]


def _inputs(config: Snp, data: Data) -> AuditFinding:
    """Check for inputs from which the price to model follows almost perfectly."""
    future = describe_future(config, data)
    text = future or f"no input predicts the next {config.fields[0]} almost perfectly"
    return _finding("the future in an input", not future, text)


def _finding(check: str, clean: bool, text: str) -> AuditFinding:
    return AuditFinding(check, "passed" if clean else "leak", text)


def _future(method: ForecastMethod, split: Split) -> list[AuditFinding]:
    """Compare forecasts before and after changing the day to forecast."""
    index = evenly_spaced(split.samples, MOST)
    window, lines = split.windows(index), split.lines(index)
    past, following = window[:, : method.given], window[:, method.given :]
    changed = following * 1.5
    if method.with_open:
        changed[:, 0, OPEN_FEATURE] = following[:, 0, OPEN_FEATURE]
    moved = int((method.predict(past, lines, following) != method.predict(past, lines, changed)).any(axis=(1, 2)).sum())
    known = ", but for its open" if method.with_open else ""
    text = f"the day to forecast was raised by half{known}: {moved:,} of {len(index):,} forecasts of it moved"
    return [_finding("the day to forecast", not moved, text)]


def _later_days(model: Network, method: ForecastMethod, split: Split) -> list[AuditFinding]:
    """Compare forecasts of the days within a window before and after changing its second half."""
    from lstm_ae.models.inference import model_inputs

    index, half = evenly_spaced(split.samples, MOST), method.given // 2
    window, lines = split.windows(index), split.lines(index)
    other = window.copy()
    other[:, half:] *= 1.5
    if method.with_open:  # The open of the first changed day is known on the last unchanged day.
        other[:, half, OPEN_FEATURE] = window[:, half, OPEN_FEATURE]
    before, after = (
        model(model_inputs(model.inputs, values[:, : method.given], lines, values[:, method.given :]))["future"]
        for values in (window, other)
    )
    moved = int((before != after)[:, :half].any(axis=(1, 2)).sum())
    text = f"the second half of each window was raised by half: the first half's forecasts moved in {moved:,} windows"
    return [_finding("later days of a window", not moved, text)]


def _preparation(method: ForecastMethod, config: Snp, data: Data, panel: Panel) -> AuditFinding:
    """Compare forecasts before and after changing all rows after a day and preparing the data again."""
    panel, check = select_prices(config, panel), "the days after a forecast"
    first, days = _test_forecasts(method, data)
    last = days[len(days) // 2]
    after = panel.days > last
    # The forecast of the day after may depend on all days before it, and on its open if the model reads it.
    until = panel.days[after].min() if after.any() else last
    raised = np.repeat(after[:, None], len(panel.layout.values), axis=1)
    if method.with_open:
        raised[:, panel.layout.values.index("open")] = panel.days > until
    again, others = _test_forecasts(method, prepare_prices(config, _raise_by_half(panel, raised)))
    text = f"all rows after {last} were raised by half and prepared again"
    if len(others) != len(days):
        return _finding(check, False, f"{text}: the windows differ")
    up_to = days <= until
    moved = int((first[up_to] != again[up_to]).sum())
    return _finding(check, not moved, f"{text}: {moved:,} of {int(up_to.sum()):,} forecasts up to then moved")


def _raise_by_half(panel: Panel, where: BoolArray) -> Panel:
    """Return the panel with the values at a mask, `(rows, features)` or `(rows, 1)`, raised by half."""
    values = np.where(where, np.float32(1.5) * panel.values, panel.values)
    return panel._replace(values=values)


def _test_forecasts(method: ForecastMethod, data: Data) -> tuple[Array, Array]:
    """Return every test window's forecast and its day, in the order of the days."""
    found = price_errors(method, data, data.test)
    order = np.argsort(found.moments, kind="stable")
    return found.prices[""][order, 0], found.moments[order]


def _scale_of_training(config: Snp, data: Data, panel: Panel) -> AuditFinding:
    """Compare the scale before and after changing all rows after the training split."""
    panel = select_prices(config, panel)
    later = split_by_date(panel) > 0
    again = prepare_prices(config, _raise_by_half(panel, later[:, None]))
    same = np.array_equal(data.scale.offset, again.scale.offset) and np.array_equal(data.scale.range, again.scale.range)
    check = "the scale"
    if config.split == "report" and not same:
        return _finding(check, same, "training windows were drawn from all days, so later days affect it as well")
    text = f"all {int(later.sum()):,} rows after training were raised by half: it {'stayed' if same else 'moved'}"
    return _finding(check, same, text)


def _scale_of_model(model: Network, data: Data) -> AuditFinding:
    """Check that the model's scale is that of the training split."""
    from lstm_ae.models.inference import model_inputs

    index = evenly_spaced(data.test.samples, MOST)
    window, lines = data.test.windows(index), data.test.lines(index)
    past = window[:, :-1]
    inputs = model_inputs(model.inputs, past, lines, window[:, -1:])
    inputs.pop("open", None)
    scaled = model.scaling(inputs)["scaled"]
    same = np.allclose(scaled, data.scale.scaled(past, past, lines), rtol=1e-4, atol=1e-4)
    return _finding("the model's scale", same, "is that of the data" if same else "is not that of the data")


def _overlap(data: Data) -> AuditFinding:
    """Check for windows of a later split that share rows with windows of an earlier split."""
    pairs = [("test", data.test, "training", data.train), ("test", data.test, "validation", data.validation)]
    pairs.append(("validation", data.validation, "training", data.train))
    counts = [_shared(later, earlier) for _, later, _, earlier in pairs]
    text = "; ".join(
        f"{shared:,} of {later.samples:,} {name} windows share days with {other} windows"
        for shared, (name, later, other, _) in zip(counts, pairs, strict=True)
    )
    return _finding("the split", not any(counts), text)


def _shared(later: Split, earlier: Split) -> int:
    """Return the number of windows of a split that share days of a company with windows of an earlier one."""
    return int(np.isin(_keys(later), np.unique(_keys(earlier))).any(axis=1).sum())


def _keys(split: Split) -> Int64Array:
    """Return a unique number per company and day for every row of the windows, `(samples, span)`."""
    assert split.line is not None
    assert split.time is not None
    rows = split.starts[:, None] + np.arange(split.span)
    keys: Int64Array = split.line[rows].astype(np.int64) * 10**6 + split.time[rows].astype("datetime64[D]").astype(int)
    return keys


def _copy(method: ForecastMethod, data: Data) -> AuditFinding:
    """Regress actual on predicted changes, with clusters by day, since the changes of companies are correlated."""
    import statsmodels.api as sm

    errors = price_errors(method, data, data.test)
    predicted, actual = (values[:, 0].astype(np.float32) for values in (errors.predicted_change[""], errors.change))
    size = float(predicted.std() / actual.std()) if actual.std() else 0.0
    slope, p = float("nan"), float("nan")
    if size > 1e-9:
        groups = np.unique(errors.moments, return_inverse=True)[1]
        design = sm.add_constant(predicted.astype(np.float64))
        fit = sm.OLS(actual.astype(np.float64), design).fit(cov_type="cluster", cov_kwds={"groups": groups})
        slope, p = float(fit.params[1]), float(fit.pvalues[1])
    kind = "not a copy of yesterday" if p < 0.05 and slope > 0 else "unrelated to the actual changes"
    kind = "a copy of yesterday" if size < STILL else kind
    text = f"{kind}: predicted changes are {size:.1%} as large as the actual ones; slope {slope:.2f}, p = {p:.2g}"
    return AuditFinding("a copy of yesterday", "remark", text)
