"""MAE: each image's own patches are hidden, and only they are painted."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from pretrain.two import two
from torch import Tensor, nn
from torchvision.models import VisionTransformer, resnet18

from jobs.lib.backbone import headless
from jobs.lib.failure import BadTask
from jobs.lib.ranks import Ranks
from jobs.lib.rate import optimizer_of
from jobs.pretrain.lib import vit
from jobs.pretrain.lib.method import Batch, Setting
from jobs.pretrain.mae import MAE
from suite.recipes import mae as recipes

torch.set_num_threads(1)
SETTINGS = {"mask": 0.75, "decoder": (8, 2, 2)}


def network() -> nn.Module:
    torch.manual_seed(1)
    return timm.models.VisionTransformer(img_size=12, patch_size=3, embed_dim=16, depth=2, num_heads=2, num_classes=0)


def made(ranks: Ranks, **more: object) -> MAE:
    return MAE(network(), Setting({**SETTINGS, **more}, "vit", 16, 100, 6, 10, ranks, 0)).double()


def images() -> Tensor:
    return torch.randn(6, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 2 + 1


def orders() -> Tensor:
    return torch.rand(6, 16, generator=torch.Generator().manual_seed(3)).argsort(1)


def batch(views: Tensor) -> Batch:
    return Batch([views], torch.arange(len(views)), 0, 0, 0.0)


def naive(method: MAE, image: Tensor, order: list[int]) -> float:
    """The loss of one image, patch by patch."""
    vits, seen, hidden = method.backbone, order[:4], order[4:]
    patches = [image[:, 3 * r : 3 * r + 3, 3 * c : 3 * c + 3] for r in range(4) for c in range(4)]
    weight, bias = vits.patch_embed.proj.weight, vits.patch_embed.proj.bias
    tokens = [vits.cls_token[0, 0] + vits.pos_embed[0, 0]]
    for place in seen:
        projected = torch.stack([(w * patches[place]).sum() for w in weight]) + bias
        tokens.append(projected + vits.pos_embed[0, 1 + place])
    out = method.enter(vits.norm(vits.blocks(torch.stack(tokens)[None])))[0]
    decoded = [out[0]] + [out[1 + seen.index(p)] if p in seen else method.mask_token[0, 0] for p in range(16)]
    painted = method.paint(method.decoder(torch.stack(decoded)[None] + method.positions))[0]
    errors = []
    for place in hidden:
        values = patches[place].numpy()
        target = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-6)
        errors.append(np.mean((painted[1 + place].numpy() - target.reshape(-1)) ** 2))
    return float(np.mean(errors))


def test_loss_is_that_of_hidden_patches_one_by_one() -> None:
    method = made(Ranks())
    loss = method.painted(images(), orders())
    with torch.no_grad():
        parts = [naive(method, image, order) for image, order in zip(images(), orders().tolist(), strict=True)]
    assert abs(loss.item() - np.mean(parts)) < 1e-10
    assert method.watching["spread"] > 0


def test_seen_patches_are_not_painted() -> None:
    """Only hidden patches are targets: the encoder does not see them, so the loss alone changes with one."""
    method, order = made(Ranks()), orders()
    nn.init.zeros_(method.paint.weight)
    loss = method.painted(images(), order)
    other = images()
    row, column = divmod(int(order[0, 0]), 4)
    other[0, :, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = torch.randn(3, 3, 3)
    torch.testing.assert_close(method.painted(other, order), loss, rtol=0, atol=0)
    row, column = divmod(int(order[0, 4]), 4)
    other[0, :, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = 0.5  # of one colour: nothing to paint
    assert method.painted(other, order) < loss


def test_every_image_hides_as_many_patches_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    method, drawn = made(Ranks(), mask=0.6), []
    monkeypatch.setattr(method, "painted", lambda images, order: drawn.append(order))
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        method.loss(batch(torch.zeros(500, 3, 12, 12)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[0].sort(1).values, torch.arange(16).expand(500, -1))
    assert method.seen == 6
    hidden = drawn[0][:, 6:].flatten().bincount(minlength=16) / 500
    assert (hidden - 10 / 16).abs().max() < 0.1  # every place alike
    assert len(torch.unique(drawn[0], dim=0)) > 490


def test_two_ranks_are_one() -> None:
    def trained(ranks: Ranks) -> tuple[Tensor, list[Tensor | None]]:
        method = made(ranks)
        loss = method.painted(ranks.part(images()), ranks.part(orders())) / ranks.count
        loss.backward()
        loss = ranks.summed(loss.detach(), method)
        return loss, [parameter.grad for parameter in method.parameters() if parameter.requires_grad]

    loss, gradients = trained(Ranks())
    assert all(gradient is not None for gradient in gradients)
    for its_loss, its_gradients in two(trained):
        torch.testing.assert_close(its_loss, loss)
        torch.testing.assert_close(its_gradients, gradients)


def test_steps_train_the_network_that_is_exported() -> None:
    method = made(Ranks()).float()
    before = {name: value.clone() for name, value in method.backbone.state_dict().items()}
    optimizer = optimizer_of(method, {**recipes.SETTINGS, "learning_rate": 1e-3})
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        for group in optimizer.param_groups:
            group["lr"] = 3e-3
        loss = method.painted(images().float(), orders())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]
    after = method.backbone.state_dict()
    assert {name for name, value in after.items() if torch.equal(value, before[name])} == {"pos_embed"}
    torch.testing.assert_close(after["pos_embed"][0], vit.sincos((4, 4), 16))
    still = {id(p) for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    decays = {name: id(p) not in still for name, p in method.named_parameters() if p.requires_grad}
    assert not decays["mask_token"]
    assert not decays["backbone.cls_token"]
    assert not decays["backbone.norm.weight"]
    assert decays["backbone.blocks.0.attn.qkv.weight"]
    assert decays["decoder.0.self_attn.in_proj_weight"]


def test_torchvisions_transformers_are_taken_and_others_refused() -> None:
    tiny = VisionTransformer(image_size=16, patch_size=4, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)
    setting = Setting(SETTINGS, "vit", 16, 100, 6, 10, Ranks(), 0)
    method = MAE(headless(tiny), setting)
    method.loss(batch(torch.randn(2, 3, 16, 16))).backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
    with pytest.raises(BadTask, match="ResNet is no plain vision transformer"):
        MAE(resnet18(), setting)
    with pytest.raises(BadTask, match="leaves 0 of 16 patches"):
        made(Ranks(), mask=0.99)
