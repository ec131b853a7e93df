"""What the options of a run say: which contents records have, and how documents are split.

Not for: what contents are (``contents``, ``supervised``). Costs: nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from foreword._base.files import read_text
from foreword.errors import ArgumentError
from foreword.tokens.preparing.blocks import Framing
from foreword.tokens.preparing.contents import Contents, Ids, Text
from foreword.tokens.preparing.documents import Reading
from foreword.tokens.preparing.supervised import Completion, Messages
from foreword.tokens.tokenizers.tokenizer import END_OF_TEXT, ChatTemplate, Tokenizer

__all__ = ["checked_split", "contents_of"]


def checked_split(split: Mapping[str, float] | None) -> dict[str, float]:
    """The shares of the parts besides train, by name; none where there is no split.

    Raises:
        ArgumentError: a name or a share that can't be used, or the shares leave nothing for train.
    """
    shares = dict(split or {})
    for name, share in shares.items():
        if not name.isidentifier() or name == "train" or not 0 < share < 1:
            raise ArgumentError(
                "a split that can't be made",
                got=f"{name!r}: {share!r}",
                expected='names of folders other than "train", with shares between 0 and 1: {"val": 0.01}',
            )
    if sum(shares.values()) >= 1:
        raise ArgumentError("the shares of the split leave nothing for train", got=shares, expected="a sum below 1")
    return shares


def contents_of(
    reading: Reading, tokenizer: Tokenizer, framing: Framing, chat_template: str | os.PathLike[str] | None
) -> tuple[Contents, dict[str, str]]:
    """What records hold, and what decides that besides the reading, for the manifest.

    Raises:
        ArgumentError: there is no chat template for messages, or one for what are none; two fields are not named.
        FileError: the template can't be read.
    """
    field = reading.field or ""
    if reading.records == "messages":
        chat = _template(tokenizer, chat_template)
        named = hashlib.sha256(repr((chat.text, sorted(chat.tokens.items()))).encode()).hexdigest()
        messages, *tools = (part.strip() for part in field.split(","))
        if len(tools) > 1 or not all((messages, *tools)) or messages in tools:
            raise ArgumentError(
                "messages stand in one field, and tools in another", got=repr(field), expected="messages,tools"
            )
        return Messages(messages, chat.text, chat.tokens, tokenizer, *tools), {"chat_template": named}
    if chat_template is not None:
        raise ArgumentError(
            "a chat template is for messages",
            got=f"records={reading.records!r}",
            fix='prepare(…, records="messages") (--records messages), or leave it out',
        )
    if reading.records == "completion":
        fields = tuple(part.strip() for part in field.split(","))
        if len(set(fields)) != 2 or len(fields) != 2 or not all(fields):
            raise ArgumentError(
                "a prompt and its completion stand in two fields", got=repr(field), expected="prompt,completion"
            )
        return Completion((fields[0], fields[1])), {}
    if reading.records == "ids":
        return Ids(field, tokenizer.vocab_size, framing.after[0] if framing.after else None), {}
    return Text(field), {}


def _template(tokenizer: Tokenizer, given: str | os.PathLike[str] | None) -> ChatTemplate:
    """The chat template that is given, a text or a ``Path``, or else the tokenizer's own."""
    own = tokenizer.chat
    if given is None:
        if own is None:
            raise ArgumentError(
                f"the tokenizer {tokenizer.name!r} has no chat template",
                fix="give one: prepare(…, chat_template=Path(file)) (--chat-template FILE)",
            )
        return own
    text = given if isinstance(given, str) else read_text(given)
    if own is not None:
        return ChatTemplate(text, own.tokens)
    ending = next((name for name in END_OF_TEXT if name in tokenizer.special_tokens), None)
    return ChatTemplate(text, {} if ending is None else {"eos_token": ending})
