"""Self-supervised networks of MMSelfSup's releases 1.x, where 0.x has none: files of all that was trained, and logs."""

from dataclasses import replace

from suite.model import Accuracy, Origin, Weights
from suite.models import mmselfsup

BASE = "https://download.openmmlab.com/mmselfsup/1.x/"
ALL = Origin(
    opaque=("mmengine.*", "builtins.getattr"),  # its logs
    prefix="state_dict.backbone.",
    leftover=(
        "state_dict.neck.*",
        "state_dict.head.*",
        "state_dict.data_preprocessor.*",
        "state_dict.momentum_encoder.*",
        "message_hub.*",
        "optimizer.*",
    ),
)

SIMCLR_800 = replace(
    mmselfsup.SIMCLR,
    name="mmselfsup-simclr-4096-800_resnet50",
    weights=Weights(
        "mmselfsup-simclr-4096-800_resnet50.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "simclr/simclr_resnet50_16xb256-coslr-800e_in1k/"
                "simclr_resnet50_16xb256-coslr-800e_in1k_20220825-85fcc4de.pth",
            ),
            sha256="85fcc4de",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 800 epochs, batch 4096",
    accuracy=(Accuracy(69.2, "linear", "MMSelfSup 1.x"),),
)
MOCO_V3 = replace(
    mmselfsup.RELATIVE_LOC,
    name="mmselfsup-moco-v3_resnet50",
    weights=Weights(
        "mmselfsup-moco-v3_resnet50.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k/"
                "mocov3_resnet50_8xb512-amp-coslr-100e_in1k_20220927-f1144efa.pth",
            ),
            sha256="f1144efa",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 100 epochs",
    citation="Chen et al., An empirical study of training self-supervised vision transformers, ICCV 2021",
    accuracy=(Accuracy(69.6, "linear", "MMSelfSup 1.x"),),
)
MOCO_V3_300 = replace(
    MOCO_V3,
    name="mmselfsup-moco-v3-300_resnet50",
    weights=Weights(
        "mmselfsup-moco-v3-300_resnet50.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mocov3/mocov3_resnet50_8xb512-amp-coslr-300e_in1k/"
                "mocov3_resnet50_8xb512-amp-coslr-300e_in1k_20220927-1e4f3304.pth",
            ),
            sha256="1e4f3304",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 300 epochs",
    accuracy=(Accuracy(72.8, "linear", "MMSelfSup 1.x"),),
)
MOCO_V3_800 = replace(
    MOCO_V3,
    name="mmselfsup-moco-v3-800_resnet50",
    weights=Weights(
        "mmselfsup-moco-v3-800_resnet50.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mocov3/mocov3_resnet50_8xb512-amp-coslr-800e_in1k/"
                "mocov3_resnet50_8xb512-amp-coslr-800e_in1k_20220927-e043f51a.pth",
            ),
            sha256="e043f51a",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 800 epochs",
    accuracy=(Accuracy(74.4, "linear", "MMSelfSup 1.x"),),
)
MOCO_V3_VIT = replace(
    MOCO_V3,
    name="mmselfsup-moco-v3_vit_base_patch16_224",
    architecture="timm:vit_base_patch16_224",
    dimension=768,
    weights=Weights(
        "mmselfsup-moco-v3_vit_base_patch16_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mocov3/mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k/"
                "mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k-224_20220826-25213343.pth",
            ),
            sha256="25213343",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 300 epochs",
    accuracy=(Accuracy(76.9, "linear", "MMSelfSup 1.x"),),
)
MAE_300 = replace(
    mmselfsup.RELATIVE_LOC,
    name="mmselfsup-mae-300_vit_base_patch16_224",
    architecture="timm:vit_base_patch16_224",
    dimension=768,
    weights=Weights(
        "mmselfsup-mae-300_vit_base_patch16_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mae/mae_vit-base-p16_8xb512-fp16-coslr-300e_in1k/"
                "mae_vit-base-p16_8xb512-coslr-300e-fp16_in1k_20220829-c2cf66ba.pth",
            ),
            sha256="c2cf66ba",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 300 epochs",
    citation="He et al., Masked autoencoders are scalable vision learners, CVPR 2022",
    accuracy=(Accuracy(60.8, "linear", "MMSelfSup 1.x"),),
)
MAE_400 = replace(
    MAE_300,
    name="mmselfsup-mae-400_vit_base_patch16_224",
    weights=Weights(
        "mmselfsup-mae-400_vit_base_patch16_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mae/mae_vit-base-p16_8xb512-fp16-coslr-400e_in1k/"
                "mae_vit-base-p16_8xb512-coslr-400e-fp16_in1k_20220825-bc79e40b.pth",
            ),
            sha256="bc79e40b",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 400 epochs",
    accuracy=(Accuracy(62.5, "linear", "MMSelfSup 1.x"),),
)
MAE_800 = replace(
    MAE_300,
    name="mmselfsup-mae-800_vit_base_patch16_224",
    weights=Weights(
        "mmselfsup-mae-800_vit_base_patch16_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mae/mae_vit-base-p16_8xb512-fp16-coslr-800e_in1k/"
                "mae_vit-base-p16_8xb512-coslr-800e-fp16_in1k_20220825-5d81fbc4.pth",
            ),
            sha256="5d81fbc4",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 800 epochs",
    accuracy=(Accuracy(65.1, "linear", "MMSelfSup 1.x"),),
)
MAE_1600 = replace(
    MAE_300,
    name="mmselfsup-mae-1600_vit_base_patch16_224",
    weights=Weights(
        "mmselfsup-mae-1600_vit_base_patch16_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mae/mae_vit-base-p16_8xb512-fp16-coslr-1600e_in1k/"
                "mae_vit-base-p16_8xb512-fp16-coslr-1600e_in1k_20220825-f7569ca2.pth",
            ),
            sha256="f7569ca2",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 1600 epochs",
    accuracy=(Accuracy(67.1, "linear", "MMSelfSup 1.x"),),
)
MAE_LARGE_400 = replace(
    MAE_300,
    name="mmselfsup-mae-400_vit_large_patch16_224",
    architecture="timm:vit_large_patch16_224",
    dimension=1024,
    weights=Weights(
        "mmselfsup-mae-400_vit_large_patch16_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mae/mae_vit-large-p16_8xb512-fp16-coslr-400e_in1k/"
                "mae_vit-large-p16_8xb512-fp16-coslr-400e_in1k_20220825-b11d0425.pth",
            ),
            sha256="b11d0425",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 400 epochs",
    accuracy=(Accuracy(70.7, "linear", "MMSelfSup 1.x"),),
)
MAE_LARGE_800 = replace(
    MAE_LARGE_400,
    name="mmselfsup-mae-800_vit_large_patch16_224",
    weights=Weights(
        "mmselfsup-mae-800_vit_large_patch16_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mae/mae_vit-large-p16_8xb512-fp16-coslr-800e_in1k/"
                "mae_vit-large-p16_8xb512-fp16-coslr-800e_in1k_20220825-df72726a.pth",
            ),
            sha256="df72726a",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 800 epochs",
    accuracy=(Accuracy(73.7, "linear", "MMSelfSup 1.x"),),
)
MAE_LARGE_1600 = replace(
    MAE_LARGE_400,
    name="mmselfsup-mae-1600_vit_large_patch16_224",
    weights=Weights(
        "mmselfsup-mae-1600_vit_large_patch16_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mae/mae_vit-large-p16_8xb512-fp16-coslr-1600e_in1k/"
                "mae_vit-large-p16_8xb512-fp16-coslr-1600e_in1k_20220825-cc7e98c9.pth",
            ),
            sha256="cc7e98c9",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 1600 epochs",
    accuracy=(Accuracy(75.5, "linear", "MMSelfSup 1.x"),),
)
MAE_HUGE = replace(
    MAE_300,
    name="mmselfsup-mae-1600_vit_huge_patch14_224",
    architecture="timm:vit_huge_patch14_224",
    dimension=1280,
    weights=Weights(
        "mmselfsup-mae-1600_vit_huge_patch14_224.safetensors",
        origin=replace(
            ALL,
            urls=(
                BASE + "mae/mae_vit-huge-p16_8xb512-fp16-coslr-1600e_in1k/"
                "mae_vit-huge-p16_8xb512-fp16-coslr-1600e_in1k_20220916-ff848775.pth",
            ),
            sha256="ff848775",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 1600 epochs; its patches are of 14 pixels, though its name says 16",
    accuracy=(),
)
