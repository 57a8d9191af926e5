"""The command `lstmae explain`."""

from importlib.resources import files
from typing import Annotated

import typer

from lstm_ae.errors import Code, ConfigError

from .console import Console
from .options import command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "explain", "lstmae explain LAE201")
    def explain(
        code: Annotated[str | None, typer.Argument(metavar="CODE", help="Code of an error, such as LAE201.")] = None,
        *,
        console: Console,
    ) -> None:
        """Explain the code of an error message, or list all codes."""
        sections = files("lstm_ae").joinpath("errors.md").read_text("utf-8").split("\n## ")[1:]
        by_code = {section[:6]: section.strip() for section in sections}
        if code is None:
            chosen = list(by_code)
            console.show("\n".join(by_code[each].splitlines()[0] for each in chosen))
        else:
            chosen = [_spell_code(code, by_code)]
            console.show(by_code[chosen[0]])
        console.document({"codes": [{"code": each, "page": by_code[each]} for each in chosen]})


def _spell_code(text: str, codes: dict[str, str]) -> str:
    spelled = text.strip().strip("[]").upper()
    if spelled not in codes:
        raise ConfigError(
            f"CODE must be one that `lstmae explain` lists, such as {Code.RUN_NOT_FOUND}. Received: {text[:20]!r}"
        )
    return spelled
