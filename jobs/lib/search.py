"""Search: hyper-parameters by Optuna's TPE, asked for several at once, so that they are tried side by side.

TPE: Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011. `startup` trials are random; they hang
on no value and are asked for together, those after them `at_once`: with 1 that is the sequential search, of the same
trials. With more, those under way count as bad ("constant liar"), so that they are not all in one place. All draws are
functions of the seed and of the values told: a search is had again by telling it the same.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """What was tried, and its value, to be as large as can be; 0.0 where there is none."""

    parameters: Mapping[str, float]
    value: float


class Search:
    """`trials` trials in a `space` of parameters, each log-uniform from low to high."""

    def __init__(
        self,
        space: Mapping[str, tuple[float, float]],
        *,
        trials: int,
        startup: int,
        at_once: int,
        multivariate: bool,
        seed: int,
    ) -> None:
        import optuna  # takes a second

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed % 2**32, n_startup_trials=startup, multivariate=multivariate, constant_liar=at_once > 1
            )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._space = {name: optuna.distributions.FloatDistribution(*ends, log=True) for name, ends in space.items()}
        self._asked: list[optuna.Trial] = []
        self._number, self._startup, self._at_once = trials, startup, at_once
        self.trials: list[Trial] = []

    def ask(self) -> list[dict[str, float]]:
        """The next trials' parameters, whose values must then be told; none where the search is over."""
        done = len(self.trials)
        size = min(self._number - done, self._at_once if done >= self._startup else self._startup - done)
        self._asked = [self._study.ask(self._space) for _ in range(size)]
        return [_plain(trial.params) for trial in self._asked]

    def tell(self, values: Sequence[float]) -> None:
        """The values of the trials that were asked for, in their order."""
        if len(values) != len(self._asked) or not all(map(math.isfinite, values)):
            raise ValueError(f"{len(self._asked)} trials were asked for; their values are {list(values)}")
        for trial, value in zip(self._asked, values, strict=True):
            self._study.tell(trial, value)
            self.trials.append(Trial(_plain(trial.params), value))
        self._asked = []

    @property
    def best(self) -> Trial:
        """The trial of the highest value; the first of equal ones."""
        return max(self.trials, key=lambda trial: trial.value)


def _plain(parameters: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in parameters.items()}
