"""Results of a tour: the values of the settings and the verdicts on the claims, from finished runs."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lstm_ae.config import Config
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.json_types import JsonMapping
from lstm_ae.run import Run
from lstm_ae.significance import OPEN, Decision, SettingResult
from lstm_ae.tour.claims import BASELINE, Numbers, TourClaim, TourPart
from lstm_ae.tour.measurements import MeasuredRun, TourQuantity, baseline_value, measured_value, read_run_facts
from lstm_ae.tour.runs import TourTraining, setting_configs


class SettingRow(NamedTuple):
    """Results of a setting.

    Args:
        name: name of the setting.
        reported: the source report's value of the first quantity; None if it has none.
        results: by quantity, the result of the setting and of its baseline; None without a baseline.
        trainings: its trainings with the first seed.
    """

    name: str
    reported: float | None
    results: tuple[tuple[SettingResult, SettingResult | None], ...]
    trainings: tuple[TourTraining, ...]


class ClaimResult(NamedTuple):
    """Claim with its verdict.

    Args:
        claim: the claim.
        decision: the verdict and its reason.
    """

    claim: TourClaim
    decision: Decision


class PartResult(NamedTuple):
    """Results of a part.

    Args:
        part: the part.
        rows: the results of its settings.
        claims: its claims with their verdicts.
        leaky: why its values are optimistic; "" if they are not.
    """

    part: TourPart
    rows: tuple[SettingRow, ...]
    claims: tuple[ClaimResult, ...]
    leaky: str


class TourResults(NamedTuple):
    """Results of a tour.

    Args:
        outcomes: the results of the parts.
        missing: one sentence for each training that cannot be read.
        sources: descriptions of the data of all runs with their licenses.
        environments: machines and versions of the trainings.
        readable: number of trainings that were read.
    """

    outcomes: tuple[PartResult, ...]
    missing: tuple[str, ...]
    sources: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    readable: int = 0


def read_results(parts: Sequence[TourPart], seeds: Sequence[int], trainings: Sequence[TourTraining]) -> TourResults:
    """Read the runs of all parts and decide the claims.

    Args:
        parts: the parts of the tour.
        seeds: the seeds of every setting.
        trainings: the trainings; those that cannot be read are listed in `missing`.
    """
    facts: dict[Config, MeasuredRun] = {}
    leaks: dict[Config, str] = {}
    missing = []
    sources: dict[str, None] = {}
    environments: dict[str, None] = {}
    for training in trainings:
        run = Run(training.directory)
        try:
            about = run.about()
            facts[training.config], leaks[training.config] = read_run_facts(run), str(about["data"]["leaky"])
            sources[f"{about['data']['text']} (license: {about['data']['licence']})"] = None
            environments[_environment(about)] = None
        except (DataError, ConfigError) as error:
            missing.append(f"{training.setting}, seed {training.config.seed}: {error}")
    by_config = {training.config: training for training in trainings}
    outcomes = tuple(_outcome(part, seeds, facts, leaks, by_config) for part in parts)
    return TourResults(outcomes, tuple(missing), tuple(sources), tuple(environments), len(trainings) - len(missing))


def _outcome(
    part: TourPart,
    seeds: Sequence[int],
    facts: Mapping[Config, MeasuredRun],
    leaks: Mapping[Config, str],
    trainings: Mapping[Config, TourTraining],
) -> PartResult:
    def numbers(name: str, quantity: TourQuantity) -> SettingResult:
        setting = name.removeprefix(BASELINE)
        read = baseline_value if name.startswith(BASELINE) else measured_value
        values = []
        for seed in seeds:
            configs = list(setting_configs(part, setting, (seed,)))
            present = [value for c in configs if c in facts and (value := read(facts[c], quantity)) is not None]
            if len(present) == len(configs):
                values.append(_mean(present, quantity.log))
        displayed = quantity.displayed_baseline if name.startswith(BASELINE) else setting
        return SettingResult(displayed, tuple(values), quantity.unit, quantity.higher, quantity.log)

    def baseline(name: str, quantity: TourQuantity) -> SettingResult | None:
        result = numbers(f"{BASELINE}{name}", quantity)
        return result if result.values else None

    rows = tuple(
        SettingRow(
            setting.name,
            setting.reported,
            tuple((numbers(setting.name, each), baseline(setting.name, each)) for each in part.quantities),
            tuple(
                trainings[config] for config in setting_configs(part, setting.name, seeds[:1]) if config in trainings
            ),
        )
        for setting in part.settings
    )
    claims = tuple(ClaimResult(claim, _decide(claim, numbers, len(seeds))) for claim in part.claims)
    reasons = (leaks.get(config, "") for s in part.settings for config in setting_configs(part, s.name, seeds))
    return PartResult(part, rows, claims, max(reasons, key=len, default=""))


def _environment(about: JsonMapping) -> str:
    """Describe the machine and the versions of a run."""
    versions, names = about.get("versions", {}), ("python", "lstm-ae", "tensorflow", "keras", "numpy")
    shown = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    return f"{about.get('machine', 'unknown machine')} ({shown})"


def _decide(claim: TourClaim, numbers: Numbers, seeds: int) -> Decision:
    """Return the verdict on a claim; a single seed or a missing one decides nothing."""
    counts = [seeds]

    def count_seeds(name: str, quantity: TourQuantity) -> SettingResult:
        result = numbers(name, quantity)
        if not name.startswith(BASELINE):
            counts.append(len(result.values))
        return result

    decision = claim.rule(count_seeds)
    if decision.verdict == OPEN:
        return decision
    if seeds < 2:
        return decision._replace(verdict=OPEN, why="one seed is not enough")
    if min(counts) < seeds:
        return decision._replace(verdict=OPEN, why=f"only {min(counts)} of {seeds} seeds finished")
    return decision


def _mean(values: Sequence[float], log: bool) -> float:
    """Return the mean, or the geometric mean of a logarithmic quantity."""
    if log:
        return math.exp(math.fsum(math.log(value) for value in values) / len(values))
    return math.fsum(values) / len(values)
