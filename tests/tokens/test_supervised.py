"""Supervised records: conversations and completions, against transformers and against a plain rendering."""

from __future__ import annotations

import itertools
import json
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

import foreword as fw
from foreword._base import chat_templates
from foreword._base.chat_templates import Renderer
from foreword.errors import ArgumentError, FormatError, StoreError
from foreword.tokens import TokenStore, export, get_tokenizer, inspect
from foreword.windows import WindowDataset, WindowLoader

from .conftest import odd_strings, real_text

transformers = pytest.importorskip("transformers")
pytest.importorskip("jinja2")

# ChatML, as Qwen's and many others' are; and the same with generation blocks.
PLAIN = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = """{{ bos_token }}{% for message in messages %}
{% if message.role == 'assistant' %}
<|im_start|>assistant
{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}

{% else %}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{% endfor %}"""
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tokenizer as the hub has them: byte-level merges, special tokens, a chat template."""
    library = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(r"\p{N}|[^\s\p{N}]+|\s+(?!\S)|\s+| "), "isolated")
    library.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    library.train_from_iterator([real_text()[:100_000], "assistant\nuser\n" * 100], trainer)
    path = tmp_path_factory.mktemp("tokenizer")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=library, bos_token="<s>", eos_token="<|im_end|>")
    fast.chat_template = MARKED
    fast.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def theirs(folder: Path):
    return transformers.AutoTokenizer.from_pretrained(folder)


def conversation(seed: int, turns: int = 3) -> list[dict[str, str]]:
    draw = random.Random(seed)
    words = real_text().split()

    def says(n: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(1, n)))

    messages = [{"role": "system", "content": says(5)}] if draw.random() < 0.5 else []
    for _ in range(draw.randint(1, turns)):
        messages += [{"role": "user", "content": says(30)}, {"role": "assistant", "content": says(30) + " é我😀"}]
    return messages


CONVERSATIONS = [conversation(seed) for seed in range(40)]


def expected(theirs, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """What transformers gives: ids, and which are the assistant's."""
    found = theirs.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    return found["input_ids"], found["assistant_masks"]


def plain_rendering(tokenizer: fw.Tokenizer, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """ChatML by hand, token by token: which of them have a character that the assistant says, or ends by."""
    text, said = "", []
    for message in messages:
        head = f"<|im_start|>{message['role']}\n"
        body = f"{message['content']}<|im_end|>\n"
        said += [False] * len(head) + [message["role"] == "assistant"] * len(body)
        text += head + body
    ids, offsets = tokenizer.encode_with_offsets(text, allowed_special="all")
    assert ids.tolist() == tokenizer.encode(text, allowed_special="all").tolist()
    return ids.tolist(), [int(any(said[start:end])) for start, end in offsets.tolist()]


def documents(store: TokenStore) -> list[tuple[list[int], list[int]]]:
    ends = store.offsets.astype(int).tolist()
    return [(store[a:b].tolist(), store.read_loss(a, b).tolist()) for a, b in itertools.pairwise(ends)]


def bytes_of(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir() if path.name != ".lock"}


def prepare(corpus: object, out: Path, folder: Path, **options: object) -> TokenStore:
    return fw.prepare(corpus, out, **{"records": "messages", "tokenizer": folder} | options)


# What is stored


def test_messages_are_as_transformers_has_them(tmp_path: Path, folder: Path, theirs) -> None:
    store = prepare([{"messages": m} for m in CONVERSATIONS], tmp_path / "s", folder)
    assert documents(store) == [expected(theirs, messages) for messages in CONVERSATIONS]
    assert store.supervised
    assert inspect(store).trained == sum(sum(expected(theirs, messages)[1]) for messages in CONVERSATIONS)
    store.verify()
    ids, loss = map(np.array, documents(store)[0])
    said = "".join(m["content"] + "<|im_end|>" for m in CONVERSATIONS[0] if m["role"] == "assistant")
    assert store.tokenizer.decode(ids[loss == 1]) == said


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "lists", "object"])
def test_a_template_without_marks_against_a_plain_rendering(tmp_path: Path, folder: Path, theirs, kind: str) -> None:
    rows = [{"messages": m} for m in CONVERSATIONS]
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    corpus: object = {"lists": CONVERSATIONS, "object": rows}.get(kind, path)
    tokenizer = theirs if kind == "object" else folder
    store = prepare(corpus, tmp_path / "s", tokenizer, chat_template=PLAIN)
    assert documents(store) == [plain_rendering(get_tokenizer(folder), messages) for messages in CONVERSATIONS]


texts = st.lists(st.tuples(odd_strings, odd_strings), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts, st.booleans())
def test_odd_conversations(tmp_path_factory, folder: Path, turns: list[tuple[str, str]], marked: bool) -> None:
    out = tmp_path_factory.mktemp("s")
    tokenizer = get_tokenizer(folder)
    messages = []
    for one, other in turns:
        messages += [{"role": "user", "content": one}, {"role": "assistant", "content": other}]
    if any(tokenizer.find_special(message["content"]) for message in messages):
        with pytest.raises(FormatError, match="text of the special token"):
            prepare([messages], out / "s", folder)
        return
    store = prepare([messages], out / "s", folder, **({} if marked else {"chat_template": PLAIN}))
    valid = [
        {**m, "content": m["content"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")} for m in messages
    ]
    if marked:
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        assert documents(store) == [expected(theirs, valid)]
    else:
        assert documents(store) == [plain_rendering(tokenizer, valid)]


def test_what_messages_hold_besides(tmp_path: Path, folder: Path, theirs) -> None:
    """Tools, thoughts, nulls: the template sees what transformers shows it."""
    template = (
        "{% for m in messages %}{% generation %}{{ m | tojson }}{% endgeneration %}"
        "{{ m.reasoning_content }}{% if m.tool_calls is defined %}{{ m.tool_calls[0].name }}{% endif %}{% endfor %}"
    )
    messages = [
        {"role": "user", "content": None, "parts": [1, 2.5, True, None]},
        {
            "role": "assistant",
            "thinking": "hm é",
            "content": "x",
            "tool_calls": [{"name": "f", "arguments": {"a": "<"}}],
        },
    ]
    store = prepare([{"messages": messages}], tmp_path / "s", folder, chat_template=template)
    found = theirs.apply_chat_template(
        messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    assert documents(store) == [(found["input_ids"], found["assistant_masks"])]


def test_prompts_and_completions(tmp_path: Path) -> None:
    rows = [("Say: ", "hello there"), ("", "no prompt"), ("2 + 2 =", " 4"), ("half a w", "ord <|endoftext|> é")]
    tokenizer = get_tokenizer("gpt2")

    def reference(prompt: str, completion: str) -> tuple[list[int], list[int]]:
        ids, offsets = tokenizer.encode_with_offsets(prompt + completion, disallowed_special=())
        return [*ids.tolist(), 50256], [*(int(end > len(prompt)) for _, end in offsets.tolist()), 1]

    table = pa.table({"prompt": [a for a, _ in rows], "completion": [b for _, b in rows]})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("".join(f'"{a}","{b}"\n' for a, b in [("prompt", "completion"), *rows]))
    for corpus in (tmp_path / "a.parquet", tmp_path / "a.csv", [{"prompt": a, "completion": b} for a, b in rows]):
        out = tmp_path / f"s{len(list(tmp_path.iterdir()))}"
        store = fw.prepare(corpus, out, records="completion", tokenizer="gpt2")
        assert documents(store) == [reference(*row) for row in rows]
    odd = [{"question": "a", "answer": "b"}]
    store = fw.prepare(
        odd, tmp_path / "o", records="completion", field="question, answer", tokenizer="gpt2", beginning=None
    )
    assert documents(store) == [reference("a", "b")]
    store = fw.prepare(
        odd, tmp_path / "b", records="completion", field="question,answer", tokenizer="gpt2", beginning="<|endoftext|>"
    )
    assert documents(store) == [([50256, *reference("a", "b")[0]], [0, *reference("a", "b")[1]])]


# The same bytes, whatever happens


def test_workers_shards_splits_and_duplicates(tmp_path: Path, folder: Path) -> None:
    rows = [{"messages": conversation(seed)} for seed in range(200)]
    one = prepare(rows, tmp_path / "one", folder, workers=1, shard_tokens=3000)
    prepare(rows, tmp_path / "three", folder, workers=3, shard_tokens=3000)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "three")
    assert len(one.shards) > 3
    assert one.read_loss(0, len(one)).tolist() == [x for _, loss in documents(one) for x in loss]
    again = prepare(rows + rows[:50], tmp_path / "dup", folder, deduplicate=True)
    assert documents(again) == documents(one)
    prepare(rows, tmp_path / "split", folder, split={"val": 0.3})
    parts = [documents(TokenStore.open(tmp_path / "split" / name)) for name in ("train", "val")]
    assert len(parts[1]) > 10
    assert sorted(parts[0] + parts[1]) == sorted(documents(one))


def test_a_run_that_is_killed_is_taken_up(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"messages": conversation(seed)}) + "\n" for seed in range(400)))
    code = (
        "import sys, foreword as fw; from foreword.tokens.preparing import run, blocks; run.CHECKPOINT_SECONDS = 0.0; "
        "blocks.BLOCK_BYTES = 2000; fw.prepare(sys.argv[1], sys.argv[2], records='messages', tokenizer=sys.argv[3], "
        "shard_tokens=5000)"
    )
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", code, str(path), str(killed), str(folder)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (killed / ".journal").exists() and json.loads((killed / ".journal").read_text())["position"][1] > 30:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (killed / ".journal").exists(), "it was done before it was killed"
    shutil.copytree(killed, tmp_path / "cut")
    prepare(path, killed, folder, shard_tokens=5000)
    prepare(path, tmp_path / "whole", folder, shard_tokens=5000)
    assert bytes_of(killed) == bytes_of(tmp_path / "whole")
    open_shard = sorted((tmp_path / "cut").glob("*.loss"))[-1]
    data = bytearray(open_shard.read_bytes())
    data[0] ^= 1
    open_shard.write_bytes(data)
    with pytest.raises(StoreError, match=r"not as it was left|is not what"):
        prepare(path, tmp_path / "cut", folder, shard_tokens=5000)


def test_append(tmp_path: Path, folder: Path) -> None:
    rows = [{"messages": m, "text": "a text"} for m in CONVERSATIONS]
    store = prepare(rows[:10], tmp_path / "s", folder)
    both = prepare(rows[10:], tmp_path / "s", folder, append=True)
    assert documents(both) == documents(prepare(rows, tmp_path / "whole", folder))
    assert documents(both)[:10] == documents(store)
    assert both.supervised
    with pytest.raises(StoreError, match="another"):
        fw.prepare(rows, tmp_path / "s", tokenizer=folder, append=True, append_end_of_text=False)
    with pytest.raises(StoreError, match="another chat_template"):
        prepare(rows, tmp_path / "s", folder, append=True, chat_template=PLAIN)
    fw.prepare(rows, tmp_path / "t", tokenizer=folder)
    with pytest.raises(StoreError, match="another"):
        prepare(rows, tmp_path / "t", folder, append=True, field="text")
    manifest = json.loads((tmp_path / "t" / "manifest.json").read_text())
    assert manifest["version"] == 2
    assert not {"fields", "records", "chat_template"} & {*manifest, *manifest["policies"]}
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["version"] == 3


def test_damage(tmp_path: Path, folder: Path) -> None:
    store = prepare([{"messages": m} for m in CONVERSATIONS], tmp_path / "s", folder)
    loss = tmp_path / "s" / "00000.loss"
    whole = loss.read_bytes()
    loss.write_bytes(whole[:7] + bytes([whole[7] ^ 1]) + whole[8:])
    with pytest.raises(StoreError, match=r"00000.loss, bytes 0"):
        store.verify()
    for data in (whole[:-1], whole + b"\0", None):
        if data is None:
            loss.unlink()
        else:
            loss.write_bytes(data)
        with pytest.raises(StoreError, match=r"wrong size|can't be read"):
            TokenStore.open(tmp_path / "s")
    loss.write_bytes(whole)
    TokenStore.open(tmp_path / "s").verify()


def test_what_can_not_say_it_is_refused(tmp_path: Path, folder: Path) -> None:
    store = prepare([{"messages": m} for m in CONVERSATIONS], tmp_path / "s", folder)
    for name in ("megatron", "nanogpt", "llmc", "datatrove"):
        with pytest.raises(ArgumentError, match=f"files of {name} can't say"):
            export(store, tmp_path / "out", format=name)
    plain = fw.prepare(["a text"], tmp_path / "p")
    with pytest.raises(StoreError, match="no loss"):
        plain.read_loss(0, 1)
    assert inspect(plain).trained is None


# Windows


def masked(ids: np.ndarray, loss: np.ndarray) -> tuple[list[int], list[int]]:
    return ids[:-1].tolist(), np.where(loss[1:] == 1, ids[1:], -100).tolist()


@pytest.mark.parametrize("source", ["store", "array"])
def test_streams(tmp_path: Path, folder: Path, source: str) -> None:
    store = prepare([{"messages": m} for m in CONVERSATIONS], tmp_path / "s", folder, shard_tokens=1000)
    ids, loss = store[:].astype(np.int64), store.read_loss(0, len(store))
    kinds = {"store": (store, None), "array": (ids.astype(np.uint16), loss.astype(bool))}
    data = WindowDataset(kinds[source][0], context_length=50, stride=21, tail="pad", loss=kinds[source][1])
    for i in range(len(data)):
        inputs, targets = data[i]
        wanted = masked(ids[21 * i : 21 * i + 51], loss[21 * i : 21 * i + 51])
        short = 50 - len(wanted[0])
        assert (inputs.tolist(), targets.tolist()) == (wanted[0] + [0] * short, wanted[1] + [-100] * short)
    again = pickle.loads(pickle.dumps(data))
    assert again.fingerprint == data.fingerprint
    assert again[3][1].equal(data[3][1])
    loader = WindowLoader(data, batch_size=4, shuffle=True)
    whole = [targets for _, targets in loader]
    prefetched = [targets for _, targets in WindowLoader(data, batch_size=4, shuffle=True, prefetch=2)]
    assert all(a.equal(b) for a, b in zip(whole, prefetched, strict=True))
    dropped = WindowDataset(kinds[source][0], context_length=50, loss=kinds[source][1])
    batches = [targets for _, targets in WindowLoader(dropped, batch_size=4)]
    assert all(targets[0].equal(dropped[4 * i][1]) for i, targets in enumerate(batches))
    with pytest.raises(ArgumentError, match="compact"):
        WindowLoader(dropped, batch_size=4, compact=True)


@pytest.mark.parametrize("packing", [None, "best-fit"])
@pytest.mark.parametrize("tail", ["pad", "keep"])
def test_documents_and_packing_against_a_plain_rendering(tmp_path: Path, folder: Path, packing, tail: str) -> None:
    """Every pair of an input and its target in every window, told apart by document: those of the renderings."""
    store = prepare([{"messages": m} for m in CONVERSATIONS], tmp_path / "s", folder, chat_template=PLAIN)
    rendered = [plain_rendering(get_tokenizer(folder), messages) for messages in CONVERSATIONS]
    data = WindowDataset(store, context_length=64, within="document", tail=tail, packing=packing, segments=True)
    found: dict[int, list[tuple[int, int]]] = {}
    for batch in WindowLoader(data, batch_size=1, drop_last=False):
        rows = (batch[name][0].tolist() for name in ("document_ids", "inputs", "targets"))
        for document, one, other in zip(*rows, strict=True):
            if document >= 0:
                found.setdefault(document, []).append((one, other))
            else:
                assert other == -100
    for i, (ids, loss) in enumerate(rendered):
        wanted = [(a, b if trained else -100) for a, b, trained in zip(ids, ids[1:], loss[1:], strict=False)]
        assert sorted(found[i]) == sorted(wanted)


def test_a_tail_that_is_kept_is_as_long_as_its_tokens(tmp_path: Path) -> None:
    """Not as its targets that count: the last of a window may be the prompt's."""
    data = WindowDataset(
        np.arange(10), offsets=[0, 4, 10], loss=[0] * 10, context_length=8, within="document", tail="keep"
    )
    assert [len(data[i][0]) for i in range(2)] == [3, 5]
    assert [batch[0].shape for batch in WindowLoader(data, batch_size=1)] == [(1, 3), (1, 5)]


def test_a_mixture_of_supervised_and_plain(tmp_path: Path, folder: Path) -> None:
    store = prepare([{"messages": m} for m in CONVERSATIONS], tmp_path / "s", folder)
    plain = fw.prepare([real_text()[:20_000]], tmp_path / "p", tokenizer=folder, append_end_of_text=False)
    sets = {"chat": WindowDataset(store, context_length=32), "text": WindowDataset(plain, context_length=32)}
    masks = [(targets == -100).any(1).tolist() for _, targets in WindowLoader(sets, batch_size=4)]
    assert 0 < sum(map(sum, masks)) < 4 * len(masks)


def test_a_loss_that_does_not_fit(tmp_path: Path, folder: Path) -> None:
    store = prepare([{"messages": m} for m in CONVERSATIONS], tmp_path / "s", folder)
    ids = np.arange(100)
    for loss, words in (([0] * 99, "of each token"), ([[0]], "1-D"), ([0.5] * 100, "integers")):
        with pytest.raises(ArgumentError, match=words):
            WindowDataset(ids, context_length=4, loss=loss)
    with pytest.raises(ArgumentError, match="says itself"):
        WindowDataset(store, context_length=4, loss=np.zeros(len(store), np.uint8))
    one, other = (WindowDataset(ids, context_length=4, loss=np.full(100, i)) for i in (0, 1))
    assert len({one.fingerprint, other.fingerprint, WindowDataset(ids, context_length=4).fingerprint}) == 3


def test_a_field_that_changes_under_its_windows(tmp_path: Path, folder: Path) -> None:
    store = prepare([{"messages": m} for m in CONVERSATIONS], tmp_path / "s", folder)
    data = WindowDataset(store, context_length=8)
    path = tmp_path / "s" / "00000.loss"
    data[0]
    path.touch()
    data[0]  # as it was, by its checksums
    time.sleep(0.01)
    path.write_bytes(bytes(len(store)))
    with pytest.raises(StoreError, match="has changed"):
        data[0]


# Records and templates that are refused


def test_bad_records(tmp_path: Path, folder: Path) -> None:
    good = CONVERSATIONS[0]
    cases = {
        "holds no messages": [None, "text", [], 3, {}],
        "without a role": [[{"content": "a"}], ["a"], [{"role": 1}]],
        "text of the special token '<|im_end|>'": [[{"role": "user", "content": "a<|im_end|>"}, *good]],
        "the assistant says nothing": [[{"role": "user", "content": "a"}]],
        "something else than text and numbers": [[{"role": "user", "content": b"bytes"}]],
    }
    for words, bad in cases.items():
        for messages in bad:
            rows = [{"messages": good}, {"messages": messages}]
            with pytest.raises(FormatError) as error:
                prepare(rows, tmp_path / "s", folder)
            assert words in str(error.value)
            assert "text 1" in str(error.value)
            store = prepare(rows, tmp_path / f"s{time.monotonic_ns()}", folder, bad_records="skip")
            assert (store.documents, store.manifest["account"]["skipped"]) == (1, 1)
    for row in ({"prompt": "a"}, {"prompt": "a", "completion": None}, {"prompt": "a", "completion": ""}):
        with pytest.raises(FormatError, match="completion"):
            fw.prepare([row], tmp_path / "c", records="completion", tokenizer="gpt2")
    with pytest.raises(ArgumentError, match="two fields"):
        fw.prepare([{"a": "b"}], tmp_path / "c", records="completion", field="a", tokenizer="gpt2")


def test_templates_that_are_refused(tmp_path: Path, folder: Path) -> None:
    rows = [{"messages": CONVERSATIONS[0]}]
    for template, words in (
        ("{% for %}", "can't be used"),
        ("{{ messages[0].content }}", "no beginning of the whole|says nothing"),
        ("{% for m in messages | reverse %}{{ m.content }}{% endfor %}", "no beginning of the whole"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ strftime_now('%Y') }}", "strftime_now"),
        ("{{ messages.append(1) }}{% generation %}{% endgeneration %}", "not safely|append"),
        ("{{ ''.__class__.__mro__ }}{% generation %}{% endgeneration %}", "__class__|unsafe"),
        ("{{ cycler.__init__.__globals__ }}{% generation %}{% endgeneration %}", "undefined|unsafe"),
        ("{{ namespace(_x=1) }}{% generation %}a{% endgeneration %}", "underscore"),
        ("{% set ns = namespace() %}{% set ns._x = 1 %}", "underscore"),
        ("{% include '/etc/passwd' %}", "loader"),
    ):
        with pytest.raises((FormatError, ArgumentError), match=words):
            prepare(rows, tmp_path / "s", folder, chat_template=template)
        assert not (tmp_path / "s").exists()
    with pytest.raises(ArgumentError, match="has no chat template"):
        fw.prepare(rows, tmp_path / "s", records="messages", tokenizer="gpt2")
    with pytest.raises(ArgumentError, match="is for messages"):
        fw.prepare(rows, tmp_path / "s", chat_template=PLAIN)
    with pytest.raises(ArgumentError, match="which tokenizer"):
        fw.prepare(rows, tmp_path / "s", records="messages", chat_template=PLAIN)
    (tmp_path / "t.jinja").write_text(PLAIN)
    store = fw.prepare(rows, tmp_path / "s", records="messages", tokenizer="gpt2", chat_template=tmp_path / "t.jinja")
    assert store.tokenizer.decode(store[:]).startswith("<|im_start|>")


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(9**5) %}{% for b in range(9**5) %}{% for c in range(9) %}{% endfor %}" + 2 * "{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    ],
)
def test_a_template_that_does_not_end(tmp_path: Path, folder: Path, monkeypatch, template: str) -> None:
    monkeypatch.setattr(chat_templates, "SECONDS", 0.7)
    with pytest.raises(ArgumentError, match="more than it may") as error:  # no bad record, that could be skipped
        prepare([{"messages": CONVERSATIONS[0]}], tmp_path / "s", folder, chat_template=template, bad_records="skip")
    assert "no answer in 0.7 s" in str(error.value)


@pytest.mark.parametrize(
    "template",
    [
        "{% set n = namespace(x='ab' * 1000) %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{{ 'a' * 10**11 }}",
        "{% for i in range(99999) %}{{ 'a' * 100000 }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_a_template_that_grows(tmp_path: Path, folder: Path, monkeypatch, template: str) -> None:
    monkeypatch.setattr(chat_templates, "CHARACTERS", 1 << 20)
    with pytest.raises(ArgumentError, match="more than it may"):
        prepare([{"messages": CONVERSATIONS[0]}], tmp_path / "s", folder, chat_template=template, bad_records="skip")


def test_the_process_ends_with_its_renderer() -> None:
    renderer = Renderer(PLAIN, {})
    text, spans = renderer.render([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert [text[a:b] for a, b in spans] == ["b<|im_end|>\n"]
    with pytest.raises(FormatError):
        renderer.render([{"role": "user"}])
    process = renderer._process
    renderer.close()
    assert process.poll() is not None
    renderer.close()


def test_marks_within_marks_and_macros(tmp_path: Path, folder: Path) -> None:
    template = (
        "{% macro say(t) %}{% generation %}[{{ t }}]{% endgeneration %}{% endmacro %}"
        "{% for m in messages %}{% generation %}{{ say(m.content) }}!{% endgeneration %}{{ m.role }}"
        "{% set x %}{% generation %}y{% endgeneration %}{% endset %}{{ x | upper }}{% endfor %}"
    )
    renderer = Renderer(template, {})
    text, spans = renderer.render([{"role": "r", "content": "a"}, {"role": "s", "content": "b"}])
    renderer.close()
    assert text == "[a]!rY[b]!sY"
    assert [text[a:b] for a, b in spans] == ["[a]!", "Y", "[b]!", "Y"]
    cut = Renderer("{% set x %}{% generation %}yes{% endgeneration %}{% endset %}{{ x[:-3] }}", {})
    with pytest.raises(FormatError, match="cuts or repeats"):
        cut.render([{"role": "r"}])
    cut.close()


def test_a_template_beside_its_tokenizer(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "t")
    config = json.loads((tmp_path / "t" / "tokenizer_config.json").read_text())
    template = tmp_path / "t" / "chat_template.jinja"
    text = template.read_text() if template.exists() else config.pop("chat_template")
    template.unlink(missing_ok=True)

    def chat(**said: object):
        (tmp_path / "t" / "tokenizer_config.json").write_text(json.dumps({**config, **said}))
        return get_tokenizer(tmp_path / "t" / "tokenizer.json").chat

    assert chat() is None
    assert chat(chat_template=text).text == text == get_tokenizer(folder).chat.text
    assert chat(chat_template=[{"name": "rag", "template": "x"}, {"name": "default", "template": text}]).text == text
    with pytest.raises(FormatError, match="the default"):
        chat(chat_template=[{"name": "rag", "template": "x"}])
    template.write_text("from the file")
    assert chat(chat_template=text).text == "from the file"
    assert chat().tokens == {"bos_token": "<s>", "eos_token": "<|im_end|>"}


def test_the_command(tmp_path: Path, folder: Path) -> None:
    from typer.testing import CliRunner

    from foreword.cli import app

    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"chat": m}) + "\n" for m in CONVERSATIONS))
    (tmp_path / "t.jinja").write_text(PLAIN)

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exit_code == 0, done.output
        return done.output

    corpus, out = tmp_path / "a.jsonl", tmp_path / "s"
    run("prepare", corpus, out, "--records", "messages", "--field", "chat", "--tokenizer", folder)
    assert documents(TokenStore.open(out)) == documents(prepare(CONVERSATIONS, tmp_path / "same", folder))
    assert "trained on" in run("inspect", out, "--verify")
    assert json.loads(run("inspect", out, "--json"))["trained"] == inspect(TokenStore.open(out)).trained
    given = ("--chat-template", tmp_path / "t.jinja", "--end-of-text-token", "<|endoftext|>")
    run("prepare", corpus, tmp_path / "g", "--records", "messages", "--field", "chat", "--tokenizer", folder, *given)
    ids, loss = documents(TokenStore.open(tmp_path / "g"))[0]
    assert (ids[-1], loss[-1]) == (0, 1)
    (tmp_path / "p.csv").write_text("prompt,completion\na,b\n")
    run("prepare", tmp_path / "p.csv", tmp_path / "c", "--records", "completion", "--tokenizer", "gpt2")
    assert documents(TokenStore.open(tmp_path / "c"))[0][1][-1] == 1


# As Qwen's: tools in a system turn, calls in the assistant's.
WITH_TOOLS = """{% if tools is not none %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{% generation %}{{ m.content or '' }}{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}\
<|im_end|>{% endgeneration %}

{% endfor %}"""
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "où ?", "parameters": {}}}]
CALLS = [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}]
ASKED = [
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "content": "no"},
    {"role": "assistant", "content": "No."},
]


def test_tools_are_written_as_transformers_does(tmp_path: Path, folder: Path, theirs) -> None:
    records = [
        {"messages": ASKED, "tools": TOOLS},
        {"messages": ASKED},  # a record may lack them
        {"messages": ASKED, "tools": None},
        {"messages": ASKED, "tools": []},
        {"messages": ASKED, "tools": json.dumps(TOOLS)},  # as data sets of several tools keep them
    ]
    wanted = []
    for record in records:
        tools = TOOLS if record.get("tools") else None
        text = theirs.apply_chat_template(ASKED, tools=tools, chat_template=WITH_TOOLS, tokenize=False)
        wanted.append(theirs(text, add_special_tokens=False)["input_ids"])
    assert wanted[0] != wanted[1]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pa.parquet.write_table(
        pa.table({"messages": [ASKED] * 2, "tools": [json.dumps(TOOLS), None]}), tmp_path / "chats.parquet"
    )
    options = {"records": "messages", "field": "messages, tools", "tokenizer": folder, "chat_template": WITH_TOOLS}
    for name, corpus, ids in (
        ("a", records, wanted),
        ("b", tmp_path / "chats.jsonl", wanted),
        ("c", tmp_path / "chats.parquet", wanted[:2]),
    ):
        store = fw.prepare(corpus, tmp_path / name, **options)
        assert [document for document, _ in documents(store)] == ids
    store = fw.prepare(records, tmp_path / "d", **{**options, "field": None})
    assert [document for document, _ in documents(store)] == [wanted[1]] * 5, "tools that nobody has named"
    for bad in ("x", 5, {"a": 1}, ["x"]):
        with pytest.raises(FormatError, match="tools are a list"):
            fw.prepare([{"messages": ASKED, "tools": bad}], tmp_path / "e", **options)
    with pytest.raises(FormatError, match="special token"):
        fw.prepare([{"messages": ASKED, "tools": [{"name": "<|im_end|>"}]}], tmp_path / "e", **options)
    for field in ("messages,", "messages,tools,more", ","):
        with pytest.raises(ArgumentError, match="messages stand in one field"):
            fw.prepare(records, tmp_path / "e", **{**options, "field": field})


READS_TEXT = "{% for m in messages %}{% generation %}{{ m.content | trim }}|{% endgeneration %}{% endfor %}"
READS_STRINGS = READS_TEXT.replace("m.content | trim", "m.content if m.content is string else ''")
READS_PARTS = (
    "{% for m in messages %}{% generation %}{% for part in m.content %}{{ part.text if part.type == 'text' else '@' }}"
    "{% endfor %}|{% endgeneration %}{% endfor %}"
)


def test_what_a_template_would_lose_is_refused(tmp_path: Path, folder: Path) -> None:
    def prepared(template: str, messages: list[dict]) -> str:
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        store = fw.prepare(
            [{"messages": messages}], tmp_path / "s", records="messages", tokenizer=folder, chat_template=template
        )
        return store.tokenizer.decode(store[:])

    with pytest.raises(FormatError, match="leaves out what the assistant calls"):
        prepared(READS_STRINGS, ASKED)
    assert prepared(READS_STRINGS, [{**ASKED[3], "tool_calls": None}, {**ASKED[3], "tool_calls": []}]) == "No.|No.|"
    parts = [{"role": "assistant", "content": [{"type": "text", "text": " Look. "}, {"type": "image"}]}]
    assert prepared(READS_PARTS, parts) == " Look. @|"
    for template in (READS_TEXT, READS_STRINGS):
        with pytest.raises(FormatError, match="it is a list of parts"):
            prepared(template, parts)
    assert prepared(READS_STRINGS, [{"role": "user", "content": []}, ASKED[3]]) == "|No.|"


def test_the_fix_of_a_template_that_rewrites_turns(tmp_path: Path, folder: Path) -> None:
    last = "{% for m in messages %}{{ m.content if loop.last else '-' }}|{% endfor %}"
    messages = [ASKED[0], ASKED[3], ASKED[0], ASKED[3]]
    with pytest.raises(FormatError, match=r"with \{% generation %\} blocks"):
        fw.prepare([{"messages": messages}], tmp_path / "s", records="messages", tokenizer=folder, chat_template=last)
