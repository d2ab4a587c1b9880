"""MoCo v3's small vision transformer (Chen et al., ICCV 2021): timm's, with heads of 32 numbers in place of 64."""

from __future__ import annotations

from timm.models.vision_transformer import VisionTransformer
from torch import nn


def small(classes: int) -> nn.Module:
    """12 blocks of 384 numbers, for patches of 16 x 16 pixels; the feature is the class token after the last norm."""
    return VisionTransformer(embed_dim=384, num_heads=12, num_classes=classes)


NETWORKS = {"vit_small_12_heads": small}
