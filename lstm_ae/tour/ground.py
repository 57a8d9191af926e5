"""The data of a tour: where it is, and the part of it that a level asks for."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.config import Config, Mnist, Snp, task_of
from lstm_ae.data import digits
from lstm_ae.data.prices import prepare
from lstm_ae.data.quotes import Quotes, read_quotes
from lstm_ae.data.windows import Data, Split
from lstm_ae.files import write
from lstm_ae.search.job import key_of
from lstm_ae.tasks import task
from lstm_ae.tour.levels import Level
from lstm_ae.tour.parts import Ground

# Digits of MNIST.
ALL = 70_000


class Found(NamedTuple):
    """What `survey` comes to: the ground, the prices, and what there is to know of the data."""

    ground: Ground
    quotes: Quotes
    notes: tuple[str, ...]


def survey(level: Level, folder: Path, chosen_digits: str | None = None, chosen_prices: str | None = None) -> Found:
    """Find the data, and put the digits that a level asks for into a file in `folder`, where a command can name it.

    Args:
        chosen_digits, chosen_prices: as the options `--data` of the studies; None for where these look.
    """
    quotes = read_quotes(chosen_prices)
    symbols = companies(quotes.symbols, level.companies)
    data = digits.load(Mnist(data=chosen_digits))
    counts = [split.samples for split in (data.train, data.validation, data.test)]
    place = chosen_digits
    if level.digits is not None:
        place = str(_fewer(data, level.digits, folder))
    ground = Ground(place, chosen_prices, symbols, sum(counts) == ALL)
    return Found(ground, quotes, (*data.source.notes, *quotes.notes))


def companies(symbols: Sequence[str], most: int | None) -> tuple[str, ...]:
    """So many companies, evenly spread over the alphabet, Apple first as the report shows it; none where it is all."""
    if most is None or most >= len(symbols):
        return ()
    apple = [symbol for symbol in symbols if symbol == "AAPL"]
    rest = [symbol for symbol in symbols if symbol != "AAPL"]
    places = np.linspace(0, len(rest) - 1, most - len(apple)).round().astype(int)
    return (*apple, *(rest[place] for place in places))


def _fewer(data: Data, numbers: tuple[int, int], folder: Path) -> Path:
    """A file with the first so many digits of training and validation together, and of test."""
    train, test = numbers
    fifths = [(data.train, train - train // 6), (data.validation, train // 6), (data.test, test)]
    pieces = [_first(split, number) for split, number in fifths]
    path = folder / f"digits-{train}-{data.source.sha256[:8]}.npz"
    if not path.exists():
        content = io.BytesIO()
        images, labels = zip(*pieces, strict=True)
        np.savez_compressed(
            content,
            x_train=np.concatenate(images[:2]),
            y_train=np.concatenate(labels[:2]),
            x_test=images[2],
            y_test=labels[2],
        )
        write(path, content.getvalue())
    return path


def _first(split: Split, number: int) -> tuple[np.ndarray, np.ndarray]:
    assert split.label is not None
    label = split.label.astype(np.uint8)
    index = digits.stratified_order(label)[:number]
    return digits.as_images(split.windows(index), "rows").astype(np.uint8), label[index]


class Loading:
    """Loads the data of one config after the other; what the last one had is kept, prices are read once."""

    def __init__(self, quotes: Quotes) -> None:
        self.quotes = quotes
        self.kept: dict[str, Data] = {}
        self.hashes: dict[str, str] = {}

    def __call__(self, config: Config) -> Data:
        """The data of a config."""
        key = key_of(config)
        if key not in self.kept:
            self.kept.clear()
            self.kept[key] = (
                prepare(config, self.quotes) if isinstance(config, Snp) else task(task_of(config)).load(config)
            )
            self.hashes[key] = self.kept[key].source.sha256
        return self.kept[key]

    def sha256(self, config: Config) -> str:
        """The hash of a config's data."""
        key = key_of(config)
        return self.hashes[key] if key in self.hashes else self(config).source.sha256
