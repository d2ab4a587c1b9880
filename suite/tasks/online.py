"""Linear heads on a frozen backbone, trained on augmented views: five on a ResNet's layers, or one on its feature.

As in OpenSelfSup and mmselfsup, whose tables name them. Learning rates stand as published for `published_batch` images
a step, and follow `batch` by the linear rule; cosines go by epochs where theirs do. Test images: the shorter side to
256/224 of the model's input, then the centre.

Five heads (feat1 to feat5: stem and stages): each layer pooled to some 9,000 numbers, batch norm without affine, a
linear layer; the sum of their losses. The result has top-1 of all five, and feat5's is the headline: tables that show
the best layer choose it on the test images, which is not done here.

One head: MoCo's recipe is published with the best epoch on the test images; here it is the last one, as of all others.
MoCo v3 has two learning rates: 12 for transformers, 0.4 for ResNets. MAE's was run in half precision, and is not here,
unless `precision` says so. The last batch of an epoch is filled up with images of the next one.
"""

from dataclasses import replace
from typing import Any

from suite.task import Resources, Task

COMMON: dict[str, Any] = {
    "layers": "last",  # or "all"
    "norm_eps": 0.0,  # of a batch norm without affine before each head; 0: none
    "init_std": 0.01,  # of a head's weights
    "batch": 256,
    "published_batch": 256,
    "optimizer": "sgd",  # or "lars"
    "nesterov": False,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "undecayed": (),
    "least_rate": 0.0,
    "warmup": 0,  # epochs of a linear rise, from `warmup_from` times the rate
    "warmup_from": 0.0,
    "rate_every": "epoch",  # or "step": what the learning rate follows
    "view": {"ratio": 256 / 224, "interpolation": "bilinear"},
    "crop_scale": (0.08, 1.0),  # of a random resized crop; () is a random square of the resized image's centre
    "flip": True,
    "jitter": (0.0, 0.0, 0.0, 0.0),  # most change of brightness, contrast, saturation, hue
    "lighting": 0.0,  # deviation of a shift along the principal components of ImageNet's colours
    "precision": "float32",  # or bfloat16, of the backbone
}
STEPS: dict[str, Any] = {**COMMON, "schedule": "step", "factor": 0.1}
COSINE: dict[str, Any] = {**COMMON, "schedule": "cosine"}
FIVE: dict[str, Any] = {
    **STEPS,
    "layers": "all",
    "norm_eps": 1e-5,
    "nesterov": True,
    "weight_decay": 1e-4,
    "learning_rate": 0.01,
}

MULTIHEAD = Task(
    name="linear-multihead",
    version=1,
    program="online",
    maps="layers",
    settings={**FIVE, "epochs": 90, "drops": (30, 60), "jitter": (0.4, 0.4, 0.4, 0.0), "lighting": 0.1},
    resources=Resources(gpus=1, cpus=16, memory_gb=64, minutes=2_400),
    datasets=("imagenet1k",),
    checkpoint_seconds=300.0,
    source="Goyal et al., ICCV 2019, as OpenSelfSup and mmselfsup have it: ImageNet, five heads",
)
PLACES = replace(
    MULTIHEAD,
    name="linear-multihead-places",
    settings={**FIVE, "epochs": 28, "drops": (7, 14, 21), "crop_scale": ()},
    resources=replace(MULTIHEAD.resources, minutes=1_200),
    datasets=("places205",),
    source="Goyal et al., ICCV 2019, as OpenSelfSup and mmselfsup have it: Places205, five heads",
)
INAT = replace(
    MULTIHEAD,
    name="linear-multihead-inat",
    settings={**FIVE, "epochs": 84, "drops": (24, 48, 72)},
    resources=replace(MULTIHEAD.resources, minutes=1_200),
    datasets=("inat2018",),
    source="Goyal et al., ICCV 2019, as mmselfsup has it: iNaturalist 2018, five heads",
)
MOCO = replace(
    MULTIHEAD,
    name="linear-moco",
    maps="",
    settings={**STEPS, "learning_rate": 30.0, "epochs": 100, "drops": (60, 80)},
    source="He et al., Momentum contrast, CVPR 2020, section 4.1",
)
SIMSIAM = replace(
    MOCO,
    name="linear-simsiam",
    settings={**COSINE, "optimizer": "lars", "learning_rate": 1.6, "epochs": 90}
    | {"batch": 4096, "published_batch": 4096},
    source="Chen and He, Exploring simple siamese representation learning, CVPR 2021, appendix A",
)
SWAV = replace(
    MOCO,
    name="linear-swav",
    settings={**COSINE, "learning_rate": 0.3, "weight_decay": 1e-6, "epochs": 100},
    source="Caron et al., SwAV, NeurIPS 2020, appendix A",
)
MOCO_V3 = replace(
    MOCO,
    name="linear-moco-v3",
    settings={**COSINE, "learning_rate": 12.0, "epochs": 90, "batch": 1024, "published_batch": 1024},
    source="Chen et al., An empirical study of training self-supervised vision transformers, ICCV 2021",
)
MOCO_V3_RESNET = replace(MOCO_V3, name="linear-moco-v3-resnet", settings={**MOCO_V3.settings, "learning_rate": 0.4})
MAE = replace(
    MOCO,
    name="linear-mae",
    settings={**COSINE, "norm_eps": 1e-6, "optimizer": "lars", "undecayed": ("biases",), "learning_rate": 6.4}
    | {"batch": 16384, "published_batch": 16384, "epochs": 90, "warmup": 10, "rate_every": "step"}
    | {"view": {"ratio": 256 / 224, "interpolation": "bicubic"}},
    source="He et al., Masked autoencoders are scalable vision learners, CVPR 2022, appendix A.1",
)

# Small images and few of them, in seconds; the rest as published, but for a rate that random features can bear.
SMALL: dict[str, Any] = {"batch": 64, "published_batch": 64, "epochs": 3, "crop_scale": (0.5, 1.0), "flip": False}
QUICK = Resources(gpus=1, cpus=8, memory_gb=8, minutes=5)
SHORT_MULTIHEAD = replace(
    MULTIHEAD, name="linear-multihead-short", settings={**MULTIHEAD.settings, **SMALL, "drops": (2,)}, resources=QUICK,
    datasets=("digits",), checkpoint_seconds=5.0,
)  # fmt: skip
SHORT_MOCO = replace(
    MOCO, name="linear-moco-short", settings={**MOCO.settings, **SMALL, "drops": (2,), "learning_rate": 1.0},
    resources=QUICK, datasets=("digits",), checkpoint_seconds=5.0,
)  # fmt: skip
SHORT_MAE = replace(
    MAE, name="linear-mae-short", settings={**MAE.settings, **SMALL, "warmup": 1}, resources=QUICK,
    datasets=("digits",), checkpoint_seconds=5.0,
)  # fmt: skip
