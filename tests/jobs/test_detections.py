"""Detections against plain loops from the definitions, pycocotools and, where it is there, detectron2's evaluator."""

import contextlib
import io
import json
import logging

import numpy as np
import pytest
import torch
from pycocotools import mask as codes
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from jobs.lib import coco_ap, detections, found, precision, voc_ap
from jobs.lib.detections import Found, evaluate, from_coco, to_coco
from jobs.lib.failure import Diverged
from suite.index import Index, Split, Thing

SIDE = 100


def a_box(random):
    left, top = random.integers(0, SIDE - 20, 2)
    width, height = random.integers(5, 20, 2)
    return float(left), float(top), float(left + width), float(top + height)


def a_polygon(box):
    left, top, right, bottom = box
    return [[left, top, right, top, right, bottom, (left + right) / 2, bottom + 3, left, bottom]]


def a_code(polygon):
    code = codes.merge(codes.frPyObjects(polygon, SIDE, SIDE))
    return {"size": code["size"], "counts": code["counts"].decode()}


def a_run_length(polygon):
    """COCO's uncompressed code, which it uses for crowds."""
    flat = codes.decode([a_code(polygon)])[..., 0].ravel(order="F")
    counts = np.diff(np.flatnonzero(np.diff(flat, prepend=0, append=2)), prepend=0)
    return {"size": [SIDE, SIDE], "counts": [int(count) for count in counts]}


def made(seed=0, images=40, classes=5, most=12, masks=False, decimals=1, float_boxes=True):
    """Images with objects (some empty, some difficult or crowds; none of the last class) and detections near them."""
    random = np.random.default_rng(seed)
    labels, rows, shapes = [], [], []
    for image in range(images):
        things = []
        for _ in range(random.integers(0, 7)):
            box, crowd = a_box(random), random.random() < 0.15
            polygon = a_polygon(box)
            area = (box[2] - box[0]) * (box[3] - box[1]) * random.choice([1, 10, 100])  # of all three sizes
            mask = a_run_length(polygon) if crowd else polygon
            things.append(Thing(int(random.integers(classes - 1)), box, random.random() < 0.2, crowd, area, mask))
        things += things[:1]  # two alike
        labels.append(things)
        for _ in range(random.integers(0, most) if image % 7 else 0):
            near = things[random.integers(len(things))] if things and random.random() < 0.7 else None
            label = near.label if near and random.random() < 0.9 else int(random.integers(classes))
            moved = np.array(near.box if near else a_box(random)) + random.normal(size=4) * random.choice([0, 0.5, 3])
            box = [*np.minimum(moved[:2], moved[2:] - 1), *moved[2:]]
            box[0] += 40 * (not masks and random.random() < 0.05)  # a few have right < left
            box = box if float_boxes else np.round(box)
            rows.append((image, label, round(random.random(), decimals), box))
            shapes.append(a_code(a_polygon(box)))
    image, label, score, box = (list(column) for column in zip(*rows, strict=True))
    ids = [int(number) for number in random.permutation(1000)[:images]]
    split = Split([f"{number}.jpg" for number in ids], labels, [(SIDE, SIDE)] * images, ids)
    index = Index("detection", [f"c{k}" for k in range(classes)], {"test": split}, [3, 5, 8, 9, 20][:classes])
    return Found(image, label, score, np.array(box), shapes if masks else None), split, index


def doubled(things, split, index):
    """Every image twice, one copy after the other."""
    copies = np.concatenate([2 * things.image, 2 * things.image + 1])
    order = np.argsort(copies, kind="stable")
    twice = Found(copies[order], *(np.concatenate([x, x])[order] for x in (things.label, things.score, things.box)))
    return twice, Split(*([x for x in part for _ in "ab"] for part in (split.items, split.labels, split.sizes))), index


# ---- VOC


def naive_voc(things, split, classes, points, rounded):
    """AP of each class at each overlap, one detection at a time; nan where there is no object."""
    score, box, pixel = things.score.astype(float), things.box.astype(float), 0
    if rounded:  # in VOC's numbering, from 1 to the last pixel
        score, pixel = np.array([round(s, 3) for s in score.tolist()]), 1
        box = np.array([[round(side, 1) for side in row] for row in (things.box + np.float32([1, 1, 0, 0])).tolist()])
    aps = np.full((10, classes), np.nan)
    for level, label in np.ndindex(aps.shape):
        objects = [[t for t in labels if t.label == label] for labels in split.labels]
        count = sum(not t.difficult for row in objects for t in row)
        if not count:
            continue
        taken, marks = set(), []
        mine = np.flatnonzero(things.label == label)
        for d in mine[np.argsort(-score[mine], kind=None if rounded else "stable")]:
            there = objects[things.image[d]]
            overlaps = [overlap(box[d], np.add(t.box, [pixel, pixel, 0, 0]), pixel) for t in there]
            best = int(np.argmax(overlaps)) if there else None
            if best is None or not overlaps[best] > (50 + 5 * level) / 100:
                marks.append(0)
            elif not there[best].difficult:
                marks.append(int((things.image[d], best) not in taken))
                taken.add((things.image[d], best))
        true = np.cumsum(marks)
        aps[level, label] = under(true / count, true / np.arange(1, len(marks) + 1), points)
    return aps


def overlap(a, b, pixel):
    width, height = min(a[2], b[2]) - max(a[0], b[0]) + pixel, min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(right - left + pixel) * (bottom - top + pixel) for left, top, right, bottom in (a, b)]
    return width * height / (sum(areas) - width * height)


def under(recall, part, points):
    if points is not None:
        return np.mean([max(part[recall >= at], default=0) for at in points])
    return sum((r - before) * max(part[i:]) for i, (before, r) in enumerate(zip([0, *recall], recall, strict=False)))


@pytest.mark.parametrize("points", [voc_ap.POINTS, None], ids=["voc07", "voc"])
@pytest.mark.parametrize("rounded", [True, False])
def test_voc_equals_the_loop(points, rounded):
    for seed in range(4):
        things, split, index = made(seed, decimals=2 if seed % 2 else 6)
        expected = naive_voc(things, split, 5, points, rounded)
        matches = voc_ap.match(things, split, 5, points=points, rounded=rounded)
        got = precision.per_class(matches, np.ones((1, len(split.items))), range(10))[0]
        np.testing.assert_allclose(got, expected, atol=1e-12)
        metrics, details = evaluate(things, split, index, "voc" if points is None else "voc07", 0, rounded=rounded)
        named = {metric.name: metric for metric in metrics}
        values = {"ap": np.nanmean(expected), "ap50": np.nanmean(expected[0]), "ap75": np.nanmean(expected[5])}
        assert {name: named[name].value for name in values} == pytest.approx(values, abs=1e-12)
        assert all(metric.low <= metric.value <= metric.high and metric.n == 40 for metric in metrics)
        assert [metric.name for metric in metrics if metric.headline] == ["ap50"]
        assert details["classes_without_objects"] == ["c4"]


def one_image(*things):
    split = Split(["a.jpg"], [list(things)], [(SIDE, SIDE)])
    return split, Index("detection", ["cat"], {"test": split})


def values(measured):
    return {metric.name: metric.value for metric in measured[0]}


def test_voc_by_hand():
    """Two objects; ranked: right, twice, a difficult one, none, right. Precision 1 at recall 1/2, 2/4 at 1."""
    split, index = one_image(Thing(0, (0, 0, 10, 10)), Thing(0, (20, 0, 30, 10)), Thing(0, (40, 0, 50, 10), True))
    box = [(0, 0, 10, 10), (0, 0, 10, 9), (40, 0, 50, 10), (60, 60, 70, 70), (20, 0, 30, 10)]
    things = Found([0] * 5, [0] * 5, [0.9, 0.8, 0.7, 0.6, 0.5], box)
    at = values(evaluate(things, split, index, "voc", 0))
    assert at["ap50"] == pytest.approx(0.5 + 0.5 * 0.5)
    assert at["ap50_11point"] == pytest.approx((6 + 5 * 0.5) / 11)
    assert at["ap50_11point"] == values(evaluate(things, split, index, "voc07", 0))["ap50"]


def test_a_voc_overlap_of_one_half_is_not_enough_and_a_coco_one_is():
    split, index = one_image(Thing(0, (0, 0, 10, 10)))
    things = Found([0], [0], [0.9], [(0, 0, 10, 5)])
    assert values(evaluate(things, split, index, "voc", 0))["ap50"] == 0
    assert values(evaluate(things, split, index, "coco", 0))["ap50"] == pytest.approx(1)


def test_coco_takes_the_free_object_and_voc_the_nearest():
    """Two objects that overlap; both detections overlap the first most."""
    split, index = one_image(Thing(0, (0, 0, 10, 10)), Thing(0, (0, 0, 10, 8)))
    things = Found([0, 0], [0, 0], [0.9, 0.8], [(0, 0, 10, 10), (0, 0, 10, 9.5)])
    assert values(evaluate(things, split, index, "voc", 0))["ap50"] == pytest.approx(0.5)
    assert values(evaluate(things, split, index, "coco", 0))["ap50"] == pytest.approx(1)


@pytest.mark.parametrize("year", [2007, 2012])
def test_voc_equals_detectron2(year, tmp_path):
    pytest.importorskip("detectron2")
    from detectron2.data import MetadataCatalog
    from detectron2.evaluation import PascalVOCDetectionEvaluator
    from detectron2.structures import Boxes, Instances

    logging.getLogger("detectron2").setLevel(logging.ERROR)
    things, split, index = made(11, images=60, classes=5, most=40, decimals=3)
    split.labels[1].append(Thing(4, (1.0, 2.0, 30.0, 40.0)))  # detectron2 gives NaN for a class without any
    names = [f"{number:06}" for number in split.ids]
    write_voc(tmp_path, names, split, index.classes)
    name = f"voc_{year}_of_{tmp_path}"
    MetadataCatalog.get(name).set(dirname=str(tmp_path), split="test", year=year, thing_classes=index.classes)
    theirs = PascalVOCDetectionEvaluator(name)
    theirs.reset()
    for row, image in enumerate(names):
        mine = things.image == row
        instances = Instances((SIDE, SIDE))
        instances.pred_boxes = Boxes(torch.from_numpy(things.box[mine]))
        instances.scores, instances.pred_classes = (torch.from_numpy(x[mine]) for x in (things.score, things.label))
        theirs.process([{"image_id": image}], [{"instances": instances}])
    expected = {name.lower(): value / 100 for name, value in theirs.evaluate()["bbox"].items()}
    got = values(evaluate(things, split, index, "voc07" if year == 2007 else "voc", 0))
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert 0.05 < expected["ap50"] < 0.95


def write_voc(root, names, split, classes):
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Main/test.txt").write_text("\n".join(names))
    for image, things in zip(names, split.labels, strict=True):
        objects = "".join(
            f"<object><name>{classes[t.label]}</name><pose>x</pose><truncated>0</truncated>"
            f"<difficult>{int(t.difficult)}</difficult><bndbox><xmin>{t.box[0] + 1:.0f}</xmin>"
            f"<ymin>{t.box[1] + 1:.0f}</ymin><xmax>{t.box[2]:.0f}</xmax><ymax>{t.box[3]:.0f}</ymax></bndbox></object>"
            for t in things
        )
        (root / f"Annotations/{image}.xml").write_text(f"<annotation>{objects}</annotation>")


# ---- COCO


def by_pycocotools(things, split, index, kind):
    """COCOeval on the published numbers, as anyone would run it on the files."""
    truth = {
        "images": [{"id": number, "width": SIDE, "height": SIDE} for number in split.ids],
        "categories": [{"id": number} for number in index.categories],
        "annotations": [],
    }
    for number, labels in zip(split.ids, split.labels, strict=True):
        for t in labels:
            (left, top, right, bottom), count = t.box, len(truth["annotations"]) + 1
            held = {"id": count, "image_id": number, "category_id": index.categories[t.label], "area": t.area}
            held |= {"bbox": [left, top, right - left, bottom - top], "iscrowd": int(t.crowd), "segmentation": t.mask}
            truth["annotations"].append(held)
    results = json.loads(json.dumps(to_coco(things, split, index)))
    for result in results if kind == "segm" else ():
        del result["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats[:6]


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_coco_equals_pycocotools(masks, capsys):
    names = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
    for seed in range(4):
        things, split, index = made(seed, masks=masks, decimals=1 if seed % 2 else 6, float_boxes=seed > 1)
        measured, details = evaluate(things, split, index, "coco", 0, masks=masks)
        found = {metric.name: metric.value for metric in measured} | details
        for prefix in ("", "mask_") if masks else ("",):
            expected = by_pycocotools(things, split, index, "segm" if prefix else "bbox")
            assert [found[prefix + name] for name in names] == pytest.approx(expected, abs=1e-9)
        assert all(metric.low <= metric.value <= metric.high for metric in measured)
        assert [metric.name for metric in measured if metric.headline] == ["ap"]
        assert details["classes_without_objects"] == ["c4"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_the_matches_behind_coco_are_the_tools(masks):
    """In every class at every overlap."""
    for seed in range(6):
        things, split, _ = made(seed, most=30, masks=masks, decimals=1 + seed, float_boxes=seed % 2 == 0)
        assessed = coco_ap.assess(things, split, 5, masks=masks)
        ours = precision.per_class(assessed.matches, np.ones((1, len(split.items))), range(10))[0]
        theirs = assessed.precision[..., 0].mean(axis=1)
        np.testing.assert_allclose(ours, np.where(theirs < 0, np.nan, theirs), atol=1e-9)


def test_the_101st_detection_of_a_class_does_not_count():
    split, index = one_image(Thing(0, (0, 0, 10, 10)))
    box = [(50, 50, 60, 60)] * 100 + [(0, 0, 10, 10)]
    things = Found([0] * 101, [0] * 101, np.linspace(0.9, 0.1, 101), box)
    assert values(evaluate(things, split, index, "coco", 0))["ap"] == 0
    swapped = Found([0] * 101, [0] * 101, np.linspace(0.9, 0.1, 101), box[1:] + box[:1])
    measured = evaluate(swapped, split, index, "coco", 0)
    assert values(measured)["ap"] == pytest.approx(0.01, rel=1e-6)
    assert (measured[1]["ap_large"], measured[1]["ap_small"]) == (None, pytest.approx(0.01, rel=1e-6))


# ---- both


@pytest.mark.parametrize("metric", ["voc07", "voc", "coco"])
def test_the_statistic_is_the_value_and_counts_an_image_twice_like_two_images(metric):
    def matched(things, split, index):
        if metric == "coco":
            return coco_ap.assess(things, split, 5).matches
        return voc_ap.match(things, split, 5, points=voc_ap.POINTS if metric == "voc07" else None, rounded=False)

    given = made(5, decimals=6)
    once, twice = matched(*given), matched(*doubled(*given))
    weights = torch.tensor([[1.0], [2.0], [7.0]], dtype=torch.float64).expand(3, 40).contiguous()
    for name, levels in detections.LEVELS.items():
        all_alike = precision.statistic(once, levels)(weights)
        np.testing.assert_allclose(all_alike, precision.value(twice, levels), atol=1e-12)
        measured = values(evaluate(*given, metric, 0, rounded=False))
        assert float(all_alike[0]) == pytest.approx(measured[name], abs=1e-9)


def test_weights_are_images_drawn_again():
    things, split, _ = made(6, decimals=6)
    drawn = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=5)
    matches = voc_ap.match(things, split, 5, points=None, rounded=False)
    got = precision.statistic(matches, range(10))(torch.from_numpy(drawn).double())
    for row, counts in enumerate(drawn):
        images = np.repeat(np.arange(40), counts)
        rows = [np.flatnonzero(things.image == image) for image in images]
        some = np.concatenate(rows)
        image = np.repeat(np.arange(40), [len(part) for part in rows])
        again = Found(image, things.label[some], things.score[some], things.box[some])
        labels = [split.labels[image] for image in images]
        expected = naive_voc(again, Split([""] * 40, labels), 5, None, rounded=False)
        assert float(got[row]) == pytest.approx(np.nanmean(expected), abs=1e-12)


def test_the_interval_holds_the_value_with_few_objects_of_many_classes():
    random = np.random.default_rng(0)
    labels = [
        [Thing(int(k), (10.0 * j, 0, 10 * j + 9, 9)) for j, k in enumerate(random.integers(80, size=3))]
        for _ in range(300)
    ]
    split, index = Split([""] * 300, labels), Index("detection", [f"c{k}" for k in range(80)], {})
    rows = [(row, t.label, random.random(), t.box) for row, things in enumerate(labels) for t in things]
    rows += [(row, int(random.integers(80)), random.random(), (50, 50, 60, 60)) for row in range(300) for _ in range(9)]
    things = Found(*(list(column) for column in zip(*sorted(rows, key=lambda row: row[0]), strict=True)))
    for metric in evaluate(things, split, index, "voc", 0)[0]:
        assert metric.low < metric.value < metric.high < metric.low + 0.1


@pytest.mark.parametrize("metric", ["voc07", "voc", "coco"])
def test_no_detections_is_zero(metric):
    _, split, index = made(0)
    nothing = Found([], [], [], np.empty((0, 4)), [])
    measured, details = evaluate(nothing, split, index, metric, 0, masks=metric == "coco")
    assert all((metric.value, metric.low, metric.high) == (0, 0, 0) for metric in measured)
    assert details["detections"] == 0 and details["classes_without_objects"] == ["c4"]
    assert len(measured) == (6 if metric == "coco" else 4)


@pytest.mark.parametrize("metric", ["voc07", "voc", "coco"])
def test_found_again_in_full_is_one_and_no_object_is_refused(metric):
    split, index = one_image(Thing(0, (1, 2, 30, 40)), Thing(0, (50, 50, 60, 90)))
    things = Found([0, 0], [0, 0], [0.5, 0.5], [t.box for t in split.labels[0]])
    assert values(evaluate(things, split, index, metric, 0))["ap"] == pytest.approx(1)
    with pytest.raises(ValueError, match="no class has an object"):
        evaluate(things, one_image()[0], index, metric, 0)


@pytest.mark.parametrize("metric", ["voc07", "coco"])
def test_what_is_kept_gives_the_same_numbers(metric):
    things, split, index = made(3, masks=True)
    box = things.box + np.random.default_rng(0).random(things.box.shape) * np.pi
    things = Found(things.image, things.label, things.score * np.float64(1 / 3), box, things.masks)
    again = from_coco(json.loads(json.dumps(to_coco(things, split, index))), split, index)
    for name in ("image", "label", "score", "box"):
        np.testing.assert_array_equal(getattr(things, name), getattr(again, name))
    assert again.masks == things.masks
    how = {"masks": metric == "coco"}
    assert evaluate(things, split, index, metric, 7, **how) == evaluate(again, split, index, metric, 7, **how)


def test_kept_without_published_numbers():
    split, index = one_image(Thing(0, (0, 0, 1, 1)))
    things = Found([0], [0], [0.5], [(0, 1, 2, 4)])
    kept = to_coco(things, split, index)
    assert kept == [{"image_id": 0, "category_id": 1, "bbox": [0, 1, 2, 3], "score": 0.5}]
    assert from_coco(kept, split, index).masks is None
    with pytest.raises(ValueError, match="1 detections have an unknown category_id, such as 2"):
        from_coco([kept[0] | {"category_id": 2}], split, index)


def test_what_cannot_be_measured_is_refused():
    things, split, index = made(0)
    with pytest.raises(Diverged, match="1 of 2 detections"):
        Found([0, 0], [0, 0], [0.5, float("nan")], np.zeros((2, 4)))
    with pytest.raises(ValueError, match="order of the images"):
        Found([1, 0], [0, 0], [0.5, 0.5], np.zeros((2, 4)))
    with pytest.raises(ValueError, match="N x 4"):
        Found([1], [0], [0.5], np.zeros(4))
    with pytest.raises(ValueError, match="1 masks for 2"):
        Found([0, 0], [0, 0], [0.5, 0.5], np.zeros((2, 4)), [{}])
    with pytest.raises(ValueError, match="have no masks"):
        evaluate(things, split, index, "coco", 0, masks=True)
    with pytest.raises(ValueError, match="voc07, voc, coco"):
        evaluate(things, split, index, "map", 0)
    assert found.Found is detections.Found
