"""Episodes against a naive loop, and what their plan says."""

import numpy as np
import pytest
import torch

from jobs.lib import episodes


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat(np.arange(8), 40))
    centres = random.normal(size=(8, 32))
    return (centres[labels] + 3 * random.normal(size=(320, 32))).astype(np.float32), labels


def naive(features, labels, shots, way, query, episode, seed=0):
    """One episode, image by image, in float64, on the images that the module drew."""
    members = episodes._members(labels, shots + query)
    drawn = episodes._draw(members, way, shots + query, seed, episode)
    features = features.astype(np.float64)
    means = [np.mean([features[i] for i in images[:shots]], axis=0) for images in drawn]
    right = [
        np.argmin([((features[i] - mean) ** 2).sum() for mean in means]) == number
        for number, images in enumerate(drawn)
        for i in images[shots:]
    ]
    return np.mean(right)


@pytest.mark.parametrize("shots", [1, 5, 20])
def test_equals_the_naive_loop(data, shots):
    found = episodes.accuracies(*data, shots=shots, episodes=60)
    expected = [naive(*data, shots, 5, 15, episode) for episode in range(60)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert 0.25 < found.mean() < 0.99


def test_draws_are_disjoint_and_of_one_class(data):
    _, labels = data
    drawn = episodes._draw(episodes._members(labels, 20), 5, 20, 0, 3)
    assert len(np.unique(drawn)) == 100
    found = labels[drawn]
    assert (found == found[:, :1]).all() and len(np.unique(found[:, 0])) == 5


def test_an_episode_does_not_depend_on_the_others(data):
    many = episodes.accuracies(*data, shots=5, episodes=130)
    few = episodes.accuracies(*data, shots=5, episodes=7)
    assert torch.equal(many[:7], few)
    assert not torch.equal(few, episodes.accuracies(*data, shots=5, episodes=7, seed=1))


def test_half_precision_memmap_and_tensor_agree(data, tmp_path):
    features, labels = data
    stored = np.memmap(tmp_path / "features", np.float16, "w+", shape=features.shape)
    stored[:] = features
    tensor = torch.from_numpy(features).half()
    one, two = (episodes.accuracies(each, labels, shots=5, episodes=20) for each in (stored, tensor))
    assert torch.equal(one, two)


def test_far_from_the_origin(data):
    features, labels = data
    both = features, features + np.float32(256)
    there, moved = (episodes.accuracies(each, labels, shots=5, episodes=50) for each in both)
    np.testing.assert_allclose(moved.mean(), there.mean(), atol=2e-3)


def test_too_few_classes(data):
    with pytest.raises(ValueError, match="0 classes have 65 images; 5 are needed"):
        episodes.accuracies(*data, shots=50)
