"""Scenes: pictures composed of scanned digits in VOC's layout, with boxes and masks. A pure function of the seed.

A scene has 2 to 6 digits of 16 to 40 pixels in inks of their own on a background with a gradient and noise. Later ones
are drawn over earlier ones, some close to one; of each box at least half stays free of later ink. No scan is in scenes
of two splits: those of test are the test scans, those of val every fifth train scan of a class.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple
from xml.etree import ElementTree

from suite import png
from suite.scans import DARKEST, SIDE, Scan, scans

WIDTH, HEIGHT = 128, 96
SCENES = {"train": 96, "val": 32, "test": 64}
SIDES = (16, 40)  # a digit's side in pixels: its 8x8 scan enlarged 2 to 5 times
MOST, FEWEST = 6, 2
NOISE = 24  # levels that a pixel's noise adds at most
GRADIENT = 40  # levels between two borders of a background at most
CONTRAST = 60  # levels between ink and background at least, in each channel
TOUCHING = 0.2  # of the digits are put close to the one before
TRIES = 60  # places tried for a digit before there is one fewer
CLASSES = [str(digit) for digit in range(10)]
INKS = [(0, 0, 0), (192, 192, 192)]  # of masks: background, digit


class Digit(NamedTuple):
    """One object: its scan's number, its class, left, top, right, bottom of its ink (right and bottom excluded), and
    how many of its ink's pixels there are and how many no later digit covers."""

    scan: int
    digit: int
    box: tuple[int, int, int, int]
    ink: int
    visible: int


class Scene(NamedTuple):
    """A picture: RGB pixels, the mask (0 background, digit + 1), and its objects in the order they were drawn."""

    pixels: bytes
    mask: bytes
    digits: list[Digit]


def write(root: Path, seed: int = 0) -> int:
    """Write all scenes into a folder in VOC's layout, and return how many. Which digit it is, the boxes say and the
    masks don't: to learn that for every pixel takes more images."""
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (root / "ImageSets/Segmentation/classes.txt").write_text("digit\n")
    total = 0
    for split, found in scenes(seed).items():
        names = []
        for scene in found:
            total += 1
            names.append(f"{total:04d}")
            (root / f"JPEGImages/{names[-1]}.png").write_bytes(png.colour(scene.pixels, WIDTH))
            drawn = bytes(map(bool, scene.mask))
            (root / f"SegmentationClass/{names[-1]}.png").write_bytes(png.palette(drawn, WIDTH, INKS))
            (root / f"Annotations/{names[-1]}.xml").write_text(annotation(names[-1], scene))
        for lists in ("Main", "Segmentation"):
            (root / f"ImageSets/{lists}/{split}.txt").write_text("\n".join(names) + "\n")
    return total


def scenes(seed: int) -> dict[str, Iterator[Scene]]:
    """Split -> its scenes."""
    return {split: _several(held, SCENES[split], f"scene {seed} {split}") for split, held in pool(scans()).items()}


def _several(held: list[Scan], count: int, purpose: str) -> Iterator[Scene]:
    return (compose(held, Random(f"{purpose} {number}")) for number in range(count))


def pool(every: Iterable[Scan]) -> dict[str, list[Scan]]:
    """Split -> the scans that its scenes are made of."""
    found: dict[str, list[Scan]] = {split: [] for split in SCENES}
    seen: Counter[int] = Counter()
    for scan in every:
        seen[scan.digit] += scan.split == "train"
        split = "val" if scan.split == "train" and seen[scan.digit] % 5 == 0 else scan.split
        found[split].append(scan)
    return found


def annotation(name: str, scene: Scene) -> str:
    """The scene's XML, as VOC's: pixels from 1, the last included; difficult where most of the ink is covered."""
    tree = ElementTree.Element("annotation")
    for tag, text in (("folder", "digit-scenes"), ("filename", f"{name}.png")):
        ElementTree.SubElement(tree, tag).text = text
    size = ElementTree.SubElement(tree, "size")
    for tag, number in (("width", WIDTH), ("height", HEIGHT), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(number)
    ElementTree.SubElement(tree, "segmented").text = "1"
    for one in scene.digits:
        thing = ElementTree.SubElement(tree, "object")
        hidden = str(int(2 * one.visible < one.ink))
        facts = {"name": CLASSES[one.digit], "pose": "Unspecified", "truncated": "0", "difficult": hidden}
        for tag, text in facts.items():
            ElementTree.SubElement(thing, tag).text = text
        box = ElementTree.SubElement(thing, "bndbox")
        left, top, right, bottom = one.box
        for tag, number in (("xmin", left + 1), ("ymin", top + 1), ("xmax", right), ("ymax", bottom)):
            ElementTree.SubElement(box, tag).text = str(number)
    ElementTree.indent(tree, "\t")
    return ElementTree.tostring(tree, encoding="unicode") + "\n"


# ---- one scene


@dataclass
class _Placed:
    """A digit with its place: the strength of its ink, 0 to 1, at each pixel that has some."""

    scan: Scan
    strength: dict[int, float]  # position in the picture -> strength
    ink: set[int]  # positions where the strength is a half or more: what the mask and the box count
    box: tuple[int, int, int, int]

    def hidden(self, covered: set[int]) -> float:
        """The part of the box that lies under `covered`."""
        left, top, right, bottom = self.box
        inside = sum(left <= at % WIDTH < right and top <= at // WIDTH < bottom for at in covered)
        return inside / ((right - left) * (bottom - top))


def compose(held: list[Scan], draw: Random) -> Scene:
    """One scene of scans among `held`. Of `draw` only random() is used: Python promises its sequence, of no other."""
    placed: list[_Placed] = []
    for _ in range(_between(draw, FEWEST, MOST)):
        scan, side = held[_between(draw, 0, len(held) - 1)], _between(draw, *SIDES)
        for _ in range(TRIES):
            near = placed[-1].box[:2] if placed and draw.random() < TOUCHING else None
            left, top = _corner(draw, WIDTH - side, near and near[0]), _corner(draw, HEIGHT - side, near and near[1])
            one = _place(scan, side, left, top)
            if _all_seen([*placed, one]):
                placed.append(one)
                break
    bright = draw.random() < 0.5
    pixels, mask = _background(draw, bright), bytearray(WIDTH * HEIGHT)
    owner: dict[int, int] = {}
    for number, one in enumerate(placed):
        _paint(pixels, one.strength, _ink(draw, bright))
        for at in one.ink:
            mask[at] = one.scan.digit + 1
            owner[at] = number
    visible = Counter(owner.values())
    digits = [Digit(p.scan.number, p.scan.digit, p.box, len(p.ink), visible[n]) for n, p in enumerate(placed)]
    return Scene(bytes(pixels), bytes(mask), digits)


def _between(draw: Random, low: int, high: int) -> int:
    return low + int(draw.random() * (high - low + 1))


def _corner(draw: Random, most: int, near: int | None) -> int:
    """Where a digit starts, 0 to `most`: anywhere, or within some pixels of where another does."""
    if near is None:
        return _between(draw, 0, most)
    return min(max(near + _between(draw, -SIDES[0], SIDES[0]), 0), most)


def _place(scan: Scan, side: int, left: int, top: int) -> _Placed:
    rows = _enlarged(scan.ink, side)
    strength = {(top + y) * WIDTH + left + x: v for y, row in enumerate(rows) for x, v in enumerate(row) if v > 0}
    ink = {at for at, value in strength.items() if value >= 0.5}
    across, down = [at % WIDTH for at in ink], [at // WIDTH for at in ink]
    return _Placed(scan, strength, ink, (min(across), min(down), max(across) + 1, max(down) + 1))


def _enlarged(ink: list[int], side: int) -> list[list[float]]:
    """The scan at side x side by bilinear interpolation, its values from 0 to 1."""
    steps = []
    for position in range(side):
        at = min(max((position + 0.5) * SIDE / side - 0.5, 0.0), SIDE - 1.0)
        first = min(int(at), SIDE - 2)
        steps.append((first, at - first))
    rows = [[value / DARKEST for value in ink[i : i + SIDE]] for i in range(0, len(ink), SIDE)]
    wide = [[row[i] + (row[i + 1] - row[i]) * part for i, part in steps] for row in rows]
    return [[a + (b - a) * part for a, b in zip(wide[i], wide[i + 1], strict=True)] for i, part in steps]


def _all_seen(placed: list[_Placed]) -> bool:
    """Whether of each box no more than half lies under later ones' ink."""
    covered: set[int] = set()
    for one in reversed(placed):
        if one.hidden(covered) > 0.5:
            return False
        covered |= one.ink
    return True


def _background(draw: Random, bright: bool) -> bytearray:
    """A gradient across and down, with noise: between 0 and 2 * GRADIENT + NOISE, or as far below white."""
    ends = [(draw.random() * GRADIENT, draw.random() * GRADIENT) for _ in range(3)]
    row = bytes(int(a + (b - a) * x / (WIDTH - 1)) for x in range(WIDTH) for a, b in ends)
    above, below = draw.random() * GRADIENT, draw.random() * GRADIENT
    pixels = bytearray()
    for y in range(HEIGHT):
        shift = int(above + (below - above) * y / (HEIGHT - 1))
        noise = [int(draw.random() * NOISE) for _ in range(WIDTH)]
        pixels += bytes(map(operator.add, row, (shift + level for level in noise for _ in range(3))))
    return pixels.translate(bytes(range(255, -1, -1))) if bright else pixels


def _ink(draw: Random, bright: bool) -> tuple[int, ...]:
    room = 255 - 2 * GRADIENT - NOISE - CONTRAST
    levels = [int(draw.random() * room) for _ in range(3)]
    return tuple(levels if bright else [255 - level for level in levels])


def _paint(pixels: bytearray, strength: dict[int, float], ink: tuple[int, ...]) -> None:
    for at, value in strength.items():
        for channel, level in enumerate(ink):
            under = pixels[3 * at + channel]
            pixels[3 * at + channel] = int(under + (level - under) * value)
