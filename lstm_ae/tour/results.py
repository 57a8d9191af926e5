"""From finished runs to what a tour says: a table and its findings for each part."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lstm_ae.config import Config
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.run import Run
from lstm_ae.significance import OPEN, Decision, SettingResult
from lstm_ae.tour.claims import BASELINE, Numbers, TourClaim, TourPart
from lstm_ae.tour.measurements import MeasuredRun, TourQuantity, baseline_value, measured_value, read_run_facts
from lstm_ae.tour.runs import TourTraining, setting_configs


class SettingRow(NamedTuple):
    """A setting as it is told.

    Args:
        name: the setting's.
        reported: the source report's number for the first quantity; None where it has none.
        reached: by quantity, what it reached and its baseline's, None where there is none.
        legs: its trainings with the first seed.
    """

    name: str
    reported: float | None
    reached: tuple[tuple[SettingResult, SettingResult | None], ...]
    legs: tuple[TourTraining, ...]


class ClaimResult(NamedTuple):
    """A claim with its verdict."""

    claim: TourClaim
    judged: Decision


class PartResult(NamedTuple):
    """What a part came to; `leaky` says why its numbers flatter, "" where they do not."""

    part: TourPart
    rows: tuple[SettingRow, ...]
    answers: tuple[ClaimResult, ...]
    leaky: str


class TourResults(NamedTuple):
    """All outcomes, a sentence for everything that could not be read, and what the numbers rest on.

    Args:
        sources: the data of all runs, each once, with its licence.
        made: the machines and versions that trained them.
        read: how many trainings that is.
    """

    outcomes: tuple[PartResult, ...]
    missing: tuple[str, ...]
    sources: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    read: int = 0


def read_results(parts: Sequence[TourPart], seeds: Sequence[int], legs: Sequence[TourTraining]) -> TourResults:
    """Read the runs of all parts and decide the claims; what is missing is left out and said."""
    facts: dict[Config, MeasuredRun] = {}
    leaks: dict[Config, str] = {}
    missing = []
    sources: dict[str, None] = {}
    made: dict[str, None] = {}
    for leg in legs:
        run = Run(leg.directory)
        try:
            about = run.about()
            facts[leg.config], leaks[leg.config] = read_run_facts(run), str(about["data"]["leaky"])
            sources[f"{about['data']['text']} (licence: {about['data']['licence']})"] = None
            made[_made_by(about)] = None
        except (DataError, ConfigError) as error:
            missing.append(f"{leg.setting}, seed {leg.config.seed}: {error}")
    of = {leg.config: leg for leg in legs}
    found = tuple(_outcome(part, seeds, facts, leaks, of) for part in parts)
    return TourResults(found, tuple(missing), tuple(sources), tuple(made), len(legs) - len(missing))


def _outcome(
    part: TourPart,
    seeds: Sequence[int],
    facts: Mapping[Config, MeasuredRun],
    leaks: Mapping[Config, str],
    legs: Mapping[Config, TourTraining],
) -> PartResult:
    def numbers(name: str, quantity: TourQuantity) -> SettingResult:
        setting = name.removeprefix(BASELINE)
        read = baseline_value if name.startswith(BASELINE) else measured_value
        values = []
        for seed in seeds:
            found = [read(facts[c], quantity) if c in facts else None for c in setting_configs(part, setting, (seed,))]
            known = [value for value in found if value is not None]
            if len(known) == len(found):
                values.append(_middle(known, quantity.log))
        named = quantity.rival if name.startswith(BASELINE) else setting
        return SettingResult(named, tuple(values), quantity.unit, quantity.higher, quantity.log)

    def baseline(name: str, quantity: TourQuantity) -> SettingResult | None:
        found = numbers(f"{BASELINE}{name}", quantity)
        return found if found.values else None

    rows = tuple(
        SettingRow(
            setting.name,
            setting.reported,
            tuple((numbers(setting.name, each), baseline(setting.name, each)) for each in part.quantities),
            tuple(legs[config] for config in setting_configs(part, setting.name, seeds[:1]) if config in legs),
        )
        for setting in part.settings
    )
    answers = tuple(ClaimResult(claim, _decided(claim, numbers, len(seeds))) for claim in part.claims)
    reasons = (leaks.get(config, "") for s in part.settings for config in setting_configs(part, s.name, seeds))
    return PartResult(part, rows, answers, max(reasons, key=len, default=""))


def _made_by(about: Mapping[str, Any]) -> str:
    """Machine and versions of a run, in words."""
    versions, names = about.get("versions", {}), ("python", "lstm-ae", "tensorflow", "keras", "numpy")
    shown = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    return f"{about.get('machine', 'a machine that is not known')} ({shown})"


def _decided(claim: TourClaim, numbers: Numbers, seeds: int) -> Decision:
    """The verdict on a claim, which fewer seeds than were to be trained, and a single one, leave open."""
    fewest = [seeds]

    def counted(name: str, quantity: TourQuantity) -> SettingResult:
        found = numbers(name, quantity)
        if not name.startswith(BASELINE):
            fewest.append(len(found.values))
        return found

    judged = claim.rule(counted)
    if judged.verdict == OPEN:
        return judged
    if seeds < 2:
        return judged._replace(verdict=OPEN, why="one seed is too few to tell")
    if min(fewest) < seeds:
        return judged._replace(verdict=OPEN, why=f"{min(fewest)} of {seeds} seeds came to an end")
    return judged


def _middle(values: Sequence[float], log: bool) -> float:
    """The mean, the geometric one where logarithms are compared."""
    if log:
        return math.exp(math.fsum(math.log(value) for value in values) / len(values))
    return math.fsum(values) / len(values)
