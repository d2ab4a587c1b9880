"""Few-shot episodes on cached features: nearest class mean, squared Euclidean distance."""

import numpy as np
import torch
from torch import Tensor

BATCH = 50  # episodes gathered at once


def accuracies(
    features: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    *,
    shots: int,
    way: int = 5,
    query: int = 15,
    episodes: int = 600,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Accuracy (0 to 1, float64) of each episode; episode e depends on (seed, e, labels, way, shots, query) only.

    Classes with fewer than shots + query images are not drawn.
    features: N x D, tensor or memmap; labels: N class numbers.
    """
    members = _members(np.asarray(labels), shots + query)
    if len(members) < way:
        raise ValueError(f"{len(members)} classes have {shots + query} images; {way} are needed")
    found = []
    for start in range(0, episodes, BATCH):
        numbers = range(start, min(start + BATCH, episodes))
        drawn = np.stack([_draw(members, way, shots + query, seed, number) for number in numbers])
        found.append(_classify(features, drawn, shots, torch.device(device)))
    return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)


def _members(labels: np.ndarray, least: int) -> list[np.ndarray]:
    """Image numbers of every class that has at least `least`."""
    groups = (np.flatnonzero(labels == each) for each in np.unique(labels))
    return [group for group in groups if len(group) >= least]


def _draw(members: list[np.ndarray], way: int, images: int, seed: int, episode: int) -> np.ndarray:
    """Image numbers, way x images, both drawn without replacement by a generator of this episode's own."""
    generator = np.random.default_rng((seed, episode))
    classes = generator.choice(len(members), way, replace=False)
    return np.stack([generator.choice(members[each], images, replace=False) for each in classes])


def _classify(features: Tensor | np.ndarray, drawn: np.ndarray, shots: int, device: torch.device) -> Tensor:
    """Accuracy of each of a batch of episodes; drawn: episodes x way x (shots + query)."""
    _, way, images = drawn.shape
    support = _gather(features, drawn[:, :, :shots], device).mean(2)
    queries = _gather(features, drawn[:, :, shots:], device).flatten(1, 2)
    # -||f - p||^2 without ||f||^2, which is the same for every class. Centring keeps the rest small.
    centre = support.mean(1, keepdim=True)
    support, queries = support - centre, queries - centre
    score = 2 * queries @ support.transpose(1, 2) - support.square().sum(2)[:, None]
    truth = torch.arange(way, device=device).repeat_interleave(images - shots)
    return (score.argmax(2) == truth).double().mean(1).cpu()


def _gather(features: Tensor | np.ndarray, index: np.ndarray, device: torch.device) -> Tensor:
    """The named rows as float32, in the shape of the index."""
    if isinstance(features, Tensor):
        flat = features[torch.from_numpy(index.reshape(-1)).to(features.device)]
    else:
        flat = torch.from_numpy(features[index.reshape(-1)])
    return flat.to(device, torch.float32).reshape(*index.shape, -1)
