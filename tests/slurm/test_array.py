"""Array: bundles -> job arrays, compared with what they should be; and the text that sbatch gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slurm.array import Array, Limits, arrays, limit
from slurm.cluster import Cluster, asks, find, ranks
from slurm.container import command
from slurm.script import Script, parameters
from slurm.submission import draft
from suite import product
from suite.bundle import MOST_CELLS, Ask, Bundle, bundles, joined
from suite.catalog import Catalog
from suite.cell import Cell
from suite.entry import Refusal
from suite.store import Store
from suite.task import Resources

SLURM = Cluster("there", scheduler="slurm", pack=10.0, python="/opt/bin/python")


def test_the_command_is_words_only() -> None:
    made = command(Cluster("here", python="/opt/bin/python"), ["a/b/c/0"], Path("/a store/with 'quotes'"), "abc")
    assert made == ["/opt/bin/python", "-m", "jobs", "a/b/c/0", "--store", "/a store/with 'quotes'", "--commit", "abc"]


def cells(known: Catalog, *names: str, seeds: tuple[int, ...] = (0, 1)) -> list[Cell]:
    tasks = [known.tasks[name] for name in names or ("linear", "knn", "finetune")]
    models = [known.model(name) for name in ("pixels_8x8", "random_resnet18")]
    return [Cell(task, known.datasets["digits"], model, seed) for model in models for task in tasks for seed in seeds]


def test_frozen_cells_of_one_model_and_dataset_are_one_bundle(known: Catalog) -> None:
    made = bundles(cells(known), lambda cell: 2.0)
    assert [len(bundle.cells) for bundle in made] == [4, 1, 1, 4, 1, 1]
    assert made[0].keys[0] == "linear-v1/digits/pixels_8x8/0"
    assert made[0].minutes == 8.0
    assert sum((bundle.cells for bundle in made), ()) == tuple(
        sorted(cells(known), key=lambda c: c.model.name != "pixels_8x8")
    )


def test_a_bundle_asks_for_the_largest_memory_of_its_cells(known: Catalog) -> None:
    memory = {"linear": 64.0, "knn": 16.0, "finetune": 8.0}
    made = bundles(cells(known), lambda cell: 1.0, lambda cell: Ask(Resources(memory_gb=memory[cell.task.name])))
    assert [bundle.ask.resources.memory_gb for bundle in made] == [64, 8, 8, 64, 8, 8]


def some(*minutes: float, image: str = "core", ask: Ask | None = None, known: Catalog | None = None) -> list[Bundle]:
    return [Bundle(image, ask or Ask(Resources()), (), m) for m in minutes]


def minutes(made: Array) -> list[list[float]]:
    return [[bundle.minutes for bundle in task] for task in made.tasks]


def test_one_machine_gets_as_many_tasks_as_slots() -> None:
    (made,) = arrays(Cluster("local", slots=2), some(5, 1, 4, 2, 3))
    assert sorted(sum(task) for task in minutes(made)) == [7, 8]
    assert sorted(m for task in minutes(made) for m in task) == [1, 2, 3, 4, 5]
    assert arrays(Cluster("local"), []) == []


def test_small_bundles_are_packed_and_large_ones_are_not() -> None:
    (made,) = arrays(SLURM, some(4, 4, 4, 12, 3, 3))
    assert minutes(made) == [[4, 4], [4], [12], [3, 3]]
    (alone,) = arrays(replace(SLURM, pack=0), some(2.5, 3, 3.5))
    assert minutes(alone) == [[2.5], [3], [3.5]]


def test_an_array_is_one_image_one_shape_and_one_limit() -> None:
    large = Ask(Resources(gpus=4))
    made = arrays(SLURM, [*some(8, 8), *some(9, image="detection"), *some(10, 10, ask=large), *some(300)])
    assert [(one.image, one.ask.resources.gpus, one.minutes, len(one.tasks)) for one in made] == [
        ("core", 1, 32, 2),
        ("core", 1, 1024, 1),
        ("detection", 1, 32, 1),
        ("core", 4, 32, 2),
    ]


@pytest.mark.parametrize(("estimate", "asked"), [(0.0, 32), (12.0, 32), (12.1, 64), (600.0, 1440)])
def test_the_limit_follows_the_estimate_up_to_the_longest_job(estimate: float, asked: int) -> None:
    assert limit(replace(SLURM, hours=24), some(estimate)) == asked


def test_arrays_are_cut_to_the_sites_limits() -> None:
    made = arrays(SLURM, some(*[11.0] * 2500), limits=Limits(array=1001, tasks=10_000))
    assert [len(one.tasks) for one in made] == [1001, 1001, 498]
    # More than the queue takes at once goes in smaller arrays, so that one follows when a few tasks have ended.
    windowed = arrays(SLURM, some(*[11.0] * 250), limits=Limits(array=1001, tasks=100))
    assert [len(one.tasks) for one in windowed] == [25] * 10


def test_who_works_with_features_waits_for_them(known: Catalog) -> None:
    both = cells(known, "features", "linear", "knn", seeds=(0,))
    needs = product.needs(both)
    assert needs["knn-v1/digits/random_resnet18/0"] == "features-v1/digits/random_resnet18/0"
    assert len(needs) == 4
    assert product.needs(cells(known, "linear", "knn")) == {}
    made = bundles(both, lambda cell: 20.0)
    first, second = arrays(SLURM, made, needs=needs)
    assert (first.after, second.after) == (None, 0)
    assert [task[0].keys for task in first.tasks] == [
        ["features-v1/digits/pixels_8x8/0"],
        ["features-v1/digits/random_resnet18/0"],
    ]
    assert [task[0].keys for task in second.tasks] == [
        ["linear-v1/digits/pixels_8x8/0", "knn-v1/digits/pixels_8x8/0"],
        ["linear-v1/digits/random_resnet18/0", "knn-v1/digits/random_resnet18/0"],
    ]
    (chain,) = arrays(Cluster("local", slots=4), made[:2], needs=needs)
    assert [bundle.keys[0].split("-")[0] for bundle in chain.tasks[0]] == ["features", "linear"]


def test_a_chain_is_one_array_behind_another(known: Catalog) -> None:
    made = bundles(cells(known, "finetune", seeds=(0, 1)), lambda cell: 1.0)
    keys = [bundle.keys[0] for bundle in made]
    needs = {keys[1]: keys[0], keys[2]: keys[1]}
    found = arrays(SLURM, made, needs=needs)
    assert [one.after for one in found] == [None, 0, 1]
    assert [keys[n] in found[n].tasks[0][0].keys for n in range(3)] == [True] * 3
    (local,) = arrays(Cluster("local", slots=1), made, needs=needs)
    order = [key for bundle in local.tasks[0] for key in bundle.keys]
    assert order.index(keys[0]) < order.index(keys[1]) < order.index(keys[2])


def test_many_that_wait_for_one_are_packed_like_any_other(known: Catalog) -> None:
    (maker, other), waiting = some(500, 500), some(*[5.0] * 5)
    named = [replace(bundle, cells=(cell,)) for bundle, cell in
             zip([maker, other, *waiting], cells(known, "finetune", seeds=tuple(range(4))), strict=False)]  # fmt: skip
    keys = [bundle.keys[0] for bundle in named]
    needs = dict.fromkeys(keys[2:6], keys[0]) | {keys[6]: keys[1]}
    makers, first, second = arrays(SLURM, named, needs=needs)
    assert [len(one.tasks) for one in (makers, first, second)] == [2, 2, 1]
    assert (first.after, second.after) == (0, 0)
    packs = [[bundle.keys[0] for bundle in task] for task in first.tasks]
    assert packs == [keys[2:4], keys[6:7]] and [b.keys[0] for b in second.tasks[0]] == keys[4:6]


def test_gpus_bring_their_cpus_and_memory_where_the_entry_says_so() -> None:
    asked = asks(replace(SLURM, cpus_a_gpu=12, gb_a_gpu=60), Resources(gpus=4, cpus=8, memory_gb=32))
    assert (asked.cpus, asked.memory_gb) == (48, 240)
    assert asks(SLURM, Resources()) == Resources()
    assert [ranks(Resources(nodes=2, gpus=gpus)) for gpus in (0, 1, 4)] == [2, 2, 8]


def script(cluster: Cluster, ask: Ask, tasks: int = 3, minutes: int = 32) -> str:
    array = Array("core", ask, minutes, tuple((bundle,) for bundle in some(*[1.0] * tasks)))
    made = draft(Store(Path("/a store")), cluster, [array], "commit")
    return Script(cluster, made.folder, made.arrays[0], "aftercorr:12").text.replace(made.folder.name, "ID")


WHOLE = """#!/bin/bash

# Parameters
#SBATCH --account=vision
#SBATCH --array=0-2%3
#SBATCH --chdir=CHECKOUT
#SBATCH --constraint='a100|h100'
#SBATCH --cpus-per-task=8
#SBATCH --dependency=aftercorr:12
#SBATCH --exclude=n3
#SBATCH --exclusive
#SBATCH --gres=gpu:a100:2
#SBATCH --job-name=ID.0
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=FAIL
#SBATCH --mail-user=me@lab
#SBATCH --mem=65536M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --open-mode=append
#SBATCH --output='/a store/logs/ID/%A_%a_0_log.out'
#SBATCH --partition=gpu
#SBATCH --qos=high
#SBATCH --requeue
#SBATCH --reservation=cvpr
#SBATCH --signal=USR2@90
#SBATCH --time=32

# setup
module load python

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/a store/logs/ID/%A_%a_%t_log.out' --cpus-per-task=8 /opt/bin/python \
-u -m slurm.job '/a store/logs/ID' ID.0
"""


def test_the_script_is_as_recorded() -> None:
    cluster = replace(
        SLURM, account="vision", partition="gpu", qos="high", constraint="a100|h100", gres="gpu:a100:{gpus}",
        mail_user="me@lab", mail_type="FAIL", lines=("--reservation=cvpr", "--exclusive"),
        setup=("module load python",),
    )  # fmt: skip
    text = script(cluster, Ask(Resources(gpus=2, cpus=16, memory_gb=64), ("n3",)))
    checkout = str(Path(__file__).resolve().parents[2])
    assert text.replace(checkout, "CHECKOUT").replace("\\\n", "") == WHOLE.replace("\\\n", "")


def test_without_srun_the_python_process_is_the_batch_itself() -> None:
    text = script(replace(SLURM, srun=False), Ask(Resources()))
    assert "srun" not in text
    assert "#SBATCH --signal=B:USR2@90" in text
    assert "\nexec /opt/bin/python -u -m slurm.job" in text


def test_a_wckey_is_there_only_where_it_is_set() -> None:
    assert "wckey" not in script(SLURM, Ask(Resources()))
    assert "#SBATCH --wckey=vision" in script(replace(SLURM, wckey="vision"), Ask(Resources()))


def test_no_gpu_is_asked_for_where_none_is_wanted() -> None:
    for cluster, ask in (SLURM, Ask(Resources(gpus=0))), (replace(SLURM, gres="none"), Ask(Resources())):
        assert "gpu" not in script(cluster, ask)


def test_one_task_is_an_array_too() -> None:
    assert "#SBATCH --array=0%1" in script(SLURM, Ask(Resources()), tasks=1)


def test_several_nodes_have_a_rank_a_gpu(known: Catalog) -> None:
    array = Array("core", Ask(Resources(nodes=2, gpus=4, cpus=32)), 10, ((),))
    made = draft(known.store, SLURM, [array], "commit")
    given = parameters(SLURM, made.arrays[0])
    assert (given["nodes"], given["ntasks_per_node"], given["cpus_per_task"]) == (2, 4, 8)


def test_a_users_own_file_is_a_cluster(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from slurm.cluster import Cluster\nMINE = Cluster('mine', scheduler='slurm', account='vision')\n")
    assert find(str(file)).account == "vision"
    assert find(find(str(file)).name) == find(str(file))
    with pytest.raises(Refusal, match="no such file"):
        find(str(tmp_path / "other.py"))
    with pytest.raises(Refusal, match="testbed"):
        find("tesbed")


def test_one_process_runs_what_follows_one_another_on_frozen_features(known: Catalog) -> None:
    """Cells that train the backbone have a process of their own; order and minutes are kept."""
    made = bundles(cells(known), lambda cell: 2.0)  # linear and knn of two seeds, two fine-tunings; of two models
    assert [len(bundle.cells) for bundle in joined(made)] == [4, 1, 1, 4, 1, 1]
    frozen = [bundle for bundle in made if bundle.frozen]
    (whole,) = joined(frozen)
    assert whole.cells == frozen[0].cells + frozen[1].cells
    assert whole.minutes == 16.0


def test_the_joined_ask_for_the_largest_memory_and_keep_to_their_image(known: Catalog) -> None:
    one, other = (bundle for bundle in bundles(cells(known, "linear"), lambda cell: 1.0))
    more = replace(other, ask=Ask(replace(other.ask.resources, memory_gb=128.0)))
    (whole,) = joined([one, more])
    assert whole.ask == more.ask
    assert joined([one, replace(other, image="detection")]) == [one, replace(other, image="detection")]
    gpus = replace(other, ask=Ask(replace(other.ask.resources, gpus=one.ask.resources.gpus + 1)))
    assert joined([one, gpus]) == [one, gpus]
    assert joined([one, replace(other, ask=Ask(other.ask.resources, ("n3",)))])[1].ask.avoid == ("n3",)
    many = [replace(one, cells=one.cells * (MOST_CELLS // 4))] * 5  # two seeds: half of the most each
    assert [len(bundle.cells) for bundle in joined(many)] == [MOST_CELLS, MOST_CELLS, MOST_CELLS // 2]


@pytest.mark.parametrize("name", ["local", "testbed"])
def test_the_arrays_of_every_scheduler_are_joined(name: str, known: Catalog) -> None:
    made = arrays(replace(find(name), pack=60.0), bundles(cells(known, "linear", "knn"), lambda cell: 1.0))
    assert [[len(bundle.cells) for bundle in task] for array in made for task in array.tasks] == [[8]]
