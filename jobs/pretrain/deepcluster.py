"""DeepCluster (Caron et al., ECCV 2018): before every epoch images are clustered by the network's features, and then it
learns to tell the clusters apart.

Settings: clusters, components (that features are whitened to), iterations (of k-means), reweight (whether images of
small clusters count for more).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from jobs.lib import seeds
from jobs.pretrain.lib import pseudo
from jobs.pretrain.lib.kmeans import kmeans, whiten
from jobs.pretrain.lib.method import Batch, Method, Setting, spread


class DeepCluster(Method):
    labels: Tensor  # of each image the cluster that it is in
    counts: Tensor  # of each cluster the images

    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        pseudo.check(setting)
        clusters = setting.settings["clusters"]
        self.accumulates = not setting.settings["reweight"]  # a weighted mean is over the whole batch
        self.classifier = nn.Linear(setting.dimension, clusters)
        self.register_buffer("labels", torch.zeros(setting.images, dtype=torch.long))
        self.register_buffer("counts", torch.zeros(clusters, dtype=torch.long))

    def begin(self, epoch: int, features: Callable[..., Tensor]) -> None:
        found, ranks = features(self.backbone, everywhere=False), self.setting.ranks
        labels = ranks.same(self.clustered(found, epoch) if ranks.first else None)
        self.labels.copy_(labels)
        self.counts.copy_(torch.bincount(self.labels, minlength=len(self.counts)))
        pseudo.restart(self.classifier, seeds.number(self.setting.seed, "classifier", epoch))

    def clustered(self, found: Tensor, epoch: int) -> Tensor:
        """The clusters of the images, on the CPU."""
        s, draw = self.setting.settings, seeds.generator(self.setting.seed, "clusters", epoch)
        rows = whiten(found, min(s["components"], found.shape[1]), self.labels.device)
        return kmeans(rows, s["clusters"], draw, iterations=s["iterations"]).labels.cpu()

    def order(self, epoch: int, draw: np.random.Generator) -> np.ndarray:
        """As many of each cluster, a small one's more than once, until there are as many as images."""
        order, counts = self.labels.argsort(stable=True).cpu().numpy(), self.counts.cpu().numpy()
        members = [group for group in np.split(order, counts.cumsum()[:-1]) if len(group)]
        each = len(order) // len(members) + 1
        chosen = [draw.choice(group, each, replace=len(group) < each) for group in members]
        return draw.permutation(np.concatenate(chosen))[: len(order)]

    def loss(self, batch: Batch) -> Tensor:
        outputs = self.backbone(batch.views[0])
        self.watch(spread=spread(outputs), **pseudo.sizes(self.counts))
        counts = self.counts if self.setting.settings["reweight"] else None
        return pseudo.cross_entropy(self.classifier(outputs), self.labels[batch.rows], counts, self.setting.ranks)
