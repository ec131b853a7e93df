"""Supervised records: conversations, or prompts and completions, as texts of which some parts are trained on.

    messages ── the chat template ──▶ text, what the assistant says ──▶ ids of the whole text, loss
    prompt, completion ── side by side ──▶ text, the completion ──▶ ids of the whole text, loss

The text is encoded whole, as it will be by who uses the model, and a token is trained on where it stands for any
character of such a part. In a conversation the texts of special tokens that the template writes are these tokens; in
what somebody says they would be, too, so such a record is a bad one.

Not for: rendering (``_base.chat_templates``). Costs: that; and offsets, some 10 MB/s a worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foreword._base.chat_templates import Renderer
from foreword._base.json_objects import Repeating, with_repeats
from foreword.errors import FormatError
from foreword.tokens.preparing.contents import Tokens
from foreword.tokens.tokenizers.tokenizer import Tokenizer, valid_text

__all__ = ["Completion", "Messages"]

Spans = Sequence[tuple[int, int]]
# Other names that conversations have for what a model thought; templates look for the first.
_REASONING = ("reasoning_content", "thinking", "reasoning")


@dataclasses.dataclass(frozen=True)
class Messages:
    """A conversation in one field: a list of messages, each with a role and what it says.

    Attributes:
        field: which.
        tools: the field of what the assistant may call, a list of JSON schemas; a record may lack it.
        template: in Jinja's language.
        variables: what the template finds besides messages, by name: the texts of special tokens.
        tokenizer: whose special tokens nobody may say.
    """

    field: str
    template: str
    variables: Mapping[str, str]
    tokenizer: Tokenizer
    tools: str | None = None
    kind: str = "messages"
    supervised: ClassVar[bool] = True

    @property
    def fields(self) -> tuple[str, ...]:
        """The field, and that of tools, if it is named."""
        return (self.field, *self.optional)

    @property
    def optional(self) -> tuple[str, ...]:
        """The field of tools, if it is named."""
        return () if self.tools is None else (self.tools,)

    def payload(self, values: Sequence[Any]) -> bytes:
        """The text of the conversation, and what the assistant says."""
        value, tools = values if self.tools is not None else (*values, None)
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise FormatError(f"the field {self.field!r} holds no messages", got=repr(value)[:80])
        messages, tools = [_message(one) for one in value], _tools(tools)
        if "tool_calls" not in self.template and any(message.get("tool_calls") for message in messages):
            raise FormatError(
                "the chat template leaves out what the assistant calls",
                got="tool_calls in a message, and none in the template",
            )
        for text in _texts([messages, tools]):
            found = self.tokenizer.find_special(text)
            if found is not None:
                raise FormatError(
                    f"a message holds the text of the special token {found!r}, which the template's own would be",
                    got=repr(text[:80]),
                )
        try:
            text, spans = self._renderer.render(messages, tools)
        except FormatError as refusal:
            raise FormatError(
                "the chat template does not take the messages", got=refusal.problem, fix=refusal.fact("fix")
            ) from None
        for content in (message.get("content") for message in messages):
            if isinstance(content, list | dict) and content and (str(content) in text or _left_out(content, text)):
                raise FormatError(
                    "the chat template takes the content for a text, and it is a list of parts",
                    got=repr(content)[:80],
                    expected="a text, or a template that writes each part",
                )
        if not spans:
            raise FormatError(
                "a conversation in which the assistant says nothing",
                got=f"the roles {', '.join(str(message.get('role')) for message in messages)[:80]}",
            )
        return _packed(valid_text(text), spans)

    def encode(self, tokenizer: Tokenizer, payloads: Sequence[bytes]) -> Tokens:
        """The ids of the whole texts, special tokens found in them."""
        return _encoded(tokenizer, payloads, special=True)

    def close(self) -> None:
        """End the process that renders."""
        renderer = vars(self).pop("_kept", None)
        if renderer is not None:
            renderer.close()

    @property
    def _renderer(self) -> Renderer:
        kept: Renderer | None = vars(self).get("_kept")
        if kept is None:
            kept = Renderer(self.template, self.variables)
            object.__setattr__(self, "_kept", kept)
        return kept

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_kept"}


@dataclasses.dataclass(frozen=True)
class Completion:
    """A prompt and its completion, a text each, in two fields."""

    fields: tuple[str, str]
    kind: str = "prompt and completion"
    optional: ClassVar[tuple[str, ...]] = ()
    supervised: ClassVar[bool] = True

    def payload(self, values: Sequence[Any]) -> bytes:
        """Both side by side."""
        for field, value in zip(self.fields, values, strict=True):
            if not isinstance(value, str):
                raise FormatError(
                    f"the field {field!r} is no text",
                    got="null" if value is None else type(value).__name__,
                    fix="a conversation goes into one field: --records messages",
                )
        prompt, completion = map(valid_text, values)
        if not completion:
            raise FormatError("a record whose completion is empty", got=repr(prompt[:80]))
        return _packed(prompt + completion, [(len(prompt), len(prompt) + len(completion))])

    def encode(self, tokenizer: Tokenizer, payloads: Sequence[bytes]) -> Tokens:
        """The ids of the whole texts, without special tokens."""
        return _encoded(tokenizer, payloads, special=False)

    def close(self) -> None:
        """Nothing."""


def _message(value: Any) -> dict[str, Any]:
    """A message of plain data, without what it leaves empty; what a model thought under the usual name, too.

    Raises:
        FormatError: it is none.
    """
    plain = _plain(value)
    if not isinstance(plain, dict) or not isinstance(plain.get("role"), str):
        raise FormatError("a message without a role", got=repr(value)[:80], expected="role and content")
    message = {key: part for key, part in plain.items() if part is not None}
    thought = next((message[name] for name in _REASONING if name in message), None)
    return message if thought is None else {"thinking": thought, **message, "reasoning_content": thought}


def _tools(value: Any) -> list[Any] | None:
    """What the assistant may call, as templates take it: a list, which may come as JSON; None where there is none.

    Raises:
        FormatError: it is no such list.
    """
    plain = _plain(value)
    if isinstance(plain, str):
        with contextlib.suppress(ValueError):
            plain = json.loads(plain, object_pairs_hook=with_repeats) if plain.strip() else None
        plain = _plain(plain)
    if plain is not None and not (isinstance(plain, list) and all(isinstance(tool, dict) for tool in plain)):
        raise FormatError("tools are a list of JSON schemas", got=repr(value)[:80])
    return plain or None


def _plain(value: Any) -> Any:
    """A value of JSON as Python's own, texts of valid Unicode."""
    if isinstance(value, str):
        return valid_text(str(value))
    if isinstance(value, Repeating):
        raise FormatError(f"a message in which the key {min(value.repeated)!r} comes twice")
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float):
        return value
    raise FormatError("a message that holds something else than text and numbers", got=type(value).__name__)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _left_out(content: Any, text: str) -> bool:
    """Whether a text in the parts of a content does not stand in the conversation's."""
    parts = content if isinstance(content, list) else [content]
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return any(isinstance(said, str) and said.strip() not in text for said in texts)


def _packed(text: str, spans: Spans) -> bytes:
    """A text and the parts of it that are trained on; nothing where it is empty."""
    return json.dumps(spans, separators=(",", ":")).encode() + b"\n" + text.encode() if text else b""


def _encoded(tokenizer: Tokenizer, payloads: Sequence[bytes], *, special: bool) -> Tokens:
    ids, losses = [], []
    for payload in payloads:
        head, _, data = payload.partition(b"\n")
        some, offsets = tokenizer.encode_with_offsets(
            data.decode(), allowed_special="all" if special else (), disallowed_special=()
        )
        ids.append(some)
        losses.append(_loss(offsets, json.loads(head)))
    lengths = np.array([len(some) for some in ids], np.int64)
    return Tokens(np.concatenate(ids), lengths, np.concatenate(losses))


def _loss(offsets: NDArray[np.int64], spans: Spans) -> NDArray[np.uint8]:
    """1 for each token, of characters ``offsets`` [n, 2], that stands for any in ``spans``; else 0."""
    loss = np.zeros(len(offsets), np.uint8)
    for start, end in spans:
        loss[(offsets[:, 0] < end) & (offsets[:, 1] > start)] = 1
    return loss
