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

# Fields whose values of several fixes are merged.
MERGED = ("missing", "value_cols")

# Values, by field of the configuration, that fix a finding.
Fix = JsonMapping


class Finding(NamedTuple):
    """Result of a check that the user should know.

    Args:
        text: one sentence.
        fatal: whether it must be fixed before training.
        fixes: options that fix it; the best first.
    """

    text: str
    fatal: bool = False
    fixes: tuple[Fix, ...] = ()


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
    fixes: list[Fix] = []
    for finding in findings:
        more = [*fixes, *finding.fixes[:1]]
        with suppress(ConfigError):
            merged = _merge_fixes(more)
            apply_fix(config, {**merged, "time_zone": "UTC"} if merged.get("time_zone") == ANY_ZONE else merged)
            fixes = more
    merged = _merge_fixes(fixes)
    wanted = [(name, value) for finding in findings for fix in finding.fixes[:1] for name, value in fix.items()]
    complete = all(name in merged and (name in MERGED or merged[name] == value) for name, value in wanted)
    return CombinedFix(merged, complete)


def _merge_fixes(fixes: Sequence[Fix]) -> Fix:
    merged = {name: value for fix in reversed(fixes) for name, value in fix.items()}
    if words := [word for fix in fixes for word in fix.get("missing", ())]:
        merged["missing"] = tuple(dict.fromkeys(words))
    lists = [set(fix["value_cols"]) for fix in fixes if "value_cols" in fix]
    if lists:
        taken = {*merged.get("id_col", ()), merged.get("label_col")}
        kept = [name for name in merged["value_cols"] if name not in taken and all(name in names for names in lists)]
        # If no column would be left, none of these fixes is applied.
        merged = (
            {**merged, "value_cols": tuple(kept)} if kept else {k: v for k, v in merged.items() if k != "value_cols"}
        )
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
