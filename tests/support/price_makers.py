"""Files of artificial prices whose next day is partly predictable."""

from pathlib import Path

import numpy as np

HEAD = "symbol,date,open,high,low,close,volume"


def days_of(symbol, count, seed=0, start="2015-01-01", price=50.0, line=0.0):
    """Return rows of working days: open at the last close, a walk within the day, and its high and low.

    `line` makes them a line instead: each day's prices are so much more than the day before's.
    """
    random = np.random.default_rng(seed)
    days = np.busday_offset(start, np.arange(count), roll="forward")
    rows, close = [], price
    for number, day in enumerate(days):
        walk = close * np.exp(np.r_[0, np.cumsum(random.normal(0, 0.002, 30))])
        prices = [walk[0], walk.max(), walk.min(), walk[-1]] if not line else [price + line * number] * 4
        rows.append(",".join([symbol, str(day), *(f"{value:.4f}" for value in prices), str(1000 + number)]))
        close = walk[-1]
    return rows


def prices(folder, *companies, name="prices.csv"):
    path = Path(folder) / name
    path.write_text("\n".join([HEAD, *(row for rows in companies for row in rows)]) + "\n")
    return str(path)
