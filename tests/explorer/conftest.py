"""A real server on a free port, with the default vectors and two small stores."""

import importlib.util

import pytest

import foreword as fw

PACKAGES = ("fastapi", "uvicorn", "httptools")
collect_ignore_glob = [] if all(map(importlib.util.find_spec, PACKAGES)) else ["test_*.py"]


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """A folder with two stores, and one outside it that a link inside leads to."""
    folder = tmp_path_factory.mktemp("allowed")
    outside = tmp_path_factory.mktemp("outside")
    from explorer.client import DOCUMENTS

    fw.prepare(DOCUMENTS, folder / "corpus" / "train")
    fw.prepare(["One document."], folder / "corpus" / "val")
    fw.prepare(["Not to be read."], outside / "secret")
    (folder / "link").symlink_to(outside / "secret", target_is_directory=True)
    return folder


@pytest.fixture(scope="session")
def client(stores):
    from explorer.client import serving
    from foreword.explorer import Limits, Settings

    limits = Limits(atlas_words=2_000)  # all 400,000 would take a minute
    with serving(Settings(stores=(stores / "corpus",), limits=limits)) as client:
        yield client
