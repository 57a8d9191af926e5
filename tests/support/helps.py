"""List the commands and the examples in their help."""

from lstm_ae_cli.app import command as root
from typer.core import TyperGroup

# Groups and single commands in the order of the help.
NAMES = ["toy", "mnist", "snp", "series", "runs", "bench"]
NAMES += ["export", "report", "serve", "predict", "watch", "explain"]


def commands(group=None, path=()):
    """Yield every command and group with its path, in the order of the help."""
    group = group or root()
    yield path, group
    for name in group.list_commands(None):
        command = group.commands[name]
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def examples():
    """Return the example of each command by its path."""
    return {path: command.help.split("Example: ")[1] for path, command in commands() if path}
