"""Detect anomalies in the series of a table, each with its own model of a fleet."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from lstm_ae.apply.detect import Detection, detect_prepared, load_detector
from lstm_ae.apply.evaluate import describe_known_windows
from lstm_ae.apply.run_table import TableRequest, prepare_run_table, read_run_table, run_config
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.fingerprints import WindowFingerprints
from lstm_ae.data.panel import Panel
from lstm_ae.errors import Code, DataError
from lstm_ae.fleets.directory import Fleet, take_series
from lstm_ae.json_types import JsonMapping
from lstm_ae.studies.series.reconstruction import threshold_rule


class SeriesDetection(NamedTuple):
    """Result for one series of a table.

    Args:
        series: name of the series.
        detection: its scores and events; None if it has none.
        unknown: whether the fleet does not know the series.
        failure: why there are no scores; "" if there are.
        trained_on: whether the table holds windows that the model was trained or selected on.
        rule: rule of the whole fleet; "" without a detection.
    """

    series: str
    detection: Detection | None = None
    unknown: bool = False
    failure: str = ""
    trained_on: bool = False
    rule: str = ""


def read_fleet_table(fleet: Fleet, request: TableRequest) -> Panel:
    """Read a table as the fleet read that of its training.

    Raises:
        ConfigError, DataError: the fleet is unfinished or not one of anomaly detectors, or the table cannot be read.
    """
    if not fleet.finished:
        raise DataError(
            f"The fleet {str(fleet.directory)!r} is unfinished. Resume with the command that began it",
            code=Code.RUN_UNFINISHED,
        )
    return read_run_table(run_config(fleet.common, "anomaly", reading=request.reading), request)


def detect_series(
    fleet: Fleet,
    table: Panel,
    *,
    rule: str | None = None,
    online: bool = False,
    adapt: int | None = None,
    reading: JsonMapping | None = None,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[SeriesDetection]:
    """Yield the result of each series of a table, in the order of the table.

    A budget is that of the whole fleet: each series that has a model gets an equal share of it, whether the table has
    rows of all of them or not.

    Args:
        fleet: a finished fleet of anomaly detectors.
        table: rows of the series, see `read_fleet_table`.
        rule: the threshold rule; None for the rules of the runs.
        online: whether to score each row as if it were the last one.
        adapt: see `lstm_ae.apply.detect.detect_prepared`.
        reading: reading options of the table that differ from those of the fleet.
        report: called with the number of finished series and the number of all.

    Raises:
        ConfigError, DataError: a run is damaged, or the rule does not fit.
    """
    runs = fleet.runs()
    trained = sum(run.finished for run in runs.values())
    for number, (series, own) in enumerate(take_series(table), start=1):
        run = runs.get(series)
        if run is None:
            yield SeriesDetection(series, unknown=True)
        elif not run.finished:
            yield SeriesDetection(series, failure="it has no model; see fleet.csv")
        else:
            detector = load_detector(run, reading, streaming=online)
            try:
                prepared = prepare_run_table(detector.config, own)
            except DataError as error:
                yield SeriesDetection(series, failure=str(error))
            else:
                whole = parse_threshold(rule) if rule else threshold_rule(detector.config, detector.normal)
                share = str(whole.divide(trained))
                detection = detect_prepared(detector, prepared, share, online=online, adapt=adapt)
                known = describe_known_windows(prepared, run.find_artifact(WindowFingerprints))
                yield SeriesDetection(series, detection, trained_on=bool(known), rule=str(whole))
        report(number, len(table.ids))
