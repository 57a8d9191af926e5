"""Audit of price forecasters for leakage of future values.

Leaks are detected by changing values that a forecast must not depend on.
"""

from typing import NamedTuple

import numpy as np

from lstm_ae.config import Snp
from lstm_ae.data.panel import Panel
from lstm_ae.data.prices import load_prices, select_prices
from lstm_ae.data.windows import Data, Split
from lstm_ae.forecasting.intervals import ForecastMethod, forecast_method
from lstm_ae.models.network import Network
from lstm_ae.studies.snp.forecasting import require_forecaster

# Maximum number of windows to forecast twice, evenly spaced over the test split.
MAX_WINDOWS = 1024


class AuditFinding(NamedTuple):
    """Result of one check.

    Args:
        check: name of the check.
        outcome: "passed" or "leak".
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
    require_forecaster(model, "audit")
    leaky = data.source.leaky
    text = leaky or f"no shuffled windows, no scale of all days, no input that predicts the next {config.fields[0]}"
    return [
        _finding("the data", not leaky, text),
        *([] if config.last_day_only else [_later_days(model, data.test)]),
        *_preparation(forecast_method(model, data.test.span), config, data, panel),
    ]


def _finding(check: str, clean: bool, text: str) -> AuditFinding:
    return AuditFinding(check, "passed" if clean else "leak", text)


def _later_days(model: Network, split: Split) -> AuditFinding:
    """Compare the forecasts of the days within a window before and after its second half is changed."""
    from lstm_ae.models.inference import model_inputs

    split, steps = split.thin(MAX_WINDOWS), split.span - 1
    window, lines, half = split.windows(), split.lines(), steps // 2
    other = window.copy()
    other[:, half:] *= 1.5
    before, after = (
        model(model_inputs(model.inputs, values[:, :steps], lines, values[:, steps:]))["future"]
        for values in (window, other)
    )
    changes = int((before != after)[:, :half].any(axis=(1, 2)).sum())
    text = f"after increasing the second half by 50%, the forecasts of the first half changed in {changes:,} windows"
    return _finding("later days of a window", not changes, text)


def _preparation(method: ForecastMethod, config: Snp, data: Data, panel: Panel) -> list[AuditFinding]:
    """Compare forecasts and the scale before and after all rows after a day are changed and prepared again."""
    panel, split = select_prices(config, panel), data.test
    days = split.days[:, method.steps]
    last = np.sort(days)[len(days) // 2]
    later = panel.days > last
    # The forecast of the day after may depend on all days before it.
    until = panel.days[later].min() if later.any() else last
    raised = np.where(later, np.float32(1.5), np.float32(1))[:, None]
    other = load_prices(config, panel._replace(values=panel.values * raised))
    before, after = (method.predict(*method.inputs(each))[:, 0, 0] for each in (split, other.test))
    text = f"after increasing all rows after {last} by 50%"
    same = all(np.array_equal(*pair) for pair in zip(data.scale[1:3], other.scale[1:3], strict=True))
    scale = _finding("the scale", same, f"{text}, it {'did not change' if same else 'changed'}")
    up_to = days <= until
    changes = int((before[up_to] != after[up_to]).sum())
    text = f"{text}, {changes:,} of {int(up_to.sum()):,} forecasts up to then changed"
    return [scale, _finding("the days after a forecast", not changes, text)]
