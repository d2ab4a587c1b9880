"""Levels of concepts, the farther in meaning from those that a model has seen the higher (as ImageNet-CoG's).

Sariyildiz et al., Concept generalization in visual representation learning, ICCV 2021, section 3: of a taxonomy's
concepts with enough images those that were not seen, are above none that was, and have none of their own kind below
them, are ranked by Lin's similarity (Lin, An information-theoretic definition of similarity, ICML 1998) to the nearest
seen one, and cut into levels of as many concepts each. The paper's own levels are its published lists (the data sets
cog-l1 to cog-l5): its WordNet, its list of offensive concepts and its draw of images are in them, and in none of ours.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from suite.entry import Refusal, near
from suite.index import folders, images, lines
from suite.store import read_json, write_json

FILE = "levels.json"
LEAST, TESTED, MOST = 782, 50, 1350  # images of a concept: so many at least, of which tested, and no more than these


@dataclass(frozen=True)
class Concept:
    """An unseen concept, the nearest seen one, and their similarity, 0 to 1."""

    name: str
    nearest: str
    similarity: float


class Taxonomy:
    """Concepts and what they are kinds of: `parents` of each. The graph has no cycle, or it is refused.

    `information` is IC(c) = -ln p(c), p(c) the part of all concepts that are c or a kind of it: 0 at the root.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], corpus: Collection[str] = ()) -> None:
        """Of (parent, child) pairs; with a `corpus`, only of its concepts and what is above them."""
        self.parents: dict[str, set[str]] = {}
        for parent, child in pairs:
            self.parents.setdefault(child, set()).add(parent)
            self.parents.setdefault(parent, set())
        if corpus:
            kept = {above for name in corpus if name in self.parents for above in self.above(name)}
            self.parents = {name: found for name, found in self.parents.items() if name in kept}
        try:
            TopologicalSorter(self.parents).prepare()
        except CycleError as error:
            raise Refusal(f"{error.args[1][0]} is a kind of itself: that is no taxonomy") from None
        below = dict.fromkeys(self.parents, 0)
        for name in self.parents:
            for above in self.above(name):
                below[above] += 1
        self.information = {name: -math.log(count / len(below)) for name, count in below.items()}

    def above(self, name: str) -> set[str]:
        """The concept and all that it is a kind of."""
        found, left = {name}, [name]
        while left:
            more = self.parents[left.pop()] - found
            found |= more
            left += more
        return found

    def similarity(self, one: str, other: str) -> float:
        """Lin's: 2 IC(the lowest concept above both) / (IC(one) + IC(other)); 1 for a concept and itself."""
        if one == other:
            return 1.0
        shared = max((self.information[name] for name in self.above(one) & self.above(other)), default=0.0)
        return 2 * shared / (self.information[one] + self.information[other]) if shared else 0.0

    def nearest(self, names: Iterable[str], seen: Collection[str]) -> list[Concept]:
        """Of each name the most similar seen concept; of several the first by name.

        By way of what is above: the best for a concept c under a given ancestor is the seen one there of the least IC,
        so that no pair is looked at, and 21,841 concepts take a second.
        """
        plainest: dict[str, str] = {}
        for name in sorted(seen, key=lambda name: (self.information[name], name)):
            for above in self.above(name):
                plainest.setdefault(above, name)
        found = []
        for name in names:
            tried = {plainest[above] for above in self.above(name) if above in plainest} or {min(seen)}
            nearest = max(sorted(tried), key=lambda other: self.similarity(name, other))
            found.append(Concept(name, nearest, self.similarity(name, nearest)))
        return found


def eligible(
    taxonomy: Taxonomy,
    counts: Mapping[str, int],
    seen: Collection[str],
    without: Iterable[str] = (),
    least: int = LEAST,
) -> list[str]:
    """Concepts with `least` images that are not seen, above no seen one, not under one of `without`, and leaves among
    what is left; sorted."""
    barred = set(without)
    over = {above for name in seen for above in taxonomy.above(name)}
    left = [
        name
        for name, count in counts.items()
        if count >= least and name in taxonomy.parents and name not in over and not taxonomy.above(name) & barred
    ]
    inner = {above for name in left for above in taxonomy.above(name) - {name}}
    return sorted(set(left) - inner)


def cut(concepts: Iterable[Concept], levels: int, size: int) -> list[list[Concept]]:
    """Levels of `size` concepts each, the most similar first; equal ones by name. What is more is the farthest, and is
    left out; Refusal where there are too few."""
    ranked = sorted(concepts, key=lambda one: (-one.similarity, one.name))
    if len(ranked) < levels * size:
        raise Refusal(
            f"{len(ranked)} concepts can be used, and {levels} levels of {size} need {levels * size}; "
            "ask for fewer or smaller ones"
        )
    return [ranked[at * size : (at + 1) * size] for at in range(levels)]


def build(
    root: Path, is_a: Path, seen: Path, *, levels: int, size: int, without: Sequence[str] = (), least: int = LEAST
) -> list[list[Concept]]:
    """The levels of the concepts that have a folder of images in `root`, by the (parent, child) pairs of the file
    `is_a`; `seen` is a list of concepts, one a line, or a folder with a folder for each."""
    pairs = [(words[0], words[1]) for line in lines(is_a) if len(words := line.split()) == 2]
    if not pairs:
        raise Refusal(f"{is_a}: no line PARENT CHILD, as ImageNet's wordnet.is_a.txt has them")
    counts = {name: len(images(root / name)) for name in folders(root)}
    known = folders(seen) if seen.is_dir() else [line.split()[0] for line in lines(seen)]
    if not known:
        raise Refusal(f"{seen}: no concept in it; expected those that were seen, one a line, or a folder for each")
    taxonomy = Taxonomy(pairs, {*counts, *known})
    if unknown := [name for name in (*known, *without) if name not in taxonomy.parents]:
        raise near(unknown[0], taxonomy.parents, f"concept of {is_a}")
    usable = eligible(taxonomy, counts, known, without, least)
    return cut(taxonomy.nearest(usable, known), levels, size)


def write(
    root: Path, found: Sequence[Sequence[Concept]], *, tested: int = TESTED, most: int = MOST, seed: int = 0
) -> Path:
    """Writes the levels to where suite/layouts/levels.py reads them; it draws the images of each concept, too. Refusal
    where other ones are there."""
    made: dict[str, Any] = {"seed": seed, "tested": tested, "most": most}
    made["levels"] = [[asdict(one) for one in level] for level in found]
    if read_json(root / FILE) not in (None, made):
        raise Refusal(f"{root / FILE}: other levels are there, which results may be of; move that file away")
    write_json(root / FILE, made)
    return root / FILE
