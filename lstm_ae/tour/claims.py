"""What a part of the tour is made of: settings to train, numbers to take, and claims of the source report to decide."""

from collections.abc import Callable
from typing import NamedTuple

from lstm_ae import significance
from lstm_ae.config import Config
from lstm_ae.significance import OPEN, Decision, SettingResult
from lstm_ae.tour.measurements import TourQuantity

Numbers = Callable[[str, TourQuantity], SettingResult]

"""From a setting's name and a quantity to what it reached."""

Rule = Callable[[Numbers], Decision]


class TourData(NamedTuple):
    """Where the data is, as options take it, and what is in it.

    Args:
        digits, prices: for `--data`; None for where the studies look by themselves.
        symbols: the companies to read, for `--symbols`; none for all.
        whole_digits: whether these are all 70,000.
        whole_prices: whether these are of hundreds of companies, as the report's.
    """

    digits: str | None = None
    prices: str | None = None
    symbols: tuple[str, ...] = ()
    whole_digits: bool = False
    whole_prices: bool = False


class TourSetting(NamedTuple):
    """One line of a part's table.

    Args:
        name: for people.
        configs: without their seed. Of several, the mean stands for the setting (the geometric one where logarithms
            are compared).
        reported: the source report's number for the part's first quantity; None where it has none.
    """

    name: str
    configs: tuple[Config, ...]
    reported: float | None = None


class TourClaim(NamedTuple):
    """A finding of the source report, in its words or nearly so, and what decides it: the rule, also in words."""

    said: str
    rule: Rule
    words: str


class TourPart(NamedTuple):
    """A part of the tour.

    Args:
        key: for names of files and places in the page.
        title: its heading.
        where: in which part of the source report.
        told: what the report does there, in a sentence or two.
        command: what does this part by hand, beside the commands of the single trainings; "" for nothing else.
        settings: what is trained.
        quantities: what is told of each setting; the chart shows the first.
        claims: what is decided.
        shown: the setting whose figures are shown; "" for none.
        figures: their names.
        draws: whose data is drawn; None for no such figure.
        rolled: the settings that forecast many days.
    """

    key: str
    title: str
    where: str
    told: str
    command: str = ""
    settings: tuple[TourSetting, ...] = ()
    quantities: tuple[TourQuantity, ...] = ()
    claims: tuple[TourClaim, ...] = ()
    shown: str = ""
    figures: tuple[str, ...] = ()
    draws: Config | None = None
    rolled: tuple[str, ...] = ()


def better(one: str, other: str, quantity: TourQuantity, than: TourQuantity | None = None, by: float = 0.0) -> Rule:
    """One setting is better than another, or, by `than`, one number than another, by at least so much."""

    def rule(numbers: Numbers) -> Decision:
        ours, theirs = numbers(one, quantity), numbers(other, than or quantity)
        if than is not None:  # the settings' names do not say what is compared
            ours, theirs = ours._replace(name=quantity.words), theirs._replace(name=than.words)
        return significance.decide_better(ours, theirs, by)

    return rule


def alike(one: str, other: str, quantity: TourQuantity, margin: float) -> Rule:
    """Two settings differ by less than a margin."""
    return lambda numbers: significance.decide_alike(numbers(one, quantity), numbers(other, quantity), margin)


def reaches(one: str, quantity: TourQuantity, threshold: float, *, whole: bool, baseline: bool = True) -> Rule:
    """A setting comes to a threshold, and is better than its baseline."""

    def rule(numbers: Numbers) -> Decision:
        beside = (
            numbers(f"{BASELINE}{one}", quantity) if baseline and quantity.baseline and not quantity.share else None
        )
        return significance.decide_reached(numbers(one, quantity), threshold, whole=whole, baseline=beside)

    return rule


def fails(one: str, quantity: TourQuantity, threshold: float, *, whole: bool) -> Rule:
    """A setting stays worse than a threshold."""
    return lambda numbers: significance.decide_missed(numbers(one, quantity), threshold, whole=whole)


def compromise(middle: str, others: tuple[str, ...], quantities: tuple[TourQuantity, ...]) -> Rule:
    """No other setting is better in all quantities."""

    def rule(numbers: Numbers) -> Decision:
        rows = [[numbers(name, quantity) for quantity in quantities] for name in (middle, *others)]
        return significance.decide_compromise(rows[0], rows[1:])

    return rule


def all_rules(*rules: Rule) -> Rule:
    """All of several rules hold."""
    return lambda numbers: significance.decide_all([rule(numbers) for rule in rules])


def undecided(why: str) -> Rule:
    """Nothing here decides it."""
    return lambda numbers: Decision(OPEN, "no figure", why)


# Before a setting's name: the baseline beside it.
BASELINE = "baseline of "
