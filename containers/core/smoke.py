"""Does this image do what core is for? One line a check; ends with 1 if one fails. Needs no network, GPU or home."""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import safetensors.torch
import timm
import torch
import torchvision
from sklearn.linear_model import LogisticRegression
from torchvision.io import decode_jpeg, encode_jpeg
from torchvision.ops import nms, roi_align


def versions() -> str:
    """Whose packages these are: the image's own, not a home folder's or the host's."""
    for module in (torch, torchvision, timm, np, pd, safetensors):
        assert str(module.__file__).startswith(f"{sys.prefix}/"), module.__file__
    return f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__} in {sys.prefix}"


def linear_algebra() -> str:
    """A system of equations is solved, and a matrix is put together again from its singular vectors."""
    square, vector = torch.randn(64, 64).double(), torch.randn(64).double()
    torch.testing.assert_close(square @ torch.linalg.solve(square, vector), vector)
    u, s, v = torch.linalg.svd(square)
    torch.testing.assert_close(u * s @ v, square)
    return "svd, solve"


def operators() -> str:
    """torchvision's compiled operators: of two equal boxes one stays; the mean over a constant is the constant."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]])
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]
    pooled = roi_align(torch.full((1, 3, 32, 32), 7.0), [boxes], output_size=4)
    torch.testing.assert_close(pooled, torch.full((3, 3, 4, 4), 7.0))
    return "nms, roi_align"


def jpeg() -> str:
    """A ramp survives being written and read."""
    ramp = torch.arange(0, 256, 4, dtype=torch.uint8).expand(3, 64, 64).contiguous()
    error = (decode_jpeg(encode_jpeg(ramp, quality=95)).int() - ramp.int()).abs().max().item()
    assert error < 16, error
    return f"off by {error} of 255"


def networks() -> str:
    """One network of torchvision and one of timm, forward, and one backward."""
    images = torch.randn(2, 3, 64, 64)
    assert torchvision.models.resnet18(weights=None).eval()(images).shape == (2, 1000)
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, num_classes=5)
    torch.nn.functional.cross_entropy(vit(images), torch.tensor([0, 4])).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in vit.parameters())
    return "resnet18, vit_tiny_patch16_224"


def evaluation() -> str:
    """Logistic regression on features of two classes, four standard deviations from one another."""
    draw = np.random.default_rng(0)
    labels = draw.integers(2, size=400)
    features = draw.normal(size=(400, 32)) + labels[:, None] * (4 / np.sqrt(32))
    accuracy = LogisticRegression().fit(features[:200], labels[:200]).score(features[200:], labels[200:])
    assert 0.9 < accuracy <= 1, accuracy
    return f"accuracy {accuracy:.3f}"


def cuda() -> str:
    """CUDA is built in; where there is a GPU it reckons as the CPU does, and where there is none nothing breaks."""
    assert torch.version.cuda is not None
    if not torch.cuda.is_available():
        return f"{torch.version.cuda} built in, no GPU here"
    left, right = torch.randn(2, 128, 128)
    torch.testing.assert_close((left.cuda() @ right.cuda()).cpu(), left @ right, rtol=1e-2, atol=1e-2)
    return f"{torch.version.cuda} on {torch.cuda.get_device_name()}"


def failures() -> Iterator[str]:
    """Names of the checks that fail."""
    checks: list[Callable[[], str]] = [versions, linear_algebra, operators, jpeg, networks, evaluation, cuda]
    for check in checks:
        torch.manual_seed(0)
        try:
            print(f"ok      {check.__name__}: {check()}", flush=True)
        except Exception as error:  # any: the other checks are to be seen as well
            print(f"FAILED  {check.__name__}: {error!r}", flush=True)
            yield check.__name__


sys.exit(1 if list(failures()) else 0)
