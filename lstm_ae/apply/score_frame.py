"""Score the rows of whole series: a partition of a data set, or a data frame of Ray, Dask, or Spark."""

import functools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.apply.detect import RunDetector, detect_prepared, load_detector
from lstm_ae.apply.detection_output import event_rows, name_scores
from lstm_ae.apply.run_table import prepare_run_table, read_run_frame, refuse_output_names
from lstm_ae.config import Series
from lstm_ae.data.frames import map_to_table_rows
from lstm_ae.data.panel import Panel
from lstm_ae.errors import Code, DataError
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import FittedModel
from lstm_ae.run import open_run
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    import pandas as pd

# Runs that a process holds at a time.
LOADED_RUNS = 4


class ScoredPanel(NamedTuple):
    """Scores and events of whole series.

    Args:
        columns: `score`, `p`, `anomaly`, and with several columns `error <column>` for each row, in the order in which
            the rows were read. The scores are NaN for rows in no complete window.
        events: records of the events; they name the series if the table has columns that identify one.
    """

    columns: TableColumns
    events: list[JsonObject]


def score_panel(detector: RunDetector, table: Panel, rule: str | None = None, *, online: bool = False) -> ScoredPanel:
    """Score the rows of whole series; scores do not depend on the other series.

    Args:
        detector: the detector of a run.
        table: all rows of the series.
        rule: the threshold rule; None for the detector's own rule.
        online: whether to score each row as if it were the last one.

    Raises:
        ConfigError, DataError: rows have the same time, or values are missing where none may be.
    """
    try:
        found = detect_prepared(detector, prepare_run_table(detector.config, table), rule, online=online)
    except DataError as error:
        if error.code is not Code.TOO_FEW_ROWS:
            raise
        return ScoredPanel(_unscored(detector.config, len(table.lines)), [])
    scored, names = found.model, detector.config.value_cols
    rows = map_to_table_rows(found.prepared, np.arange(len(scored.scores)))
    columns = name_scores(names, *(part[rows] for part in (scored.scores, scored.p, scored.anomaly, scored.errors)))
    return ScoredPanel(columns, event_rows(found, named=bool(detector.config.id_col)))


def _unscored(config: Series, rows: int) -> TableColumns:
    names, none = config.value_cols, np.full(rows, np.nan)
    return name_scores(names, none, none, np.zeros(rows, bool), np.full((rows, len(names)), np.nan))


def row_keys(config: Series) -> list[str]:
    """Return the columns that identify a row: those of the series, and the time."""
    names = (*config.id_col, config.time_col)
    return list(dict.fromkeys(name for name in names if name is not None))


class FrameFunction:
    """Function from a data frame with the rows of whole series to a data frame with their scores.

    It holds the run and can be pickled. A process loads the run with the first frame, without TensorFlow. All rows of a
    series must be in one frame; they may be in any order if there is a column of times.

    Args:
        run: directory of a run, or a fitted model.
        time_col: column of times; None for that of the run.
        id_col: columns that identify a series; None for those of the run.
        reading: other reading options that differ from the run's, such as `{"time_zone": "Europe/Berlin"}`.
        rule: the threshold rule; None for that of the run.
        online: whether to score each row as if it were the last one.

    Raises:
        ConfigError, DataError: the run cannot be loaded, is no anomaly detection run, or an option is not allowed.
    """

    def __init__(
        self,
        run: str | Path | FittedModel,
        *,
        time_col: str | None = None,
        id_col: str | Sequence[str] | None = None,
        reading: JsonMapping | None = None,
        rule: str | None = None,
        online: bool = False,
    ) -> None:
        changed: JsonObject = dict(reading or {})
        if time_col is not None:
            changed["time_col"] = time_col
        if id_col is not None:
            changed["id_col"] = (id_col,) if isinstance(id_col, str) else tuple(id_col)
        fitted = run if isinstance(run, FittedModel) else open_run(run, "series").read()
        # The key by which a process loads the run once; never read from a file or from another program.
        self.content = pickle.dumps((fitted, changed))
        self.rule, self.online = rule, online
        # A wrong option is reported before any data is read.
        detector = _load(self.content)
        detector.normal.threshold(detector.rule(rule), online=online)

    def __call__(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """Return the scores of the rows.

        Returns:
            A row for each row of the frame, with its index: the columns of the series and the time, `score`, `p`,
            `anomaly`, and with several columns `error <column>` for each. A frame without rows has a result with the
            same columns.

        Raises:
            ConfigError, DataError: the rows cannot be read, as two rows of a series with the same time.
        """
        detector = _load(self.content)
        config, keys = detector.config, row_keys(detector.config)
        if len(frame):
            columns = score_panel(detector, read_run_frame(config, frame), self.rule, online=self.online).columns
        else:
            # Engines call functions with no rows to find out the columns of the result.
            columns = _unscored(config, 0)
        refuse_output_names(keys, columns)
        # A frame without rows may have no columns either.
        rows = frame[keys] if len(frame) else frame.reindex(columns=keys)
        return rows.assign(**columns)


@functools.lru_cache(LOADED_RUNS)
def _load(content: bytes) -> RunDetector:
    fitted, reading = pickle.loads(content)
    return load_detector(fitted, reading, streaming=True)
