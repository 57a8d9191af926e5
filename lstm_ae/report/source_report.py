"""The source report's numbers, each beside what a run has measured, with what keeps the two from being compared."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lstm_ae.config import Config, Mnist, Snp, Toy
from lstm_ae.config.options import spell_option
from lstm_ae.search.report_claims import differs_in_network

# What the report reaches with each of its classifiers, reading digits row by row.
_CLASSIFIERS = {
    "head-on-reconstruction": (0.94, "one LSTM for both tasks (V2): from 94 %"),
    "two-autoencoders": (0.97, "two LSTMs (V3): around 97 %"),
    "two-autoencoders-mlp": (0.98, "two LSTMs and dense layers (V4): 98 %"),
}

WHOLE = "10,000 test digits"

# Its prices are of some 500 companies.
MANY = 400

_TOY = 0.00016683299145370256

_PIXELS = 0.114

_SNP = 0.00027201828197576106


class ReportedValue(NamedTuple):
    """A number of the source report, and what it is to be compared with.

    Args:
        text: what the report says it is.
        value: the number.
        measure: the measure of ours that stands beside it.
        parts: of the data, on which ours is taken.
        but: why the two are not the same thing; "" where they are.
    """

    text: str
    value: float
    measure: str
    parts: Sequence[str]
    but: str = ""


def reported_values(config: Config, data: str = "") -> Iterator[ReportedValue]:
    """What the source report has on a run of this kind.

    Args:
        data: what the run was trained and tested on, in words; "" where that is not known.
    """
    # The report's are the whole MNIST; the text says how many digits there are.
    digits = "" if not data or WHOLE in data else "the report tests on all 10,000 test digits, this run on others"
    if isinstance(config, Toy):
        text = "the best loss of its grid of 18 settings"
        other, but = differs_in_network(config.to_dict()), ""
        if other == "latent":
            but = "the report's decoder reads every state, this one a code"
        elif other:
            but = (
                "the report's network is an LSTM layer each way, this one has "
                f"{spell_option(other, getattr(config, other))}"
            )
        yield ReportedValue(text, _TOY, "reconstruction_mse", ("validation", "test"), but)
    elif isinstance(config, Mnist) and config.reconstruction_weight == 1:
        return  # its classes are not trained
    elif isinstance(config, Mnist) and config.read == "rows" and config.model in _CLASSIFIERS:
        value, text = _CLASSIFIERS[config.model]
        yield ReportedValue(f"accuracy, rows, {text}", value, "accuracy", ("test",), digits)
    elif isinstance(config, Mnist) and config.read == "pixels":
        yield ReportedValue("accuracy, pixel by pixel", _PIXELS, "accuracy", ("test",), digits)
    elif isinstance(config, Snp) and config.goal == "predict":
        companies = re.search(r"of ([\d,]+) compan", data)
        reasons = {
            "the report has some 500 companies, this run fewer": companies
            and int(companies[1].replace(",", "")) < MANY,
            "the report reads 30 days, this run others": config.window != 30,
            f"the report's prices are the high of each day, this run's the {config.field}": config.field != "high",
            "the report scales by each company's range, this run does not": config.scaling not in ("company", "report"),
            "the report shuffles its windows, this run divides them by date": config.split != "report",
        }
        but = "; ".join(reason for reason, holds in reasons.items() if holds)
        yield ReportedValue("the final test loss, on scaled prices", _SNP, "mse", ("test",), but)
