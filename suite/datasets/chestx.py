"""ChestX-ray8: X-rays with one finding of seven, for few-shot episodes from all of them.

The split is ours, drawn by a seed (drawn.py); the published episodes take both parts together.
"""

from suite.dataset import Dataset

CHESTX = Dataset(
    name="chestx",
    layout="chestx",
    path="ChestX",
    classes=7,
    counts={"train": 20679, "test": 5169},
    source="Data_Entry_2017.csv and images_001.tar.gz to images_012.tar.gz",
    page="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    licence="NIH Clinical Center: free to use, with acknowledgement",
    citation="Wang et al., ChestX-ray8: hospital-scale chest X-ray database and benchmarks, CVPR 2017",
)
