"""The demo: three networks without pre-training and raw pixels, on scans of digits, alone and in scenes; minutes."""

from suite.grid import Grid

DEMO = Grid(
    name="demo",
    tasks=(
        *("linear", "knn", "fewshot", "finetune-short"),
        *("segmentation-linear", "segmentation-short", "detection-lite-short", "detection-short"),
    ),
    models=("pixels_8x8", "random-32px_resnet18", "random-32px_timm-resnet10t", "random-32px_timm-convnext_atto"),
    datasets=("digits", "digit-scenes", "digit-scenes-masks"),
    title="What transfers from nothing: random networks and raw pixels on handwritten digits",
)
