"""Values of the source report for comparison with the measures of a run."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lstm_ae.config import Config, Mnist, Snp, Toy
from lstm_ae.config.options import spell_option
from lstm_ae.search.report_claims import differs_in_network

# The report's test accuracy of each classifier that reads digits row by row.
_CLASSIFIERS = {
    "head-on-reconstruction": (0.94, "one LSTM for both tasks (V2): from 94%"),
    "two-autoencoders": (0.97, "two LSTMs (V3): around 97%"),
    "two-autoencoders-mlp": (0.98, "two LSTMs and dense layers (V4): 98%"),
}

ALL_TEST_DIGITS = "10,000 test digits"

# The report has about 500 companies. Results of at least this number count as comparable.
MANY_COMPANIES = 400

_TOY = 0.00016683299145370256

_PIXELS = 0.114

_SNP = 0.00027201828197576106


class ReportedValue(NamedTuple):
    """Value of the source report.

    Args:
        text: its description.
        value: the value.
        measure: the corresponding measure of a run.
        splits: the splits on which the run is compared.
        difference: why the two are not comparable; "" if they are.
    """

    text: str
    value: float
    measure: str
    splits: Sequence[str]
    difference: str = ""


def reported_values(config: Config, data: str = "") -> Iterator[ReportedValue]:
    """Yield the values of the source report for a run of this kind.

    Args:
        config: the config of the run.
        data: description of the run's data; "" if it is unknown.
    """
    # The report uses all of MNIST, and the description of the data has the number of digits.
    digits = (
        "" if not data or ALL_TEST_DIGITS in data else "the report tests on all 10,000 test digits, this run does not"
    )
    if isinstance(config, Toy):
        text = "the best loss of its grid of 18 settings"
        option, difference = differs_in_network(config.to_dict()), ""
        if option == "latent":
            difference = "the report's decoder reads every state, this one reads a code"
        elif option:
            difference = (
                "the report's network has one LSTM layer as encoder and one as decoder, this one has "
                f"{spell_option(option, getattr(config, option))}"
            )
        yield ReportedValue(text, _TOY, "reconstruction_mse", ("validation", "test"), difference)
    elif isinstance(config, Mnist) and config.reconstruction_weight == 1:
        return  # This run does not train the classes.
    elif isinstance(config, Mnist) and config.read == "rows" and config.model in _CLASSIFIERS:
        value, text = _CLASSIFIERS[config.model]
        yield ReportedValue(f"accuracy, rows, {text}", value, "accuracy", ("test",), digits)
    elif isinstance(config, Mnist) and config.read == "pixels":
        yield ReportedValue("accuracy, pixel by pixel", _PIXELS, "accuracy", ("test",), digits)
    elif isinstance(config, Snp) and config.goal == "predict":
        companies = re.search(r"of ([\d,]+) compan", data)
        reasons = {
            "the report has about 500 companies, this run has fewer": companies
            and int(companies[1].replace(",", "")) < MANY_COMPANIES,
            f"the report's windows have 30 days, this run's {config.window}": config.window != 30,
            f"the report uses the high of each day, this run the {config.field}": config.field != "high",
            "the report scales by each company's range, this run does not": config.scaling not in ("company", "report"),
            "the report shuffles its windows before splitting, this run splits by date": config.split != "report",
        }
        difference = "; ".join(reason for reason, holds in reasons.items() if holds)
        yield ReportedValue("the final test loss, on scaled prices", _SNP, "mse", ("test",), difference)
