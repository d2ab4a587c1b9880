"""Look: what k-NN makes of a network under training, on images held out of the training set; test is not touched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from jobs.lib import metrics, neighbours, score, seeds
from jobs.lib.images import Images, normalise, prepare
from jobs.lib.workspace import BATCH, Workspace
from suite.cell import Cell
from suite.result import Metric


class Look:
    """A bank of labelled images and some to ask about; each rank computes its part of their features."""

    def __init__(self, cell: Cell, workspace: Workspace, images: Images, bank: np.ndarray, asked: np.ndarray) -> None:
        self.cell, self.workspace, self.images, self.bank, self.asked = cell, workspace, images, bank, asked
        self.labels = torch.from_numpy(images.labels)

    @classmethod
    def of(cls, cell: Cell, workspace: Workspace) -> Look | None:
        """None where the data set's images have no classes."""
        if cell.dataset.kind != "classification":
            return None
        images, s = workspace.images(cell.dataset, "train"), cell.task.settings
        bank, asked = seeds.holdout(images.labels, s["held_out"], 0)
        draw = seeds.generator(0, "look")
        bank, asked = (np.sort(draw.permutation(rows)[:most]) for rows, most in
                       ((bank, s["bank"]), (asked, s["most_held_out"])))  # fmt: skip
        return cls(cell, workspace, images, bank, asked) if len(asked) else None

    def __call__(self, network: nn.Module) -> float:
        """Top-1 of the images that are asked about, 0 to 1."""
        return score.value(self.votes(network), self.labels[self.asked], "top1")

    def metric(self, network: nn.Module) -> Metric:
        """The same with its interval."""
        votes, labels = self.votes(network), self.labels[self.asked]
        at = score.value(votes, labels, "top1")
        right = metrics.mean_statistic(metrics.correct(votes, labels))
        low, high = score.interval("knn", right, len(labels), self.cell.seed)
        return Metric("knn", at, low, high, len(labels), headline=True)

    @torch.inference_mode()
    def votes(self, network: nn.Module) -> Tensor:
        """One row an image that is asked about, one column a class."""
        training, s = network.training, self.cell.task.settings
        network.eval()
        bank, asked = (self._features(network, rows) for rows in (self.bank, self.asked))
        network.train(training)
        classes, labels = self.cell.dataset.classes, self.labels[self.bank]
        found = neighbours.predict(bank, labels, asked, classes, (s["k"],), s["temperature"])
        return found[s["k"]]

    def _features(self, network: nn.Module, rows: Sequence[int] | np.ndarray) -> Tensor:
        """N x D, on the CPU, in all ranks."""
        return features(network, self.images, rows, self.cell, self.workspace)


@torch.inference_mode()
def features(
    network: nn.Module,
    images: Images,
    rows: Sequence[int] | np.ndarray,
    cell: Cell,
    workspace: Workspace,
    *,
    everywhere: bool = True,
) -> Tensor:
    """N x D, on the CPU: what a network gives for some images, as they are, in the mode that it is in; for all ranks
    or, not `everywhere`, for the first alone, since those of millions of images take 10 GB."""
    made_by, own = cell.model.input, workspace.ranks.part(rows)
    out = []
    for pixels in workspace.loader.batches(lambda row: prepare(images[row], made_by), own, BATCH):
        x = normalise(torch.stack(pixels).to(workspace.device), made_by)
        out.append(network(x.contiguous(memory_format=torch.channels_last)).float().cpu())
    return (workspace.ranks.gather if everywhere else workspace.ranks.led)(torch.cat(out))
