"""Small studies on real photos with real weights: protocols of all five systems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MOBILENET = "{0}/weights/mobilenet_v2_imagenet_fp16.pth:mobilenet_v2"
RESNET20 = "{0}/weights/cifar10_resnet20-12fca82f.th:cifar_resnet20"


@dataclass(frozen=True)
class Study:
    """Tasks of one model on one data set, {0} being the folder of photos and weights; each task's headline is at
    `least` so good, and features are `extracted` so many times for all of them."""

    tasks: str
    model: str
    data: str
    least: float
    extracted: int

    def words(self, shared: Path) -> tuple[str, ...]:
        """As `launch.py grid` takes them."""
        named = ("--tasks", self.tasks, "--models", self.model, "--datasets", self.data)
        return tuple(word.format(shared) for word in named)


PROBES = "linear,knn,fewshot,cog-linear-short,cog-fewshot-short,trex-linear-short"
STUDIES = (
    Study(PROBES, MOBILENET, "pets:{0}/oxford_pets_mini", least=0.7, extracted=1),
    Study("svm-short,linear", MOBILENET, "voc:{0}/voc2012_mini", least=0.2, extracted=2),
    Study("semi-short,finetune-short,linear-moco-short", RESNET20, "cifar:{0}/cifar10_mini", least=0.5, extracted=0),
)
