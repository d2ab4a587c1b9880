"""Labelled images: a label stays with its pixel, whatever is done to an image; masks that are none are refused."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.lib.augment import distorted
from jobs.lib.failure import BadData
from jobs.lib.labelled import TRIES, VOID, LabelledViews, Legend, View, labels, pixels, resized
from suite.index import Split
from suite.model import Input

CLASSES = 6
COLOURS = np.array([(0, 0, 0), (250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10), (10, 250, 250)], np.uint8)
UNCHANGED: dict[str, Any] = {"short_sides": (60,), "longest_side": 10_000, "ratios": (1.0, 1.0), "crop": 0}
UNCHANGED |= {"most_of_one": 1.0, "flip": False, "distorted": False}
CPU = torch.device("cpu")


def sides(short_sides: tuple[int, ...], longest: int = 1000) -> dict[str, Any]:
    return {"test_short_sides": short_sides, "test_longest_side": longest}


def views(folder: Path, image: np.ndarray, mask: np.ndarray, classes: int = CLASSES) -> LabelledViews:
    Image.fromarray(image).save(folder / "photo.png")
    Image.fromarray(mask).save(folder / "mask.png")
    return LabelledViews(folder, Split(["photo.png"], ["mask.png"]), Legend(range(classes), [VOID]))


def blocks(folder: Path, rows: int, columns: int, side: int = 20, parts: Sequence[float] = ()) -> LabelledViews:
    """An image of coloured squares; the colour is the class."""
    drawn = np.random.default_rng(0).choice(CLASSES, (-(-rows // side), -(-columns // side)), p=parts or None)
    mask = drawn.repeat(side, 0).repeat(side, 1)[:rows, :columns].astype(np.uint8)
    return views(folder, COLOURS[mask], mask)


def ramps(folder: Path, axis: int) -> LabelledViews:
    """Red tells twice the column, green twice the row; the label of a pixel is its row (or column)."""
    row, column = np.mgrid[:60, :90].astype(np.uint8)
    return views(folder, np.stack([2 * column, 2 * row, 0 * row], 2), (row, column)[axis], 90)


def agreement(view: View) -> float:
    """Part of the pixels that have the colour of their label, among those whose neighbours have that label, too."""
    mask, image = view.labels.numpy(), view.image.numpy().transpose(1, 2, 0).astype(int)
    around = np.lib.stride_tricks.sliding_window_view(mask, (5, 5))
    inside = (around == around[:, :, :1, :1]).all((2, 3))
    right = (np.abs(image - COLOURS[mask]) <= 2).all(2)[2:-2, 2:-2]
    assert inside.mean() > 0.3
    return float(right[inside].mean())


def draw(number: int) -> np.random.Generator:
    return np.random.default_rng(number)


# ---- masks


@pytest.mark.parametrize("mode", ["P", "L", "16 bit", "32 bit"])
def test_masks_of_all_modes(mode: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).choice([7, 0, 200, 255], (9, 13)).astype(np.uint8)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette(np.random.default_rng(1).integers(256, size=768).astype(np.uint8).tobytes())
    if "bit" in mode:
        image = Image.fromarray(values.astype({"16 bit": np.uint16, "32 bit": np.int32}[mode]))
    image.save(tmp_path / "mask.tif" if mode == "32 bit" else tmp_path / "mask.png")
    read = Legend([7, 200], [0, 255])(next(tmp_path.iterdir()))
    assert read.dtype == np.uint8
    expected = np.select([values == 7, values == 200], [0, 1], VOID)
    np.testing.assert_array_equal(read, expected)


def test_zero_may_be_void_and_values_may_be_large(tmp_path: Path) -> None:
    """As ADE20K's: 0 does not count, and class k has the value k + 1."""
    Image.fromarray(np.array([[0, 1, 2, 150]], np.uint8)).save(tmp_path / "a.png")
    assert Legend(range(1, 151), [0])(tmp_path / "a.png").tolist() == [[VOID, 0, 1, 149]]
    Image.fromarray(np.array([[26_001, 300, 0]], np.uint16)).save(tmp_path / "a.png")
    assert Legend([300, 26_001], [0])(tmp_path / "a.png").tolist() == [[1, 0, VOID]]


def test_a_mask_of_one_bit(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / "a.png")
    assert Legend([0, 1], [255])(tmp_path / "a.png").tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_mask_of_several_channels_is_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (3, 3)).save(tmp_path / "a.png")
    with pytest.raises(BadData, match=rf"a\.png is {mode}; expected a mask of one channel"):
        Legend([0, 1], [255])(tmp_path / "a.png")


def test_values_that_are_no_class_are_refused(tmp_path: Path) -> None:
    path, read = tmp_path / "a.png", Legend([0, 1], [255])
    Image.fromarray(np.array([[0, 1, 2], [9, 255, 2]], np.uint8)).save(path)
    with pytest.raises(BadData, match=r"a\.png: 3 of 6 pixels have values that are no class \(2, 9\)$"):
        read(path)
    Image.fromarray(np.arange(10, dtype=np.uint16)[None] + 1000).save(path)
    told = r"10 of 10 pixels .* \(1000, 1001, 1002, 1003, 1004\)$"
    with pytest.raises(BadData, match=told):
        read(path)
    for value in (-1, 70_000):
        Image.fromarray(np.array([[0, value]], np.int32)).save(tmp_path / "a.tif")
        with pytest.raises(BadData, match=rf"a\.tif: 1 of 2 pixels have values that are no class \({value}\)$"):
            read(tmp_path / "a.tif")


def test_what_is_looked_at_before_a_training(tmp_path: Path) -> None:
    kept = blocks(tmp_path, 40, 60)
    kept.check(0, whole=False)
    kept.check(0, whole=True)
    mask, photo = tmp_path / "mask.png", tmp_path / "photo.png"
    before, seen = mask.read_bytes(), photo.read_bytes()
    Image.fromarray(np.zeros((60, 40), np.uint8)).save(mask)
    for whole in (False, True):
        with pytest.raises(BadData, match=r"mask\.png is 40 x 60, but photo\.png is 60 x 40$"):
            kept.check(0, whole=whole)
    for broken in (b"", b"no image", before[: len(before) // 2]):
        mask.write_bytes(broken)
        with pytest.raises(BadData, match=r"mask\.png cannot be decoded"):
            kept.check(0, whole=False)
    mask.write_bytes(before)
    photo.write_bytes(seen[:-60])
    kept.check(0, whole=False)  # its header is whole
    with pytest.raises(BadData, match=r"photo\.png cannot be decoded"):
        kept.check(0, whole=True)
    photo.unlink()
    with pytest.raises(BadData, match=r"photo\.png cannot be decoded"):
        kept.check(0, whole=False)


def test_a_photo_that_is_to_be_turned_stays_as_its_mask(tmp_path: Path) -> None:
    kept = blocks(tmp_path, 40, 60)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(tmp_path / "photo.png").save(tmp_path / "photo.png", exif=turned)
    kept.check(0, whole=True)
    assert agreement(kept.still(0, sides((80,), 200))) == 1


# ---- training


@pytest.mark.parametrize("crop", [0, 48, 64, 400])
def test_labels_stay_with_their_pixels(crop: int, tmp_path: Path) -> None:
    kept = blocks(tmp_path, 70, 110)
    how = UNCHANGED | {"short_sides": (60, 90), "ratios": (0.75, 2.0), "crop": crop, "flip": True, "most_of_one": 0.75}
    shapes = set()
    for number in range(12):
        view = kept.train(0, draw(number), how)
        assert (view.image.dtype, view.labels.dtype) == (torch.uint8, torch.uint8)
        assert view.image.shape == (3, *view.labels.shape)
        assert agreement(view) == 1
        shapes.add(tuple(view.labels.shape))
    assert all(0 < rows <= (crop or 180) and 0 < columns <= (crop or 300) for rows, columns in shapes)
    assert ((48, 48) in shapes) == (crop == 48)
    assert (len(shapes) > 6) == (crop in (0, 400))  # where images are smaller, all of them is taken


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("short", [45, 60, 100, 137])
def test_no_label_is_half_a_pixel_off(short: int, axis: int, tmp_path: Path) -> None:
    view = ramps(tmp_path, axis).train(0, draw(0), UNCHANGED | {"short_sides": (short,)})
    assert min(view.labels.shape) == short
    place = view.image[1 - axis].double() / 2  # red is the column
    off = (place - view.labels).numpy()[3:-3, 3:-3]
    assert np.abs(off).max() <= 0.5 + 0.25 + 1e-9  # the nearest, and a rounded level
    assert abs(off.mean()) < 0.06


def test_half_of_all_images_are_flipped_with_their_labels(tmp_path: Path) -> None:
    kept = ramps(tmp_path, axis=1)
    plain = kept.train(0, draw(0), UNCHANGED)
    flipped = 0
    for number in range(40):
        view = kept.train(0, draw(number), UNCHANGED | {"flip": True})
        mirrored = bool(view.labels[0, 0] > view.labels[0, -1])
        flipped += mirrored
        assert torch.equal(view.image, plain.image.flip(-1) if mirrored else plain.image)
        assert torch.equal(view.labels, plain.labels.flip(-1) if mirrored else plain.labels)
    assert 10 < flipped < 30


def test_sizes_are_those_of_the_settings(tmp_path: Path) -> None:
    kept, how = ramps(tmp_path, axis=0), UNCHANGED | {"short_sides": (30, 50), "longest_side": 70}
    assert {tuple(kept.train(0, draw(n), how).labels.shape) for n in range(20)} == {(30, 45), (47, 70)}
    more = [kept.train(0, draw(n), how | {"ratios": (0.5, 2.0)}).labels.shape for n in range(60)]
    assert 15 <= min(map(min, more)) < 20 and 130 < max(map(max, more)) <= 140


@pytest.mark.parametrize(("most", "void"), [(1.0, False), (0.75, False), (0.75, True), (0.5, True)])
def test_a_crop_is_the_first_with_several_classes(most: float, void: bool, tmp_path: Path) -> None:
    """As mmsegmentation's RandomCrop, step by step; what does not count has no part in it."""
    kept = blocks(tmp_path, 60, 90, side=30, parts=[0.8, 0.2, 0, 0, 0, 0])
    if void:
        mask = np.array(Image.open(tmp_path / "mask.png"))
        mask[:, ::2] = VOID
        Image.fromarray(mask).save(tmp_path / "mask.png")
    whole = kept.still(0, sides((60,), 90))
    missed = 0
    for number in range(30):
        view, again = kept.train(0, draw(number), UNCHANGED | {"crop": 24, "most_of_one": most}), draw(number)
        again.uniform(1, 1)
        again.choice((60,))
        for _ in range(TRIES if most < 1 else 1):
            top, left = again.integers(60 - 24 + 1), again.integers(90 - 24 + 1)
            part = whole.labels[top : top + 24, left : left + 24]
            counts = np.unique(part[part != VOID], return_counts=True)[1]
            if len(counts) > 1 and counts.max() / counts.sum() < most:
                break
        else:
            missed += most < 1
        assert torch.equal(view.labels, part)
        assert torch.equal(view.image, whole.image[:, top : top + 24, left : left + 24])
    assert missed == 30 if most == 0.5 else missed < 20  # of two classes, one always has a half


def test_a_view_is_a_function_of_its_draw(tmp_path: Path) -> None:
    kept = blocks(tmp_path, 70, 110)
    how = UNCHANGED | {"ratios": (0.5, 2.0), "crop": 48, "most_of_one": 0.75, "flip": True, "distorted": True}
    first, other, again = (kept.train(0, draw(number), how) for number in (1, 2, 1))
    assert torch.equal(first.image, again.image) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, other.labels)
    changed = kept.train(0, draw(1), how | {"distorted": False})
    assert torch.equal(first.labels, changed.labels) and not torch.equal(first.image, changed.image)


# ---- colours


def moved(image: np.ndarray, number: int) -> tuple[np.ndarray, list[float]]:
    """What `distorted` says it does, by colorsys; and brightness, contrast, saturation and hue that were drawn."""
    again = draw(number)
    brightness = again.uniform(-32, 32) if again.random() < 0.5 else 0.0
    early = again.random() < 0.5
    contrast, saturation = (again.uniform(0.5, 1.5) if again.random() < 0.5 else 1.0 for _ in range(2))
    hue = again.uniform(-36, 36) if again.random() < 0.5 else 0.0
    made = np.clip(image + brightness, 0, 255)
    made = np.clip(made * contrast, 0, 255) if early else made
    for pixel in made.reshape(-1, 3):
        h, s, v = colorsys.rgb_to_hsv(*pixel / 255)
        pixel[:] = 255 * np.array(colorsys.hsv_to_rgb((h + hue / 360) % 1, min(s * saturation, 1), v))
    return made if early else np.clip(made * contrast, 0, 255), [brightness, contrast - 1, saturation - 1, hue]


def test_colours_move_as_they_are_said_to() -> None:
    image = np.random.default_rng(0).integers(256, size=(6, 8, 3)).astype(np.uint8)
    before, seen = image.copy(), []
    for number in range(60):
        made, (expected, drawn) = distorted(image, draw(number)), moved(image.astype(float), number)
        assert (made.dtype, made.shape) == (np.uint8, image.shape)
        difference = made - expected
        # PIL has 255 hues, of up to 6 levels each, and contrast comes after them.
        assert np.abs(difference).max() < 14 and np.abs(difference).mean() < 3
        assert abs(difference.mean()) < 1.5
        seen.append([bool(value) for value in drawn])
        if not any(drawn):
            np.testing.assert_array_equal(made, image)
        if not any(drawn[2:]):
            assert np.abs(difference).max() < 2
    np.testing.assert_array_equal(image, before)
    assert all(15 < happened < 45 for happened in np.sum(seen, 0))  # each half of the time


def test_grey_stays_grey() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    for number in range(20):
        made = distorted(image, draw(number))
        assert (made == made[..., :1]).all()
        assert (np.diff(made[0, :, 0].astype(int)) >= 0).all()  # and nothing runs over


# ---- the test, and batches


def test_an_image_at_all_sizes_of_the_test(tmp_path: Path) -> None:
    kept = ramps(tmp_path, axis=0)
    shown = kept.test(0, sides((30, 60, 100), 120))
    assert shown.size == (60, 90)
    assert [tuple(image.shape) for image in shown.images] == [(3, 30, 45), (3, 60, 90), (3, 80, 120)]
    assert all(image.dtype == torch.uint8 for image in shown.images)
    photo = Image.open(tmp_path / "photo.png")
    np.testing.assert_array_equal(shown.images[1].permute(1, 2, 0).numpy(), np.asarray(photo))
    smaller = np.asarray(photo.resize((45, 30), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(shown.images[0].permute(1, 2, 0).numpy(), smaller)


def test_an_image_as_it_is_looked_at_in_between(tmp_path: Path) -> None:
    kept = ramps(tmp_path, axis=1)
    view, shown = kept.still(0, sides((47,))), kept.test(0, sides((47,)))
    assert torch.equal(view.image, shown.images[0])
    assert view.labels.shape == view.image.shape[1:] == (47, 71)
    assert (view.labels - view.image[0] / 2).abs().max() <= 0.75


def test_sizes_are_mmcvs() -> None:
    mmcv = pytest.importorskip("mmcv", reason="mmsegmentation is not installed: make setup")
    random = np.random.default_rng(0)
    for _ in range(2_000):
        size = tuple(map(int, random.integers(20, 3000, 2)))
        short = random.choice([int(random.integers(20, 1024)), random.uniform(20, 1024)])
        longest = short * random.uniform(1, 5)
        assert resized(size, short, longest) == mmcv.rescale_size(size, (longest, short))
    assert resized((1000, 1), 10, 100) == (100, 1)  # none is empty


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_pixels_are_normalised_and_then_padded(channels: str) -> None:
    made_by = Input(mean=(0.1, 0.2, 0.3), std=(0.2, 0.3, 0.4), channels=channels)
    random = torch.Generator().manual_seed(0)
    given = [torch.randint(256, (3, *size), generator=random).byte() for size in ((20, 33), (31, 8))]
    made = pixels(given, made_by, 32, CPU)
    assert (made.shape, made.dtype) == ((2, 3, 32, 64), torch.float32)
    for image, one in zip(given, made, strict=True):
        rows, columns = image.shape[1:]
        for channel in range(3):
            expected = (image[channel].double() / 255 - made_by.mean[channel]) / made_by.std[channel]
            at = channel if channels == "RGB" else 2 - channel
            torch.testing.assert_close(one[at, :rows, :columns].double(), expected, atol=1e-5, rtol=0)
        assert not one[:, rows:].any() and not one[:, :, columns:].any()
    assert pixels(given, made_by, 1, CPU).shape == (2, 3, 31, 33)


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_labels_of_a_batch(stride: int) -> None:
    random = np.random.default_rng(0)
    masks = [random.integers(0, 200, size).astype(np.uint8) for size in ((20, 33), (31, 8))]
    given = [View(torch.zeros(3, *mask.shape, dtype=torch.uint8), torch.from_numpy(mask)) for mask in masks]
    made = labels(given, (35, 41), stride, CPU)
    assert made.dtype == torch.int64
    assert made.shape == (2, -(-35 // stride), -(-41 // stride))
    for one, mask in zip(made, masks, strict=True):
        for row, column in np.ndindex(one.shape):
            y, x = stride * row, stride * column
            assert one[row, column] == (mask[y, x] if y < mask.shape[0] and x < mask.shape[1] else VOID)


def test_a_batch_of_crops_is_of_the_crops_size() -> None:
    small = torch.zeros(3, 20, 30, dtype=torch.uint8)
    made = pixels([small], Input(), 1, torch.device("cpu"), least=32)
    assert made.shape == (1, 3, 32, 32)
    assert not made[:, :, 20:].any() and not made[..., 30:].any()
