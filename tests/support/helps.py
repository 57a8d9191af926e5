"""The commands as their helps tell of them."""

from lstm_ae_cli.app import command as root
from typer.core import TyperGroup

# Groups and single commands in the order of the help.
NAMES = ["toy", "mnist", "snp", "series", "runs", "config", "bench", "export", "report", "serve", "predict", "explain"]


def commands(group=None, path=()):
    """Every command with its path, groups included, in the order of the help."""
    group = group or root()
    yield path, group
    for name in group.list_commands(None):
        command = group.commands[name]
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def examples():
    """The example of each command, by its path."""
    return {path: command.help.split("Example: ")[1] for path, command in commands() if path}
