"""Views: every operation against torchvision's on the same numbers, what is drawn, and the geometry of patches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from jobs.lib import augment, colour
from jobs.lib.failure import BadTask
from jobs.pretrain.lib import views
from jobs.pretrain.lib.views import View, Views

SIMCLR: dict[str, Any] = {"count": 2, "jitter": (0.8, 0.8, 0.8, 0.2), "jitter_p": 0.8, "grey": 0.2, "blur": 0.5}
ALL = {**SIMCLR, "jitter_p": 1.0, "blur": 1.0, "solarise": 0.5, "rotate": 2.0}
LEVEL = 1.0  # of 255


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def photo(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Smooth, with saturated colours, greys, black and white in it."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(-64, 320, (6, 8, 3)).clip(0, 255).astype(np.uint8)
    coarse[2] = coarse[2, :, :1]
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def floats(size: int = 64) -> torch.Tensor:
    return torch.from_numpy(photo(size, size)).permute(2, 0, 1).float().contiguous()


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def one(image: np.ndarray, seed: int = 0, **spec: Any) -> torch.Tensor:
    return Views([spec])(image, generator(seed))[0]


def far(made: torch.Tensor, expected: torch.Tensor) -> float:
    """Mean absolute error, in levels."""
    assert made.shape == expected.shape
    return (made.float() - expected.float()).abs().mean().item()


CHANGES = {
    "brightness": (colour.brightness, reference.adjust_brightness, (0.0, 0.2, 1.0, 1.8)),
    "contrast": (colour.contrast, reference.adjust_contrast, (0.0, 0.2, 1.0, 1.8)),
    "saturation": (colour.saturation, reference.adjust_saturation, (0.0, 0.2, 1.0, 1.8, 2.0)),
    "hue": (colour.hue, reference.adjust_hue, (-0.5, -0.2, -0.01, 0.0, 0.1, 0.34, 0.5)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_is_torchvisions(name: str) -> None:
    ours, theirs, amounts = CHANGES[name]
    for amount in amounts:
        made = floats()
        ours(made, amount)
        assert (made - theirs(floats() / 255, amount) * 255).abs().max() < 0.05, amount  # LUMA: 0.299 and 0.2989
        assert far(made, theirs(floats().to(torch.uint8), amount)) < 1.5, amount  # which rounds down


def test_hue_of_corners() -> None:
    """Pure and grey colours, where two channels are equal: a third of a turn moves the channels along."""
    corners = torch.tensor([[r, g, b] for r in (0.0, 128, 255) for g in (0.0, 128, 255) for b in (0.0, 128, 255)])
    made = corners.t().reshape(3, 3, 9).contiguous()
    moved = made.clone()
    colour.hue(moved, 1 / 3)
    assert torch.allclose(moved, made[[2, 0, 1]], atol=1e-3)


def test_jitter_is_its_changes_in_the_drawn_order() -> None:
    """The same draws, replayed through torchvision's functions on floats: on uint8 it rounds down after each of the
    four, which adds up to more than the 1.5 levels that one may differ by."""
    orders, most = set(), (0.4, 0.4, 0.4, 0.1)
    for seed in range(20):
        made, draw = floats(), generator(seed)
        colour.jitter(made, most, draw)
        draw, expected = generator(seed), floats() / 255
        order = draw.permutation(4)
        orders.add(tuple(order))
        for which in order:
            factor = draw.uniform(-0.1, 0.1) if which == 3 else draw.uniform(0.6, 1.4)
            expected = list(CHANGES.values())[which][1](expected, factor)
        assert (made - expected * 255).abs().max() < 0.1
    assert len(orders) > 10


def test_jitter_of_nothing_but_hue_changes_nothing_else() -> None:
    made = floats()
    colour.jitter(made, (0.0, 0.0, 0.0, 0.2), generator())
    assert torch.allclose(made.amax(0), floats().amax(0), atol=1e-3)
    assert far(made, floats()) > LEVEL


def test_grey_is_torchvisions() -> None:
    expected = reference.rgb_to_grayscale(torch.from_numpy(photo()).permute(2, 0, 1))
    assert far(colour.luma(torch.from_numpy(photo()).permute(2, 0, 1).float()), expected) < LEVEL
    made = one(photo(), size=32, grey=1.0)
    assert (made[0] == made[1]).all() and (made[1] == made[2]).all()


@pytest.mark.parametrize(("size", "kernel"), [(224, 23), (96, 9), (32, 3)])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_is_torchvisions(size: int, kernel: int, sigma: float) -> None:
    expected = reference.gaussian_blur(floats(size), [kernel, kernel], [sigma, sigma])
    assert (views.gaussian(floats(size), sigma) - expected).abs().max() < 0.05
    grey = floats(size)[:1].clone()
    assert (views.gaussian(grey, sigma) - expected[:1]).abs().max() < 0.05


def test_blur_of_a_size_below_its_kernel_is_nothing() -> None:
    assert torch.equal(views.gaussian(floats(16), 2.0), floats(16))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [32, 224])
def test_crop_is_pils(interpolation: str, size: int) -> None:
    """Downwards and upwards; the drawn box, cut out, then resized with antialiasing."""
    view = View(size=size, interpolation=interpolation)
    for seed in range(5):
        top, left, height, width = augment.box(120, 160, generator(seed), view.area)
        cut = Image.fromarray(photo()[top : top + height, left : left + width])
        expected = np.array(cut.resize((size, size), Image.Resampling[interpolation.upper()]))
        made = one(photo(), seed, size=size, interpolation=interpolation, flip=0.0)
        assert far(made, torch.from_numpy(expected).permute(2, 0, 1)) < 0.5


def test_solarise_and_flip_and_rotation_are_torchvisions() -> None:
    plain = one(photo(), size=64, flip=0.0)
    assert torch.equal(one(photo(), size=64, flip=0.0, solarise=1.0), reference.solarize(plain, 128))
    assert torch.equal(one(photo(), size=64, flip=1.0), reference.horizontal_flip(plain))
    draw = generator()
    views.crop(photo(), View(size=64), draw)
    draw.random()
    angle = draw.uniform(-20, 20)
    assert abs(angle) > 1
    assert torch.equal(one(photo(), size=64, flip=0.0, rotate=20.0), reference.rotate(plain, angle))


COMMON = (3 / 4, 4 / 3)


@pytest.mark.parametrize(
    ("shape", "ratio"), [((10, 400), COMMON), ((400, 10), COMMON), ((50, 60), (1, 1)), ((60, 50), (1, 1))]
)
def test_box_that_never_fits_is_the_centre(shape: tuple[int, int], ratio: tuple[float, float]) -> None:
    """Area 1 of a long image has no allowed ratio: torchvision's fallback."""
    height, width = shape
    low, high = ratio
    expected_w = width if width / height < low else round(height * high) if width / height > high else width
    expected_h = round(width / low) if width / height < low else height
    top, left, h, w = augment.box(height, width, generator(), (1.0, 1.0), ratio)
    assert (h, w) == (expected_h, expected_w)
    assert (top, left) == ((height - h) // 2, (width - w) // 2)


def test_probabilities_are_the_specs() -> None:
    """Each operation alone on an image where it shows."""
    image, draws, full = photo(48, 48), 800, {"size": 48, "area": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
    plain = torch.from_numpy(image).permute(2, 0, 1)
    cases: dict[str, tuple[dict[str, Any], float]] = {
        "flip": ({"flip": 0.5}, 0.5),
        "jitter": ({"jitter": (0.0, 0.0, 0.9, 0.0), "jitter_p": 0.8}, 0.8),
        "jitter, always": ({"jitter": (0.0, 0.0, 0.9, 0.0)}, 1.0),
        "grey": ({"grey": 0.2}, 0.2),
        "blur": ({"blur": 0.3, "sigma": (1.0, 2.0)}, 0.3),
        "solarise": ({"solarise": 0.1}, 0.1),
        "nothing": ({}, 0.0),
    }
    for name, (spec, expected) in cases.items():
        made, draw = Views([{**full, **spec}]), generator(3)
        share = np.mean([not torch.equal(made(image, draw)[0], plain) for _ in range(draws)])
        assert abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / draws) + 0.005, name


def test_views_are_a_function_of_image_and_draw() -> None:
    make, image = Views([ALL, {"size": 32, "count": 3}]), photo()
    kept = image.copy()
    first, second, other = make(image, generator(5)), make(image, generator(5)), make(image, generator(6))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], first[1])
    assert (image == kept).all()
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(make(image, generator(5))[0], first[0])


def test_views_come_in_the_order_of_specs_and_counts() -> None:
    made = Views([{"size": 224, "count": 2}, {"size": 96, "count": 3}, {"size": 32}])(photo(), generator())
    assert [tuple(view.shape) for view in made] == [(3, 224, 224)] * 2 + [(3, 96, 96)] * 3 + [(3, 32, 32)]
    assert all(view.dtype == torch.uint8 and view.is_contiguous() for view in made)


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 200), (32, 32), (224, 224)])
def test_every_image_gives_views(shape: tuple[int, int], size: int) -> None:
    for seed in range(4):
        image = photo(*shape, seed=seed)
        for view in Views([{**ALL, "size": size}])(image, generator(seed)):
            assert tuple(view.shape) == (3, size, size) and view.is_contiguous()


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_grey_images_stay_grey(level: int) -> None:
    """Without hue there is nothing to turn; black and white have no contrast to change."""
    image = np.full((40, 50, 3), level, np.uint8)
    for seed in range(10):
        made = Views([{**SIMCLR, "size": 32, "jitter": (0.0, 0.8, 0.8, 0.5)}])(image, generator(seed))
        assert all((view.int() - level).abs().max() <= 1 for view in made)


def test_views_are_of_the_image_not_in_it() -> None:
    """A crop of the whole at its own size must not be the array itself, which a cache may hold."""
    image = photo(32, 32)
    made = one(image, size=32, area=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    made.zero_()
    assert image.any()


def located(size: int, short: int) -> np.ndarray:
    """An image that a resize to `short` leaves as it is, and whose first two channels tell where a pixel is."""
    rows, columns = np.meshgrid(np.arange(short), np.arange(short), indexing="ij")
    return np.stack([rows % 251, columns % 251, rows // 251 * 2 + columns // 251], 2).astype(np.uint8)


@pytest.mark.parametrize(("size", "cell", "short"), [(64, 85, 292), (32, 42, 146), (16, 21, 73)])
def test_patches_lie_in_their_cells(size: int, cell: int, short: int) -> None:
    image, make = located(size, short), Views([{"patches": True, "size": size}])
    offsets, corners = set(), set()
    for seed in range(60):
        (made,) = make(image, generator(seed))
        assert tuple(made.shape) == (9, 3, size, size) and made.is_contiguous()
        numbers = made.int()
        rows, columns = numbers[:, 0] + numbers[:, 2] // 2 * 251, numbers[:, 1] + numbers[:, 2] % 2 * 251
        assert (rows[:, -1, 0] - rows[:, 0, 0] == size - 1).all()
        assert (columns[:, 0, -1] - columns[:, 0, 0] == size - 1).all()
        at = torch.stack([rows[:, 0, 0], columns[:, 0, 0]], 1)
        nominal = torch.tensor([[i // 3 * cell, i % 3 * cell] for i in range(9)])
        inside = at - nominal
        assert ((inside.amax(0) - inside.amin(0)) <= cell - size).all()
        assert (inside.amin(0) >= 0).all() and (inside.amax(0) <= short - 3 * cell + cell - size).all()
        offsets |= set((inside - inside.amin(0)).flatten().tolist())
        corners |= set(inside.flatten().tolist())
    assert max(offsets) == cell - size  # 21 of 64: both ends are drawn
    assert min(corners) <= 3 and max(corners) >= short - 3 * cell + cell - size - 3


def test_patches_of_other_images() -> None:
    """The shorter side is resized, whichever it is; grey has its probability."""
    make, draw = Views([{"patches": True, "size": 64, "grey": 0.66}]), generator()
    greys = []
    for shape in ((120, 160), (160, 120), (5, 9), (400, 300)) * 30:
        (made,) = make(photo(*shape), draw)
        assert tuple(made.shape) == (9, 3, 64, 64)
        greys.append(torch.equal(made[:, 0], made[:, 2]))
    assert abs(np.mean(greys) - 0.66) < 4 * math.sqrt(0.66 * 0.34 / len(greys))


def test_patches_of_a_photo_are_torchvisions() -> None:
    """Resize of the shorter side, then the crop and the cells at the drawn places."""
    (made,) = Views([{"patches": True, "size": 64}])(photo(300, 400), generator(2))
    whole = reference.resize(torch.from_numpy(photo(300, 400)).permute(2, 0, 1), [292], antialias=True)
    draw = generator(2)
    top, left = int(draw.integers(whole.shape[1] - 254)), int(draw.integers(whole.shape[2] - 254))
    tops, lefts = draw.integers(22, size=(2, 9))
    for i in range(9):
        y, x = top + i // 3 * 85 + tops[i], left + i % 3 * 85 + lefts[i]
        assert far(made[i], whole[:, y : y + 64, x : x + 64]) < 0.5


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(BadTask, match=r"gray.*grey"):
        Views([{"size": 32, "gray": 0.2}])
    with pytest.raises(BadTask, match="blur"):
        Views([{"size": 64, "patches": True, "blur": 0.5}])
    Views([{"size": 64, "patches": True, "blur": 0.0}])
