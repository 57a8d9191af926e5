"""Parts of the tour: the settings to train, the quantities to measure, and the claims of the source report."""

from collections.abc import Callable
from typing import NamedTuple

from lstm_ae import significance
from lstm_ae.config import Config
from lstm_ae.significance import OPEN, Decision, SettingResult
from lstm_ae.tour.measurements import TourQuantity

# Returns the results of a setting, by its name, for a quantity.
Numbers = Callable[[str, TourQuantity], SettingResult]

Rule = Callable[[Numbers], Decision]


# Returns the configs of a setting: a reference config with the given options.
Variant = Callable[..., tuple[Config, ...]]


def variants_of(base: Config) -> Variant:
    """Return the function from options to `base` with these options, as the only config of a setting."""
    return lambda **fields: (base.with_values(fields),)


class TourData(NamedTuple):
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


class TourSetting(NamedTuple):
    """Setting of a part, one row of its table.

    Args:
        name: its displayed name.
        configs: its configs, without a seed. The result is their mean (the geometric mean of a logarithmic quantity).
        reported: the source report's value of the part's first quantity; None if it has none.
    """

    name: str
    configs: tuple[Config, ...]
    reported: float | None = None


class TourClaim(NamedTuple):
    """Claim of the source report.

    Args:
        statement: the claim in the report's words, possibly shortened.
        rule: decides it.
        rule_text: the rule in words.
    """

    statement: str
    rule: Rule
    rule_text: str


class TourPart(NamedTuple):
    """Part of the tour.

    Args:
        key: prefix of file names and id of the section in the page.
        title: its heading.
        section: its section in the source report.
        text: description of the report's experiment.
        command: a command that runs this part as a search; "" for none.
        settings: the settings to train.
        quantities: the quantities of the table.
        claims: the claims to decide.
        shown_setting: the setting whose figures are shown; "" for none.
        figures: names of these figures.
        data_config: config whose data is drawn; None for no such figure.
        multistep: names of the settings with forecasts of many days.
    """

    key: str
    title: str
    section: str
    text: str
    command: str = ""
    settings: tuple[TourSetting, ...] = ()
    quantities: tuple[TourQuantity, ...] = ()
    claims: tuple[TourClaim, ...] = ()
    shown_setting: str = ""
    figures: tuple[str, ...] = ()
    data_config: Config | None = None
    multistep: tuple[str, ...] = ()


def better(
    name: str,
    other: str,
    quantity: TourQuantity,
    other_quantity: TourQuantity | None = None,
    by: float = 0.0,
    *,
    baseline: bool = False,
) -> Rule:
    """Return the rule that one setting is better than another one.

    Args:
        name: the setting.
        other: the other setting.
        quantity: the compared quantity.
        other_quantity: the quantity of the other setting; None for the same.
        by: smallest difference, as a share of 1 or, of a logarithmic quantity, as a factor.
        baseline: whether one of the settings must be better than the baseline.
    """

    def rule(numbers: Numbers) -> Decision:
        first, second = numbers(name, quantity), numbers(other, other_quantity or quantity)
        if other_quantity is not None:  # The names of the settings do not identify the compared quantities.
            first, second = first._replace(name=quantity.label), second._replace(name=other_quantity.label)
        level = numbers(f"{BASELINE}{name}", quantity) if baseline else None
        return significance.decide_better(first, second, by, level)

    return rule


def equivalent(name: str, other: str, quantity: TourQuantity, margin: float) -> Rule:
    """Return the rule that two settings differ by less than a margin.

    Args:
        name: the setting.
        other: the other setting.
        quantity: the compared quantity.
        margin: the margin, as a share of 1 or, of a logarithmic quantity, as a factor.
    """
    return lambda numbers: significance.decide_alike(numbers(name, quantity), numbers(other, quantity), margin)


def reaches(name: str, quantity: TourQuantity, threshold: float, *, whole: bool) -> Rule:
    """Return the rule that a setting reaches a threshold and is better than its baseline.

    Args:
        name: the setting.
        quantity: the compared quantity.
        threshold: the threshold.
        whole: whether the data is complete; otherwise a missed threshold decides nothing.
    """

    def rule(numbers: Numbers) -> Decision:
        baseline = numbers(f"{BASELINE}{name}", quantity) if quantity.baseline and not quantity.share else None
        return significance.decide_reached(numbers(name, quantity), threshold, whole=whole, baseline=baseline)

    return rule


def fails(name: str, quantity: TourQuantity, threshold: float, *, whole: bool) -> Rule:
    """Return the rule that a setting is worse than a threshold; see `reaches`."""
    return lambda numbers: significance.decide_missed(numbers(name, quantity), threshold, whole=whole)


def compromise(middle: str, others: tuple[str, ...], quantities: tuple[TourQuantity, ...]) -> Rule:
    """Return the rule that no other setting is better in all quantities.

    Args:
        middle: the setting that should be the best.
        others: the other settings.
        quantities: the compared quantities.
    """

    def rule(numbers: Numbers) -> Decision:
        rows = [[numbers(name, quantity) for quantity in quantities] for name in (middle, *others)]
        return significance.decide_compromise(rows[0], rows[1:])

    return rule


def all_rules(*rules: Rule) -> Rule:
    """Return the rule that several rules hold."""
    return lambda numbers: significance.decide_all([rule(numbers) for rule in rules])


def undecided(why: str) -> Rule:
    """Return the rule of a claim that the tour cannot decide."""
    return lambda numbers: Decision(OPEN, "no value", why)


# With this prefix, a setting's name stands for the baseline of the setting.
BASELINE = "baseline of "
