"""The demo: a network that was pre-trained in two ways or not at all, and raw pixels, on handwritten digits."""

from suite.grid import Grid

DEMO = Grid(
    name="demo",
    tasks=(
        *("linear", "knn", "fewshot", "finetune-short"),
        *("segmentation-linear", "segmentation-short", "detection-lite-short", "detection-short"),
    ),
    models=(
        *("pixels_8x8", "random-32px_timm-test_resnet"),
        *("simclr_timm-test_resnet@digits", "rotation_timm-test_resnet@digits"),
    ),
    datasets=("digits", "digit-scenes", "digit-scenes-masks"),
    title="What pre-training is worth: SimCLR and rotation against random weights and raw pixels on handwritten digits",
)
