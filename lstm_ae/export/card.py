"""Model cards: Markdown files next to the exported versions that describe a model, its data, results, and limits."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from lstm_ae.config import Config, Series, Snp
from lstm_ae.config.reading import CALENDAR
from lstm_ae.data.calendar import input_columns, known_columns
from lstm_ae.files import write_own
from lstm_ae.formatting import format_best_epochs, format_heading, format_measure, format_value
from lstm_ae.model_store import ModelStore
from lstm_ae.run import measured_splits

if TYPE_CHECKING:
    from lstm_ae.export.saved_model import Endpoint


# A card without this line was written or edited by the user and must not be overwritten.
CARD_MARK = "<!-- written by lstmae export -->"


def render_card(
    name: str,
    version: str,
    run: ModelStore,
    endpoints: "Sequence[Endpoint]",
) -> str:
    """Return the model card of a run as Markdown.

    Args:
        name: The name of the model, used as the title.
        version: The folder name of the exported version.
        run: A finished run.
        endpoints: The endpoints of the exported version, with `name`, `inputs`, and `outputs`.
    """
    about, metrics, config = run.about(), run.metrics(), run.config()
    columns, known, calendar = (
        (input_columns(config), known_columns(config), config.calendar) if isinstance(config, Series) else ((), (), ())
    )
    return _card_template().render(
        name=name,
        version=version,
        mark=CARD_MARK,
        kind=_model_kind(about["task"], config),
        about=about,
        data=about["data"],
        config=config,
        metrics={"threshold": None, "verdict": {}, "notes": ()} | metrics,
        training=metrics["training"],
        splits=measured_splits(metrics),
        endpoints=endpoints,
        columns=[format_heading(each) for each in columns],
        known=[format_heading(each) for each in known],
        sines=[each for each in calendar if each in CALENDAR],
    )


def write_card(folder: Path, text: str) -> Path | None:
    """Write `README.md` next to the versions, unless there is one that was not written by `lstmae export`.

    Returns:
        The path of the file; None if it was not written.
    """
    try:
        return write_own(folder / "README.md", CARD_MARK, text)
    except FileExistsError:
        return None


def _model_kind(task: str, config: Config) -> str:
    """Return the kind of model in the template: the task or goal of the training, or the study if it has only one."""
    if isinstance(config, Snp):
        return config.goal
    return config.task if isinstance(config, Series) and config.task in ("classify", "forecast") else task


@functools.cache
def _card_template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lstm_ae.export"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"heading": format_heading, "best_epochs": format_best_epochs, "measure": _format_measure}
    return environment.get_template("card.md")


def _format_measure(value: object, measure: str) -> str:
    return format_measure(measure, value, functools.partial(format_value, missing="not computable"))
