"""The command line, installed as `lstm_ae_cli`: options and printing; the work is done by `lstm_ae`."""

import sys

from .signals import INTERRUPTED_CODE, handle_signals


def main(arguments: list[str] | None = None) -> int:
    """Run `lstmae`; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    with handle_signals() as signals:
        try:
            from .errors import run_guarded

            return run_guarded(lambda: _run(words), words, signals)
        except BaseException:
            if not signals:
                raise
            # The module that describes errors is not imported yet.
            print("lstmae: Interrupted", file=sys.stderr)
            return INTERRUPTED_CODE


def _run(words: list[str]) -> object:
    # These imports take half a second and are guarded against signals and errors.
    from lstm_ae.addresses import refuse_password

    from .app import command

    for word in words:
        refuse_password(word)
    return command()(args=words, prog_name="lstmae", standalone_mode=False)
