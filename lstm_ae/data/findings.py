"""Hold the findings of the checks of a table, and combine and format the options that fix them."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from lstm_ae.config import Reading
from lstm_ae.config.options import option_words
from lstm_ae.errors import ConfigError
from lstm_ae.json_types import JsonMapping

# Placeholder in a suggested command for the time zone of a table, which only the user knows.
ANY_ZONE = "ZONE"

# Values, by field of the configuration, that fix a finding.
Fix = JsonMapping


class Finding(NamedTuple):
    """Result of a check that the user should know.

    Args:
        text: one sentence.
        fatal: whether it must be fixed before training.
        fixes: options that fix it; the best first.
        topic: name of the rule.
    """

    text: str
    fatal: bool = False
    fixes: tuple[Fix, ...] = ()
    topic: str = ""


def combine_fixes(config: Reading, findings: Sequence[Finding]) -> Fix:
    """Return the best fix of each finding in one, without those that conflict with earlier ones."""
    combined: Fix = {}
    for finding in findings:
        for fix in finding.fixes[:1]:
            with suppress(ConfigError):
                merged = _merge_fixes(combined, fix)
                apply_fix(config, {**merged, "time_zone": "UTC"} if "time_zone" in merged else merged)
                combined = merged
    return combined


def _merge_fixes(first: Fix, second: Fix) -> Fix:
    """Return two fixes in one.

    Raises:
        ConfigError: if they conflict.
    """
    conflict = any(first[name] != second[name] for name in (first.keys() & second.keys()) - {"missing", "value_cols"})
    merged = {**first, **second}
    if "missing" in first and "missing" in second:
        merged["missing"] = tuple(dict.fromkeys((*first["missing"], *second["missing"])))
    if "value_cols" in merged:
        columns = first.get("value_cols", merged["value_cols"])
        taken = {*merged.get("id_col", ()), merged.get("label_col")}
        merged["value_cols"] = tuple(name for name in columns if name in merged["value_cols"] and name not in taken)
        conflict |= not merged["value_cols"]
    if conflict:
        raise ConfigError("the fixes conflict")
    return merged


def apply_fix(config: Reading, fix: Fix) -> Reading:
    """Return the configuration with these fields changed.

    Raises:
        ConfigError: if the changed configuration is not valid.
    """
    return type(config).from_dict({**config.to_dict(), **fix})


def format_options(values: Fix) -> str:
    """Return the command-line options that set fields of the configuration, quoted for a shell."""
    return shlex.join(option_words(Reading, values))
