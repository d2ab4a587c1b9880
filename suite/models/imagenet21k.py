"""ImageNet-21K-P: supervised on its 11,221 classes by a softmax at each level of their tree. Pixels stay in [0, 1].

Where timm publishes the same weights, they are taken from there: with a digest and, of TResNets, with plain batch norms
in place of those that the authors trained, which took the scales' absolute values.
"""

from dataclasses import replace

from suite.model import Input, Model, Origin, Weights

BASE = "https://miil-public-eu.oss-eu-central-1.aliyuncs.com/model-zoo/ImageNet_21K_P/models/"
RELEASE = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tresnet/"
BARE = ((r"^state_dict\.", ""),)

RESNET50 = Model(
    "imagenet21k-p_resnet50",
    "resnet50",
    2048,
    Input(resize=256, interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    weights=Weights(
        "imagenet21k-p_resnet50.safetensors", origin=Origin((BASE + "resnet50_miil_21k.pth",), rename=BARE)
    ),
    pretraining="ImageNet-21K-P of fall 2011, labels and a teacher's, 80 epochs",
    licence="MIT",
    citation="Ridnik et al., ImageNet-21K pretraining for the masses, NeurIPS Datasets and Benchmarks 2021",
    families=("imagenet21k-p",),
    classes=11221,
)
OFA = replace(
    RESNET50,
    name="imagenet21k-p_ofa_595m",
    architecture="ofa_595m",
    dimension=1536,
    weights=Weights(
        "imagenet21k-p_ofa_595m.safetensors", origin=Origin((BASE + "ofa_flops_595m_s_miil_21k.pth",), rename=BARE)
    ),
)
MOBILENET = replace(
    RESNET50,
    name="imagenet21k-p_mobilenetv3_large_100",
    architecture="timm:mobilenetv3_large_100",
    dimension=1280,
    weights=Weights(
        "imagenet21k-p_mobilenetv3_large_100.safetensors",
        origin=Origin(
            (
                RELEASE + "mobilenetv3_large_100_in21k_miil-d71cc17b.pth",
                BASE + "timm/mobilenetv3_large_100_in21k_miil.pth",
            ),
            sha256="d71cc17b",
            rename=BARE,
        ),
    ),
)
MIXER = replace(
    RESNET50,
    name="imagenet21k-p_mixer_b16_224",
    architecture="timm:mixer_b16_224",
    dimension=768,
    weights=Weights(
        "imagenet21k-p_mixer_b16_224.safetensors",
        origin=Origin(
            (RELEASE + "mixer_b16_224_miil_in21k-2a558a71.pth", BASE + "timm/mixer_b16_224_miil_in21k.pth"),
            sha256="2a558a71",
            rename=BARE,
        ),
    ),
)
VIT = replace(
    RESNET50,
    name="imagenet21k-p_vit_base_patch16_224_miil",
    architecture="timm:vit_base_patch16_224_miil",
    dimension=768,
    weights=Weights(
        "imagenet21k-p_vit_base_patch16_224_miil.safetensors",
        origin=Origin(
            (
                RELEASE + "vit_base_patch16_224_in21k_miil-887286df.pth",
                BASE + "timm/vit_base_patch16_224_in21k_miil.pth",
            ),
            sha256="887286df",
            rename=BARE,
        ),
    ),
)
TRESNET_M = replace(
    RESNET50,
    name="imagenet21k-p_tresnet_m",
    architecture="timm:tresnet_m",
    weights=Weights(
        "imagenet21k-p_tresnet_m.safetensors",
        origin=Origin(
            ("https://huggingface.co/timm/tresnet_m.miil_in21k/resolve/main/model.safetensors",),
            file="tresnet_m.miil_in21k.safetensors",
        ),
    ),
)
TRESNET_L = replace(
    RESNET50,
    name="imagenet21k-p_tresnet_v2_l",
    architecture="timm:tresnet_v2_l",
    weights=Weights(
        "imagenet21k-p_tresnet_v2_l.safetensors",
        origin=Origin(
            ("https://huggingface.co/timm/tresnet_v2_l.miil_in21k/resolve/main/model.safetensors",),
            file="tresnet_v2_l.miil_in21k.safetensors",
        ),
    ),
)
