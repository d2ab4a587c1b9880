"""Angles against direct computation of all pixels in float64."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from jobs.lib import angles, seeds
from jobs.lib.angles import Measured, evaluate, measure
from suite.result import Metric

Pair = tuple[np.ndarray, np.ndarray]


def directions(random: np.random.Generator, count: int) -> np.ndarray:
    drawn = random.normal(size=(count, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def drawn(images: int = 5, seed: int = 0, pixels: int = 4_000) -> list[Pair]:
    """Found and true normals: the first near the second, each image by another amount; lengths of any kind."""
    random = np.random.default_rng(seed)
    pairs = []
    for image in range(images):
        truth = directions(random, pixels + image)
        found = truth + (0.1 + 0.2 * image) * random.normal(size=truth.shape)
        pairs.append((found.astype(np.float32), truth.astype(np.float32)))
    return pairs


def direct(pairs: list[Pair]) -> np.ndarray:
    """Degrees, of all pixels, by the cosine."""
    unit = [[v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1)[:, None] for v in p] for p in pairs]
    cosine = np.concatenate([(found * truth).sum(1) for found, truth in unit])
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def named(pairs: list[Pair], seed: int = 0) -> dict[str, Metric]:
    return {metric.name: metric for metric in evaluate([measure(*pair) for pair in pairs], seed)}


def turned(*degrees: float) -> Pair:
    """Directions that far from the eye's, and the eye's."""
    at = np.radians(degrees)
    return np.stack([np.sin(at), 0 * at, np.cos(at)], 1), np.tile([0.0, 0.0, 2.0], (len(degrees), 1))


@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_those_of_all_angles(seed: int) -> None:
    pairs = drawn(seed=seed)
    expected, got = direct(pairs), named(pairs)
    assert got["mean_angle"].value == pytest.approx(expected.mean(), abs=1e-6)
    assert got["median_angle"].value == pytest.approx(np.median(expected), abs=0.02)
    for limit in (11.25, 22.5, 30):
        assert got[f"within_{limit:g}"].value == pytest.approx((expected < limit).mean(), abs=1e-9)
    assert 0.05 < got["within_11.25"].value < got["within_30"].value < 0.95
    assert [metric.name for metric in got.values() if metric.headline] == ["within_11.25"]
    assert all(metric.low <= metric.value <= metric.high and metric.n == 5 for metric in got.values())


def test_ends_of_the_scale() -> None:
    same, opposite = turned(0, 0, 0), turned(180, 180)
    for pair, angle in ((same, 0), (opposite, 180)):
        got = {name: metric.value for name, metric in named([pair]).items()}
        assert got.pop("median_angle") == pytest.approx(angle, abs=0.05)  # a bin's width
        assert got.pop("mean_angle") == pytest.approx(angle, abs=1e-9)
        assert list(got.values()) == [angle == 0] * 3
    both = named([same, opposite])
    assert both["within_30"].value == pytest.approx(3 / 5)
    assert both["mean_angle"].value == pytest.approx(72)


@pytest.mark.parametrize("limit", [11.25, 22.5, 30.0])
def test_a_limit_itself_is_not_below_it(limit: float) -> None:
    name = f"within_{limit:g}"
    assert named([turned(limit - 1e-9, limit + 1e-9)])[name].value == 0.5
    # In float64 a turn by the limit may come out a hair short of it: both ways count as the angle itself does.
    found, truth = turned(limit)
    itself = np.degrees(np.arctan2(found[0, 0], found[0, 2]))
    assert named([(found, truth)])[name].value == (itself < limit)
    exact = np.zeros(angles.BINS, int)
    exact[int(limit * angles.PER_DEGREE)] = 1
    assert next(m.value for m in evaluate([Measured(exact, limit)], 0) if m.name == name) == 0


def test_small_angles_of_float32_are_exact() -> None:
    """Where the cosine of float32 is 1 up to 0.02 degrees."""
    found, truth = turned(*np.full(100, 0.01))
    one = measure(found.astype(np.float32), truth.astype(np.float32))
    assert one.total / 100 == pytest.approx(0.01, rel=1e-4)
    far = measure(-found.astype(np.float32), truth.astype(np.float32))
    assert far.total / 100 == pytest.approx(179.99, abs=1e-4)


def test_lengths_do_not_matter_and_no_direction_is_a_right_angle() -> None:
    (found, truth), scale = drawn(1)[0], np.random.default_rng(0).uniform(1e-3, 1e3, (4_000, 1))
    assert measure(found * scale, truth).total == pytest.approx(measure(found, truth).total, rel=1e-6)
    assert measure(np.zeros((2, 3)), truth[:2]).total == 180


def test_the_median_is_interpolated() -> None:
    """Within the bin that holds it, as if its angles lay evenly: nearer than a bin's width."""
    random = np.random.default_rng(0)
    for low, high in ((0, 0.2), (44.9, 45.3), (170, 180)):
        found = random.uniform(low, high, 3001)
        value = named([turned(*found)])["median_angle"].value
        assert value == pytest.approx(np.median(found), abs=min(0.01, (high - low) / 50))


def test_an_image_without_normals_changes_nothing() -> None:
    """And where such images alone are drawn again, there is no value."""
    some, none = drawn(1)[0], (np.zeros((0, 3)), np.zeros((0, 3)))
    without, with_it = named([some]), named([none, some, none])
    assert measure(*none).histogram.sum() == measure(*none).total == 0
    for name, metric in with_it.items():
        assert metric.value == pytest.approx(without[name].value)
        assert (metric.low, metric.high) == pytest.approx((metric.value, metric.value))
    with pytest.raises(ValueError, match="undefined on every resample"):
        named([none])


@pytest.mark.parametrize("name", ["mean_angle", "within_22.5", "median_angle"])
def test_intervals_are_those_of_images_drawn_again(name: str) -> None:
    pairs = drawn(6, pixels=301)
    each = [direct([pair]) for pair in pairs]
    of = {"mean_angle": np.mean, "within_22.5": lambda x: np.mean(x < 22.5), "median_angle": np.median}[name]
    draw = np.random.default_rng(seeds.number(3, "bootstrap", name))
    chunks = [draw.integers(6, size=(100, 6)) for _ in range(10)]
    values = [of(np.concatenate([each[row] for row in rows])) for rows in np.concatenate(chunks)]
    metric = named(pairs, seed=3)[name]
    expected = of(np.concatenate(each)), *np.quantile(values, [0.025, 0.975])
    tolerance = 0.1 if name == "median_angle" else 1e-6
    assert (metric.value, metric.low, metric.high) == pytest.approx(expected, abs=tolerance)
    assert metric.low < metric.high


def test_what_is_kept_gives_the_same_numbers(tmp_path: Path) -> None:
    measured, path = [measure(*pair) for pair in drawn()], tmp_path / "angles.npz"
    angles.save(measured, path)
    assert os.listdir(tmp_path) == [path.name]
    with np.load(path) as kept:
        again = [Measured(*row) for row in zip(kept["histogram"], kept["total"], strict=True)]
        assert kept["per_degree"] == angles.PER_DEGREE
        assert kept["histogram"].sum(1).tolist() == [4_000 + image for image in range(5)]
    assert evaluate(again, 1) == evaluate(measured, 1)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    for module, name in ((np.lib.format, "write_array"), (os, "replace")):
        with monkeypatch.context() as patched, pytest.raises(OSError, match="no space"):
            patched.setattr(module, name, full)
            angles.save([measure(*drawn(1)[0])], tmp_path / "angles.npz")
        assert not (tmp_path / "angles.npz").exists()
