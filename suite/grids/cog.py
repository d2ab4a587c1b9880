"""ImageNet-CoG: how well 31 networks tell concepts apart that are ever farther from those that they were trained on."""

from suite.grid import Grid

COG = Grid(
    name="cog",
    tasks=("cog-linear", "cog-fewshot"),
    models=("cog",),
    title="Sariyildiz et al., ICCV 2021: 31 models on ImageNet-1K and five levels, all images and few",
)
# As published: its schedule, and beside the 31 the four that it fed otherwise than they were trained, as it fed them.
PAPER = Grid(
    name="cog-paper",
    tasks=("cog-linear-paper", "cog-fewshot-paper"),
    models=("cog", "clip-paper_resnet50", "nat-paper_m4", "simclr-v2-paper_resnet50", "supervised-paper_inception_v3"),
    title="The study `cog` as the paper ran it: the schedule of its code, and four models with its inputs beside ours",
)
