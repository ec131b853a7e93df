"""Write docs/commands.md, the command reference, from the commands themselves.

    python docs/make_commands.py

A test keeps the file equal to what this gives.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import typer.main

from foreword.cli import app

HEAD = """# Commands

What `foreword COMMAND --help` says, in one page; `foreword --version` prints the version. What ends in … may be given
several times. `docs/make_commands.py` writes this page; don't edit it by hand.
"""
KINDS = {bool: "", str: "text", int: "number", float: "number", Path: "path"}


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
    """One command: its usage and its help, then its arguments and options."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    usage = [name, *(parameter.name.upper() + ("…" if parameter.nargs == -1 else "") for parameter in arguments)]
    if len(shown) > len(arguments):
        usage.append("[OPTIONS]")
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    text = re.sub(r"^Example: (.+)$", r"```sh\n\1\n```", text, flags=re.MULTILINE)
    hints = typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    rows = "".join(row(parameter, hints[parameter.name]) for parameter in shown)
    table = f"| | value | default | |\n|---|---|---|---|\n{rows}" if rows else ""
    return f"\n## {name}\n\n```text\n{' '.join(usage)}\n```\n\n{text}\n\n{table}"


def row(parameter, hint) -> str:
    """One argument or option, as a row of a table."""
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [parameter.name.upper()]
    help_ = " ".join((parameter.help or "").split()).replace("|", "\\|")
    if parameter.envvar:
        help_ += f" Also taken from the variable `{parameter.envvar}`."
    shown = ", ".join(f"`{name}`" for name in names)
    return f"| {shown} | {value(hint)} | {default(parameter)} | {help_} |\n"


def value(hint) -> str:
    """What an option takes, by its annotation: the choices, or the kind and its bounds; nothing for a flag."""
    kind, info = typing.get_args(hint)
    kinds = [one for one in typing.get_args(kind) if one is not type(None)]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = kinds
        kinds = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in kinds)
    if info.metavar and "|" in info.metavar:  # choices that the library checks, so that its error says more
        return ", ".join(f"`{choice}`" for choice in info.metavar.strip("<>").split("|"))
    if typing.get_origin(kind) is list:
        return f"{KINDS[kinds[0]]} …"
    if info.min is not None and info.max is not None:
        return f"{KINDS[kind]}, {info.min} to {info.max}"
    return f"{KINDS[kind]}, {info.min} or more" if info.min is not None else KINDS[kind]


def default(parameter) -> str:
    """What holds where it is left out."""
    shown, told = getattr(parameter, "show_default", None), parameter.default
    if isinstance(shown, str):
        return shown
    if parameter.required:
        return "required"
    if told is None or told == () or shown is False or callable(told):
        return ""
    if isinstance(told, bool):
        return ("on" if told else "off") if parameter.secondary_opts or told else ""
    return f"`{getattr(told, 'value', told)}`"


if __name__ == "__main__":
    main()
