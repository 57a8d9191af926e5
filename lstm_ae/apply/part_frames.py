"""Apply a run to data frames of whole series: the function that Ray, Dask, and Spark call for each group of rows."""

import functools
import inspect
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_ae.apply.part_tasks import LOADERS
from lstm_ae.apply.partition import PartTask, place_table
from lstm_ae.apply.run_table import read_run_frame, refuse_output_names
from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import FittedModel
from lstm_ae.run import open_run

if TYPE_CHECKING:
    import pandas as pd

# Runs that a process holds at a time.
LOADED_RUNS = 4


class FrameFunction:
    """Function from a data frame with the rows of whole series to a data frame with their results.

    It holds the run and can be pickled. A process loads the run with the first frame, without TensorFlow. All rows of a
    series must be in one frame; they may be in any order if there is a column of times.

    Args:
        run: directory of a run, or a fitted model.
        task: "detect", "encode", "reconstruct", "classify", or "forecast".
        time_col: column of times; None for that of the run.
        id_col: columns that identify a series; None for those of the run.
        reading: other reading options that differ from the run's, such as `{"time_zone": "Europe/Berlin"}`.
        options: options of the task: `rule` (the threshold) and `online` of "detect", `horizon` and `levels` of
            "forecast".

    Raises:
        ConfigError, DataError: the run cannot be loaded, is of another task, or an option is not allowed.
    """

    def __init__(
        self,
        run: str | Path | FittedModel,
        task: str = "detect",
        *,
        time_col: str | None = None,
        id_col: str | Sequence[str] | None = None,
        reading: JsonMapping | None = None,
        **options: Any,
    ) -> None:
        if task not in LOADERS:
            raise ConfigError(f"task must be one of {', '.join(LOADERS)}. Received: {task!r}")
        _require_options(task, options)
        changed: JsonObject = dict(reading or {})
        if time_col is not None:
            changed["time_col"] = time_col
        if id_col is not None:
            several = isinstance(id_col, Sequence) and not isinstance(id_col, str)
            changed["id_col"] = tuple(id_col) if several else (id_col,)
        fitted = run if isinstance(run, FittedModel) else open_run(run, "series").read()
        # The key by which a process loads the run once; never read from a file or from another program.
        self.content = pickle.dumps((fitted, task, changed, options))
        # A wrong option is reported before any data is read.
        self.load()

    def load(self) -> PartTask:
        """Return the task, which each process loads once."""
        return _load(self.content)

    def __call__(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """Return the results of the rows.

        Returns:
            For forecasts a row for each series and step; none for a series without a complete window at its end.
            Otherwise a row for each row of the frame, with its index: the columns of the series and the time, and those
            of the results, which are those of the commands with `--engine`. A frame without rows has a result with the
            same columns.

        Raises:
            ConfigError, DataError: the rows cannot be read, as two rows of a series with the same time.
        """
        import pandas as pd

        task = self.load()
        if len(frame):
            result = task.compute(place_table(task, read_run_frame(task.config, frame)))
            keys, columns = result.key_columns, result.columns or task.empty_columns()
        else:
            # Engines call functions with no rows to find out the columns of the result.
            keys, columns = _key_columns(task), task.empty_columns()
        if not task.by_row:
            return pd.DataFrame(columns)
        refuse_output_names(keys, columns)
        # A frame without rows may have no columns either.
        rows = frame[list(keys)] if len(frame) else frame.reindex(columns=list(keys))
        return rows.assign(**columns)


def _require_options(task: str, options: Iterable[str]) -> None:
    """Raise `ConfigError` if a task does not have an option."""
    parameters = inspect.signature(LOADERS[task]).parameters.values()
    known = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            have = f"Its options are {', '.join(known)}" if known else "It has none"
            raise ConfigError(f"task {task!r} has no option {name!r}. {have}", code=Code.OPTION_NOT_APPLICABLE)


def _key_columns(task: PartTask) -> tuple[str, ...]:
    """Return the columns that identify a row, as `PlacedRows.key_columns` of a table with rows."""
    config = task.config
    return tuple(name for name in (*config.id_col, config.time_col, config.clock_col) if name is not None)


@functools.lru_cache(LOADED_RUNS)
def _load(content: bytes) -> PartTask:
    fitted, task, reading, options = pickle.loads(content)
    return LOADERS[task](fitted, reading, **options)
