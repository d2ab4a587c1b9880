"""ssl-transfer: 13 self-supervised networks and a supervised one, many-shot, few-shot and dense."""

from suite.grid import Grid
from suite.tasks.linear import TRANSFER

SSL_TRANSFER = Grid(
    name="ssl_transfer",
    tasks=(
        *("linear", "finetune", "fewshot-paper"),
        *("detection-frozen", "detection-finetune", "segmentation-upernet-epochs", "normals"),
    ),
    models=("ssl-transfer",),
    own=dict.fromkeys(("linear", "finetune"), TRANSFER),
    title="Ericsson et al., CVPR 2021, tables 1 to 4: 14 models, linear, fine-tuned, few-shot, detection and dense",
)
# The paper ran three networks with another padding than they were trained with: beside the study, its numbers of them.
PAPER = Grid(
    name="ssl_transfer-paper",
    tasks=SSL_TRANSFER.tasks,
    models=("byol-paper_resnet50", "simclr-v1-paper_resnet50", "simclr-v2-ssl-transfer-paper_resnet50"),
    own=SSL_TRANSFER.own,
    title="The three models of `ssl_transfer` that the paper ran with torchvision's padding, as it ran them",
)
