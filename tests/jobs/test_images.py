"""Images: decoding, and a transform that is PIL's to a tenth of a grey level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from PIL import Image

from jobs.lib.failure import BadData
from jobs.lib.images import Images, normalise, prepare
from jobs.lib.loader import Loader
from suite.model import Input


def by_pil(path: Path, made_by: Input) -> np.ndarray:
    """The published transform, by torchvision on PIL images."""
    mode = T.InterpolationMode.BICUBIC if made_by.interpolation == "bicubic" else T.InterpolationMode.BILINEAR
    steps = T.Compose([T.Resize(made_by.resize, mode), T.CenterCrop(made_by.size)])
    return np.asarray(steps(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("resize", "size"), [(224, 224), (256, 224), (64, 96), (300, 299)])
def test_the_transform_is_pils(shared: Path, interpolation: str, resize: int, size: int) -> None:
    made_by = Input(size=size, resize=resize, interpolation=interpolation)
    paths = (
        sorted(shared.glob("imagenet1k_mini/val/*/*"))[::5] + sorted(shared.glob("tiny-imagenet-mini/val/images/*"))[:5]
    )
    assert len(paths) == 25
    for path in paths:
        images = Images(path.parent, [path.name], [0])
        mine = prepare(images[0], made_by).permute(1, 2, 0).numpy()
        difference = np.abs(mine.astype(float) - by_pil(path, made_by)).mean()
        assert difference < 0.1, f"{path.name}: {difference} of 255"


def test_normalise_is_torchvisions() -> None:
    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    theirs = T.Normalize(Input().mean, Input().std)(x / 255)
    torch.testing.assert_close(normalise(x, Input()), theirs)
    torch.testing.assert_close(normalise(x, Input(channels="BGR")), theirs.flip(1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "LA"])
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new("RGB", (5, 7), (200, 10, 10)).convert(mode).save(path)
    assert Images(tmp_path, [path.name], [0])[0].shape == (7, 5, 3)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_an_image_that_is_cut_short_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "photo.jpg"
    Image.effect_noise((64, 64), 60).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadData, match=r"photo\.jpg cannot be decoded"):
        Images(tmp_path, [path.name], [0])[0]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_keep_order_and_every_item(device: str) -> None:
    loader = Loader(3, torch.device(device))
    made = list(loader.batches(lambda i: i * i, range(23), 5))
    assert [len(batch) for batch in made] == [5, 5, 5, 5, 3]
    assert [value for batch in made for value in batch] == [i * i for i in range(23)]


@pytest.mark.parametrize(("height", "width"), [(40, 90), (90, 40)])
def test_a_squashed_image_has_all_of_its_longer_side(height: int, width: int) -> None:
    made_by = Input(size=224).seen({"ratio": 1.15, "squash": True, "interpolation": "bilinear"})
    assert (made_by.resize, made_by.size) == (257, 224)  # Ericsson et al.'s int(224 * 1.15)
    assert Input(size=224).seen({"ratio": 256 / 224}).resize == 256
    across = np.broadcast_to(np.linspace(0, 255, width, dtype=np.uint8)[None, :, None], (height, width, 3))
    squashed = prepare(np.ascontiguousarray(across), made_by)
    assert squashed.shape == (3, 224, 224)
    # Of a ramp 257 wide the centre 224 begins 16 pixels in; cropped to the shorter side it would begin later, if broad.
    step = 255 / (width - 1)
    expected = ((np.arange(16, 240) + 0.5) * width / 257 - 0.5) * step
    assert np.abs(squashed[0, 100].numpy() - expected).max() < 4
