"""COCO's average precision of boxes: CPU seconds of ours, with and without intervals, and of pycocotools.

python tests/bench/coco.py [--images 5000] [--detections 100]     # detections an image; 80 classes
"""

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.lib import coco_ap, detections, precision
from jobs.lib.detections import Found
from suite.index import Index, Split, Thing

CLASSES = 80
OBJECTS = 7.3  # an image, as in COCO's validation set


def scenes(images: int, many: int) -> tuple[Found, Split, Index]:
    """Objects of up to three classes an image; a third of the detections at one of them, the rest anywhere."""
    random = np.random.default_rng(0)
    labels, image, label, score, box = [], [], [], [], []
    for row in range(images):
        count = random.poisson(OBJECTS)
        classes = random.integers(CLASSES, size=3)[random.integers(3, size=count)]
        corner = random.uniform(0, 500, (count, 2))
        boxes = np.concatenate([corner, corner + random.uniform(10, 140, (count, 2))], 1)
        labels.append(
            [Thing(int(k), tuple(b), area=float(np.prod(b[2:] - b[:2]))) for k, b in zip(classes, boxes, strict=True)]
        )
        guess = random.uniform(0, 500, (many, 2))
        found = np.concatenate([guess, guess + random.uniform(10, 140, (many, 2))], 1)
        kinds = np.concatenate([classes, random.integers(CLASSES, size=20)])[random.integers(count + 20, size=many)]
        near = np.flatnonzero(random.random(many) < (1 / 3 if count else 0))
        which = random.integers(count, size=len(near)) if count else near
        moved = boxes[which] + random.normal(scale=4, size=(len(near), 4))
        found[near], kinds[near] = (
            np.concatenate([moved[:, :2], np.maximum(moved[:, 2:], moved[:, :2] + 1)], 1),
            classes[which],
        )
        part = random.random(many) ** 3
        part[near] = np.maximum(part[near], random.random(len(near)))
        image.append(np.full(many, row))
        label.append(kinds)
        score.append(part)
        box.append(found)
    split = Split([str(row) for row in range(images)], labels, [(640, 640)] * images, list(range(images)))
    index = Index("detection", [str(k) for k in range(CLASSES)], {"test": split}, list(range(1, CLASSES + 1)))
    return Found(*map(np.concatenate, (image, label, score, box))), split, index


def by_pycocotools(found: Found, split: Split, index: Index) -> list[float]:
    order = np.arange(len(split.items))
    coco = COCO()
    coco.dataset = coco_ap._truth(split, order, CLASSES, False)
    coco.createIndex()
    run = COCOeval(coco, coco.loadRes(detections.to_coco(found, split, index)), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    return list(run.stats[:3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100)
    args = parser.parse_args()
    found, split, index = scenes(args.images, args.detections)
    print(f"random scenes, seed 0: {args.images} images x {args.detections} detections x {CLASSES} classes")
    began = time.process_time()
    assessed = coco_ap.assess(found, split, CLASSES)
    ours = [assessed.value(levels) for levels in detections.LEVELS.values()]
    seconds = time.process_time() - began
    own = [precision.value(assessed.matches, levels) for levels in detections.LEVELS.values()]
    began = time.process_time()
    metrics, details = detections.evaluate(found, split, index, "coco", 0)
    whole = time.process_time() - began
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = by_pycocotools(found, split, index)
    slow = time.process_time() - began
    print(f"CPU seconds: pycocotools {slow:.1f}, ours {seconds:.1f}: {slow / seconds:.1f} times as fast (target >= 5)")
    print(f"ours with intervals of {details['resamples']} resamples {whole:.1f} (target < 120)")
    for metric, a, b, c in zip(metrics, ours, theirs, own, strict=True):
        print(f"  {metric.name:4} {a:.6f} [{metric.low:.6f}, {metric.high:.6f}]", end="; ")
        print(f"pycocotools differs by {abs(a - b):.0e} (target < 1e-6), our own matches by {abs(a - c):.0e}")


if __name__ == "__main__":
    main()
