"""Chat templates: messages to the text that a model is trained on, and which of it the assistant says.

    this process ── a line of JSON: messages ──▶ a process beside it, which renders ── text, spans ──▶ this process

A template is somebody else's program, so it runs in Jinja's sandbox, without a way to files, to the network or to
Python's own objects; and in a process with a bound on its memory, which is ended when it takes too long over one
conversation. It sees messages, ``tools``, ``add_generation_prompt`` and the texts of special tokens; no clock, as a
text may not depend on the day.

What the assistant says is what stands in ``{% generation %}`` blocks. In a template without them it is what each of the
assistant's turns adds: the rendering up to and with the turn, less that of the turns before it with the generation
prompt. Both have to be beginnings of the whole, or the conversation is refused.

Not for: which template (``tokens.tokenizers``). Costs: starting a process, 0.1 s; some 0.1 ms a conversation, more for
one of many turns without such blocks.
"""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from foreword._base import system
from foreword.errors import ArgumentError, FormatError, MissingPackageError

__all__ = ["Rendered", "Renderer", "main"]

# Of one conversation: seconds, characters of its text; and bytes of memory of the process.
SECONDS = 20.0
CHARACTERS = 1 << 26
MEMORY = 1 << 31
# Versions of Jinja before have known ways out of the sandbox.
_JINJA = (3, 1, 6)


class Rendered(NamedTuple):
    """A text, and what the assistant says in it: (start, end) of each part, in characters."""

    text: str
    spans: list[tuple[int, int]]


class Renderer:
    """Renders conversations by one template, in a process beside; close it.

    Args:
        template: in Jinja's language.
        variables: what it finds besides messages: the texts of special tokens.

    Raises:
        MissingPackageError: jinja2 is not installed, or too old to be safe.
        ArgumentError: the template can't be used.
    """

    def __init__(self, template: str, variables: Mapping[str, str]) -> None:
        _need_jinja()
        code = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {__name__} import main; main()"
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-c", code, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._deadline = math.inf
        self._done = threading.Event()
        self._late = False
        threading.Thread(target=self._watch, name="foreword-chat-template", daemon=True).start()
        try:
            self._ask({"template": template, "variables": dict(variables)})
        except FormatError as cause:
            self.close()
            raise ArgumentError(
                "the chat template can't be used", got=cause.problem, fix="mend it, or give another"
            ) from None
        except BaseException:
            self.close()
            raise

    def render(self, messages: list[Any], tools: list[Any] | None = None) -> Rendered:
        """The text of a conversation.

        Args:
            messages: of which each has a role.
            tools: what the assistant may call, as JSON schemas.

        Raises:
            FormatError: the template refuses it, or does not show what the assistant says.
            ArgumentError: it takes too long, too much memory, or gives too long a text.
        """
        answer = self._ask({"messages": messages, "tools": tools})
        return Rendered(answer["text"], [(start, end) for start, end in answer["spans"]])

    def _ask(self, question: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._deadline = time.monotonic() + SECONDS
        line = b""
        with contextlib.suppress(OSError):  # it has ended
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        self._deadline = math.inf
        if not line.endswith(b"\n"):
            raise _too_much(
                f"no answer in {SECONDS:g} s" if self._late else "its process ended, for want of memory perhaps"
            )
        answer = json.loads(line)
        if "too_much" in answer:
            raise _too_much(answer["too_much"])
        if "error" in answer:
            raise FormatError(answer["error"], fix=answer.get("fix"))
        return answer

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            if time.monotonic() > self._deadline:
                self._late = True
                self._process.kill()
                return

    def close(self) -> None:
        """End the process."""
        self._done.set()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # what was not sent has no reader
                stream.close()


def _too_much(got: str) -> ArgumentError:
    return ArgumentError(
        "the chat template takes more than it may over one conversation",
        got=got,
        expected=f"at most {SECONDS:g} s, {CHARACTERS >> 20} Mi characters, {MEMORY >> 30} GiB of memory",
        fix="mend it, or give another",
    )


def _need_jinja() -> None:
    import importlib.metadata

    try:
        version = importlib.metadata.version("jinja2")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if numbers < _JINJA:
        raise MissingPackageError(
            "chat templates need the package jinja2",
            got=version or None,
            expected=f"{'.'.join(map(str, _JINJA))} or newer, as its sandbox has known holes before"
            if version
            else None,
            fix="pip install jinja2",
        )


# In the process beside.


class _TooMuchError(Exception):
    """A text longer than one may be."""


class _UnmarkedError(Exception):
    """What the assistant says can't be told without generation blocks."""


Render = Callable[[list[Any], Any, bool], tuple[str, list[tuple[int, int]]]]


def main() -> None:
    """Read a template, then conversations, a line of JSON each; answer each with one."""
    system.limit_memory(MEMORY)
    said = sys.stdin.buffer
    render: Render | None = None
    for line in said:
        try:
            question = json.loads(line)
            if render is None:
                render, marks = _compiled(question["template"], question["variables"])
                answer: dict[str, Any] = {}
            else:
                messages, tools = question["messages"], question["tools"]
                text, spans = render(messages, tools, False) if marks else _by_turns(render, messages, tools)
                answer = {"text": text, "spans": spans}
        except (_TooMuchError, MemoryError) as cause:
            answer = {"too_much": str(cause) or "more memory than it may"}
        except RecursionError:
            answer = {"too_much": "recursion without an end"}
        except _UnmarkedError as cause:
            answer = {"error": str(cause), "fix": _MARK}
        except Exception as cause:  # a template may do anything wrong
            answer = {"error": (str(cause).splitlines() or [type(cause).__name__])[0][:500]}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


_MARK = (
    "give the template with {% generation %} blocks around what the assistant says, chat_template=Path(file) "
    "(--chat-template FILE); or skip and count such records: --bad-records skip"
)


def _by_turns(render: Render, messages: list[Any], tools: Any) -> tuple[str, list[tuple[int, int]]]:
    """The text of a conversation, and what each of the assistant's turns adds to it."""
    whole = render(messages, tools, False)[0]
    spans = []
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") != "assistant":
            continue
        before, after = render(messages[:i], tools, True)[0], render(messages[: i + 1], tools, False)[0]
        if not (after.startswith(before) and whole.startswith(after)):
            raise _UnmarkedError(
                f"the text up to turn {i} is no beginning of the whole: the template, which has no generation blocks, "
                "changes a turn by what comes after it, or begins it otherwise than by its generation prompt"
            )
        if len(before) < len(after):
            spans.append((len(before), len(after)))
    return whole, spans


def _compiled(template: str, variables: dict[str, str]) -> tuple[Render, bool]:
    """What renders messages by ``template``; and whether it marks what the assistant says."""
    import jinja2
    from jinja2 import ext, nodes, sandbox
    from jinja2.utils import Namespace

    # Stand around what the assistant says until the text is whole: no text holds them, and no filter for case or blanks
    # changes them.
    secret = str(secrets.randbelow(10**24)).zfill(24)
    opens, closes = f"\ue000{secret}\ue001", f"\ue001{secret}\ue000"
    marks = False

    class Generation(ext.Extension):
        tags = {"generation"}  # noqa: RUF012 - Jinja has it so

        def parse(self, parser: Any) -> Any:
            nonlocal marks
            marks = True
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

        def _marked(self, caller: Callable[[], str]) -> str:
            return f"{opens}{caller()}{closes}"

    class Names(Namespace):
        def __init__(*own: Any, **values: Any) -> None:  # ``self`` may be a name, too
            Namespace.__init__(own[0])
            for name, value in {**dict(*own[1:]), **values}.items():
                own[0][name] = value

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise jinja2.TemplateError(f"a name that begins with an underscore: {name}")
            super().__setitem__(name, value)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message: object) -> None:
        raise jinja2.TemplateError(str(message))

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = tojson
    environment.globals = {
        "range": environment.globals["range"],
        "dict": lambda *pairs, **named: {**dict(*pairs), **named},
        "namespace": Names,
        "raise_exception": raise_exception,
    }
    compiled = environment.from_string(template)

    def render(messages: list[Any], tools: Any, prompt: bool) -> tuple[str, list[tuple[int, int]]]:
        parts, size = [], 0
        given = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt}
        for part in compiled.generate(given, **variables):
            size += len(part)
            if size > CHARACTERS:
                raise _TooMuchError(f"a text of more than {CHARACTERS:,} characters")
            parts.append(part)
        return _without_marks("".join(parts), opens, closes)

    return render, marks


def _without_marks(text: str, opens: str, closes: str) -> tuple[str, list[tuple[int, int]]]:
    """A text without its marks, and what stood between them: the outermost where they are nested."""
    plain: list[str] = []
    spans: list[tuple[int, int]] = []
    size = depth = start = 0
    for part, mark in _split(text, opens, closes):
        plain.append(part)
        size += len(part)
        if mark == opens:
            start = start if depth else size
            depth += 1
        elif mark == closes:
            depth -= 1
            if not depth and size > start:
                spans.append((start, size))
    whole = "".join(plain)
    if depth or opens.strip("\ue000\ue001") in whole:
        raise FormatError("the template cuts or repeats a part of a generation block")
    return whole, spans


def _split(text: str, opens: str, closes: str) -> Iterator[tuple[str, str]]:
    place = 0
    while True:
        found = [at for at in (text.find(opens, place), text.find(closes, place)) if at >= 0]
        if not found:
            yield text[place:], ""
            return
        end = min(found)
        yield text[place:end], text[end : end + len(opens)]
        place = end + len(opens)
