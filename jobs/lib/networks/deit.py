"""Distilled DeiTs (Touvron et al., ICML 2021) as timm has them, but the feature is their class token.

timm's own feature is the mean of the class token and the distillation token.
"""

from __future__ import annotations

from functools import partial

from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from suite.model import Input


class Distilled(VisionTransformerDistilled):
    """The class token after the last norm or, with classes, the mean of both heads' logits."""

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if pre_logits or not self.num_classes:
            return x[:, 0]
        return super().forward_head(x)


def make(classes: int, size: int, width: int, heads: int) -> nn.Module:
    """A DeiT of 12 blocks and patches of 16 x 16 pixels, for images of `size`."""
    return Distilled(img_size=size, embed_dim=width, num_heads=heads, num_classes=classes)


NETWORKS = {
    "deit_base_distilled_384": partial(make, size=384, width=768, heads=12),
    "deit_small_distilled": partial(make, size=224, width=384, heads=6),
}
INPUTS = {"deit_base_distilled_384": Input(size=384, resize=384)}
