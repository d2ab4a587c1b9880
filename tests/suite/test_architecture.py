"""The table of architectures against the libraries themselves."""

import csv
import subprocess
import sys
import time

import pytest

from suite import architecture
from suite.architecture import Architecture, find, names

# No single vector for a square image: encoders of language models, and Sapiens 2 (1024 x 768).
LEFT_OUT = {
    "timm:deepseek_vit_412m_enc",
    "timm:gemma4_vit_167m_enc",
    "timm:gemma4_vit_570m_enc",
    "timm:mobilenetv5_300m_enc",
    "timm:qwen3_vit_88m_enc",
    "timm:qwen3_vit_306m_enc",
    "timm:qwen3_vit_416m_enc",
    "timm:vit_5b_patch16_sapiens2",
    "timm:vit_base_patch16_sapiens2",
    "timm:vit_giant_patch16_sapiens2",
    "timm:vit_huge_patch16_sapiens2",
    "timm:vit_large_patch16_sapiens2",
}
TABLED_WITH = {"timm": "1.0.31", "torchvision": "0.26.0"}
ALL = (4, 8, 16, 32)


def test_find() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert find("resnet50") == Architecture("resnet50", 2048, 224, 224, "bicubic", mean, std, "", ALL, True)
    half = (0.5, 0.5, 0.5)
    assert find("inception_v3") == Architecture("inception_v3", 2048, 299, 299, "bicubic", half, half, "", ALL, False)
    assert find("timm:resnet50") == Architecture(
        "timm:resnet50", 2048, 224, 235, "bicubic", mean, std, "timm/resnet50.a1_in1k", ALL, True
    )


DIMENSIONS = {
    "vgg19_bn": 4096,
    "alexnet": 4096,
    "squeezenet1_0": 512,
    "googlenet": 1024,
    "densenet161": 2208,
    "swin_t": 768,
    "convnext_base": 1024,
    "vit_b_16": 768,
    "maxvit_t": 512,
    "mobilenet_v3_large": 1280,
    "timm:vit_small_patch16_224": 384,
    "timm:deit_base_distilled_patch16_384": 768,
    "timm:vgg16": 4096,
}


@pytest.mark.parametrize(("name", "dimension"), DIMENSIONS.items())
def test_known_dimensions(name: str, dimension: int) -> None:
    assert find(name).dimension == dimension


STRIDES = {
    "vgg16": ALL,
    "swin_t": ALL,
    "squeezenet1_0": (4, 8, 16),
    "vit_b_32": (32,),
    "maxvit_t": (),
    "timm:vit_small_patch14_dinov2": (14,),
    "timm:vit_small_patch16_224": (16,),
    "timm:convnext_tiny": ALL,
    "timm:mixer_b16_224": (),
    "pixels": (),
    "no such": (),
}


@pytest.mark.parametrize(("name", "strides"), STRIDES.items())
def test_known_strides(name: str, strides: tuple[int, ...]) -> None:
    assert architecture.strides(name) == strides


def test_known_layers() -> None:
    assert all(map(architecture.layered, ("resnet18", "timm:resnet10t", "densenet121", "mobilenet_v2", "vgg16")))
    assert not any(map(architecture.layered, ("vit_b_16", "convnext_tiny", "swin_t", "pixels", "no such")))


def test_unknown_names_get_near_ones_of_both_libraries() -> None:
    with pytest.raises(LookupError, match=r"^unknown architecture 'resnt50': near names .*\bresnet50\b") as caught:
        find("resnt50")
    assert "timm:resnet50" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(LookupError, match=r"near names .*timm:vit_small_patch16_224"):
        find("vit_small_patch16_224")
    with pytest.raises(LookupError, match=r"near names .*\bvit_b_16\b"):
        find("timm:vit_b_16")
    with pytest.raises(LookupError, match=r"no name is near; names are torchvision's"):
        find("§§§§")


def test_every_row_can_be_read_and_makes_sense() -> None:
    with architecture.TABLE.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == architecture.COLUMNS
    assert [row[0] for row in rows] == names()  # no name twice
    for row in map(find, names()):
        assert 0 < row.dimension < 30_000
        assert row.size > 0
        # Three of VOLO have a crop larger than the resized image: timm adds a border.
        assert row.size <= row.resize or row.name.startswith("timm:volo_")
        assert row.interpolation in ("bicubic", "bilinear")
        assert len(row.mean) == len(row.std) == 3
        assert min(row.std) > 0
        assert list(row.strides) == sorted({s for s in row.strides if 4 <= s <= 32})
        assert bool(row.weights) <= row.name.startswith("timm:")


def test_reading_the_table_is_quick() -> None:
    architecture._rows.cache_clear()
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        architecture._rows.cache_clear()
        find("timm:resnet50")
        best = min(best, time.perf_counter() - start)
    assert best < 0.020


def test_no_library_is_loaded() -> None:
    program = (
        "import sys, suite.architecture as a, suite.checkpoint, suite.layouts.cifar; a.find('resnet18'); "
        "print(sorted({'torch', 'timm', 'numpy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def libraries() -> None:
    """Skip where the libraries are not those that the table was made with."""
    for library, version in TABLED_WITH.items():
        module = pytest.importorskip(library)
        if module.__version__.partition("+")[0] != version:
            pytest.skip(f"{library} is {module.__version__}; the table was made with {version}")


def test_names_are_those_of_the_libraries() -> None:
    libraries()
    import timm
    import torchvision

    from jobs.lib import networks

    known = torchvision.models.list_models(module=torchvision.models) + [f"timm:{name}" for name in timm.list_models()]
    known += networks.names()
    assert set(known) - set(names()) == LEFT_OUT
    assert set(names()) <= set(known)


BUILT = ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_y_400mf", "densenet121"]
BUILT += ["swin_t", "convnext_tiny", "timm:vit_tiny_patch16_224", "timm:mobilenetv3_small_050", "timm:resnet10t"]
BUILT += ["timm:deit_tiny_distilled_patch16_224", "timm:test_resnet", "timm:levit_128s", "googlenet"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BUILT)
def test_a_built_model_gives_what_the_table_says(name: str) -> None:
    libraries()
    import timm
    import torch
    import torchvision

    from jobs.lib import architectures

    torch.set_num_threads(1)  # more would wait for each other on a busy machine
    row = find(name)
    if name.startswith("timm:"):
        model = timm.create_model(name.removeprefix("timm:"), num_classes=0)
        assert architectures.timm_architecture(name.removeprefix("timm:")) == row
    else:
        model = architectures.headless(torchvision.models.get_model(name))
        assert architectures.torchvision_architecture(name) == row
    side = row.size if name.startswith("timm:") else 64
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, 3, side, side)).shape == (1, row.dimension)
