"""Networks without pre-training, small enough for a laptop, and raw pixels: what every pre-trained model must beat.

`random_ARCHITECTURE` needs no entry; these differ in their input.
"""

from suite.model import Input, Model

THUMBNAIL = Input(size=32, resize=32, interpolation="bilinear")

RESNET18 = Model("random-32px_resnet18", "resnet18", 512, THUMBNAIL, pretraining="none: random initialisation")
RESNET10 = Model("random-32px_timm-resnet10t", "timm:resnet10t", 512, THUMBNAIL, pretraining=RESNET18.pretraining)
TINY = Model(
    "random-32px_timm-test_resnet",
    "timm:test_resnet",
    96,
    Input(size=32, resize=32, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    pretraining=RESNET18.pretraining,
)
SQUEEZENET = Model("random-32px_squeezenet1_1", "squeezenet1_1", 512, THUMBNAIL, pretraining=RESNET18.pretraining)
CONVNEXT = Model(
    "random-32px_timm-convnext_atto", "timm:convnext_atto", 320, THUMBNAIL, pretraining=RESNET18.pretraining
)
PIXELS = Model(
    "pixels_8x8",
    "pixels",
    192,
    Input(size=8, resize=8, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    pretraining="none: the pixels themselves",
)
