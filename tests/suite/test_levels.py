"""Levels of concepts: Lin's similarity by hand on a toy taxonomy, by all pairs on a random one; levels as data sets."""

import itertools
import math
import random
from pathlib import Path

import pytest
from folders import write

from suite import adhoc, levels
from suite.entry import Refusal
from suite.index import LayoutError, digest
from suite.levels import Concept, Taxonomy

#           thing
#       animal     tool          pet: an animal and a tool, as WordNet's concepts may be kinds of several
#     dog   cat   hammer saw
#   pug beagle
PAIRS = [
    *(("thing", "animal"), ("thing", "tool"), ("animal", "dog"), ("animal", "cat"), ("tool", "hammer")),
    *(("tool", "saw"), ("dog", "pug"), ("dog", "beagle"), ("animal", "pet"), ("tool", "pet")),
]


def test_information_and_similarity_by_hand() -> None:
    toy = Taxonomy(PAIRS)
    assert len(toy.parents) == 10
    assert toy.information["thing"] == 0.0
    assert toy.information["animal"] == pytest.approx(-math.log(6 / 10))  # itself, dog, pug, beagle, cat, pet
    assert toy.information["dog"] == pytest.approx(-math.log(3 / 10))
    assert toy.similarity("pug", "beagle") == pytest.approx(math.log(10 / 3) / math.log(10))
    assert toy.similarity("pug", "cat") == pytest.approx(math.log(10 / 6) / math.log(10))
    assert toy.similarity("pug", "saw") == 0.0  # nothing but the root above both
    assert toy.similarity("pet", "saw") == pytest.approx(math.log(10 / 4) / math.log(10))
    assert toy.similarity("pug", "pug") == 1.0
    assert (
        toy.similarity("dog", "pug")
        == toy.similarity("pug", "dog")
        == pytest.approx(2 * math.log(10 / 3) / (math.log(10 / 3) + math.log(10)))
    )


def test_the_nearest_seen_concept_is_that_of_all_pairs() -> None:
    draw = random.Random(3)
    names = [f"c{number:03}" for number in range(60)]
    pairs = [(names[draw.randrange(at)], names[at]) for at in range(1, 60)]
    pairs += [(names[draw.randrange(at)], names[at]) for at in range(20, 60, 7)]  # some are kinds of two
    taxonomy = Taxonomy(pairs)
    seen, unseen = names[1::5], names[2::5]
    for found in taxonomy.nearest(unseen, seen):
        by_pairs = [(lin(taxonomy, found.name, other), other) for other in seen]
        best = max(value for value, _ in by_pairs)
        assert found.similarity == pytest.approx(best, abs=1e-12)
        assert lin(taxonomy, found.name, found.nearest) == pytest.approx(best, abs=1e-12)


def lin(taxonomy: Taxonomy, one: str, other: str) -> float:
    """Lin's similarity with its own walk up the graph."""

    def above(name: str) -> set[str]:
        return {name}.union(*(above(parent) for parent in taxonomy.parents[name]))

    whole = len(taxonomy.parents)
    p = {name: sum(name in above(low) for low in taxonomy.parents) / whole for name in above(one) | above(other)}
    shared = min(p[name] for name in above(one) & above(other))
    return 2 * math.log(shared) / (math.log(p[one]) + math.log(p[other]))


def test_who_may_be_in_a_level() -> None:
    toy = Taxonomy(PAIRS)
    counts = dict.fromkeys(toy.parents, 10) | {"saw": 2}
    # Seen: pug; so dog, animal and thing, which are above it, are not unseen. saw has too few images, tool has kinds.
    assert levels.eligible(toy, counts, ["pug"], least=5) == ["beagle", "cat", "hammer", "pet"]
    assert levels.eligible(toy, counts, ["pug"], without=["tool"], least=5) == ["beagle", "cat"]
    assert levels.eligible(toy, counts | {"hammer": 1, "pet": 1}, ["pug"], least=5) == ["beagle", "cat", "tool"]


def test_levels_fall_in_similarity_and_what_is_over_is_left_out() -> None:
    concepts = [Concept(name, "s", value) for name, value in zip("edcba", (0.1, 0.5, 0.5, 0.9, 0.2), strict=True)]
    made = levels.cut(concepts, 2, 2)
    assert [[one.name for one in level] for level in made] == [["b", "c"], ["d", "a"]]
    with pytest.raises(Refusal, match="5 concepts can be used, and 3 levels of 2 need 6"):
        levels.cut(concepts, 3, 2)


def test_a_circle_is_no_taxonomy() -> None:
    with pytest.raises(Refusal, match="a kind of itself"):
        Taxonomy([("a", "b"), ("b", "c"), ("c", "a")])


def test_a_deep_taxonomy() -> None:
    names = [f"{number:04}" for number in range(2000)]
    deep = Taxonomy(reversed([*itertools.pairwise(names)]))  # the deepest first
    assert deep.above(names[-1]) == set(names)
    assert deep.similarity(names[0], names[-1]) == 0.0


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in ("beagle", "cat", "hammer", "saw", "pet", "dog"):
        write(root, {f"{name}/{number}.jpg": f"{name}{number}" for number in range(8)})
    (tmp_path / "is_a.txt").write_text("".join(f"{parent} {child}\n" for parent, child in PAIRS))
    (tmp_path / "seen.txt").write_text("pug a small dog\n")
    return root


def test_levels_are_data_sets(photos: Path) -> None:
    made = levels.build(photos, photos.parent / "is_a.txt", photos.parent / "seen.txt", levels=2, size=2, least=8)
    assert [[one.name for one in level] for level in made] == [["beagle", "cat"], ["pet", "hammer"]]
    assert {one.nearest for level in made for one in level} == {"pug"}
    levels.write(photos, made, tested=2, most=6)
    layout = adhoc.layout("levels/l2")
    assert layout.recognise(photos) and not adhoc.layout("levels/l3").recognise(photos)
    found = layout.index(photos)
    assert found.classes == ["hammer", "pet"]
    assert {split: len(rows.items) for split, rows in found.splits.items()} == {"train": 8, "test": 4}
    train, test = (set(found.splits[split].items) for split in ("train", "test"))
    assert not train & test
    assert digest(found, photos) == digest(layout.index(photos), photos)
    with pytest.raises(Refusal, match="other levels are there"):
        levels.write(photos, made, tested=2, most=6, seed=1)
    (photos / levels.FILE).unlink()
    levels.write(photos, made, tested=2, most=6, seed=1)
    assert set(layout.index(photos).splits["test"].items) != test
    with pytest.raises(LayoutError, match="holds the levels l1, l2"):
        adhoc.layout("levels/l3").index(photos)


def test_the_test_images_do_not_depend_on_other_concepts(photos: Path) -> None:
    one = [[Concept("cat", "pug", 0.5)]]
    levels.write(photos, one, tested=3, most=8)
    alone = adhoc.layout("levels/l1").index(photos).splits["test"].items
    (photos / levels.FILE).unlink()
    levels.write(photos, [[*one[0], Concept("beagle", "pug", 0.9)]], tested=3, most=8)
    both = adhoc.layout("levels/l1").index(photos).splits["test"].items
    assert [name for name in both if name.startswith("cat")] == alone


def test_what_is_unknown_is_told(photos: Path) -> None:
    (photos.parent / "seen.txt").write_text("begle\n")
    with pytest.raises(Refusal, match="did you mean beagle"):
        levels.build(photos, photos.parent / "is_a.txt", photos.parent / "seen.txt", levels=1, size=1)
    write(photos.parent, {"empty.txt": "one\n"})
    with pytest.raises(Refusal, match="no line PARENT CHILD"):
        levels.build(photos, photos.parent / "empty.txt", photos.parent / "seen.txt", levels=1, size=1)
    write(photos.parent, {"seen.txt": "\n"})
    (photos.parent / "none").mkdir()
    for seen in ("seen.txt", "none"):
        with pytest.raises(Refusal, match=f"{seen}: no concept in it; expected those that were seen"):
            levels.build(photos, photos.parent / "is_a.txt", photos.parent / seen, levels=1, size=1)


def test_ranks_hold_for_every_pair(photos: Path) -> None:
    made = levels.build(photos, photos.parent / "is_a.txt", photos.parent / "seen.txt", levels=2, size=2, least=8)
    for nearer, farther in itertools.product(*made):
        assert nearer.similarity >= farther.similarity
