"""t-ReX: transfer to 16 data sets, the large ones by SGD, the small ones by L-BFGS."""

from suite.grid import Grid, Mean
from suite.tasks.cog import COG
from suite.tasks.trex import TREX as SMALL

LEVELS = COG[1:]
LARGE = ("inat2018", "inat2019")

TREX = Grid(
    name="trex",
    tasks=("cog-linear", "trex-linear"),
    models=("trex", "dino_resnet50", "supervised_resnet50"),
    own={"cog-linear": (*COG, *LARGE)},
    means=(Mean("trex-13", (*LEVELS, *SMALL)), Mean("trex-15", (*LEVELS, *SMALL, *LARGE))),
    title="Sariyildiz et al., ICLR 2023: top-1 on ImageNet-1K against mean log odds on 13 (the paper) or 15 other sets",
)
