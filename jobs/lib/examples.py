"""Examples: labelled images, as a network is trained on them and looked at with them, in one process or in several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jobs.lib import interrupt, seeds
from jobs.lib.images import Images, normalise, prepare
from jobs.lib.interrupt import Interrupted
from jobs.lib.workspace import BATCH, Workspace
from suite.cell import Cell
from suite.model import Input


@dataclass(frozen=True)
class Examples:
    """Some images of a dataset, maybe from several splits, with their labels."""

    images: list[tuple[Images, int]]
    labels: Tensor

    @classmethod
    def of(cls, images: Images, rows: Sequence[int] | np.ndarray | None = None) -> Examples:
        chosen = np.arange(len(images)) if rows is None else np.asarray(rows)
        return cls([(images, int(row)) for row in chosen], torch.from_numpy(images.labels[chosen]))

    def __add__(self, other: Examples) -> Examples:
        return Examples(self.images + other.images, torch.cat([self.labels, other.labels]))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> np.ndarray:
        images, at = self.images[row]
        return images[at]


class Order:
    """Which of `count` examples is the n-th that a training sees: a new permutation every epoch, a pure function of
    (seed, purpose, epoch)."""

    def __init__(self, count: int, seed: int, *purpose: object) -> None:
        self.count, self.seed, self.purpose, self.epoch = count, seed, purpose, -1

    def __call__(self, number: int) -> int:
        epoch, place = divmod(number, self.count)
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = seeds.generator(self.seed, *self.purpose, epoch).permutation(self.count)
        return int(self.order[place])


def split(cell: Cell, workspace: Workspace) -> tuple[Examples, Examples, Examples]:
    """(train, validation, test); validation is held out of train where the dataset has no official one."""
    splits = workspace.index(cell.dataset).splits
    images = {name: workspace.images(cell.dataset, name) for name in splits}
    if "val" in splits:
        return Examples.of(images["train"]), Examples.of(images["val"]), Examples.of(images["test"])
    kept, held = seeds.holdout(images["train"].labels, cell.task.settings["holdout"], cell.seed)
    return Examples.of(images["train"], kept), Examples.of(images["train"], held), Examples.of(images["test"])


@torch.inference_mode()
def outputs(
    examples: Examples, made_by: Input, workspace: Workspace, use: Callable[[Tensor], Tensor], columns: int
) -> Tensor:
    """use(x), n x columns, of all images as they are tested, on the CPU. Each rank makes its part of them, and has all
    in the end; Interrupted where any is asked to go."""
    own = workspace.ranks.part(examples.images)
    out = [torch.empty(0, columns)]
    for pixels in workspace.loader.batches(lambda at: prepare(at[0][at[1]], made_by), own, BATCH):
        if interrupt.asked():
            break
        x = normalise(torch.stack(pixels).to(workspace.device), made_by)
        out.append(use(x.contiguous(memory_format=torch.channels_last)).float().cpu())
    if workspace.ranks.any(sum(map(len, out)) < len(own)):
        raise Interrupted("checkpoint saved")  # after the last step
    return workspace.ranks.gather(torch.cat(out))
