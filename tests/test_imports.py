"""Who may import whom (DESIGN), read from the source; and what the launcher loads, seen in a process of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"suite", "jobs", "slurm", "launch"}
ARROWS = {"suite": {"suite"}, "jobs": {"jobs", "suite"}, "slurm": {"slurm", "suite"}, "launch": {"slurm", "suite"}}
PACKAGES = {"suite": set(), "slurm": {"submitit"}, "launch": {"click", "rich"}}
EXCEPT = {"suite/table.py": {"pandas"}, "suite/show.py": {"rich"}, "suite/live.py": {"rich"}}
LOGIN_NODE = ("click", "rich", "submitit", "cloudpickle", "pygments", "markdown_it", "mdurl", "typing_extensions.py")
HEAVY = {"torch", "torchvision", "timm", "numpy", "pandas", "PIL", "sklearn", "submitit"}


def imports(path: Path) -> Iterator[str]:
    """Top-level package of every import in a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]


def sources() -> list[Path]:
    return [
        ROOT / "launch.py",
        *sorted(p for house in ("suite", "jobs", "slurm") for p in (ROOT / house).rglob("*.py")),
    ]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_one_way(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    house = name.split("/")[0].removesuffix(".py")
    found = set(imports(path))
    assert found & OURS <= ARROWS[house], f"{name} imports {found & OURS}"
    outside = found - OURS - set(sys.stdlib_module_names)
    if house in PACKAGES:
        assert outside <= PACKAGES[house] | EXCEPT.get(name, set()), f"{name} imports {outside}"


def test_the_catalog_names_no_entry() -> None:
    for path in (ROOT / "suite").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[:2] not in [
                    ["suite", k] for k in ("models", "datasets", "tasks", "grids")
                ]


@pytest.mark.parametrize("words", [["--help"], ["grid", "--help"], ["list", "models"], ["status"]], ids=" ".join)
def test_the_launcher_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    program = (
        "import sys, runpy; sys.argv = ['launch.py', '--store', sys.argv[1], *sys.argv[2:]]\n"
        "try: runpy.run_path('launch.py', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('LOADED', *sorted(m for m in sys.modules if '.' not in m))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), *words], capture_output=True, text=True, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split("LOADED")[1].split())
    assert "click" in loaded
    assert not loaded & HEAVY


def test_a_grid_is_planned_without_the_jobs_packages(tmp_path: Path) -> None:
    packages, login = Path(click.__file__).parent.parent, tmp_path / "login"
    login.mkdir()
    for name in LOGIN_NODE:
        (login / name).symlink_to(packages / name)
    (tmp_path / "store/data/digits").mkdir(parents=True)
    for split in ("train", "test"):
        for digit in "01":
            (tmp_path / f"store/data/digits/{split}/{digit}").mkdir(parents=True)
            (tmp_path / f"store/data/digits/{split}/{digit}/0.png").touch()
    python = [sys._base_executable, "-S"]  # type: ignore[attr-defined]  # no site-packages but those above
    command = [*python, str(ROOT / "launch.py"), "--store", str(tmp_path / "store"), "grid"]
    words = ["--tasks", "linear,knn", "--models", "random_resnet18", "--datasets", "digits"]
    env = {"PYTHONPATH": str(login)}
    planned = subprocess.run([*command, *words, "--dry-run"], capture_output=True, text=True, env=env)
    assert planned.returncode == 0, planned.stderr
    assert "2 cells: 2 absent" in planned.stdout
    refused = subprocess.run([*command, *words], capture_output=True, text=True, env=env)
    assert refused.returncode == 2
    assert "the jobs need torch" in refused.stderr
