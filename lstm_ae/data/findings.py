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


class CombinedFix(NamedTuple):
    """The best fixes of several findings in one.

    Args:
        fix: the changed fields.
        complete: whether no fix was left out because of a conflict with an earlier one.
    """

    fix: Fix
    complete: bool


def combine_fixes(config: Reading, findings: Sequence[Finding]) -> CombinedFix:
    """Return the best fix of each finding in one, without those that conflict with earlier ones."""
    combined: Fix = {}
    complete = True
    for finding in findings:
        for fix in finding.fixes[:1]:
            merged = _merge_fixes(combined, fix)
            with suppress(ConfigError):
                if merged is not None:
                    apply_fix(config, {**merged, "time_zone": "UTC"} if "time_zone" in merged else merged)
                    combined = merged
                    continue
            complete = False
    return CombinedFix(combined, complete)


def _merge_fixes(first: Fix, second: Fix) -> Fix | None:
    """Return two fixes in one, or None if they conflict."""
    if any(first[name] != second[name] for name in (first.keys() & second.keys()) - {"missing", "value_cols"}):
        return None
    merged = {**first, **second}
    if "missing" in first and "missing" in second:
        merged["missing"] = tuple(dict.fromkeys((*first["missing"], *second["missing"])))
    if "value_cols" in merged:
        columns = first.get("value_cols", merged["value_cols"])
        taken = {*merged.get("id_col", ()), merged.get("label_col")}
        merged["value_cols"] = tuple(name for name in columns if name in merged["value_cols"] and name not in taken)
        if not merged["value_cols"]:
            return None
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
