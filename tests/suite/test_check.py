"""What `verify` says of a data set that was packed."""

import shutil
from pathlib import Path

import pytest
from conftest import Launch
from folders import write


@pytest.mark.parametrize("layout", ["dtd", "imagefolder"])
def test_a_packed_folder_is_looked_at_where_it_was_named(layout: str, launch: Launch, tmp_path: Path) -> None:
    root, lists = tmp_path / "mine", {"train": "a", "val": "b", "test": "c"}
    if layout == "dtd":
        write(root, {f"labels/{split}1.txt": f"dotted/{name}.jpg\n" for split, name in lists.items()})
        write(root, {f"images/dotted/{name}.jpg": name for name in lists.values()})
    else:
        write(root, {f"{split}/dotted/{name}.jpg": name for split, name in lists.items()})
    assert launch("pack", f"{layout}:{root}").returncode == 0
    shutil.rmtree(root)
    ran = launch("verify", f"{layout}:{root}")
    assert f"packed in {root}.packed" in ran.stdout
    assert "no folder" not in ran.stdout + ran.stderr
