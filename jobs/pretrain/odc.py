"""ODC (Zhan et al., CVPR 2020): clusters that move with every step, of a bank of the images' features.

Settings: clusters, hidden and width (of the neck), keep (the share of the old vector in the bank), least (images in a
cluster), every (so many steps all centroids are computed anew), iterations (of k-means, at the start).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.lib import seeds
from jobs.pretrain.lib import across, bank, pseudo
from jobs.pretrain.lib.kmeans import kmeans, means
from jobs.pretrain.lib.method import Batch, Method, Setting, spread

ROUNDS = 20  # of the 2-means that splits a cluster


class ODC(Method):
    accumulates = False  # its loss is a weighted mean over the whole batch

    bank: Tensor  # images x width, unit vectors
    labels: Tensor  # of each image the cluster that it is in
    counts: Tensor  # of each cluster the images: always those of `labels`, without counting all of them in every step
    centroids: Tensor  # clusters x width: means of the bank, not of unit length

    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        s = setting.settings
        pseudo.check(setting, s["least"])
        hidden, width, clusters = s["hidden"], s["width"], s["clusters"]
        norm = nn.BatchNorm1d(hidden, momentum=0.001, affine=False)
        inner = (nn.Linear(setting.dimension, hidden), norm, nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.neck = nn.Sequential(*inner, nn.Linear(hidden, width), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(width, clusters)
        pseudo.restart(self.classifier, seeds.number(setting.seed, "classifier"))
        self.register_buffer("bank", torch.zeros(setting.images, width))
        self.register_buffer("labels", torch.zeros(setting.images, dtype=torch.long))
        self.register_buffer("counts", torch.zeros(clusters, dtype=torch.long))
        self.register_buffer("centroids", torch.zeros(clusters, width))

    def begin(self, epoch: int, features: Callable[..., Tensor]) -> None:
        if epoch:
            return
        found, ranks = features(nn.Sequential(self.backbone, self.neck)).to(self.bank.device), self.setting.ranks
        self.bank.copy_(F.normalize(found, dim=1))
        self.labels.copy_(ranks.same(self.clustered(found) if ranks.first else None))
        self.counts.copy_(torch.bincount(self.labels, minlength=len(self.counts)))
        self.centroids.copy_(means(self.bank, self.labels, self.centroids))

    def clustered(self, found: Tensor) -> Tensor:
        """The clusters of the images at the start, on the CPU; some may be empty."""
        s, draw = self.setting.settings, seeds.generator(self.setting.seed, "clusters")
        return kmeans(found, s["clusters"], draw, iterations=s["iterations"]).labels.cpu()

    def order(self, epoch: int, draw: np.random.Generator) -> np.ndarray:
        return draw.integers(self.setting.images, size=self.setting.images)

    def loss(self, batch: Batch) -> Tensor:
        outputs = self.neck(self.backbone(batch.views[0]))
        self.seen = batch.step, batch.rows, F.normalize(outputs.detach().float(), dim=1)
        self.watch(spread=spread(outputs), **pseudo.sizes(self.counts))
        logits = self.classifier(outputs)
        return pseudo.cross_entropy(logits, self.labels[batch.rows], self.counts, self.setting.ranks)

    @torch.no_grad()
    def after(self, progress: float) -> None:
        step, rows, units = self.seen
        rows, units = (across.gathered_still(part, self.setting.ranks) for part in (rows, units))
        last = bank.latest(rows)  # images are drawn with replacement
        rows = rows[last]
        bank.blend(self.bank, rows, units[last], self.setting.settings["keep"])
        found = (self.bank[rows] @ self.centroids.T).argmax(1)
        self.watch(change_ratio=(found != self.labels[rows]).float().mean())
        self._move(rows, found)
        if (step + 1) % self.setting.settings["every"] == 0:
            self.centroids.copy_(means(self.bank, self.labels, self.centroids))
        self._renew_small(step)

    def _move(self, rows: Tensor, to: Tensor) -> None:
        """Distinct images to other clusters."""
        size = len(self.counts)
        self.counts += torch.bincount(to, minlength=size) - torch.bincount(self.labels[rows], minlength=size)
        self.labels[rows] = to

    def _renew_small(self, step: int) -> None:
        """Merges clusters that are too small into the large ones that they are closest to, and refills them."""
        small = self.counts < self.setting.settings["least"]
        if not small.any():
            return
        rows, large = small[self.labels].nonzero()[:, 0], (~small).nonzero()[:, 0]
        centres = means(self.bank[rows], self.labels[rows], self.centroids)
        closest = large[(centres @ self.centroids[large].T).argmax(1)]
        self._move(rows, closest[self.labels[rows]])
        for empty in small.nonzero()[:, 0].tolist():
            self._split(int(self.counts.argmax()), empty, step)

    def _split(self, large: int, empty: int, step: int) -> None:
        """Gives an empty cluster one of the two halves of a large one."""
        rows = (self.labels == large).nonzero()[:, 0]
        units = self.bank[rows]
        halves = kmeans(units, 2, 0, iterations=ROUNDS).labels
        if halves.min() == halves.max():  # all members are the same
            draw = seeds.generator(self.setting.seed, "halves", step, empty)
            halves = torch.from_numpy(draw.permutation(len(rows)) % 2).to(rows.device)
        self._move(rows, torch.where(halves == 1, empty, large))
        self.centroids[[large, empty]] = means(units, halves, self.centroids[[large, empty]])
