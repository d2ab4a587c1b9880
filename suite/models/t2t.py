"""T2T-ViT: a vision transformer whose tokens are made step by step of overlapping patches."""

from suite.model import Accuracy, Model, Origin, Weights

T14 = Model(
    "t2tvit_t14",
    "t2t_vit_t_14",
    384,
    weights=Weights(
        "t2tvit_t14.safetensors",
        origin=Origin(
            ("https://github.com/yitu-opensource/T2T-ViT/releases/download/main/81.7_T2T_ViTt_14.pth.tar",),
            page="https://drive.google.com/file/d/1WdUT-3qq3duhECKk1CabXGktvd24p3Ti/view?usp=sharing",
            prefix="state_dict_ema.",
            rename=((r"^module\.", ""),),
            leftover=("state_dict.*", "optimizer.*", "amp*"),
        ),
    ),
    pretraining="ImageNet-1K, labels; the mean of its weights over time",
    licence="BSD-3-Clause-Clear",
    citation="Yuan et al., Tokens-to-token ViT: Training vision transformers from scratch on ImageNet, ICCV 2021",
    families=("cog",),
    classes=1000,
    accuracy=(Accuracy(81.7, "classifier", "T2T-ViT's authors"),),
)
