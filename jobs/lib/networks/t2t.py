"""T2T-ViT-t-14 (Yuan et al., Tokens-to-token ViT, ICCV 2021): tokens are made of overlapping patches in three steps,
with an attention after each of the first two. Names are those of its file."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, DEPTH, HEADS, RATIO = 384, 14, 6, 3
TOKEN = 64  # width of the tokens while they are made
SPLITS = ((7, 4, 2), (3, 2, 1), (3, 2, 1))  # kernel, stride, padding
PLACES = 14 * 14 + 1  # for 224 x 224 pixels, and the class token


class Attention(nn.Module):
    """Self-attention from `width` to `out` numbers a token, its logits scaled by the square root of `per_head`."""

    def __init__(self, width: int, out: int, heads: int, per_head: int, residual: bool = False) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * out, bias=False)
        self.proj = nn.Linear(out, out)
        self.heads, self.scale, self.residual = heads, per_head**-0.5, residual

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        made: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return made + v.transpose(1, 2).flatten(2) if self.residual else made


class Mlp(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """A transformer's block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = Attention(WIDTH, WIDTH, HEADS, WIDTH // HEADS)
        self.mlp = Mlp(WIDTH, RATIO * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Narrowing(nn.Module):
    """Tokens of `width` to tokens of TOKEN. The shortcut around the attention is its own values, which are as narrow;
    the scale is that of the input's width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(TOKEN)
        self.attn = Attention(width, TOKEN, 1, width, residual=True)
        self.mlp = Mlp(TOKEN, TOKEN)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TokensToToken(nn.Module):
    """N x 3 x 224 x 224 -> N x 196 x 384."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = (
            channels * split[0] ** 2 for channels, split in zip((3, TOKEN, TOKEN), SPLITS, strict=True)
        )
        self.attention1, self.attention2 = Narrowing(first), Narrowing(second)
        self.project = nn.Linear(third, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for (kernel, stride, padding), after in zip(
            SPLITS, (self.attention1, self.attention2, self.project), strict=True
        ):
            if x.ndim == 3:  # tokens, of a square
                x = x.mT.unflatten(2, (math.isqrt(x.shape[1]), -1))
            x = after(functional.unfold(x, kernel, padding=padding, stride=stride).mT)
        return x


class T2T(nn.Module):
    """The class token after the last norm or, with `classes`, their logits. Takes 224 x 224 pixels only."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.tokens_to_token = TokensToToken()
        self.cls_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.register_buffer("pos_embed", _places())
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes) if classes else nn.Identity()
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens_to_token(x)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def _places() -> Tensor:
    """Sines and cosines of each place (Vaswani et al., NeurIPS 2017), which are not trained: 1 x PLACES x WIDTH."""
    even = torch.arange(0, WIDTH, 2, dtype=torch.float64)
    angles = torch.arange(PLACES, dtype=torch.float64)[:, None] / 10000 ** (even / WIDTH)
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1).float()[None]


NETWORKS = {"t2t_vit_t_14": T2T}
