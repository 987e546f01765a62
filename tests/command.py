"""The command as tests run it: in this process, its output and exit status kept."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


def check_arguments(arguments: Sequence[str]) -> None:
    """Parse arguments as the command would, without running anything.

    Raises:
        click.ClickException: it would refuse them.
    """
    from fluxhero.cli import cli

    command: click.Command = cli
    # With its settings: a command keeps the help option that it was first asked for.
    context = click.Context(cli, info_name="fluxhero", **cli.context_settings)
    rest = list(arguments)
    while isinstance(command, click.Group):
        if rest[0] in {"--version", "--help"}:
            return
        rest = rest[1:] if rest[0] == "--debug" else rest
        found = command.get_command(context, rest[0])
        assert found is not None, f"there is no verb {rest[0]}"
        command, rest = found, rest[1:]
    command.make_context(command.name, rest, parent=context)
