"""The map of all words: places at once, better ones later, names of clusters; and words along an axis."""

import base64

import numpy as np
import pytest

import foreword as fw
from explorer.client import VECTORS, serving
from foreword.errors import FileError
from foreword.explorer import Limits, Settings, atlas
from foreword.explorer.library import Words


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path))
    table = fw.KeyedVectors(4)
    rng = np.random.default_rng(0)
    centres = np.eye(4)[np.arange(200) % 4]
    table.add_vectors([f"w{i}" for i in range(200)], centres + 0.1 * rng.normal(size=(200, 4)))
    return Words("small", table)


def test_places_come_at_once_and_better_ones_later(words, monkeypatch):
    import threading

    go, lay_out = threading.Event(), atlas.lay_out
    monkeypatch.setattr(atlas, "lay_out", lambda *args, **rest: (go.wait(20), lay_out(*args, **rest))[1])
    found = words.atlas(150)
    assert words.atlas(150) is found
    assert len(found) == 150
    assert found.places.layout == found.state.layout == "components"
    assert found.state.doing
    go.set()
    found.wait()
    assert found.places.layout == found.state.layout == "neighbours"
    assert found.state.kept > 0.4
    assert found.state.doing == found.state.problem == ""
    assert found.places.x.max() == 65535 or found.places.y.max() == 65535
    # Words of a cluster have their places together, and the name of one of them.
    place = np.stack([found.places.x, found.places.y], axis=1).astype(float)
    for region in (one for one in found.regions if one.level == 0):
        of = found.cluster == region.cluster
        assert np.linalg.norm(np.median(place[of], axis=0) - (region.x, region.y)) < 2000
        assert all(found.cluster[words.kv.get_index(name)] == region.cluster for name in region.name.split(" · "))


def test_a_layout_that_fails_leaves_the_first_and_says_why(words, monkeypatch):
    def fail(*args, **rest):
        raise FileError("can't make the cache folder: no space")

    monkeypatch.setattr(atlas, "lay_out", fail)
    found = words.atlas(150)
    found.wait()
    assert found.state.layout == "components"
    assert "no space" in found.state.problem


@pytest.mark.parametrize("failing", ["lay_out", "_kept"])
def test_an_error_that_nobody_expected_ends_the_work_and_says_so(words, monkeypatch, caplog, failing):
    def fail(*args, **rest):
        raise MemoryError("no room")

    monkeypatch.setattr(atlas if failing == "lay_out" else atlas.Atlas, failing, fail)
    found = words.atlas(150)
    found.wait()
    assert found.state.doing == ""
    assert "unexpected error" in found.state.problem
    assert "no room" in caplog.text
    assert found.state.layout == found.places.layout == {"lay_out": "components", "_kept": "neighbours"}[failing]


def test_the_layout_is_seen_before_its_neighbours_are_counted(words, monkeypatch):
    seen = []

    def kept(self, rows, places, sample):
        seen.append((self.places.layout, self.state.layout, self.state.doing))
        return 0.5

    monkeypatch.setattr(atlas.Atlas, "_kept", kept)
    found = words.atlas(150)
    found.wait()
    assert seen == [("neighbours", "neighbours", "counting the neighbours that it keeps")] * 2
    assert (found.state.kept, found.state.doing) == (0.5, "")


def test_closing_ends_the_work(words, tmp_path):
    found = words.atlas(150)
    found.close()
    assert not found._thread.is_alive()


def test_a_word_is_found_in_any_case(words):
    table = fw.KeyedVectors(2)
    table.add_vectors(["new", "New", "news", "newer", "few", "straße", "a", "i"], np.eye(8, 2) + 1)
    words = Words("cases", table)
    assert words.find("New") == ("New", [])
    assert words.find("NEW") == ("new", [])
    assert words.find(" new ") == ("new", [])
    assert words.find("STRASSE") == ("straße", [])
    assert words.find("Newe") == (None, ["newer"])
    assert words.find("词") == (None, [])
    assert words.find("") == (None, [])
    assert words.complete("New", 10) == ["New", "new", "news", "newer"]
    assert words.complete("n", 2) == ["new", "New"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(Settings(limits=Limits(atlas_words=1_500))) as client,
    ):
        patch.setenv("FOREWORD_HOME", str(tmp_path_factory.mktemp("home")))
        yield client


def test_the_map_of_all_words_comes_in_parts(small):
    wv = fw.load(VECTORS)
    told = small.get(f"vectors/{VECTORS}/atlas").json
    assert told["words"] == 1_500
    assert told["layout"] in ("components", "neighbours")
    assert all(region["name"] for region in told["regions"])
    parts = [
        small.get(f"vectors/{VECTORS}/atlas/words", query={"start": start, "count": 1_000}).json
        for start in (0, 1_000, 2_000)
    ]
    assert [key for part in parts for key in part["keys"]] == wv.index_to_key[:1_500]
    for part, size in zip(parts, (1_000, 500, 0), strict=True):
        for name, dtype in (("x", "<u2"), ("y", "<u2"), ("cluster", "u1")):
            assert len(np.frombuffer(base64.b64decode(part[name]), dtype)) == size
    again = small.get(f"vectors/{VECTORS}/atlas/words", query={"keys": False, "count": 3}).json
    assert again["keys"] is None
    assert len(base64.b64decode(again["x"])) == 6


def test_words_lie_along_an_axis(small):
    wv = fw.load(VECTORS)
    answer = small.post(
        f"vectors/{VECTORS}/axis", {"low": "he", "high": "she", "keys": ["he", "she", "nurse", "nosuchword", "nurse"]}
    ).json
    assert answer["keys"] == ["he", "she", "nurse"]
    assert answer["missing"] == ["nosuchword"]
    low, high, nurse = (wv.get_vector(word, norm=True).astype(float) for word in ("he", "she", "nurse"))
    expected = 2 * (nurse - (low + high) / 2) @ (high - low) / ((high - low) @ (high - low))
    assert answer["values"] == pytest.approx([-1, 1, expected], abs=1e-5)


@pytest.mark.parametrize(
    ("low", "high", "keys", "status", "title"),
    [
        ("he", "he", ["nurse"], 422, "a direction leads from one word to another"),
        ("he", "nosuchword", ["nurse"], 404, "'nosuchword' is not among"),
        ("he", "she", ["nosuchword"], 422, "none of the words"),
    ],
)
def test_an_axis_that_is_none(small, low, high, keys, status, title):
    answer = small.post(f"vectors/{VECTORS}/axis", {"low": low, "high": high, "keys": keys})
    assert answer.status == status
    assert title in answer.json["title"]


def test_find_over_http(small):
    assert small.get(f"vectors/{VECTORS}/find", query={"word": "King"}).json == {"key": "king", "suggestions": []}
    assert small.get(f"vectors/{VECTORS}/find", query={"word": "词"}).json == {"key": None, "suggestions": []}
    told = small.get(f"vectors/{VECTORS}/find", query={"word": "kingg"}).json
    assert told["key"] is None
    assert told["suggestions"][0] == "king"
