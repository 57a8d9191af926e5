"""One-step forecasts: their errors beside those of persistence, the verdict, and the table of what was said."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Mean, Metric, Verdict, verdict
from lstm_ae.tasks.panel import last_windows, weekdays_after


def forecasts(model: Any) -> bool:
    """Whether the model forecasts; else it reconstructs."""
    return "future" in model.output


class Forecast(NamedTuple):
    """A batch of windows with what was said of them, all `(samples, steps, features)`, own units.

    Args:
        rows: `(samples,)` the row of the split on which each window ends, the day that was to be forecast.
        past, truth: the window that the model read, and the same a day later.
        predicted: of the last steps of `truth`, as many as the model returns.
        span: range of the scale, `(samples, 1, features)`.
    """

    rows: Any
    past: Any
    truth: Any
    predicted: Any
    span: Any


def forecast(model: Any, data: Data, split: Split) -> Iterator[Forecast]:
    """Walk over the split's windows."""
    from lstm_ae.models.apply import apply

    for batch in apply(model, split, steps=split.span - 1):
        past, truth = batch.window[:, :-1], batch.window[:, 1:]
        rows = split.starts[batch.samples] + split.span - 1
        yield Forecast(rows, past, truth, batch.outputs["future"], data.scale.of(past, batch.company)[1])


def evaluate(model: Any, data: Data, split: Split) -> dict[str, Metric]:
    """Scaled MSE over all days and over the last day alone, and the last day's error in prices."""
    ours = {name: Mean() for name in ("mse", "last_day_mse", "last_day_mae")}
    naive = {name: Mean() for name in ours}
    for batch in forecast(model, data, split):
        for means, predicted in ((ours, batch.predicted), (naive, batch.past)):
            scaled = ((predicted - batch.truth[:, -predicted.shape[1] :]) / batch.span) ** 2
            means["mse"].add(scaled)
            means["last_day_mse"].add(scaled[:, -1])
            means["last_day_mae"].add(abs(predicted[:, -1] - batch.truth[:, -1]))
    units = {"mse": "scaled", "last_day_mse": "scaled", "last_day_mae": "USD"}
    return {
        name: Metric(ours[name].value, units[name], {"persistence": naive[name].value})
        for name in ours
        # A model of the last day alone says nothing about the others.
        if name != "mse" or model.output["future"].shape[1] != 1
    }


def judge(model: Any, data: Data, split: Split) -> Verdict:
    """Whether the forecast of the day after the window beats persistence, in squared scaled errors."""
    ours: list[Any] = []
    naive: list[Any] = []
    rows: list[Any] = []
    for batch in forecast(model, data, split):
        for errors, predicted in ((ours, batch.predicted), (naive, batch.past)):
            errors.append((((predicted - batch.truth)[:, -1] / batch.span[:, 0]) ** 2).mean(axis=1, dtype=np.float64))
        rows.append(batch.rows)
    assert split.time is not None
    days = split.time[np.concatenate(rows)]
    return verdict(np.concatenate(ours), np.concatenate(naive), days, name="persistence", steps=1)


def predict(model: Any, data: Data, split: Split) -> dict[str, Sequence[Any]]:
    """The day after every window, and after each company's last window the day after the data (`actual` is None)."""
    assert split.company is not None
    assert split.time is not None
    rows: dict[str, list[Any]] = {"symbol": [], "date": [], "actual": [], "persistence": [], "predicted": []}
    for batch in forecast(model, data, split):
        rows["symbol"] += [data.symbols[line] for line in split.company[batch.rows]]
        rows["date"] += split.time[batch.rows].astype(str).tolist()
        rows["actual"] += list(batch.truth[:, -1, 0])
        rows["persistence"] += list(batch.past[:, -1, 0])
        rows["predicted"] += list(batch.predicted[:, -1, 0])
    last = split.recut(split.span - 1)
    index, names = last_windows(data, last, most=len(data.symbols))
    past = last.windows(index)
    from lstm_ae.models.apply import inputs_of

    future = model(inputs_of(model, past, last.companies(index)))["future"].numpy()
    days = [weekdays_after(last.time[start + last.span - 1], 1)[0] for start in last.starts[index]]  # type: ignore[index]
    rows["symbol"] += names
    rows["date"] += [str(day) for day in days]
    rows["actual"] += [None] * len(names)
    rows["persistence"] += list(past[:, -1, 0])
    rows["predicted"] += list(future[:, -1, 0])
    return dict(rows)
