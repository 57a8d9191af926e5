"""A search in a few words, for lists and comparisons: what it was asked and what came of it, from its files alone."""

from typing import Any, NamedTuple

from lstm_ae.errors import DataError
from lstm_ae.search.folder import Folder
from lstm_ae.search.journal import told
from lstm_ae.search.trials import COMPLETED, FAILED, LOST, PRUNED, Trial, ranked, seconds_trained


class Summary(NamedTuple):
    """What is known of a search.

    Args:
        choices: what it was asked, by option; of a searched one, what is searched.
        objective: what it goes by.
        trials: the best first.
    """

    choices: dict[str, Any]
    objective: str
    trials: list[Trial]

    @property
    def best(self) -> Trial | None:
        """The best completed trial."""
        return next((trial for trial in self.trials if trial.status == COMPLETED), None)

    @property
    def measures(self) -> dict[str, Any]:
        """What came of it: trials, seconds of training, and the best one's score."""
        found: dict[str, Any] = {
            "trials ended": sum(trial.status in (COMPLETED, PRUNED) for trial in self.trials),
            "trials failed": sum(trial.status in (FAILED, LOST) for trial in self.trials),
            "training seconds": seconds_trained(self.trials),
        }
        if self.best:
            found |= {f"best {self.objective}": self.best.score, "its spread": self.best.spread}
        return found


def summary(folder: Folder) -> Summary:
    """A search's summary; raises `DataError` or `ConfigError` where it is damaged, or of another version."""
    try:
        about, plan = folder.about(), folder.plan()
        asked = plan.to_dict()
        choices = {"study": about["task"], **asked["config"]} | {axis.name: str(axis) for axis in plan.axes}
        choices |= {key: asked[key] for key in ("search", "trials", "repeats", "prune")}
        choices |= {"objective": plan.objective.name, "leaky": "LEAKY" if about["data"]["leaky"] else None}
        return Summary(choices, plan.objective.name, ranked(told(folder.journal.read()[0]), plan.objective))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{str(folder.directory)!r} is not what a search leaves ({error}); leave it out, or start a new one"
        ) from error
