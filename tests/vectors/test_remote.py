"""Vectors from elsewhere: names of the catalogue, URLs, Hugging Face repositories; gensim's downloader's calls."""

import dataclasses
import gzip
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import foreword as fw
import foreword.downloader as api
from faulty_server import cut, fail, git_id, running
from foreword.errors import ArgumentError, DownloadError, FormatError, MissingFileError, UnknownNameError
from foreword.vectors.formats import source
from foreword.vectors.sources import catalogue, remote

TEXT = b"3 2\none 1 0\ntwo 0 1\nthree 1 1\n"
NAME = "glove-twitter-25"
PLACE = f"/github.com/RaRe-Technologies/gensim-data/releases/download/{NAME}/{NAME}.gz"


@pytest.fixture
def server():
    with running() as made:
        yield made


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache and a gensim-data folder of this test; no way out to the network."""
    for name in ("FOREWORD_MIRROR", "FOREWORD_OFFLINE", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GENSIM_DATA_DIR", str(tmp_path / "gensim-data"))
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def entry(server, monkeypatch):
    """An entry of the catalogue with a small file, which a mirror serves."""
    data = gzip.compress(TEXT)
    server.files[PLACE] = data
    made = dataclasses.replace(
        catalogue.CATALOGUE[NAME], bytes=len(data), checksum=f"md5:{hashlib.md5(data).hexdigest()}"
    )
    monkeypatch.setitem(catalogue.CATALOGUE, NAME, made)
    monkeypatch.setenv("FOREWORD_MIRROR", server.url)
    return made


def zipped(**files):
    """A zip archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


# The catalogue.


def test_a_name_is_fetched_once(server, entry):
    for _ in range(2):
        assert fw.load(NAME).index_to_key == ["one", "two", "three"]
    assert [path for path, _ in server.asked] == [PLACE]


def test_the_catalogue_is_gensims_table():
    file = Path(__file__).resolve().parents[3] / "shared" / "data" / "gensim-data-vectors.tsv"
    if not file.exists():
        pytest.skip("the shared data is not beside the checkout")
    table = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    for name, words, dim, size, md5, file, rights in table:
        entry = catalogue.CATALOGUE[name]
        assert (entry.words, entry.dim, entry.bytes) == (int(words), int(dim), int(size))
        assert (entry.checksum, entry.file, entry.license) == (f"md5:{md5}", file, rights)
        assert entry.source == f"https://github.com/RaRe-Technologies/gensim-data/releases/download/{name}/{name}.gz"
    assert len(catalogue.CATALOGUE) == len(table) + 2


def test_gensims_calls_work_unchanged(server, entry, home):
    path = api.load(NAME, return_path=True)
    assert isinstance(path, str)
    assert gzip.decompress(Path(path).read_bytes()) == TEXT
    assert api.load(NAME)["three"].tolist() == [1, 1]
    assert isinstance(api.load(NAME), fw.KeyedVectors)
    assert api.info(NAME)["license"] == "http://opendatacommons.org/licenses/pddl/"
    assert api.info()["models"][NAME] == api.info(NAME)
    assert api.info(None, True, True) == {"corpora": [], "models": sorted(catalogue.CATALOGUE)}
    for call in (api.load, api.info):
        with pytest.raises(ValueError, match="glove-twitter-25"):  # as of gensim
            call("glove-twiter-25")
    gensim = pytest.importorskip("gensim.downloader", reason="gensim is not installed")
    theirs = {
        "num_records", "file_size", "license", "parameters", "description", "checksum", "file_name", "parts"
    }  # fmt: skip
    assert theirs <= set(api.info(NAME))
    assert set(api.__all__) <= set(dir(gensim))


def test_a_folder_of_gensims_downloader_is_used(server, entry, tmp_path):
    folder = tmp_path / "gensim-data" / NAME
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('code that was downloaded is never run')")
    (folder / f"{NAME}.gz").write_bytes(server.files[PLACE])
    assert api.load(NAME, return_path=True) == str(folder / f"{NAME}.gz")
    assert len(fw.load(NAME)) == 3
    assert server.asked == []
    (folder / f"{NAME}.gz").write_bytes(server.files[PLACE][:-5])  # a broken one is not
    assert api.load(NAME, return_path=True) != str(folder / f"{NAME}.gz")


def test_another_file_under_the_name_is_refused(server, entry, home):
    server.files[PLACE] = gzip.compress(TEXT.replace(b"one", b"1ne"), mtime=7)[: entry.bytes].ljust(entry.bytes)
    with pytest.raises(DownloadError, match=entry.checksum.removeprefix("md5:")):
        fw.load(NAME)
    assert catalogue.on_disk(entry) is None


def test_offline_the_catalogue_says_so(entry, monkeypatch, server):
    monkeypatch.setenv("FOREWORD_OFFLINE", "1")
    with pytest.raises(DownloadError, match="FOREWORD_OFFLINE"):
        fw.load(NAME)
    assert len(fw.load("glove-wiki-gigaword-50")) == 400_000
    assert server.asked == []


def test_eight_processes_fetch_and_convert_once(server, entry):
    code = f"""if True:
        import dataclasses, sys
        import foreword as fw
        from foreword.vectors.sources import catalogue
        catalogue.CATALOGUE[{NAME!r}] = dataclasses.replace(
            catalogue.CATALOGUE[{NAME!r}], bytes={entry.bytes}, checksum={entry.checksum!r})
        print(len(fw.load({NAME!r})))
    """
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    assert [child.communicate(timeout=60)[0] for child in children] == ["3\n"] * 8
    assert len(server.asked) == 1


# URLs.


def test_a_url_is_loaded_and_kept(server):
    server.files["/v.txt"] = TEXT
    server.faults["/v.txt"] = [cut(10)]
    assert fw.load(f"{server.url}/v.txt", limit=2).index_to_key == ["one", "two"]
    assert fw.load(f"{server.url}/v.txt").index_to_key == ["one", "two", "three"]
    assert [asked for _, asked in server.asked] == [None, "bytes=10-"]


def test_a_file_url_is_read_in_place(tmp_path, home):
    (tmp_path / "wörter.txt").write_bytes(TEXT)
    assert len(fw.load((tmp_path / "wörter.txt").as_uri())) == 3
    assert not (home / "downloads").exists()


def test_a_member_and_a_checksum_in_the_url(server):
    server.files["/a.zip"] = zipped(**{"x.txt": TEXT, "sub/y.txt": TEXT.replace(b"one", b"uno")})
    assert fw.load(f"{server.url}/a.zip#sub/y.txt").index_to_key[0] == "uno"
    good, bad = hashlib.sha256(server.files["/a.zip"]).hexdigest(), "0" * 64
    assert fw.load(f"{server.url}/a.zip#x.txt&sha256={good}").index_to_key[0] == "one"
    with pytest.raises(DownloadError, match="not the one it should be"):
        fw.load(f"{server.url}/a.zip#x.txt&sha256={bad}")
    with pytest.raises(FormatError, match="several files"):
        fw.load(f"{server.url}/a.zip")


def test_what_is_no_url_of_ours(server):
    with pytest.raises(ArgumentError, match="s3://bucket/key"):
        fw.load("s3://bucket/key")
    with pytest.raises(DownloadError, match="no such file"):
        fw.load(f"{server.url}/missing.txt")


def test_names_of_an_archive_never_lead_out_of_it(server, tmp_path):
    server.files["/a.zip"] = zipped(**{"../../../evil.txt": TEXT})
    assert len(fw.load(f"{server.url}/a.zip")) == 3
    assert len(fw.load(f"{server.url}/a.zip#../../../evil.txt")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped(**{"v.txt": data})], ids=["gzip", "zip"])
def test_a_bomb_is_refused_by_its_size(server, home, pack, monkeypatch):
    monkeypatch.setattr(source, "BOMB", 1 << 20)
    rows = b"".join(b"w%d%s\n" % (i, b" 0" * 1000) for i in range(1000))  # 2 MB that pack to a few kB
    server.files["/bomb"] = pack(rows)
    with pytest.raises(FormatError, match="unpacks to far more"):
        fw.load(f"{server.url}/bomb")
    assert not list((home / "vectors").rglob("vectors.npy"))
    monkeypatch.setattr(source, "BOMB", 1 << 28)
    assert len(fw.load(f"{server.url}/bomb")) == 1000


# Hugging Face.


class Hub:
    """A hub with one repository of these files, as the real one answers."""

    def __init__(self, server, monkeypatch):
        self.server = server
        monkeypatch.setenv("HF_ENDPOINT", server.url)

    def hold(self, files, *, repository="owner/repo", revision="main", large=True):
        listing = [{"type": "directory", "oid": "0", "size": 0, "path": "sub"}]
        for path, data in files.items():
            told = {"type": "file", "oid": git_id(data), "size": len(data), "path": path}
            if large:
                told["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            listing.append(told)
            self.server.files[f"/{repository}/resolve/{revision}/{path}"] = data
        self.server.files[f"/api/models/{repository}/tree/{revision}"] = json.dumps(listing).encode()


@pytest.fixture
def hub(server, monkeypatch):
    return Hub(server, monkeypatch)


def test_a_repository_with_one_file_of_vectors(hub):
    hub.hold({"README.md": b"# x", "vocab.txt": b"x", "model.txt": TEXT, "tokenizer.json": b"{}"})
    for _ in range(2):
        assert len(fw.load("hf://owner/repo")) == 3
    assert [path.partition("?")[0] for path, _ in hub.server.asked] == [
        "/api/models/owner/repo/tree/main",
        "/owner/repo/resolve/main/model.txt",
    ]


def test_a_file_of_a_repository_at_a_revision(hub):
    hub.hold({"a.txt": TEXT, "sub/b.zip": zipped(x=TEXT, y=TEXT)}, revision="v1.0", large=False)
    assert len(fw.load("hf://owner/repo@v1.0/a.txt")) == 3
    assert len(fw.load("hf://owner/repo@v1.0/sub/b.zip#y")) == 3
    with pytest.raises(FormatError, match=r"a\.txt, sub/b\.zip"):
        fw.load("hf://owner/repo@v1.0")
    with pytest.raises(FormatError, match="no such file"):
        fw.load("hf://owner/repo@v1.0/c.txt")


def test_arrays_come_with_what_belongs_to_them(hub, tmp_path):
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "rows.npy", rows)
    array = (tmp_path / "rows.npy").read_bytes()
    hub.hold({"emb.npy": array, "vocab.txt": b"one\ntwo\nthree\n", "other.md": b""})
    wv = fw.load("hf://owner/repo")
    assert wv.index_to_key == ["one", "two", "three"]
    assert np.array_equal(wv.vectors, rows)


@pytest.mark.parametrize("layout", ["model2vec", "sentence-transformers", "nested"])
def test_a_static_model_comes_with_its_files(hub, tmp_path, layout):
    pytest.importorskip("tokenizers", reason="tokenizers isn't installed")
    from vectors.static_models import rows_of, save_model2vec, sentence_transformers_folder, wordpiece

    tok, rows = wordpiece(), rows_of(wordpiece())
    if layout == "model2vec":
        save_model2vec(tmp_path / "m", tok, rows, normalize=True)
    else:
        sentence_transformers_folder(tmp_path / "m", tok, rows, normalize=True, nested=layout == "nested")
    names = [path for path in (tmp_path / "m").rglob("*") if path.is_file() and path.parent.name != "1_Normalize"]
    hub.hold(
        {path.relative_to(tmp_path / "m").as_posix(): path.read_bytes() for path in names} | {"pytorch_model.bin": b"x"}
    )
    wv = fw.load("hf://owner/repo")
    assert np.array_equal(wv.encode(["the king"]), fw.load(tmp_path / "m").encode(["the king"]))
    assert np.linalg.norm(wv.encode("the king")) == pytest.approx(1)
    assert fw.load("hf://owner/repo").index_to_key == wv.index_to_key


def test_gensims_files_come_with_their_arrays(hub, tmp_path):
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    theirs = models.KeyedVectors(2)
    theirs.add_vectors(["one", "two", "three"], np.arange(6, dtype=np.float32).reshape(3, 2))
    theirs.save(str(tmp_path / "wv.model"), sep_limit=0, separately=["vectors"])
    files = {path.name: path.read_bytes() for path in tmp_path.glob("wv.model*")}
    assert set(files) == {"wv.model", "wv.model.vectors.npy"}
    hub.hold(files)
    assert np.array_equal(fw.load("hf://owner/repo").vectors, theirs.vectors)


def test_a_file_that_is_not_what_the_hub_says(hub):
    hub.hold({"a.txt": TEXT})
    hub.server.files["/owner/repo/resolve/main/a.txt"] = TEXT.replace(b"one", b"1ne")
    with pytest.raises(DownloadError, match="not the one it should be"):
        fw.load("hf://owner/repo")
    hub.hold({"a.txt": TEXT})  # the repository is asked again
    assert len(fw.load("hf://owner/repo")) == 3


def test_no_such_repository(hub):
    hub.server.faults["/api/models/owner/nothing/tree/main"] = [fail(401)]
    for _ in range(2):
        with pytest.raises(UnknownNameError, match="owner/nothing at main"):
            fw.load("hf://owner/nothing")
    for wrong in ("hf://owner", "hf://a/b/../../c", "hf:///a", "hf://a b/c"):
        with pytest.raises(ArgumentError, match="OWNER/REPO"):
            fw.load(wrong)


@pytest.mark.parametrize(
    "answer", [b"{", b"[]", b'{"error": "x"}', b'[{"type": "file"}]', b'[{"type": "file", "path": "../../x.txt"}]']
)
def test_a_hub_that_talks_nonsense(hub, answer, home):
    hub.server.files["/api/models/owner/repo/tree/main"] = answer
    with pytest.raises((DownloadError, FormatError)):
        fw.load("hf://owner/repo")
    assert not list(home.parent.rglob("x.txt"))


@pytest.mark.parametrize("path", ["../x.txt", "a/../../x.txt", "/x.txt", "..\\x.txt", "C:x.txt", "C:/x.txt", "x\0.txt"])
def test_a_hubs_files_stay_in_their_folder(hub, path):
    """On Windows too, where a drive leads out of it."""
    answer = json.dumps([{"type": "file", "path": path, "size": 1}]).encode()
    hub.server.files["/api/models/owner/repo/tree/main"] = answer
    with pytest.raises(DownloadError, match="not a list of files"):
        fw.load("hf://owner/repo")


def test_a_missing_path_says_what_else_there_is(tmp_path):
    with pytest.raises(MissingFileError, match="hf://OWNER/REPO"):
        fw.load("owner/repo")


def test_an_unsafe_name_in_a_url_is_made_safe():
    assert remote._file_name("https://example.org/%2e%2e%2f%2e%2e%2fetc") == "etc"
    assert remote._file_name("https://example.org/.hidden") == "file"
    assert remote._file_name("https://example.org/") == "file"
