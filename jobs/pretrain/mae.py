"""MAE (He et al., CVPR 2022): a transformer sees a quarter of an image's patches; a small one paints the others.

Settings: mask (share of the patches that is hidden), decoder (its dimension, blocks and heads).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.lib.failure import BadTask
from jobs.pretrain.lib import vit
from jobs.pretrain.lib.method import Batch, Method, Setting, spread

EPSILON = 1e-6


class MAE(Method):
    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        vit.freeze_positions(backbone)
        of, (wide, depth, heads) = vit.parts(backbone), setting.settings["decoder"]
        self.places = of.grid[0] * of.grid[1]
        self.seen = round(self.places * (1 - setting.settings["mask"]))
        if not 0 < self.seen < self.places:
            raise BadTask(f"mask {setting.settings['mask']} leaves {self.seen} of {self.places} patches to be seen")
        self.enter = nn.Linear(of.dimension, wide)
        self.mask_token = nn.Parameter(torch.empty(1, 1, wide))
        self.register_buffer("positions", vit.sincos(of.grid, wide)[None])
        self.decoder = nn.Sequential(*(_block(wide, heads) for _ in range(depth)), nn.LayerNorm(wide, eps=EPSILON))
        self.paint = nn.Linear(wide, 3 * of.patch[0] * of.patch[1])
        for token in (of.token, self.mask_token):
            nn.init.normal_(token, std=0.02)
        for layer in (self.enter, *self.decoder.modules(), self.paint):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def loss(self, batch: Batch) -> Tensor:
        images = batch.views[0]
        order = torch.rand(len(images), self.places, device=images.device).argsort(1)  # each image has its own
        return self.painted(images, order)

    def painted(self, images: Tensor, order: Tensor) -> Tensor:
        """The loss where, of each image, the patches that come first in `order` (n x places) are seen."""
        of, hidden = vit.parts(self.backbone), order[:, self.seen :]
        features = vit.encode(of, images, order[:, : self.seen])
        self.watch(spread=spread(features[:, 0]))
        token, seen = self.enter(features).split([1, self.seen], 1)
        masked = self.mask_token.expand(*hidden.shape, -1)
        placed = _chosen(torch.cat([seen, masked], 1), order.argsort(1))
        tokens = self.decoder(torch.cat([token, placed], 1) + self.positions)
        painted = self.paint(_chosen(tokens[:, 1:], hidden))
        return (painted.to(images) - _chosen(targets(images, of.patch), hidden)).square().mean()


def targets(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """n x places x values: each patch's pixels, its own mean taken off, over its own deviation (section 4.1)."""
    pixels = nn.functional.unfold(images, patch, stride=patch).mT
    variance, mean = torch.var_mean(pixels, 2, keepdim=True)
    return (pixels - mean) / (variance + EPSILON).sqrt()


def _chosen(tokens: Tensor, places: Tensor) -> Tensor:
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))


def _block(wide: int, heads: int) -> nn.Module:
    return nn.TransformerEncoderLayer(wide, heads, 4 * wide, 0.0, "gelu", EPSILON, batch_first=True, norm_first=True)
