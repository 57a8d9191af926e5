"""Table of the source report's findings: the settings to train, the quantities to measure, and the claims to decide."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Literal, NamedTuple

from lstm_ae.config import CLASSIFIERS, Config, Mnist, Snp, Toy
from lstm_ae.config.presets import load_preset
from lstm_ae.json_types import JsonObject
from lstm_ae.tour.decisions import Quantity
from lstm_ae.tour.levels import TourLevel

# Options of the configs of each setting.
Settings = dict[str, list[JsonObject]]


class Claim(NamedTuple):
    """Claim of the source report on a setting.

    Args:
        kind: "better" than another setting, "alike" another one, or "reaches" or "misses" a threshold.
        setting: the setting.
        quantity: the quantity.
        amount: the threshold, the least difference as a share of 1, or the margin; the latter two are factors of a
            logarithmic quantity.
        other: the other setting.
        than: quantity of the other setting, if it is another one.
        baseline: whether one of the compared settings must be better than the baseline.
    """

    kind: Literal["better", "alike", "reaches", "misses"]
    setting: str
    quantity: Quantity
    amount: float = 0.0
    other: str = ""
    than: Quantity | None = None
    baseline: bool = False


Findings = Mapping[str, Sequence[Claim] | str]


class Part(NamedTuple):
    """Part of the tour.

    Args:
        key: prefix of the directories of its runs, and id of its section in the page.
        title: its heading.
        base: the config that the settings change, without a seed.
        whole: whether the data and the training are as large as the source report's.
        settings: the options of the configs of each setting. Its result is their mean (the geometric mean of a
            logarithmic quantity).
        quantities: the quantities of the table.
        findings: the claims of each finding, in the words of the report, all of which must hold; or why it cannot be
            decided.
        multistep: whether forecasts of many days are measured.
    """

    key: str
    title: str
    base: Config
    whole: bool
    settings: Settings
    quantities: tuple[Quantity, ...]
    findings: Findings
    multistep: bool = False

    def configs(self, setting: str, seed: int) -> Iterator[Config]:
        """Yield the configs of a setting with a seed."""
        for options in self.settings[setting]:
            yield self.base.with_values(options | {"seed": seed})


class TourSources(NamedTuple):
    """Data of a tour.

    Args:
        digits: value of `--data` for digits; None for the default of the study.
        prices: value of `--data` for prices; None for the default of the study.
        symbols: value of `--symbols`; empty for all companies.
        whole_digits: whether the data has all 70,000 digits.
        whole_prices: whether the data has hundreds of companies, as the source report's.
    """

    digits: str | None = None
    prices: str | None = None
    symbols: tuple[str, ...] = ()
    whole_digits: bool = False
    whole_prices: bool = False


TOY = Quantity("error of the reconstruction", "reconstruction_mse", "validation", log=True, baseline="mean sequence")

ACCURACY = Quantity("accuracy", "accuracy", unit="%", higher=True, baseline="always")
ERROR = Quantity("error of the reconstruction", "reconstruction_mse", log=True, baseline="mean sequence")
SHARE = Quantity("share of the mean's error", "reconstruction_mse", unit="%", baseline="mean sequence", share=True)
SECONDS = Quantity("seconds per epoch", "seconds", source="seconds", log=True)

LOSS = Quantity("loss of all days", "mse", log=True, baseline="persistence")
LAST = Quantity("loss of the last day", "forecast_mse", log=True, baseline="persistence")
DOLLARS = Quantity("absolute error of the last day", "mae", unit="USD", log=True, baseline="persistence")
BACK_DOLLARS = Quantity("absolute error", "reconstruction_mae", unit="USD", log=True, baseline="mean of the window")
FIRST = Quantity("error of the first day", "rmse", "first step", "USD", log=True, baseline="persistence")
FAR = Quantity("error of the last day", "rmse", "last step", "USD", log=True, baseline="persistence")
MOVES = Quantity("movement from day to day, of the prices'", "movement", "last step", "%")
TREND = Quantity("right directions on the last day", "direction", "last step", "%", higher=True, baseline="drift")


def tour_parts(level: TourLevel, sources: TourSources) -> list[Part]:
    """Return the parts in the order of the source report."""
    return [_toy(level), *_digits(level, sources), *_prices(level, sources)]


def _toy(level: TourLevel) -> Part:
    base = Toy.from_dict(load_preset("toy", "report") | {"sequences": level.sequences, "epochs": level.epochs["toy"]})
    best = "the report's best (0.1, 16, 5)"
    settings: Settings = {best: [{}]}
    for rate, units, clip in level.grid or product((0.1, 0.01, 0.001), (8, 16, 32), (1.0, 5.0)):
        for setting in (f"learning rate {rate:g}", f"{units} units", f"clip {clip:g}"):
            settings.setdefault(setting, []).append({"learning_rate": rate, "units": units, "clip": clip})

    findings = {
        "validation loss 0.000167 with learning rate 0.1, hidden size 16, clip 5": [
            Claim("reaches", best, TOY, 0.00016683299145370256)
        ],
        "learning rate = 0.1 was the best": [
            Claim("better", "learning rate 0.1", TOY, other=f"learning rate {rate}", baseline=True)
            for rate in (0.01, 0.001)
        ],
        "a strong tendency of gradient_clip = 1 to be better": [
            Claim("better", "clip 1", TOY, other="clip 5", baseline=True)
        ],
        "the bigger the hidden state size, the better the performance": [
            Claim("better", "32 units", TOY, other="16 units", baseline=True),
            Claim("better", "16 units", TOY, other="8 units", baseline=True),
        ],
    }
    return Part("toy", "A synthetic signal, reconstructed", base, level.whole, settings, (TOY,), findings)


def _digits(level: TourLevel, sources: TourSources) -> Iterator[Part]:
    epochs = level.epochs["digits"]
    base = Mnist.from_dict(load_preset("mnist", "report") | {"data": sources.digits, "epochs": epochs})
    whole = level.whole and sources.whole_digits
    alone = "reconstruction alone"
    settings: Settings = {alone: [{"reconstruction_weight": 1.0}]}
    findings = {"the output resembles the original image": [Claim("reaches", alone, SHARE, 0.1)]}
    yield Part("mnist-reconstruction", "Digits, reconstructed", base, whole, settings, (SHARE, ERROR), findings)

    plain, fast, wide = "V4: 8 units, learning rate 0.01", "learning rate 0.1", "32 units"
    settings = {plain: [{}], fast: [{"learning_rate": 0.1}], wide: [{"units": 32}]}
    findings = {
        "surpassing 98% accuracy": [Claim("reaches", plain, ACCURACY, 0.98)],
        "learning rate of 0.1 was horrible: between 9% and 80%": [
            Claim("better", plain, ACCURACY, other=fast),
            Claim("misses", fast, ACCURACY, 0.8),
        ],
        "a hidden size of only 8 shows virtually no difference in accuracy or reconstruction quality": [
            Claim("alike", plain, ACCURACY, 0.005, other=wide),
            Claim("alike", plain, ERROR, 2.0, other=wide),
        ],
    }
    yield Part("mnist-classification", "Digits, classified", base, whole, settings, (ACCURACY, ERROR), findings)
    yield _variants(base, whole)
    yield _weights(base, whole, level.weights)

    pixels, rows, pixel_epochs = "784 pixels, 16 units", "28 rows, 16 units", level.epochs["pixels"]
    settings = {pixels: [{"read": "pixels", "units": 16, "epochs": pixel_epochs}], rows: [{"units": 16}]}
    findings = {
        "15% success on average": [Claim("misses", pixels, ACCURACY, 0.2)],
        "accuracy dropped drastically": [Claim("better", rows, ACCURACY, 0.1, other=pixels)],
        "reconstruction works seamlessly": [Claim("reaches", pixels, SHARE, 0.1)],
        "in terms of run-time, results are also far worse": [Claim("better", rows, SECONDS, 2.0, other=pixels)],
    }
    whole, quantities = whole and pixel_epochs >= epochs, (ACCURACY, SHARE, ERROR, SECONDS)
    yield Part("mnist-pixels", "Digits, pixel by pixel", base, whole, settings, quantities, findings)


def _variants(base: Config, whole: bool) -> Part:
    """Return the part that compares the report's classifiers (V1 to V4)."""
    v2, v3, v4 = "V2: head on the reconstruction", "V3: two autoencoders", "V4: two, and a dense head"
    names = ("V1: linear on the input", v2, v3, v4, "head on the code")
    deep = "V4 with two layers"
    models = CLASSIFIERS
    settings = {name: [{"model": model}] for name, model in zip(names, models, strict=True)} | {deep: [{"layers": 2}]}
    findings = {
        "separating classification and reconstruction to 2 different LSTMs improves from 94% to around 97%": [
            Claim("better", v3, ACCURACY, 0.02, other=v2)
        ],
        "adding more layers of even regular FC layers improves performance by another 1% or more": [
            Claim("better", v4, ACCURACY, 0.01, other=v3)
        ],
        "more LSTM layers don't do much": [Claim("alike", deep, ACCURACY, 0.005, other=v4)],
    }
    title = "Variants of the classifier"
    return Part("mnist-variants", title, base, whole, settings, (ACCURACY, ERROR), findings)


def _weights(base: Config, whole: bool, weights: Sequence[float]) -> Part:
    """Return the part that compares the weights of the reconstruction in the loss."""
    names = {weight: f"V4, weight {weight:g}" for weight in weights}
    shared = {weight: f"V2, weight {weight:g}" for weight in (0.0, 0.1, 0.5, 0.9)}
    settings: Settings = {name: [{"reconstruction_weight": weight}] for weight, name in names.items()}
    for weight, name in shared.items():
        settings[name] = [{"model": "head-on-reconstruction", "reconstruction_weight": weight}]
    low, high = names[0.1], names[0.9]
    findings: Findings = {
        "distributing the loss unevenly, one part gets better results": [
            Claim("better", low, ACCURACY, other=high),
            Claim("better", high, ERROR, other=low),
        ],
        "this difference is not much noticeable over an already well proven model": [
            Claim("alike", low, ACCURACY, 0.005, other=high)
        ],
        "a 50:50 split seems the best compromise": "no weight is the best in both columns",
        "through the same LSTM, the best accuracy was achieved by a slight weight to the reconstruction": [
            Claim("better", shared[0.1], ACCURACY, other=shared[weight]) for weight in (0.0, 0.5, 0.9)
        ],
    }
    title = "The weight of the two losses"
    return Part("mnist-weights", title, base, whole, settings, (ACCURACY, ERROR), findings)


def _prices(level: TourLevel, sources: TourSources) -> Iterator[Part]:
    options = {"data": sources.prices, "symbols": sources.symbols, "epochs": level.epochs["prices"]}
    base = Snp.from_dict(load_preset("snp", "report") | options | {"batch_size": level.batch_size})
    # The default batch size of the report's program is 128.
    whole = level.whole and sources.whole_prices and level.batch_size <= 128
    reconstruction: JsonObject = {"goal": "reconstruct", "target": "change", "epochs": level.epochs["back"]}
    scaled, raw = "each company's range", "not scaled"
    settings: Settings = {scaled: [reconstruction], raw: [reconstruction | {"scale": "none"}]}
    findings: Findings = {
        "only 2-3 epochs were actually enough to perfectly fit": [Claim("reaches", scaled, SHARE, 0.001)],
        "a need of scaling the data": [Claim("better", scaled, BACK_DOLLARS, other=raw)],
    }
    errors = (SHARE, ERROR, BACK_DOLLARS)
    yield Part("snp-reconstruction", "Prices, reconstructed", base, whole, settings, errors, findings)

    plain, dated, reconstructed = "as the report", "divided by date", "reconstruction, as the report"
    by_date: JsonObject = {"split": "time", "scale": "company"}
    settings = {plain: [{}], dated: [by_date], raw: [{"scale": "none"}], reconstructed: [reconstruction]}
    findings = {
        "final test loss: 0.000272": [Claim("reaches", plain, LOSS, 0.00027201828197576106)],
        "prediction seems much harder for the model to learn than the reconstruction": [
            Claim("better", reconstructed, ERROR, 2.0, other=plain, than=LOSS)
        ],
        "a MinMaxScaler fitted separately for each company did a significant effect": [
            Claim("better", plain, DOLLARS, other=raw)
        ],
        "shuffling the sequences before training": "every training here shuffles its windows, there is no comparison",
        "KFold to filter out bad hyper-params, and KFold again for those left": "the tour trains no folds",
    }
    yield Part("snp-prediction", "Prices, predicted", base, whole, settings, (LOSS, LAST, DOLLARS, ERROR), findings)

    every_day, one = "every day of the window", "the last day alone"
    settings = {every_day: [{}], one: [{"last_day_only": True}]}
    findings = {
        "required to predict only the last day, results were far better": [
            Claim("better", one, LAST, 2.0, other=every_day)
        ],
        "even the required model did stunningly better on the last and unseen day than on the rest": [
            Claim("better", every_day, LAST, 2.0, other=every_day, than=LOSS)
        ],
    }
    yield Part("snp-last-day", "The last day only", base, whole, settings, (LAST, LOSS, DOLLARS), findings)

    findings = {
        "a less accurate version of the original graph": [Claim("better", dated, FIRST, other=dated, than=FAR)],
        "a more smoothed version of the original graph": [Claim("reaches", dated, MOVES, 1.0)],
        "it does describe pretty well the general trend of the sequence": [Claim("reaches", dated, TREND, 0.5)],
    }
    title, quantities = "Many days ahead (its question 4)", (FAR, FIRST, MOVES, TREND)
    yield Part("snp-multistep", title, base, whole, {dated: [by_date]}, quantities, findings, multistep=True)

    settings = {f"{days} days": [{"window": days}] for days in (10, 30, 90)}
    rules = [Claim("better", "30 days", LOSS, other=f"{days} days") for days in (10, 90)]
    findings = {"tuning down sequence lengths to about 30": rules}
    yield Part("snp-window", "The length of the window", base, whole, settings, (LOSS, LAST, DOLLARS), findings)
