"""Images a second of whole trainings, data included: ours beside loops that are put together of lightly's parts.

    python tests/bench/loops.py [METHOD ...] [--data FOLDER_OF_PHOTOS] [--size 224] [--batch 32] [--steps 2]

Both begin with the same decoded photos in memory, train the same ResNet-18 (MAE: ViT-B/32) with heads of the widths of
lightly's examples, in float32, and make views of the same sizes and strengths. Ours is the trainer as it is, with its
own views, loader threads, optimizer and curve. lightly's are its transforms in a torch DataLoader with as many worker
processes as there are cores, its modules, losses and memory bank, and a plain loop over them with its examples'
optimizers. Each takes turns with the other, epoch by epoch of --steps steps; workers live on from epoch to epoch, and
the first round does not count. Ratios, ours / lightly's, are medians over the rounds, of the CPU's time (all threads,
which wait passively, and workers), and of the clock's, which is the truth where nothing else runs; on a busy machine
whoever has more processes gets more of it.

lightly is imported where it can be; for that, into a folder of its own:
    pip install --no-deps --target L lightly lightly-utils lightning-utilities pytorch_lightning
    PYTHONPATH=L python tests/bench/loops.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits for another does not count as work

import argparse
import copy
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from step import cell_of, trainer_of
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from views import photos

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.lib.workspace import Workspace
from suite.catalog import Catalog
from suite.store import Store

try:
    import lightly.transforms
    from lightly import loss as losses
    from lightly.models import modules
    from lightly.models import utils as tools
except ImportError:
    print("no lightly: pip install --no-deps --target L lightly lightly-utils lightning-utilities pytorch_lightning")
    sys.exit()  # what else `make bench` has goes on

TARGET = 1.0
Views = list[Tensor]
Peer = tuple[nn.Module, Callable[[Views], Tensor], torch.optim.Optimizer]


class Ours:
    """Photos as the trainer reads them."""

    def __init__(self, seen: Sequence[Image.Image]) -> None:
        self.seen = seen

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, row: int) -> np.ndarray:
        return np.array(self.seen[row])


class Theirs(Dataset[Views]):
    """Photos as lightly's transforms make views of them."""

    def __init__(self, seen: Sequence[Image.Image], transform: Callable[[Image.Image], Views]) -> None:
        self.seen, self.transform = seen, transform

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, row: int) -> Views:
        return self.transform(self.seen[row])


def resnet() -> nn.Module:
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.06)


def simclr(size: int) -> Peer:
    network = nn.Sequential(resnet(), modules.SimCLRProjectionHead(512, 512, 128))
    criterion = losses.NTXentLoss()

    def loss(views: Views) -> Tensor:
        return criterion(*(network(view) for view in views))

    return network, loss, sgd(network)


def moco(size: int) -> Peer:
    network = nn.Sequential(resnet(), modules.MoCoProjectionHead(512, 512, 128))
    slow = copy.deepcopy(network)
    tools.deactivate_requires_grad(slow)
    criterion = losses.NTXentLoss(memory_bank_size=(4096, 128))

    def loss(views: Views) -> Tensor:
        tools.update_momentum(network, slow, m=0.996)
        return criterion(network(views[0]), slow(views[1]).detach())

    return network, loss, sgd(network)


def byol(size: int) -> Peer:
    network = nn.Sequential(resnet(), modules.BYOLProjectionHead(512, 1024, 256))
    predictor, slow = modules.BYOLPredictionHead(256, 1024, 256), copy.deepcopy(network)
    tools.deactivate_requires_grad(slow)
    criterion, both = losses.NegativeCosineSimilarity(), nn.ModuleList([network, predictor])

    def loss(views: Views) -> Tensor:
        tools.update_momentum(network, slow, m=0.996)
        one, two = (predictor(network(view)) for view in views)
        its_one, its_two = (slow(view).detach() for view in views)
        return 0.5 * (criterion(one, its_two) + criterion(two, its_one))

    return both, loss, sgd(both)


def swav(size: int) -> Peer:
    network = nn.Sequential(resnet(), modules.SwaVProjectionHead(512, 512, 128))
    prototypes, criterion = modules.SwaVPrototypes(128, 512), losses.SwaVLoss()
    both = nn.ModuleList([network, prototypes])

    def loss(views: Views) -> Tensor:
        prototypes.normalize()
        scores = [prototypes(nn.functional.normalize(network(view), dim=1)) for view in views]
        return criterion(scores[:2], scores[2:])

    return both, loss, torch.optim.Adam(both.parameters(), lr=0.001)


def mae(size: int) -> Peer:
    vit = timm.create_model("vit_base_patch32_224", num_classes=0)
    wide, patch = vit.embed_dim, vit.patch_embed.patch_size[0]
    encoder = modules.MaskedVisionTransformerTIMM(vit=vit)
    decoder = modules.MaskedVisionTransformerDecoderTIMM(vit.patch_embed.num_patches, 512, depth=1, num_heads=16)
    enter, paint = nn.Linear(wide, 512), nn.Linear(512, 3 * patch * patch)
    network, criterion = nn.ModuleList([encoder, enter, decoder, paint]), nn.MSELoss()

    def loss(views: Views) -> Tensor:
        shape = (len(views[0]), encoder.sequence_length)
        kept, hidden = tools.random_token_mask(shape, mask_ratio=0.75)
        tokens = tools.repeat_token(decoder.mask_token, shape)
        tokens = tools.set_at_index(tokens, kept, enter(encoder.encode(views[0], idx_keep=kept)))
        painted = paint(tools.get_at_index(decoder(tokens), hidden))
        # Patches are counted without the class token, which is never hidden.
        return criterion(painted, tools.get_at_index(tools.patchify(views[0], patch), hidden - 1))

    return network, loss, torch.optim.AdamW(network.parameters(), lr=1.5e-4)


def transform(name: str, size: int) -> Callable[[Image.Image], Views]:
    if name == "byol":
        one, two = lightly.transforms.BYOLView1Transform(size), lightly.transforms.BYOLView2Transform(size)
        return lightly.transforms.BYOLTransform(one, two)
    if name == "swav":
        return lightly.transforms.SwaVTransform(crop_sizes=(size, smaller(size)))
    kind = {"simclr": "SimCLRTransform", "moco-v2": "MoCoV2Transform", "mae": "MAETransform"}[name]
    return getattr(lightly.transforms, kind)(input_size=size)


def smaller(size: int) -> int:
    """SwAV's small crops: 96 beside 224."""
    return round(size * 3 / 7)


# By method: our model, our settings where they are not the recipe's, and lightly's parts.
METHODS: dict[str, tuple[str, dict[str, Any], Callable[[int], Peer]]] = {
    "simclr": ("simclr_resnet18", {"projector": (512, 128)}, simclr),
    "moco-v2": ("moco-v2_resnet18", {"projector": (512, 128), "queue": 4096}, moco),
    "byol": ("byol_resnet18", {"projector": (1024, 256), "predictor": (1024, 256)}, byol),
    "swav": ("swav_resnet18", {"projector": (512, 128), "prototypes": 512, "queue": 0}, swav),
    "mae": ("mae_timm-vit_base_patch32_224", {"decoder": (512, 1, 16)}, mae),
}


class Enough(Exception):
    """All rounds are measured."""


class Clock:
    """Seconds of the CPU, in this process and in workers, and of the clock, since it was made."""

    def __init__(self, workers: Sequence[int] = ()) -> None:
        self.workers = workers
        self.began = self._now()

    def _now(self) -> np.ndarray:
        spent = 0.0
        for pid in self.workers:
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            spent += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        return np.array([time.process_time() + spent, time.perf_counter()])

    @property
    def read(self) -> np.ndarray:
        return self._now() - self.began


def epochs(name: str, size: int, seen: Sequence[Image.Image], batch: int, cores: int) -> Iterator[np.ndarray]:
    """Trains an epoch with lightly's parts, and gives its seconds; again and again."""
    network, loss, optimizer = METHODS[name][2](size)
    how = {"shuffle": True, "drop_last": True, "num_workers": cores, "persistent_workers": True}
    loader = DataLoader(Theirs(seen, transform(name, size)), batch_size=batch, **how)
    network.train()
    workers: list[int] = []
    while True:
        clock, total = Clock(workers), 0.0
        running = iter(loader)
        workers = [worker.pid for worker in running._workers]
        for views in running:
            found = loss(views)
            total += found.detach()
            found.backward()
            optimizer.step()
            optimizer.zero_grad()
        yield clock.read


def measured(
    name: str, known: Catalog, workspace: Workspace, seen: Sequence[Image.Image], size: int, batch: int, rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """rounds x 2 seconds of an epoch of ours, and of one with lightly's parts."""
    model, own, _ = METHODS[name]
    views = known.model(f"{model}@tiny-imagenet").recipe.settings["views"]
    sized = tuple(view | {"size": size if view["size"] == 224 else smaller(size)} for view in views)
    cell = cell_of(known, model, batch=batch, epochs=rounds + 2, views=sized, size=size, **own)
    theirs = epochs(name, size, seen, batch, workspace.cores)
    next(theirs)  # its processes are made before our threads work
    trainer = trainer_of(cell, workspace, Ours(seen))
    took: list[tuple[np.ndarray, np.ndarray]] = []
    clock = Clock()

    def between(epoch: int, features: object) -> None:
        """In place of what a method does before an epoch."""
        nonlocal clock
        if epoch:
            mine = clock.read
            took.append((mine, next(theirs)))
        if epoch > rounds:
            raise Enough
        clock = Clock()

    trainer.method.begin = between
    try:
        with redirect_stdout(io.StringIO()):
            trainer.train()
    except Enough:
        pass
    mine, peers = zip(*took[1:], strict=True)
    return np.array(mine), np.array(peers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", type=int, default=224, help="of views; MAE's are 224 whatever is said")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=0, help="0: all")
    asked = parser.parse_args()
    images = asked.batch * asked.steps
    seen = (photos(asked.data, images) * images)[:images]
    with tempfile.TemporaryDirectory() as folder:
        workspace, known = Workspace(Store(Path(folder)), device="cpu", cores=asked.cores), Catalog(Store(Path(folder)))
        source = asked.data or "smooth noise, 500 x 375"
        print(f"images/s, {source}, views of {asked.size} pixels, batch {asked.batch}, CPU, {workspace.cores} cores")
        print(f"medians of {asked.rounds} rounds of {asked.steps} steps; target {TARGET}")
        print("  method    per CPU second: ours  lightly  ratio   per second: ours  lightly  ratio")
        for name in asked.methods:
            size = 224 if name == "mae" else asked.size
            mine, peers = measured(name, known, workspace, seen, size, asked.batch, asked.rounds)
            told, ratios = [], np.median(peers / mine, 0)
            for k, width in enumerate((20, 17)):
                ours, theirs = (images / median(taken[:, k]) for taken in (mine, peers))
                told.append(f"{ours:{width}.2f}{theirs:9.2f}{ratios[k]:7.2f}")
            met = "ok" if ratios[0] >= TARGET else "MISSED"
            print(f"  {name:9}{''.join(told)}   {met}", flush=True)


if __name__ == "__main__":
    main()
