"""The data of a tour: where it is, and the part of it that a level asks for."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.config import Config, Mnist, Snp, task_of
from lstm_ae.data import digits
from lstm_ae.data.prices import Quotes, prepare_prices, read_quotes
from lstm_ae.data.windows import Data, Split
from lstm_ae.files import write
from lstm_ae.report.source_report import MANY
from lstm_ae.search.job import data_key
from lstm_ae.studies import load_study
from lstm_ae.tour.claims import TourData
from lstm_ae.tour.levels import TourLevel

# Digits of MNIST.
ALL = 70_000


class SurveyedData(NamedTuple):
    """What `survey_data` comes to.

    Args:
        places: of digits and prices, as they were chosen.
        digits: all of them.
        quotes: the prices.
        notes: what there is to know of both.
    """

    places: tuple[str | None, str | None]
    digits: Data
    quotes: Quotes
    notes: tuple[str, ...]


def survey_data(chosen_digits: str | None = None, chosen_prices: str | None = None) -> SurveyedData:
    """Find the data and read it; the places are as the options `--data` of the studies take them, None for none."""
    quotes = read_quotes(chosen_prices)
    data = digits.load(Mnist(data=chosen_digits))
    return SurveyedData((chosen_digits, chosen_prices), data, quotes, (*data.source.notes, *quotes.notes))


def choose_data(
    level: TourLevel, found: SurveyedData, folder: Path, scratch: Path | None = None
) -> "tuple[TourData, TourLoader]":
    """The ground that a level asks for, and what loads data from it.

    Fewer digits than all need a file that a command can name: it goes into `folder`, or, where nothing is to be left
    there, is named so and goes into `scratch`.
    """
    data, (place, prices) = found.digits, found.places
    moved: dict[str, str] = {}
    if level.digits is not None:
        train, test = level.digits
        name = f"digits-{train}-{data.source.sha256[:8]}.npz"
        place = str(folder / name)
        moved[place] = str(_fewer(data, train, test, (scratch or folder) / name))
    whole = sum(split.samples for split in (data.train, data.validation, data.test)) == ALL
    many = len(found.quotes.symbols) >= MANY
    ground = TourData(place, prices, choose_companies(found.quotes.symbols, level.companies), whole, many)
    return ground, TourLoader(found.quotes, moved)


def choose_companies(symbols: Sequence[str], most: int | None) -> tuple[str, ...]:
    """So many companies, evenly spread over the alphabet, Apple first as the report shows it; none where it is all."""
    if most is None or most >= len(symbols):
        return ()
    apple = [symbol for symbol in symbols if symbol == "AAPL"]
    rest = [symbol for symbol in symbols if symbol != "AAPL"]
    places = np.linspace(0, len(rest) - 1, most - len(apple)).round().astype(int)
    return (*apple, *(rest[place] for place in places))


def _fewer(data: Data, train: int, test: int, path: Path) -> Path:
    """A file with the first so many digits of training and validation together, and of test."""
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
    """Loads the data of one config after the other; what the last one had is kept, prices are read once.

    Args:
        quotes: the prices.
        moved: where files are that configs name otherwise.
    """

    def __init__(self, quotes: Quotes, moved: Mapping[str, str]) -> None:
        self.quotes, self.moved = quotes, moved
        self.kept: dict[str, Data] = {}
        self.hashes: dict[str, str] = {}

    def __call__(self, config: Config) -> Data:
        """The data of a config."""
        key = data_key(config)
        if key not in self.kept:
            self.kept.clear()
            self.kept[key] = self._load(config)
            self.hashes[key] = self.kept[key].source.sha256
        return self.kept[key]

    def sha256(self, config: Config) -> str:
        """The hash of a config's data."""
        key = data_key(config)
        return self.hashes[key] if key in self.hashes else self(config).source.sha256

    def _load(self, config: Config) -> Data:
        if isinstance(config, Snp):
            return prepare_prices(config, self.quotes)
        if isinstance(config, Mnist) and config.data is not None:
            config = dataclasses.replace(config, data=self.moved.get(config.data, config.data))
        return load_study(task_of(config)).load(config)
