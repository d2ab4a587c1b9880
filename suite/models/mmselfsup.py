"""Self-supervised networks of MMSelfSup's releases 0.x, which are those of OpenMixup's zoo: files of backbones alone,
whose names end in their digest's first eight digits."""

from dataclasses import replace

from suite.model import Accuracy, Input, Model, Origin, Weights

BASE = "https://download.openmmlab.com/mmselfsup/"

RELATIVE_LOC = Model(
    "mmselfsup-relative-loc_resnet50",
    "resnet50",
    2048,
    weights=Weights(
        "mmselfsup-relative-loc_resnet50.safetensors",
        origin=Origin(
            (BASE + "relative_loc/relative-loc_resnet50_8xb64-steplr-70e_in1k_20220225-84784688.pth",),
            sha256="84784688",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 70 epochs",
    licence="Apache-2.0",
    citation="Doersch et al., Unsupervised visual representation learning by context prediction, ICCV 2015",
    families=("openmixup",),
    accuracy=(Accuracy(39.65, "linear", "MMSelfSup 0.x"),),
)
ROTATION = replace(
    RELATIVE_LOC,
    name="mmselfsup-rotation_resnet50",
    weights=Weights(
        "mmselfsup-rotation_resnet50.safetensors",
        origin=Origin(
            (BASE + "rotation_pred/rotation-pred_resnet50_8xb16-steplr-70e_in1k_20220225-5b9f06a0.pth",),
            sha256="5b9f06a0",
            prefix="state_dict.",
        ),
    ),
    citation="Gidaris et al., Unsupervised representation learning by predicting image rotations, ICLR 2018",
    accuracy=(Accuracy(48.12, "linear", "MMSelfSup 0.x"),),
)
DEEPCLUSTER = replace(
    RELATIVE_LOC,
    name="mmselfsup-deepcluster_resnet50",
    input=Input(channels="sobel"),
    weights=Weights(
        "mmselfsup-deepcluster_resnet50.safetensors",
        origin=Origin(
            (BASE + "deepcluster/deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k-bb8681e2.pth",),
            sha256="bb8681e2",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    citation="Caron et al., Deep clustering for unsupervised learning of visual features, ECCV 2018",
    accuracy=(Accuracy(46.92, "linear", "MMSelfSup 0.x"),),
)
NPID = replace(
    RELATIVE_LOC,
    name="mmselfsup-npid_resnet50",
    weights=Weights(
        "mmselfsup-npid_resnet50.safetensors",
        origin=Origin(
            (BASE + "npid/npid_resnet50_8xb32-steplr-200e_in1k_20220225-5fbbda2a.pth",),
            sha256="5fbbda2a",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    citation="Wu et al., Unsupervised feature learning via non-parametric instance discrimination, CVPR 2018",
    accuracy=(Accuracy(57.97, "linear", "MMSelfSup 0.x"),),
)
ODC = replace(
    RELATIVE_LOC,
    name="mmselfsup-odc_resnet50",
    weights=Weights(
        "mmselfsup-odc_resnet50.safetensors",
        origin=Origin(
            (BASE + "odc/odc_resnet50_8xb64-steplr-440e_in1k_20220225-a755d9c0.pth",),
            sha256="a755d9c0",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 440 epochs",
    citation="Zhan et al., Online deep clustering for unsupervised representation learning, CVPR 2020",
    accuracy=(Accuracy(53.42, "linear", "MMSelfSup 0.x"),),
)
SIMCLR = replace(
    RELATIVE_LOC,
    name="mmselfsup-simclr_resnet50",
    weights=Weights(
        "mmselfsup-simclr_resnet50.safetensors",
        origin=Origin(
            (BASE + "simclr/simclr_resnet50_8xb32-coslr-200e_in1k_20220428-46ef6bb9.pth",),
            sha256="46ef6bb9",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs, batch 256",
    citation="Chen et al., A simple framework for contrastive learning of visual representations, ICML 2020",
    accuracy=(Accuracy(62.56, "linear", "MMSelfSup 0.x"),),
)
SIMCLR_4096 = replace(
    SIMCLR,
    name="mmselfsup-simclr-4096_resnet50",
    weights=Weights(
        "mmselfsup-simclr-4096_resnet50.safetensors",
        origin=Origin(
            (BASE + "simclr/simclr_resnet50_16xb256-coslr-200e_in1k_20220428-8c24b063.pth",),
            sha256="8c24b063",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs, batch 4096",
    accuracy=(Accuracy(66.66, "linear", "MMSelfSup 0.x"),),
)
MOCO_V2 = replace(
    RELATIVE_LOC,
    name="mmselfsup-moco-v2_resnet50",
    weights=Weights(
        "mmselfsup-moco-v2_resnet50.safetensors",
        origin=Origin(
            (BASE + "moco/mocov2_resnet50_8xb32-coslr-200e_in1k_20220225-89e03af4.pth",),
            sha256="89e03af4",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    citation="Chen et al., Improved baselines with momentum contrastive learning, arXiv:2003.04297",
    accuracy=(Accuracy(67.58, "linear", "MMSelfSup 0.x"),),
)
BYOL = replace(
    RELATIVE_LOC,
    name="mmselfsup-byol_resnet50",
    weights=Weights(
        "mmselfsup-byol_resnet50.safetensors",
        origin=Origin(
            (BASE + "byol/byol_resnet50_16xb256-coslr-200e_in1k_20220527-b6f8eedd.pth",),
            sha256="b6f8eedd",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    citation="Grill et al., Bootstrap your own latent: A new approach to self-supervised learning, NeurIPS 2020",
    accuracy=(Accuracy(71.88, "linear", "MMSelfSup 0.x"),),
)
BYOL_300 = replace(
    BYOL,
    name="mmselfsup-byol-300_resnet50",
    weights=Weights(
        "mmselfsup-byol-300_resnet50.safetensors",
        origin=Origin(
            (BASE + "byol/byol_resnet50_8xb32-accum16-coslr-300e_in1k_20220225-a0daa54a.pth",),
            sha256="a0daa54a",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 300 epochs",
    accuracy=(Accuracy(72.93, "linear", "MMSelfSup 0.x"),),
)
SWAV = replace(
    RELATIVE_LOC,
    name="mmselfsup-swav_resnet50",
    weights=Weights(
        "mmselfsup-swav_resnet50.safetensors",
        origin=Origin(
            (BASE + "swav/swav_resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96_20220225-0497dd5d.pth",),
            sha256="0497dd5d",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    citation="Caron et al., Unsupervised learning of visual features by contrasting cluster assignments, NeurIPS 2020",
    accuracy=(Accuracy(70.47, "linear", "MMSelfSup 0.x"),),
)
DENSECL = replace(
    RELATIVE_LOC,
    name="mmselfsup-densecl_resnet50",
    weights=Weights(
        "mmselfsup-densecl_resnet50.safetensors",
        origin=Origin(
            (BASE + "densecl/densecl_resnet50_8xb32-coslr-200e_in1k_20220225-8c7808fe.pth",),
            sha256="8c7808fe",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    citation="Wang et al., Dense contrastive learning for self-supervised visual pre-training, CVPR 2021",
    accuracy=(Accuracy(63.62, "linear", "MMSelfSup 0.x"),),
)
SIMSIAM = replace(
    RELATIVE_LOC,
    name="mmselfsup-simsiam_resnet50",
    weights=Weights(
        "mmselfsup-simsiam_resnet50.safetensors",
        origin=Origin(
            (BASE + "simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k_20220225-68a88ad8.pth",),
            sha256="68a88ad8",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 100 epochs",
    citation="Chen and He, Exploring simple Siamese representation learning, CVPR 2021",
    accuracy=(Accuracy(68.28, "linear", "MMSelfSup 0.x"),),
)
SIMSIAM_200 = replace(
    SIMSIAM,
    name="mmselfsup-simsiam-200_resnet50",
    weights=Weights(
        "mmselfsup-simsiam-200_resnet50.safetensors",
        origin=Origin(
            (BASE + "simsiam/simsiam_resnet50_8xb32-coslr-200e_in1k_20220225-2f488143.pth",),
            sha256="2f488143",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 200 epochs",
    accuracy=(Accuracy(69.84, "linear", "MMSelfSup 0.x"),),
)
BARLOW = replace(
    RELATIVE_LOC,
    name="mmselfsup-barlow_resnet50",
    weights=Weights(
        "mmselfsup-barlow_resnet50.safetensors",
        origin=Origin(
            (BASE + "barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k_20220419-5ae15f89.pth",),
            sha256="5ae15f89",
            prefix="state_dict.",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 300 epochs",
    citation="Zbontar et al., Barlow Twins: Self-supervised learning via redundancy reduction, ICML 2021",
    accuracy=(Accuracy(71.66, "linear", "MMSelfSup 0.x"),),
)
MOCO_V3_SMALL = replace(
    RELATIVE_LOC,
    name="mmselfsup-moco-v3_vit_small_12_heads",
    architecture="vit_small_12_heads",
    dimension=384,
    weights=Weights(
        "mmselfsup-moco-v3_vit_small_12_heads.safetensors",
        origin=Origin(
            (BASE + "moco/mocov3_vit-small-p16_32xb128-fp16-coslr-300e_in1k-224_20220225-e31238dd.pth",),
            sha256="e31238dd",
            prefix="state_dict.",
            names="mmcls_vit",
        ),
    ),
    pretraining="ImageNet-1K, no labels, 300 epochs",
    citation="Chen et al., An empirical study of training self-supervised vision transformers, ICCV 2021",
    accuracy=(Accuracy(73.19, "linear", "OpenMixup, model zoo"),),
)
