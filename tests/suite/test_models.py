"""The models' entries: facts that hold for each of them, and those that are known of some."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

import suite.models
from suite import architecture, download, entry, model
from suite.catalog import entries
from suite.model import Input, Model, Origin

MODELS = entries("suite.models", Model)
PUBLISHED = {name: one for name, one in MODELS.items() if one.weights}
FAMILIES = {"cog": 31, "ssl-transfer": 14, "trex": 4, "imagenet21k-p": 7, "openmixup": 29}

# Where the name has not torchvision's or timm's word for the network: CoG's words, and ResNet-50s that pad otherwise.
SPELLED = {
    "8x8": ("pixels",),
    "small": ("timm:deit_small_patch16_224",),
    "small_distilled": ("deit_small_distilled",),
    "base_distilled_384": ("deit_base_distilled_384",),
    "b1": ("timm:efficientnet_b1",),
    "b4": ("timm:efficientnet_b4",),
    "m4": ("nat_m4",),
    "t14": ("t2t_vit_t_14",),
    "resnet50": ("resnet50", "resnet50_same", "resnet50_same_pool", "clip_resnet50"),
}

ZERO_TO_ONE = Input(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
INPUTS = {  # of all others: bicubic to 224, ImageNet's mean and std
    "clip_resnet50": Input(mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)),
    "deit_base_distilled_384": Input(384, 384),
    "efficientnet_b1": Input(240, 240, channels="BGR"),
    "efficientnet_b4": Input(380, 380, channels="BGR"),
    "nat_m4": Input(240, 240),
    "mmselfsup-deepcluster_resnet50": Input(channels="sobel"),
    "simclr-v1_resnet50": ZERO_TO_ONE,
    "simclr-v1-paper_resnet50": ZERO_TO_ONE,
    "simclr-v2_resnet50": ZERO_TO_ONE,
    "simclr-v2-ssl-transfer-paper_resnet50": ZERO_TO_ONE,
    "supervised_inception_v3": Input(299, 299, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "supervised-paper_inception_v3": Input(299, 299),
    **{
        name: replace(ZERO_TO_ONE, resize=256, interpolation="bilinear")
        for name in MODELS
        if name.startswith("imagenet21k-p_")
    },
}
# Nothing is published, or only for what was fine-tuned of them; or it is known by hearsay alone.
UNTOLD = {
    *("barlow_resnet50", "clip_resnet50", "mochi_resnet50", "mopro_resnet50"),
    *("mmselfsup-mae-1600_vit_huge_patch14_224", *(name for name in MODELS if name.startswith("imagenet21k-p_"))),
}


@pytest.mark.parametrize("name", MODELS)
def test_an_entry_is_named_for_what_it_is(name: str) -> None:
    one = MODELS[name]
    title, _, spelled = name.partition("_")
    assert re.fullmatch(r"[a-z0-9-]+", title) and re.fullmatch(r"[a-zA-Z0-9_-]+", spelled)
    assert one.architecture in SPELLED.get(spelled, (spelled, f"timm:{spelled}", spelled.replace("timm-", "timm:")))
    assert one.architecture == "pixels" or architecture.find(one.architecture).dimension == one.dimension


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entry_says_where_its_checkpoint_is_and_whose(name: str) -> None:
    one = PUBLISHED[name]
    assert one.weights and one.weights.origin
    assert one.weights.file == f"{original(name)}.safetensors" and not one.weights.prefix and not one.weights.leftover
    assert one.pretraining and one.licence and one.citation
    origin = one.weights.origin
    assert origin.urls or (origin.page and origin.file)
    assert all(address.startswith("https://") for address in (*origin.urls, *filter(None, [origin.page])))
    assert download.published(origin)
    for digest in (origin.sha256, origin.md5):
        assert re.fullmatch(r"([0-9a-f]{8}|[0-9a-f]{32}|[0-9a-f]{64})?", digest)
    for url in origin.urls:  # names end in the digest's first digits, as torch.hub and OpenMMLab have them
        told = re.search(r"-([0-9a-f]{8})\.pth$", url)
        assert not told or origin.sha256 == told[1]


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entrys_rule_can_be_applied(name: str) -> None:
    origin = origin_of(name)
    assert origin.reader in ("torch", "tensorflow", "haiku")
    for pattern, replacement in origin.rename:
        compiled = re.compile(pattern)
        assert all(int(group) <= compiled.groups for group in re.findall(r"\\(\d)", replacement))
    assert not origin.prefix or origin.prefix.endswith(".")
    for pattern in (*origin.leftover, *origin.missing):
        assert pattern and pattern.strip("*")  # not everything
        assert origin.prefix.rstrip(".") != pattern.rstrip(".*")  # nor the network itself
    assert all("." in pattern and pattern.strip("*.") for pattern in origin.opaque)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entrys_input_is_right(name: str) -> None:
    assert PUBLISHED[name].input == INPUTS.get(name, Input())


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entrys_classifier_and_its_accuracy(name: str) -> None:
    one = PUBLISHED[name]
    assert one.classes in (0, 1000, 11221) and (one.classes == 11221) == ("imagenet21k-p" in one.families)
    assert {told.by for told in one.accuracy} <= {"classifier", "linear", "knn"}
    assert all(30 < told.top1 < 90 and told.source for told in one.accuracy)
    if one.accuracy:
        assert ("classifier" in {told.by for told in one.accuracy}) == (one.classes == 1000)
    else:
        assert name in UNTOLD or name != original(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entry_recorded_and_read_again_is_the_same_fact(name: str) -> None:
    assert entry.digest(model.from_json(entry.as_json(PUBLISHED[name]))) == entry.digest(PUBLISHED[name])


def original(name: str) -> str:
    """Of an entry that makes the same network with a mistake of a paper: the right one's name."""
    title, _, spelled = name.partition("_")
    return f"{title.removesuffix('-paper').removesuffix('-ssl-transfer')}_{spelled}"


def origin_of(name: str) -> Origin:
    weights = PUBLISHED[name].weights
    assert weights and weights.origin
    return weights.origin


def test_a_papers_mistake_is_a_twin_of_the_right_one() -> None:
    twins = {name for name in MODELS if name != original(name)}
    assert twins == {
        "byol-paper_resnet50",
        "clip-paper_resnet50",
        "nat-paper_m4",
        "simclr-v1-paper_resnet50",
        "simclr-v2-paper_resnet50",
        "simclr-v2-ssl-transfer-paper_resnet50",
        "supervised-paper_inception_v3",
    }
    for name in twins:
        wrong, right = MODELS[name], MODELS[original(name)]
        assert wrong.weights == right.weights and not wrong.families and not wrong.accuracy
        assert (wrong.architecture, wrong.input) != (right.architecture, right.input)
        assert "CoG" in wrong.pretraining or "ssl-transfer" in wrong.pretraining


def test_no_name_and_no_file_is_given_twice() -> None:
    modules = [
        importlib.import_module(f"suite.models.{found.name}") for found in pkgutil.iter_modules(suite.models.__path__)
    ]
    values = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Model)}
    assert Counter(one.name for one in values.values()).most_common(1)[0][1] == 1
    own = [name for name in PUBLISHED if name == original(name)]
    files = Counter(file for name in own for file in download.published(origin_of(name)))
    assert files.most_common(1)[0][1] == 1  # a folder that mirrors them may be flat


def test_the_families_are_whole() -> None:
    assert Counter(family for one in MODELS.values() for family in one.families) == FAMILIES


def test_what_is_published_of_none() -> None:
    assert {name for name in PUBLISHED if name == original(name) and not PUBLISHED[name].accuracy} == UNTOLD


def test_entries_load_quickly_and_without_torch() -> None:
    program = (
        "import sys, time; begun = time.perf_counter(); from suite.catalog import entries; "
        "from suite.model import Model; found = entries('suite.models', Model); "
        "print(time.perf_counter() - begun, len(found), 'torch' in sys.modules)"
    )
    ran = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in range(3)
    ]
    told = [one.stdout.split() for one in ran]
    assert min(float(seconds) for seconds, *_ in told) < 0.2
    assert {(count, torch) for _, count, torch in told} == {(str(len(MODELS)), "False")}
