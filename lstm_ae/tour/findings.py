"""Table of the source report's findings: the settings to train, the quantities to measure, and the deciding rules."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from lstm_ae.config import CLASSIFIERS, Config, Mnist, Snp, Toy
from lstm_ae.config.presets import load_preset
from lstm_ae.json_types import JsonObject
from lstm_ae.tour import decisions
from lstm_ae.tour.decisions import Decision, SettingResult
from lstm_ae.tour.levels import TourLevel

# Options of the configs of each setting.
Settings = dict[str, list[JsonObject]]


class Quantity(NamedTuple):
    """Quantity of a run.

    Args:
        label: its displayed name.
        name: name of the measure.
        source: a split ("validation", "test"), "seconds" (per epoch), or "first step", "last step", or "all steps" of
            a forecast of many days.
        unit: see `lstm_ae.tour.decisions.SettingResult`.
        higher: see `lstm_ae.tour.decisions.SettingResult`.
        log: see `lstm_ae.tour.decisions.SettingResult`.
        baseline: name of the baseline or its beginning; "" for none.
        share: whether the value is divided by that baseline.
    """

    label: str
    name: str
    source: str = "test"
    unit: str = ""
    higher: bool = False
    log: bool = False
    baseline: str = ""
    share: bool = False


# Returns the results of a setting for a quantity, or those of its baseline.
Numbers = Callable[[str, Quantity, bool], SettingResult]

# Decides a finding by the results of settings, and whether the training was as large as the source report's.
Rule = Callable[[Numbers, bool], Decision]


def better(
    ours: str, theirs: str, quantity: Quantity, by: float = 0.0, *, than: Quantity | None = None, baseline: bool = False
) -> Rule:
    """Return the rule that a setting is better than another one.

    Args:
        ours: the setting.
        theirs: the other setting.
        quantity: the compared quantity.
        by: smallest difference, as a share of 1; a factor of a logarithmic quantity.
        than: quantity of the other setting, if it is another one.
        baseline: whether one of the settings must be better than the baseline.
    """

    def decide(numbers: Numbers, whole: bool) -> Decision:
        one, other = numbers(ours, quantity, False), numbers(theirs, than or quantity, False)
        if than:  # The names of the settings do not identify the compared quantities.
            one, other = one._replace(name=quantity.label), other._replace(name=than.label)
        return decisions.decide_better(one, other, by, numbers(ours, quantity, True) if baseline else None)

    return decide


def alike(ours: str, theirs: str, quantity: Quantity, margin: float) -> Rule:
    """Return the rule that two settings are alike."""
    return lambda numbers, _: decisions.decide_alike(
        numbers(ours, quantity, False), numbers(theirs, quantity, False), margin
    )


def reached(setting: str, quantity: Quantity, threshold: float) -> Rule:
    """Return the rule that a setting reaches a threshold."""
    return lambda numbers, whole: decisions.decide_reached(
        numbers(setting, quantity, False), threshold, whole=whole, baseline=numbers(setting, quantity, True)
    )


def missed(setting: str, quantity: Quantity, threshold: float) -> Rule:
    """Return the rule that a setting misses a threshold."""
    return lambda numbers, whole: decisions.decide_reached(
        numbers(setting, quantity, False), threshold, whole=whole, reverse=True
    )


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
        findings: the rules of each finding, in the words of the report, all of which must hold; or why it cannot be
            decided.
        multistep: whether forecasts of many days are measured.
    """

    key: str
    title: str
    base: Config
    whole: bool
    settings: Settings
    quantities: tuple[Quantity, ...]
    findings: Mapping[str, Sequence[Rule] | str]
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
MOVES = Quantity("movement from day to day, of the prices'", "moved/moved_truth", "all steps", "%")
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
            reached(best, TOY, 0.00016683299145370256)
        ],
        "learning rate = 0.1 was the best": [
            better("learning rate 0.1", f"learning rate {rate}", TOY, baseline=True) for rate in (0.01, 0.001)
        ],
        "a strong tendency of gradient_clip = 1 to be better": [better("clip 1", "clip 5", TOY, baseline=True)],
        "the bigger the hidden state size, the better the performance": [
            better("32 units", "16 units", TOY, baseline=True),
            better("16 units", "8 units", TOY, baseline=True),
        ],
    }
    return Part("toy", "A synthetic signal, reconstructed", base, level.whole, settings, (TOY,), findings)


def _digits(level: TourLevel, sources: TourSources) -> Iterator[Part]:
    epochs = level.epochs["digits"]
    base = Mnist.from_dict(load_preset("mnist", "report") | {"data": sources.digits, "epochs": epochs})
    whole = level.whole and sources.whole_digits
    alone = "reconstruction alone"
    settings: Settings = {alone: [{"reconstruction_weight": 1.0}]}
    findings = {"the output resembles the original image": [reached(alone, SHARE, 0.1)]}
    yield Part("mnist-reconstruction", "Digits, reconstructed", base, whole, settings, (SHARE, ERROR), findings)

    plain, fast, wide = "V4: 8 units, learning rate 0.01", "learning rate 0.1", "32 units"
    settings = {plain: [{}], fast: [{"learning_rate": 0.1}], wide: [{"units": 32}]}
    findings = {
        "surpassing 98% accuracy": [reached(plain, ACCURACY, 0.98)],
        "learning rate of 0.1 was horrible: between 9% and 80%": [
            better(plain, fast, ACCURACY),
            missed(fast, ACCURACY, 0.8),
        ],
        "a hidden size of only 8 shows virtually no difference in accuracy or reconstruction quality": [
            alike(plain, wide, ACCURACY, 0.005),
            alike(plain, wide, ERROR, 2.0),
        ],
    }
    yield Part("mnist-classification", "Digits, classified", base, whole, settings, (ACCURACY, ERROR), findings)
    yield _variants(base, whole)
    yield _weights(base, whole, level.weights)

    pixels, rows, pixel_epochs = "784 pixels, 16 units", "28 rows, 16 units", level.epochs["pixels"]
    settings = {pixels: [{"read": "pixels", "units": 16, "epochs": pixel_epochs}], rows: [{"units": 16}]}
    findings = {
        "15% success on average": [missed(pixels, ACCURACY, 0.2)],
        "accuracy dropped drastically": [better(rows, pixels, ACCURACY, 0.1)],
        "reconstruction works seamlessly": [reached(pixels, SHARE, 0.1)],
        "in terms of run-time, results are also far worse": [better(rows, pixels, SECONDS, 2.0)],
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
            better(v3, v2, ACCURACY, 0.02)
        ],
        "adding more layers of even regular FC layers improves performance by another 1% or more": [
            better(v4, v3, ACCURACY, 0.01)
        ],
        "more LSTM layers don't do much": [alike(deep, v4, ACCURACY, 0.005)],
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
    findings: dict[str, list[Rule] | str] = {
        "distributing the loss unevenly, one part gets better results": [
            better(low, high, ACCURACY),
            better(high, low, ERROR),
        ],
        "this difference is not much noticeable over an already well proven model": [alike(low, high, ACCURACY, 0.005)],
        "a 50:50 split seems the best compromise": "no weight is the best in both columns",
        "through the same LSTM, the best accuracy was achieved by a slight weight to the reconstruction": [
            better(shared[0.1], shared[weight], ACCURACY) for weight in (0.0, 0.5, 0.9)
        ],
    }
    title = "The weight of the two losses"
    return Part("mnist-weights", title, base, whole, settings, (ACCURACY, ERROR), findings)


def _prices(level: TourLevel, sources: TourSources) -> Iterator[Part]:
    options = {"data": sources.prices, "symbols": sources.symbols, "epochs": level.epochs["prices"]}
    base = Snp.from_dict(load_preset("snp", "report") | options | {"batch_size": level.batch_size})
    # The default batch size of the report's program is 128.
    whole = level.whole and sources.whole_prices and level.batch_size <= 128
    back: JsonObject = {"goal": "reconstruct", "target": "change", "epochs": level.epochs["back"]}
    scaled, raw = "each company's range", "not scaled"
    settings: Settings = {scaled: [back], raw: [back | {"scale": "none"}]}
    findings: dict[str, list[Rule] | str] = {
        "only 2-3 epochs were actually enough to perfectly fit": [reached(scaled, SHARE, 0.001)],
        "a need of scaling the data": [better(scaled, raw, BACK_DOLLARS)],
    }
    errors = (SHARE, ERROR, BACK_DOLLARS)
    yield Part("snp-reconstruction", "Prices, reconstructed", base, whole, settings, errors, findings)

    plain, dated, given_back = "as the report", "divided by date", "reconstruction, as the report"
    by_date: JsonObject = {"split": "time", "scale": "company"}
    settings = {plain: [{}], dated: [by_date], raw: [{"scale": "none"}], given_back: [back]}
    findings = {
        "final test loss: 0.000272": [reached(plain, LOSS, 0.00027201828197576106)],
        "prediction seems much harder for the model to learn than the reconstruction": [
            better(given_back, plain, ERROR, 2.0, than=LOSS)
        ],
        "a MinMaxScaler fitted separately for each company did a significant effect": [better(plain, raw, DOLLARS)],
        "shuffling the sequences before training": "every training here shuffles its windows, there is no comparison",
        "KFold to filter out bad hyper-params, and KFold again for those left": "the tour trains no folds",
    }
    yield Part("snp-prediction", "Prices, predicted", base, whole, settings, (LOSS, LAST, DOLLARS, ERROR), findings)

    every_day, one = "every day of the window", "the last day alone"
    settings = {every_day: [{}], one: [{"last_day_only": True}]}
    findings = {
        "required to predict only the last day, results were far better": [better(one, every_day, LAST, 2.0)],
        "even the required model did stunningly better on the last and unseen day than on the rest": [
            better(every_day, every_day, LAST, 2.0, than=LOSS)
        ],
    }
    yield Part("snp-last-day", "The last day only", base, whole, settings, (LAST, LOSS, DOLLARS), findings)

    findings = {
        "a less accurate version of the original graph": [better(dated, dated, FIRST, than=FAR)],
        "a more smoothed version of the original graph": [reached(dated, MOVES, 1.0)],
        "it does describe pretty well the general trend of the sequence": [reached(dated, TREND, 0.5)],
    }
    title, quantities = "Many days ahead (its question 4)", (FAR, FIRST, MOVES, TREND)
    yield Part("snp-multistep", title, base, whole, {dated: [by_date]}, quantities, findings, multistep=True)

    settings = {f"{days} days": [{"window": days}] for days in (10, 30, 90)}
    rules = [better("30 days", f"{days} days", LOSS) for days in (10, 90)]
    findings = {"tuning down sequence lengths to about 30": rules}
    yield Part("snp-window", "The length of the window", base, whole, settings, (LOSS, LAST, DOLLARS), findings)
