"""What tests of the jobs share: a store with the scenes of digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite import fetch
from suite.catalog import Catalog
from suite.store import Store


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("scenes") / "store")
    fetch.digit_scenes(store.data / "digit-scenes")
    return store


@pytest.fixture
def catalog(scenes: Store, tmp_path: Path) -> Catalog:
    """The catalog over a fresh store that has the scenes."""
    store = Store(tmp_path / "store")
    store.data.mkdir(parents=True)
    (store.data / "digit-scenes").symlink_to(scenes.data / "digit-scenes")
    return Catalog(store)
