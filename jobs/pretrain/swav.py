"""SwAV (Caron et al., NeurIPS 2020): from one crop of an image, foretell the prototypes that another is assigned to.

Settings: projector (its widths), prototypes (how many), temperature, epsilon and iterations (of Sinkhorn-Knopp), queue
(embeddings kept for each assigned crop; less, so that whole batches fill it), queue_from and freeze (epochs).
"""

from __future__ import annotations

import math
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.pretrain.lib import across
from jobs.pretrain.lib.heads import mlp
from jobs.pretrain.lib.method import Batch, Method, Setting, spread
from jobs.pretrain.lib.sinkhorn import assigned

ASSIGNED = 2  # the first crops, the large ones: the others are only compared with their assignments


class SwAV(Method):
    accumulates = False  # images are shared out over the prototypes as a whole batch

    def __init__(self, backbone: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        s = setting.settings
        widths = (setting.dimension, *s["projector"])
        self.projector = mlp(widths, last_bias=True, last_norm=False)
        self.prototypes = nn.Linear(widths[-1], s["prototypes"], bias=False)
        # All ranks hold the queue of the whole batch, the newest first: so it can be saved by one of them.
        length = s["queue"] - s["queue"] % setting.batch
        self.register_buffer("queue", torch.zeros(ASSIGNED, length, widths[-1]))
        self.after(0.0)

    def loss(self, batch: Batch) -> Tensor:
        by_size = [torch.cat(list(views)) for _, views in groupby(batch.views, lambda view: view.shape[-1])]
        outputs = self.projector(torch.cat([self.backbone(views) for views in by_size]))
        with torch.autocast(outputs.device.type, enabled=False):  # an exponential of cosines / 0.05 needs their digits
            units = F.normalize(outputs.to(self.prototypes.weight), dim=1)
            crops = self.prototypes(units).chunk(len(batch.views))
            targets = self._targets(units.detach().chunk(len(batch.views)), batch.step)
            self._tell(units, crops[0], targets[0])
            return swapped(crops, targets, self.setting.settings["temperature"])

    def mend(self, epoch: int) -> None:
        if epoch < self.setting.settings["freeze"]:
            self.prototypes.weight.grad = None

    @torch.no_grad()
    def after(self, progress: float) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    @torch.no_grad()
    def _targets(self, crops: tuple[Tensor, ...], step: int) -> list[Tensor]:
        """The assignments of the first crops, n x K each; what is embedded then joins the queue."""
        s, ranks, size = self.setting.settings, self.setting.ranks, len(crops[0])
        queued = step - s["queue_from"] * self.setting.steps  # batches that have joined
        full = self.queue.shape[1] > 0 and queued * self.setting.batch >= self.queue.shape[1]
        made = []
        for crop, queue in zip(crops, self.queue, strict=False):
            known = torch.cat([crop, across.own(queue, ranks)]) if full else crop
            made.append(assigned(self.prototypes(known), s["epsilon"], s["iterations"], ranks)[:size])
            if queued >= 0 and len(queue):
                queue.copy_(torch.cat([across.gathered_still(crop, ranks), queue])[: len(queue)])
        return made

    @torch.no_grad()
    def _tell(self, units: Tensor, scores: Tensor, target: Tensor) -> None:
        """`entropy`: how evenly images are seen to spread over the prototypes, 1 at the most, 0 where all go to one;
        `used`, the prototypes that are some image's first; `largest`, the share of the images with the commonest."""
        mean = F.softmax(scores / self.setting.settings["temperature"], 1).mean(0)
        sizes = target.argmax(1).bincount(minlength=target.shape[1])
        entropy = torch.special.entr(mean).sum() / math.log(len(mean))
        self.watch(spread=spread(units), entropy=entropy, used=(sizes > 0).sum(), largest=sizes.max() / len(target))


def swapped(crops: tuple[Tensor, ...], targets: list[Tensor], temperature: float) -> Tensor:
    """Mean over assigned crops of the mean over all other crops of the cross-entropy with the assignment; n x K
    scores of every crop, n x K assignments of the first ones."""
    guesses = torch.stack([F.log_softmax(scores / temperature, 1) for scores in crops])
    entropies = [
        -(target * torch.cat([guesses[:number], guesses[number + 1 :]])).sum(2).mean()
        for number, target in enumerate(targets)
    ]
    return torch.stack(entropies).mean()
