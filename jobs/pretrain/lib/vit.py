"""ViT: what torchvision's and timm's vision transformers have in common, under one set of names."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jobs.lib.failure import BadTask


@dataclass(frozen=True)
class Parts:
    """A transformer's own modules and parameters, not copies: what is trained here is what the network gives.

    `project` makes D x R x C of an image, a column of D for each of the `grid`'s R x C patches; `token` is the class
    token, 1 x 1 x D; `positions` is 1 x (prefix + RC) x D, in raster order, `prefix` 1 where the class token has one;
    `norm` is the last.
    """

    project: nn.Conv2d
    token: nn.Parameter
    positions: nn.Parameter
    blocks: nn.Sequential
    norm: nn.Module
    grid: tuple[int, int]

    @property
    def prefix(self) -> int:
        return self.positions.shape[1] - self.grid[0] * self.grid[1]

    @property
    def dimension(self) -> int:
        return self.token.shape[2]

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch, in pixels."""
        high, wide = self.project.kernel_size
        return high, wide


def parts(network: nn.Module) -> Parts:
    """The parts of a plain vision transformer of torchvision or timm. BadTask for anything else."""
    found = _torchvision(network) or _timm(network)
    if found is None:
        raise BadTask(
            f"{type(network).__name__} is no plain vision transformer (patches by one convolution, one class token, "
            "learnt positions): take vit_b_16, timm:vit_small_patch16_224 or another of torchvision's or timm's "
            "VisionTransformer"
        )
    return found


def sincos(grid: tuple[int, int], dimension: int, prefix: int = 1) -> Tensor:
    """(prefix + RC) x dimension: fixed positions of the patches of R x C, in raster order, after `prefix` zeros.

    A quarter each of sines and cosines of the column, then of the row, at the frequencies 10000 ^ (-4i / dimension)
    (Vaswani et al., 2017, section 3.5, in two dimensions: He et al., MAE, CVPR 2022, and Chen et al., MoCo v3).
    """
    if dimension % 4:
        raise BadTask(f"fixed positions in two dimensions need a width that 4 divides, not {dimension}")
    frequencies = 10000.0 ** (-4 * torch.arange(dimension // 4, dtype=torch.float64) / dimension)
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    angles = [places.reshape(-1, 1) * frequencies for places in (columns, rows)]
    made = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)
    return torch.cat([torch.zeros(prefix, dimension), made.float()])


def freeze_positions(network: nn.Module) -> None:
    """Gives a transformer fixed positions, which are not trained."""
    of = parts(network)
    with torch.no_grad():
        of.positions.copy_(sincos(of.grid, of.dimension, of.prefix)[None])
    of.positions.requires_grad_(False)


def encode(of: Parts, images: Tensor, kept: Tensor | None = None) -> Tensor:
    """n x 3 x H x W -> n x (1 + k) x D: the class token, and the patches `kept` (n x k numbers in raster order; all
    of them if None) in that order, through all blocks and the last norm. BadTask where the images' size does not fit.
    """
    made = of.project(images)
    if made.shape[2:] != of.grid:
        (rows, columns), (high, wide) = of.grid, of.patch
        given = f"{images.shape[2]} x {images.shape[3]}"
        raise BadTask(f"this transformer takes {rows * high} x {columns * wide} pixels, not {given}")
    tokens = made.flatten(2).mT + of.positions[:, of.prefix :]
    if kept is not None:
        tokens = tokens.gather(1, kept[..., None].expand(-1, -1, of.dimension))
    token = of.token + of.positions[:, : of.prefix].sum(1, keepdim=True)
    return of.norm(of.blocks(torch.cat([token.expand(len(images), -1, -1), tokens], 1)))


def _torchvision(network: nn.Module) -> Parts | None:
    library = sys.modules.get("torchvision.models.vision_transformer")  # who made it has loaded it
    if library is None or type(network) is not library.VisionTransformer:
        return None
    project, encoder = network.conv_proj, network.encoder
    if not isinstance(project, nn.Conv2d):
        return None
    side = network.image_size // network.patch_size
    return Parts(project, network.class_token, encoder.pos_embedding, encoder.layers, encoder.ln, (side, side))


def _timm(network: nn.Module) -> Parts | None:
    library = sys.modules.get("timm.models.vision_transformer")
    if library is None or type(network) is not library.VisionTransformer:
        return None
    patches, positions, token = network.patch_embed, network.pos_embed, network.cls_token
    project = getattr(patches, "proj", None)
    between = (network.norm_pre, getattr(patches, "norm", nn.Identity()))
    plain = token is not None and positions is not None and network.num_prefix_tokens == 1
    plain = plain and network.attn_pool is None and all(isinstance(module, nn.Identity) for module in between)
    if not plain or not isinstance(project, nn.Conv2d) or project.kernel_size != project.stride:
        return None
    # Networks that give the mean of their tokens have the last norm behind the mean.
    norm = network.fc_norm if isinstance(network.norm, nn.Identity) else network.norm
    return Parts(project, token, positions, network.blocks, norm, tuple(patches.grid_size))
