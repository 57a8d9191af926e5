"""Does anything of the future reach a forecast? And does the forecast say more than "tomorrow = today"?

The first question is one of leaks, and answered by changing what must not matter; the second is one of skill.
"""

from typing import Any, NamedTuple

import numpy as np

from lstm_ae.config import Snp
from lstm_ae.data.prices import Quotes, describe_future, prepare_prices, select_quotes, split_by_date
from lstm_ae.data.windows import OPEN, Data, Split
from lstm_ae.errors import ConfigError
from lstm_ae.forecasting.price_metrics import ForecastMethod
from lstm_ae.studies.snp_one_step import forecast_one_day, forecasts

# Windows that are forecast twice, spread evenly over the test part.
MOST = 1024

# Predicted changes of less than this share of the actual ones are as good as none.
STILL = 0.01


class AuditFinding(NamedTuple):
    """What one check found.

    Args:
        check: its name.
        outcome: "passed", "leak" or, where it is about skill, "remark".
        text: what was seen, with numbers.
    """

    check: str
    outcome: str
    text: str


def audit(model: Any, config: Snp, data: Data, quotes: Quotes) -> list[AuditFinding]:
    """Check a forecaster and the data it was trained on.

    Args:
        quotes: the rows of the file that `data` was made of.

    Raises:
        ConfigError: the model forecasts nothing.
    """
    if not forecasts(model):
        raise ConfigError("audit is for forecasters. Received: a run with --goal reconstruct")
    way = forecast_one_day(model, data.test.span - 1)
    return [
        *(_future(way, data.test) if way.with_open else [AuditFinding("the day to forecast", "passed", "is no input")]),
        *([] if config.last_day_only else _later_days(model, way, data.test)),
        _inputs(config, data),
        _preparation(way, config, data, quotes),
        _scale_of_training(config, data, quotes),
        _scale_of_model(model, data),
        _overlap(data),
        _copy(way, data),
    ]


def _inputs(config: Snp, data: Data) -> AuditFinding:
    """Inputs from which the price to model follows almost perfectly."""
    future = describe_future(config, data)
    text = future or f"no input tells the next {config.fields[0]} almost perfectly"
    return _judged("the future in an input", not future, text)


def _judged(check: str, clean: bool, text: str) -> AuditFinding:
    return AuditFinding(check, "passed" if clean else "leak", text)


def _some(split: Split) -> Any:
    return np.unique(np.linspace(0, split.samples - 1, MOST).astype(int))


def _future(way: ForecastMethod, split: Split) -> list[AuditFinding]:
    """Forecasts again, after what they must not know was changed."""
    index = _some(split)
    window, company = split.windows(index), split.companies(index)
    past, following = window[:, : way.given], window[:, way.given :]
    changed = following * 1.5
    if way.with_open:
        changed[:, 0, OPEN] = following[:, 0, OPEN]
    moved = int((way.say(past, company, following) != way.say(past, company, changed)).any(axis=(1, 2)).sum())
    known = ", but for its open" if way.with_open else ""
    text = f"the day to forecast was raised by half{known}: {moved:,} of {len(index):,} forecasts of it moved"
    return [_judged("the day to forecast", not moved, text)]


def _later_days(model: Any, way: ForecastMethod, split: Split) -> list[AuditFinding]:
    """Forecasts of the days within a window again, after its second half was changed."""
    import tensorflow as tf

    from lstm_ae.models.inference import input_signature, model_inputs

    index, half = _some(split), way.given // 2
    window, company = split.windows(index), split.companies(index)
    other = window.copy()
    other[:, half:] *= 1.5
    if way.with_open:  # that of the first changed day is known on the last unchanged one
        other[:, half, OPEN] = window[:, half, OPEN]
    call = tf.function(lambda inputs: model(inputs, training=False)["future"], input_signature=[input_signature(model)])
    before, after = (
        call(model_inputs(model, values[:, : way.given], company, values[:, way.given :])).numpy()[:, :half]
        for values in (window, other)
    )
    moved = int((before != after).any(axis=(1, 2)).sum())
    text = f"the second half of each window was raised by half: the first half's forecasts moved in {moved:,} windows"
    return [_judged("later days of a window", not moved, text)]


def _preparation(way: ForecastMethod, config: Snp, data: Data, quotes: Quotes) -> AuditFinding:
    """The data prepared again after all that comes after a day of the test part was changed, and forecasts again."""
    quotes, check = select_quotes(config, quotes), "the days after a forecast"
    first, days = _said(way, data)
    last = days[len(days) // 2]
    after = quotes.day > last
    # The day after may be forecast from all before it, and from its own open where that is told.
    until = quotes.day[after].min() if after.any() else last
    values = {name: np.where(after, 1.5 * column, column) for name, column in quotes.values.items()}
    if way.with_open:
        values["open"] = np.where(quotes.day > until, values["open"], quotes.values["open"])
    again, others = _said(way, prepare_prices(config, quotes._replace(values=values)))
    text = f"all rows after {last} were raised by half and prepared again"
    if len(others) != len(days):
        return _judged(check, False, f"{text}: there were other windows")
    up_to = days <= until
    moved = int((first[up_to] != again[up_to]).sum())
    return _judged(check, not moved, f"{text}: {moved:,} of {int(up_to.sum()):,} forecasts up to then moved")


def _said(way: ForecastMethod, data: Data) -> tuple[Any, Any]:
    """Every test window's forecast and its day, in the order of the days."""
    said, split = [], data.test
    for index in split.batches():
        window, company = split.windows(index), split.companies(index)
        said.append(way.say(window[:, : way.given], company, window[:, way.given :])[:, 0, 0])
    assert split.time is not None
    days = split.time[split.starts + way.given]
    order = np.argsort(days, kind="stable")
    return np.concatenate(said)[order], days[order]


def _scale_of_training(config: Snp, data: Data, quotes: Quotes) -> AuditFinding:
    """The data prepared again, after all that comes after training was changed."""
    quotes = select_quotes(config, quotes)
    later = split_by_date(quotes) > 0
    values = {name: np.where(later, 1.5 * column, column) for name, column in quotes.values.items()}
    again = prepare_prices(config, quotes._replace(values=values))
    same = all(np.array_equal(old, new) for old, new in zip(data.scale[1:], again.scale[1:], strict=True))
    check = "the scale"
    if config.split == "report" and not same:
        return _judged(check, same, "training windows were drawn from all days, so later days decide it as well")
    text = f"all {int(later.sum()):,} rows after training were raised by half: it {'stayed' if same else 'moved'}"
    return _judged(check, same, text)


def _scale_of_model(model: Any, data: Data) -> AuditFinding:
    """Whether the model scales as the training part says."""
    from lstm_ae.models.inference import model_inputs
    from lstm_ae.models.scaling import inner_scaling

    index = _some(data.test)
    window, company = data.test.windows(index), data.test.companies(index)
    past = window[:, :-1]
    given = model_inputs(model, past, company, window[:, -1:])
    given.pop("open", None)
    scaled = inner_scaling(model)(given, training=False)["scaled"].numpy()
    same = np.allclose(scaled, data.scale.scaled(past, past, company), rtol=1e-4, atol=1e-4)
    return _judged("the model's scale", same, "is that of the data" if same else "is not that of the data")


def _overlap(data: Data) -> AuditFinding:
    """Windows of a later part that hold a row which stands in a window of an earlier one."""
    pairs = [("test", data.test, "training", data.train), ("test", data.test, "validation", data.validation)]
    pairs.append(("validation", data.validation, "training", data.train))
    counts = [_shared(later, earlier) for _, later, _, earlier in pairs]
    text = "; ".join(
        f"{shared:,} of {later.samples:,} {name} windows hold days that stand in {of} windows"
        for shared, (name, later, of, _) in zip(counts, pairs, strict=True)
    )
    return _judged("the split", not any(counts), text)


def _shared(later: Split, earlier: Split) -> int:
    rows = np.isin(_keys(later, every=True), np.unique(_keys(earlier)))
    inside = np.r_[0, np.cumsum(rows)]
    return int((inside[later.starts + later.span] > inside[later.starts]).sum())


def _keys(split: Split, every: bool = False) -> Any:
    """A number for each company and day: of the rows within windows, or of all."""
    assert split.company is not None
    assert split.time is not None
    keys = split.company.astype(np.int64) * 10**6 + split.time.astype("datetime64[D]").astype(np.int64)
    if every:
        return keys
    covered = np.zeros(len(keys) + 1, np.int64)
    np.add.at(covered, split.starts, 1)
    np.add.at(covered, split.starts + split.span, -1)
    return keys[np.cumsum(covered)[:-1] > 0]


def _copy(way: ForecastMethod, data: Data) -> AuditFinding:
    """The actual change regressed on the predicted one; days are clusters, since companies move together."""
    import statsmodels.api as sm

    said, came, days = [], [], []
    for index in data.test.batches():
        window, company = data.test.windows(index), data.test.companies(index)
        past = window[:, : way.given]
        last = data.scale.scaled(past[:, -1:, :1], past, company)
        predicted = data.scale.scaled(way.say(past, company, window[:, way.given :])[..., :1], past, company)
        said.append((predicted - last).ravel())
        came.append((data.scale.scaled(window[:, way.given :, :1], past, company) - last).ravel())
        assert data.test.time is not None
        days.append(data.test.time[data.test.starts[index] + way.given])
    predicted, actual, day = (np.concatenate(pieces) for pieces in (said, came, days))
    size = float(predicted.std() / actual.std()) if actual.std() else 0.0
    slope, p = float("nan"), float("nan")
    if size > 1e-9:
        groups = np.unique(day, return_inverse=True)[1]
        design = sm.add_constant(predicted.astype(np.float64))
        fit = sm.OLS(actual.astype(np.float64), design).fit(cov_type="cluster", cov_kwds={"groups": groups})
        slope, p = float(fit.params[1]), float(fit.pvalues[1])
    numbers = f"predicted changes are {size:.1%} as large as the actual ones; slope {slope:.2f}, p = {p:.2g}"
    check = "a copy of yesterday"
    if size < STILL:
        return AuditFinding(check, "remark", f"a copy of yesterday: {numbers}")
    if not p < 0.05 or slope <= 0:
        return AuditFinding(check, "remark", f"as good as a copy of yesterday, unrelated to what came: {numbers}")
    return AuditFinding(check, "remark", f"no copy of yesterday: {numbers}")
