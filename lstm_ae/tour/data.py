"""Data of a tour: reading it and selecting the subset of a level."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.config import Config, Mnist, Snp, task_of
from lstm_ae.data import digits
from lstm_ae.data.panel import Panel
from lstm_ae.data.prices import prepare_prices, read_prices
from lstm_ae.data.windows import Data, Split
from lstm_ae.files import write
from lstm_ae.report.source_report import MANY_COMPANIES
from lstm_ae.studies import load_study
from lstm_ae.tour.claims import TourData
from lstm_ae.tour.levels import TourLevel

# Number of digits of MNIST.
MNIST_DIGITS = 70_000


class SourceData(NamedTuple):
    """Data of a tour before the selection of a level.

    Args:
        digits_path: value of `--data` for digits.
        prices_path: value of `--data` for prices.
        digits: the digits.
        prices: the prices.
        notes: notes on both.
    """

    digits_path: str | None
    prices_path: str | None
    digits: Data
    prices: Panel
    notes: tuple[str, ...]


def read_source_data(digits_path: str | None = None, prices_path: str | None = None) -> SourceData:
    """Read the data of a tour.

    Args:
        digits_path: value of `--data` for digits; None for the default of the study.
        prices_path: value of `--data` for prices; None for the default of the study.
    """
    prices = read_prices(Snp(data=prices_path, inputs="ohlcv"))
    data = digits.load(Mnist(data=digits_path))
    return SourceData(digits_path, prices_path, data, prices, (*data.source.notes, *prices.notes))


def choose_data(
    level: TourLevel, source: SourceData, folder: Path, scratch: Path | None = None
) -> "tuple[TourData, TourLoader]":
    """Select the data of a level.

    A subset of the digits is written to a file, because the commands of the trainings need a path.

    Args:
        level: the level.
        source: all data.
        folder: directory of the tour, for the file in the commands.
        scratch: directory to write the file to instead.

    Returns:
        The data, and its loader.
    """
    data, path = source.digits, source.digits_path
    written: dict[str, str] = {}
    if level.digits is not None:
        train, test = level.digits
        name = f"digits-{train}-{data.source.sha256[:8]}.npz"
        path = str(folder / name)
        written[path] = str(_write_subset(data, train, test, (scratch or folder) / name))
    tour_data = TourData(
        path,
        source.prices_path,
        choose_companies(source.prices.ids, level.companies),
        whole_digits=sum(split.samples for split in (data.train, data.validation, data.test)) == MNIST_DIGITS,
        whole_prices=len(source.prices.ids) >= MANY_COMPANIES,
    )
    return tour_data, TourLoader(source.prices, written)


def choose_companies(symbols: Sequence[str], number: int | None) -> tuple[str, ...]:
    """Select companies evenly spread over the alphabet, and Apple, which the source report shows.

    Args:
        symbols: all symbols in alphabetical order.
        number: the number of companies; None for all.

    Returns:
        The symbols, Apple first; empty for all.

    >>> choose_companies(["A", "AAPL", "B", "C", "D"], 3)
    ('AAPL', 'A', 'D')
    """
    if number is None or number >= len(symbols):
        return ()
    apple = [symbol for symbol in symbols if symbol == "AAPL"]
    rest = [symbol for symbol in symbols if symbol != "AAPL"]
    indices = np.linspace(0, len(rest) - 1, number - len(apple)).round().astype(int)
    return (*apple, *(rest[index] for index in indices))


def _write_subset(data: Data, train: int, test: int, path: Path) -> Path:
    """Write a file with `train` digits of training and validation together and `test` test digits."""
    if path.exists():
        return path
    numbers = ((data.train, train - train // 6), (data.validation, train // 6), (data.test, test))
    images, labels = zip(*(_first(split, number) for split, number in numbers), strict=True)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        x_train=np.concatenate(images[:2]),
        y_train=np.concatenate(labels[:2]),
        x_test=images[2],
        y_test=labels[2],
    )
    return write(path, content.getvalue())


def _first(split: Split, number: int) -> tuple[np.ndarray, np.ndarray]:
    assert split.label is not None
    label = split.label.astype(np.uint8)
    index = digits.stratified_order(label)[:number]
    return digits.rows_to_images(split.windows(index), "rows").astype(np.uint8), label[index]


class TourLoader:
    """Loader of the data of a config that caches the last data and all hashes.

    Args:
        prices: the prices.
        written: actual paths of files by the path in a config.
    """

    def __init__(self, prices: Panel, written: Mapping[str, str]) -> None:
        self.prices, self.written = prices, written
        self.cache: dict[str, Data] = {}
        self.hashes: dict[str, str] = {}

    def __call__(self, config: Config) -> Data:
        """Return the data of a config."""
        key = config.data_key
        if key not in self.cache:
            self.cache.clear()
            self.cache[key] = self._load(config)
            self.hashes[key] = self.cache[key].source.sha256
        return self.cache[key]

    def sha256(self, config: Config) -> str:
        """Return the hash of the data of a config."""
        key = config.data_key
        return self.hashes[key] if key in self.hashes else self(config).source.sha256

    def _load(self, config: Config) -> Data:
        if isinstance(config, Snp):
            return prepare_prices(config, self.prices)
        if isinstance(config, Mnist) and config.data is not None:
            config = dataclasses.replace(config, data=self.written.get(config.data, config.data))
        return load_study(task_of(config)).load(config)
