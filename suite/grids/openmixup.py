"""OpenMixup and MMSelfSup: the benchmarks of their self-supervised zoo, beside a supervised and a random network."""

from suite.grid import Grid

OPENMIXUP = Grid(
    name="openmixup",
    tasks=(
        *("svm", "svm-lowshot", "svm-lowshot-paper"),
        *("linear-multihead", "linear-moco", "linear-multihead-places", "linear-multihead-inat"),
        *("semi-1percent", "semi-10percent", "knn-256"),
        *("detection", "detection-coco", "detection-coco-fpn", "segmentation"),
    ),
    models=("openmixup", "supervised_resnet50", "random_resnet50"),
    title="OpenSelfSup, MMSelfSup: VOC07 SVM, linear on ImageNet, Places205 and iNaturalist, few labels, k-NN, dense",
)
# The last layer by the recipe that the zoo has for each of these; for the rest it is linear-moco.
RECIPES = Grid(
    name="openmixup-recipes",
    tasks=("linear-simsiam", "linear-swav", "linear-moco-v3", "linear-moco-v3-resnet", "linear-mae"),
    models=OPENMIXUP.models[:1],
    title="The last layer by the other published recipes; the table takes one of them a model",
)
