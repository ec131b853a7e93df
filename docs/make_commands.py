"""Write docs/commands.md, the command reference, from the commands themselves.

    python docs/make_commands.py

A test keeps the file equal to what this gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import typer.main

from foreword.cli import app

HEAD = """# Commands

What `foreword COMMAND --help` says, in one page. Written by `docs/make_commands.py`; don't edit it by hand.
"""


def main() -> None:
    """Write the file."""
    (Path(__file__).parent / "commands.md").write_text(reference(), encoding="utf-8")


def reference() -> str:
    """The whole page."""
    return HEAD + "".join(section(name, command) for name, command in commands(typer.main.get_command(app), "foreword"))


def commands(command, name: str) -> Iterator[tuple[str, object]]:
    """Every command with its full name, groups taken apart."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, one in inner.items():
        yield from commands(one, f"{name} {word}")


def section(name: str, command) -> str:
    """One command: its help, then its arguments and options."""
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    rows = [row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    table = "| | default | |\n|---|---|---|\n" + "\n".join(rows) + "\n" if rows else ""
    return f"\n## {name}\n\n{text}\n\n{table}"


def row(parameter) -> str:
    """One argument or option, as a row of a table."""
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [parameter.name.upper()]
    shown = getattr(parameter, "show_default", None)
    default = parameter.default
    if isinstance(shown, str):
        told = shown
    elif parameter.required:
        told = "required"
    elif default is None or default == () or shown is False or callable(default):
        told = ""
    elif isinstance(default, bool):
        told = ("on" if default else "off") if parameter.secondary_opts or default else ""
    else:
        told = f"`{getattr(default, 'value', default)}`"
    help_ = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    return f"| {', '.join(f'`{name}`' for name in names)} | {told} | {help_} |"


if __name__ == "__main__":
    main()
