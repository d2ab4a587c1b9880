"""Codebook against brute force and scikit-learn's k-means; files of normals as the layout's docstring has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn.cluster import KMeans

from jobs.lib import codebook
from jobs.lib.codebook import PUBLISHED, Codebook, means, normals, read, valid
from jobs.lib.failure import BadData
from jobs.lib.labelled import VOID

WORDS = 40


def directions(count: int, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """Unit vectors: about as many walls and floors as rooms have and, `spread`, noise on them."""
    random = np.random.default_rng(seed)
    faces = np.array([[0, -1, 0], [0, 1, 0], [1, 0, -0.2], [-1, 0, -0.2], [0, 0, -1.0]])
    drawn = faces[random.choice(5, count, p=[0.3, 0.1, 0.2, 0.2, 0.2])] + spread * random.normal(size=(count, 3)) * 0.5
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def encoded(vectors: np.ndarray) -> np.ndarray:
    return np.round(127.5 * (vectors + 1)).astype(np.uint8)


def saved(path: Path, vectors: np.ndarray, black: np.ndarray | None = None) -> Path:
    """A file of normals, height x width x 3, without any where it is `black`."""
    levels = encoded(vectors)
    if black is not None:
        levels[black] = 0
    Image.fromarray(levels).save(path)
    return path


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def to_nearest(vectors: np.ndarray, words: np.ndarray) -> float:
    """Mean angle in degrees to the nearest of the words."""
    return float(degrees(vectors[:, None], words).min(1).mean())


def test_normals_are_decoded_as_the_layout_says(tmp_path: Path) -> None:
    truth = directions(12 * 17).reshape(12, 17, 3)
    black = np.random.default_rng(1).random((12, 17)) < 0.2
    found = normals(saved(tmp_path / "a.png", truth, black))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(valid(found), ~black)
    assert not found[black].any()
    assert degrees(found, truth)[~black].max() < 0.5  # of a level in each of three channels
    np.testing.assert_allclose(np.linalg.norm(found[~black], axis=1), 1, atol=1e-6)


def test_normals_by_hand(tmp_path: Path) -> None:
    levels = np.array([[[0, 0, 0], [255, 127, 127], [0, 128, 128], [128, 0, 127], [127, 128, 0], [0, 0, 1]]], np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    found = normals(tmp_path / "a.png")
    np.testing.assert_allclose(found[0, 1:5], [[1, 0, 0], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=0.006)
    assert valid(found).tolist() == [[False, True, True, True, True, True]]  # black alone is none


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_what_holds_no_normals_is_refused(mode: str, tmp_path: Path) -> None:
    Image.fromarray(encoded(directions(12).reshape(3, 4, 3))).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(BadData, match=rf"a\.png is {mode}; expected a normal a pixel"):
        normals(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(BadData, match=r"a\.png cannot be decoded"):
        normals(tmp_path / "a.png")


def test_labels_are_the_nearest_words(tmp_path: Path) -> None:
    words, truth = directions(WORDS, 5), directions(40 * 30, 6, spread=2).reshape(40, 30, 3)
    black = np.random.default_rng(1).random((40, 30)) < 0.1
    path = saved(tmp_path / "a.png", truth, black)
    labels = Codebook(words, "").labels(path)
    assert (labels.shape, labels.dtype) == ((40, 30), np.uint8)
    assert (labels[black] == VOID).all()
    each = degrees(normals(path).astype(np.float64)[..., None, :], words)
    np.testing.assert_array_equal(labels[~black], each.argmin(2)[~black])
    assert len(np.unique(labels)) > WORDS // 2


@pytest.mark.parametrize("spread", [0.2, 1.0, 10.0])
def test_means_are_as_near_as_scikit_learns(spread: float) -> None:
    vectors = directions(3_000, spread=spread)
    words = means(vectors, WORDS, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(words, means(vectors, WORDS, np.random.default_rng(0)))
    assert not np.array_equal(words, means(vectors, WORDS, np.random.default_rng(1)))
    theirs = KMeans(WORDS, n_init=1, random_state=0).fit(vectors).cluster_centers_
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    assert to_nearest(vectors, words) < 1.1 * to_nearest(vectors, theirs)


def test_means_are_begun_far_apart_and_go_on_until_they_rest() -> None:
    """A few normals that are far from all others have a word of their own, and each word is the mean of its normals."""
    random, ratio = np.random.default_rng(0), (1 + 5**0.5) / 2
    corners = [(0, a, b * ratio) for a in (-1, 1) for b in (-1, 1)]  # of an icosahedron
    faces = np.array([np.roll(corner, turn) for corner in corners for turn in range(3)])
    faces = faces / np.linalg.norm(faces, axis=1, keepdims=True)
    vectors = faces.repeat([2_000, *[20] * 11], 0) + 0.003 * random.normal(size=(2_220, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = means(vectors, 12, np.random.default_rng(1))
    assert degrees(faces[:, None], words).min(1).max() < 1
    vectors = directions(2_000)
    words = means(vectors, 8, np.random.default_rng(0))
    near = degrees(vectors[:, None], words).argmin(1)
    own = np.stack([vectors[near == word].mean(0) for word in range(8)])
    assert degrees(own, words).max() < 0.1


def test_means_of_less_than_there_are_words() -> None:
    vectors = np.eye(3)[[0, 0, 1, 1, 2]]
    words = means(vectors, 5, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1)
    assert to_nearest(vectors, words) == 0


def test_words_are_found_among_the_training_normals(tmp_path: Path) -> None:
    files = [saved(tmp_path / f"{n}.png", directions(30 * 50, n).reshape(30, 50, 3)) for n in range(2)]
    book = read(tmp_path, files, WORDS, 0)
    assert book.words.shape == (WORDS, 3)
    assert book.source == "40 means of 1000 training normals, as there is no vocab40.mat"
    np.testing.assert_array_equal(book.words, read(tmp_path, files, WORDS, 0).words)
    assert not np.array_equal(book.words, read(tmp_path, files, WORDS, 1).words)
    some = directions(2_000, 9)
    assert to_nearest(some, book.words) < 1.15 * to_nearest(some, means(some, WORDS, np.random.default_rng(0)))


def test_black_is_no_training_normal(tmp_path: Path) -> None:
    black = np.arange(20 * 20).reshape(20, 20) >= 39
    path = saved(tmp_path / "a.png", directions(400).reshape(20, 20, 3), black)
    with pytest.raises(BadData, match=r": 39 normals in 1 images; expected 40 at least$"):
        read(tmp_path, [path], WORDS, 0)
    assert read(tmp_path, [path], 39, 0).words.shape == (39, 3)
    with pytest.raises(BadData, match="0 normals in 0 images"):
        read(tmp_path, [], WORDS, 0)


@pytest.mark.parametrize("turned", [False, True], ids=["40 x 3", "3 x 40"])
def test_the_published_words_come_first(turned: bool, tmp_path: Path) -> None:
    words = directions(WORDS, 3)
    savemat(tmp_path / PUBLISHED, {"note": "of 40 words", "count": WORDS, "vocab": 2 * (words.T if turned else words)})
    book = read(tmp_path, [tmp_path / "not there.png"], WORDS, 0)
    np.testing.assert_allclose(book.words, words, atol=1e-12)
    assert book.source == "vocab40.mat, published"


def test_published_words_that_are_none_are_refused(tmp_path: Path) -> None:
    path, words = tmp_path / PUBLISHED, directions(WORDS)
    cells, lost = np.empty((WORDS, 3), object), words.copy()
    cells[:], lost[7] = "x", 0
    for wrong in ({}, {"vocab": words[:39]}, {"vocab": words.ravel()}, {"vocab": cells}, {"vocab": lost}):
        savemat(path, wrong)
        with pytest.raises(BadData, match=r"vocab40\.mat has no 40 x 3 array; expected the codebook's unit vectors"):
            read(tmp_path, [], WORDS, 0)
    savemat(path, {"vocab": words}, do_compression=True)
    whole = path.read_bytes()
    for broken in (b"", b"words", whole[:100], whole[:126], whole[:200], whole[:-40]):
        path.write_bytes(broken)
        with pytest.raises(BadData, match=r"vocab40\.mat (cannot be read|has no 40 x 3 array)"):
            read(tmp_path, [], WORDS, 0)


def test_fewer_normals_of_a_file_are_all_drawn(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", directions(300).reshape(15, 20, 3))
    drawn = codebook._some(path, 0)
    assert drawn.dtype == np.float64
    expected = normals(path).reshape(-1, 3).astype(float)
    np.testing.assert_array_equal(np.unique(drawn, axis=0), np.unique(expected, axis=0))
    assert len(drawn) == 300
