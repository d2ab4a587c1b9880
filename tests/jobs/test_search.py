"""Search: reproducible by seed, random first, no worse than chance, and sequential where that is asked for."""

from __future__ import annotations

import math
import warnings

import optuna
import pytest

from jobs.lib.search import Search

SPACE = {"rate": (1e-1, 1e2), "decay": (1e-12, 1e-4)}


def value(parameters: dict[str, float]) -> float:
    """A hill over log rate and log decay."""
    return 1 - 0.1 * (math.log10(parameters["rate"]) - 1) ** 2 - 0.01 * (math.log10(parameters["decay"]) + 6) ** 2


def searched(trials: int, at_once: int, seed: int = 3, multivariate: bool = True) -> tuple[Search, list[int]]:
    search = Search(SPACE, trials=trials, startup=10, at_once=at_once, multivariate=multivariate, seed=seed)
    sizes = []
    while asked := search.ask():
        sizes.append(len(asked))
        search.tell([value(parameters) for parameters in asked])
    return search, sizes


def sequential(trials: int, seed: int, multivariate: bool) -> list[dict[str, float]]:
    """The same with Optuna's own loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=multivariate)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(
        lambda t: value({name: t.suggest_float(name, *ends, log=True) for name, ends in SPACE.items()}), trials
    )
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("multivariate", [True, False])
def test_one_at_a_time_is_the_sequential_search(multivariate: bool) -> None:
    found, sizes = searched(18, at_once=1, multivariate=multivariate)
    assert sizes == [10] + [1] * 8
    assert [trial.parameters for trial in found.trials] == sequential(18, 3, multivariate)


def test_batches() -> None:
    found, sizes = searched(30, at_once=8)
    assert sizes == [10, 8, 8, 4]
    assert len({trial.parameters["rate"] for trial in found.trials}) == 30
    for name, (low, high) in SPACE.items():
        assert all(low <= trial.parameters[name] <= high for trial in found.trials)
    first = [trial.parameters for trial in found.trials[:10]]
    assert first == sequential(10, 3, True)  # the random ones
    later = [trial.value for trial in found.trials[10:]]
    assert sum(later) / 20 > sum(trial.value for trial in found.trials[:10]) / 10


def test_the_same_seed_gives_the_same_search() -> None:
    one, two, other = (searched(20, at_once=5, seed=seed)[0].trials for seed in (7, 7, 8))
    assert one == two
    assert one != other


def test_more_trials_begin_with_the_same() -> None:
    few, many = searched(15, at_once=5)[0], searched(25, at_once=5)[0]
    assert many.trials[:15] == few.trials


def test_of_equals_the_first_is_best() -> None:
    search = Search(SPACE, trials=4, startup=4, at_once=2, multivariate=True, seed=0)
    asked = search.ask()
    search.tell([0.5, 0.7, 0.7, 0.0])
    assert search.best.parameters == asked[1]
    assert search.ask() == []


def test_a_value_that_is_no_number_is_refused() -> None:
    search = Search(SPACE, trials=2, startup=2, at_once=1, multivariate=True, seed=0)
    search.ask()
    with pytest.raises(ValueError, match="2 trials were asked for"):
        search.tell([math.nan, 0.0])
