"""The command `lstmae explain`."""

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
        chosen = list(Code) if code is None else [_find_code(code)]
        if code is None:
            console.show("\n".join(f"{each}  {each.title}" for each in chosen))
        else:
            console.show(f"{chosen[0]}: {chosen[0].title}\n\n{chosen[0].explanation}")
        console.document(
            {"codes": [{"code": str(each), "title": each.title, "explanation": each.explanation} for each in chosen]}
        )


def _find_code(text: str) -> Code:
    found = {str(each): each for each in Code}.get(text.strip().strip("[]").upper())
    if found is None:
        raise ConfigError(
            f"CODE must be one that `lstmae explain` lists, such as {Code.RUN_NOT_FOUND}. Received: {text[:20]!r}"
        )
    return found
