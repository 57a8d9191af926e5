"""The claims that the report makes on its own grid of the toy signal, checked on the trials of a search."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lstm_ae.search.pairs import compare, in_pairs, scored, total
from lstm_ae.search.trials import COMPLETED, RUNNING, WAITING, Execution, Objective, Trial, ranked

# The report's final losses on its toy grid: (learning rate, units), then those with clip 1 and with clip 5.
_LOSSES = {
    (0.001, 8): (0.006680924474494532, 0.011700970819219947),
    (0.001, 16): (0.0022743796871509403, 0.00551831244956702),
    (0.001, 32): (0.004771144478581846, 0.0016375478444388136),
    (0.01, 8): (0.0008391543233301491, 0.0013929523120168597),
    (0.01, 16): (0.0005699509929399937, 0.0006325716603896581),
    (0.01, 32): (0.0007834084863134194, 0.0009240137333108578),
    (0.1, 8): (0.0001868635818027542, 0.0009092575746763032),
    (0.1, 16): (0.00020343929554655915, 0.00016683299145370256),
    (0.1, 32): (0.1512556802481413, 0.26013437658548355),
}
# Learning rate, units, clip -> final loss.
REPORT: Mapping[tuple[float, int, float], float] = {
    (*pair, clip): loss for pair, losses in _LOSSES.items() for clip, loss in zip((1.0, 5.0), losses, strict=True)
}
_OPTIONS = ("learning_rate", "units", "clip")
# Its network: an LSTM layer each way, of as many units, the decoder's reading every state.
NETWORK: Mapping[str, Any] = {
    "latent": "steps",
    "cell": "lstm",
    "layers": 1,
    "bidirectional": False,
    "decoder_units": None,
}


class Support(NamedTuple):
    """What one set of trials says of a claim: whether it holds, the pairs in which it does, and that in words."""

    holds: bool
    better: int
    pairs: int
    text: str

    @property
    def verdict(self) -> str:
        """Confirmed, or not confirmed."""
        return "confirmed" if self.holds else "not confirmed"


class Claim(NamedTuple):
    """A claim of the report, checked on our trials and on the report's own values."""

    claim: str
    ours: Support
    report: Support

    @property
    def verdict(self) -> str:
        """That of our trials: confirmed, or not confirmed."""
        return self.ours.verdict

    def __str__(self) -> str:
        return (
            f'"{self.claim}": {self.ours.verdict} here ({self.ours.text}), '
            f"{self.report.verdict} by the report's own values ({self.report.text})"
        )


def other_network(values: Mapping[str, Any]) -> str:
    """The option in which a network of the toy study is of another kind than the report's, "" where it is of the same.

    >>> other_network({"units": 8, "layers": 2}), other_network({"units": 8, "decoder_units": 8})
    ('layers', '')
    """
    for name, usual in NETWORK.items():
        value = values.get(name, usual)
        if value != usual and not (name == "decoder_units" and value == values.get("units")):
            return name
    return ""


def reported(task: str, values: Mapping[str, Any]) -> float | None:
    """The report's final loss for a setting of the toy study, None where the report does not have it.

    >>> reported("toy", {"learning_rate": 0.1, "units": 16, "clip": 5.0, "seed": 0})
    0.00016683299145370256
    """
    return REPORT.get(_setting(values)) if task == "toy" and not other_network(values) else None


def report_findings(trials: Iterable[Trial], objective: Objective, task: str) -> list[Claim]:
    """The report's three claims on its toy grid, checked on our trials and on the report's own values.

    Empty unless all 18 settings have been tried, each to its end or to a failure; other settings play no part. What
    confirms a claim: learning rate 0.1 is the winner's, and better than the others in most pairs; clip 1 is better in
    at least three of four pairs; more units are better in most pairs, both from 8 to 16 and from 16 to 32.
    """
    ended = [trial for trial in trials if trial.status not in (WAITING, RUNNING)]
    mine = [trial for trial in ended if reported(task, trial.values) is not None]
    if len({_setting(trial.values) for trial in mine}) < len(REPORT):
        return []
    theirs = [
        Trial(k, dict(zip(_OPTIONS, setting, strict=True)), COMPLETED, (Execution(0, loss, 0, 0, "", 0.0, ()),))
        for k, (setting, loss) in enumerate(REPORT.items())
    ]
    loss = Objective("final_loss")
    return [
        Claim(words, check(scored(mine), objective), check(scored(theirs), loss))
        for words, check in (
            ("learning rate 0.1 was the best", _rate),
            ("a strong tendency of clip 1 to be better", _clip),
            ("the bigger the hidden state, the better", _units),
        )
    ]


def _rate(trials: Sequence[Trial], objective: Objective) -> Support:
    count = total(compare(trials, "learning_rate", None, (0.1, other), objective) for other in (0.01, 0.001))
    won, end = _won(trials, objective, "learning_rate", 0.1)
    text = f"learning rate 0.1 better {in_pairs(count.first, count.pairs)}{end}"
    return Support(won and 2 * count.first > count.pairs, count.first, count.pairs, text)


def _clip(trials: Sequence[Trial], objective: Objective) -> Support:
    count = compare(trials, "clip", None, (1.0, 5.0), objective)
    text = f"clip 1 better than clip 5 {in_pairs(count.first, count.pairs)}{_won(trials, objective, 'clip', 1.0)[1]}"
    return Support(0 < 3 * count.pairs <= 4 * count.first, count.first, count.pairs, text)


def _units(trials: Sequence[Trial], objective: Objective) -> Support:
    steps = {pair: compare(trials, "units", None, pair, objective) for pair in ((8, 16), (16, 32))}
    count = total(steps.values())
    parts = ", ".join(f"{step.second} of {step.pairs} from {low} to {high}" for (low, high), step in steps.items())
    end = _won(trials, objective, "units", 32)[1]
    text = f"larger units better {in_pairs(count.second, count.pairs)}: {parts}{end}"
    return Support(all(2 * step.second > step.pairs for step in steps.values()), count.second, count.pairs, text)


def _won(trials: Sequence[Trial], objective: Objective, name: str, wanted: float) -> tuple[bool, str]:
    """Whether the winner has that value, and the end of a sentence that says which it has."""
    if not trials:
        return False, ""
    value = ranked(trials, objective)[0].values[name]
    return value == wanted, f", {'and' if value == wanted else 'but'} the winner has {value:g}"


def _setting(values: Mapping[str, Any]) -> Any:
    return tuple(values.get(name) for name in _OPTIONS)
