"""OpenMMLab: mmsegmentation as it is here: with the compiled operators of mmcv in the image `segmentation`, without
them elsewhere; one program runs with either."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

OPERATORS = "mmcv._ext"
# Advice on what our entries say in so many words: pixels that count in the mean, and a logit for each of two classes.
ADVICE = (r"Default ``avg_non_ignore`` is False", r"For binary segmentation, we suggest")


class Absent(ModuleType):
    """The module of mmcv's operators where none was compiled: what imports it can be imported; a call is an error."""

    def __init__(self) -> None:
        super().__init__(OPERATORS)
        self.__spec__ = ModuleSpec(OPERATORS, None)

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def operator(*_: Any, **__: Any) -> NoReturn:
            raise NotImplementedError(f"mmcv's operator {name} is not compiled here; the image `segmentation` has it")

        return operator


def prepare() -> str:
    """To be called before mmseg is imported: stands in for operators that are missing, and leaves mmengine's log to
    warnings. Which mmcv it is: 'mmcv 2.3.6 without operators'."""
    import mmcv
    from mmengine.logging import MMLogger

    if importlib.util.find_spec(OPERATORS) is None:
        sys.modules[OPERATORS] = Absent()
    MMLogger.get_current_instance().setLevel("WARNING")  # else each initial weight is told of
    for advice in ADVICE:
        warnings.filterwarnings("ignore", advice, module=r"mmseg\.models\.")
    has = "without" if isinstance(sys.modules.get(OPERATORS), Absent) else "with"
    return f"mmcv {mmcv.__version__} {has} operators"
