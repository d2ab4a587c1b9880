"""OpenMMLab: heads of mmsegmentation train without mmcv's operators, in silence; an operator says where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: make setup")

HEADS = """
import torch
from torch import nn
from torch.nn import functional as F

from jobs.lib import openmmlab

told = openmmlab.prepare()
assert openmmlab.prepare() == told

from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [3, 4, 8, 16, 32]
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(widths, widths[1:]))

    def forward(self, x):
        return [x := stage(x) for stage in self.stages]


def built(head, **norm):
    common = {"channels": 8, "num_classes": 2, "norm_cfg": norm, "loss_decode": {"type": "CrossEntropyLoss"}}
    return MODELS.build({"type": "EncoderDecoder", "backbone": {"type": Tiny}, "decode_head": common | head})


one = {"in_channels": 32, "in_index": 3}
pools = {"pool_scales": (1, 2, 3, 6)}
heads = [
    {"type": "FCNHead", "num_convs": 2, "dilation": 6, **one},
    {"type": "PSPHead", **pools, **one},
    {"type": "UPerHead", "in_channels": [4, 8, 16, 32], "in_index": [0, 1, 2, 3], **pools},
]
x = torch.randn(2, 3, 64, 64)
classes = torch.randint(0, 2, (2, 1, 64, 64))
classes[:, :, :32] = 255
samples = [SegDataSample(gt_sem_seg=PixelData(data=image)) for image in classes]
for head in heads:
    for norm in ("BN", "SyncBN"):
        model = built(head, type=norm)
        model.init_weights()
        step = torch.optim.SGD(model.parameters(), lr=0.1)
        torch.manual_seed(0)
        model.loss(x, samples)["decode.loss_ce"].backward()
        assert all(weight.grad.isfinite().all() for weight in model.parameters())
        step.step()

        torch.manual_seed(0)  # of dropout
        logits = model.decode_head(model.extract_feat(x))
        torch.manual_seed(0)
        loss = model.loss(x, samples)["decode.loss_ce"]
        larger = F.interpolate(logits, (64, 64), mode="bilinear")
        mean = F.cross_entropy(larger, classes[:, 0], ignore_index=255)
        torch.testing.assert_close(loss, mean / 2)  # over all pixels, half of which are 255

        model.eval()
        assert model.encode_decode(x, [{"img_shape": (64, 64)}] * 2).shape == (2, 2, 64, 64)
"""

OPERATOR = """
import torch

from jobs.lib import openmmlab

print(openmmlab.prepare())

from mmcv.ops import nms

nms(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0.8]), 0.5)
"""


def run(program: str, folder: Path, *more: Path) -> subprocess.CompletedProcess[str]:
    """A program in an empty folder that is its home, too."""
    (home := folder / "home").mkdir()
    paths = os.pathsep.join(map(str, [*more, ROOT]))
    environment = os.environ | {"PYTHONPATH": paths, "HOME": str(home)}
    words = [sys.executable, "-c", program]
    ran = subprocess.run(words, cwd=home, env=environment, capture_output=True, text=True)
    assert not list(home.iterdir())
    return ran


def test_heads_train_in_silence(tmp_path: Path) -> None:
    ran = run(HEADS, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_an_operator_that_is_not_there_says_where_it_is(tmp_path: Path) -> None:
    ran = run(OPERATOR, tmp_path)
    if " with operators" in ran.stdout:
        pytest.skip(ran.stdout.strip())
    last = "NotImplementedError: mmcv's operator nms is not compiled here; the image `segmentation` has it\n"
    assert ran.stdout.endswith(" without operators\n") and ran.stderr.endswith(last)


def test_operators_that_are_there_stay(tmp_path: Path) -> None:
    (compiled := tmp_path / "mmcv").mkdir()
    (compiled / "__init__.py").write_text("__version__ = '9'\n")
    (compiled / "_ext.py").write_text("nms = 'compiled'\n")
    program = "from jobs.lib.openmmlab import prepare; print(prepare()); from mmcv._ext import nms; print(nms)"
    ran = run(program, tmp_path, tmp_path)
    assert (ran.stdout, ran.stderr) == ("mmcv 9 with operators\ncompiled\n", "")
