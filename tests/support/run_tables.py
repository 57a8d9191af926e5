"""Read tables with the config of a run, without a model."""

from lstm_ae.apply.run_table import TableRequest, prepare_run_table, read_run_table
from lstm_ae.config import Series
from lstm_ae.data.preparation import PreparedTable


def read_prepared(config: Series, data: str | None = None) -> PreparedTable:
    """Return a table on its time grid; None for the table of the config."""
    data = data or config.data
    assert data is not None
    return prepare_run_table(config, read_run_table(config, TableRequest(data, config.label_col)))
