"""Configs: one frozen dataclass per study, each field the single definition of an option."""

from lstm_ae.config.base import DATA_PATHS, Config
from lstm_ae.config.mnist import CLASSIFIERS, Mnist
from lstm_ae.config.reading import Reading
from lstm_ae.config.series import Series
from lstm_ae.config.snp import PRICES, Snp
from lstm_ae.config.toy import Toy

__all__ = [
    "CLASSIFIERS",
    "DATA_PATHS",
    "PRICES",
    "TASKS",
    "Config",
    "Mnist",
    "Reading",
    "Series",
    "Snp",
    "Toy",
    "task_of",
]

TASKS: dict[str, type[Config]] = {"toy": Toy, "mnist": Mnist, "snp": Snp, "series": Series}


def task_of(config: Config) -> str:
    """Return the name of the study that a config belongs to."""
    return next(name for name, kind in TASKS.items() if type(config) is kind)
