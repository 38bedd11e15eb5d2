"""Finds what of a training checkpoint is not the network: losses, metrics, averages, teachers.

In: keys of tensors. Out: whether their names say that they belong to something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

BOOKKEEPING = ("num_batches_tracked", "total_ops", "total_params", "n_averaged", "_extra_state")
"""The last parts of keys that are not weights, but count batches or operations (thop,
AveragedModel)."""

_AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?|avg|shadow|moving)(?=$|[._\d])", re.IGNORECASE)
_TEACHER = re.compile(
    r"(^|[._])(teachers?|(model|net(work)?)_?t|t_?(model|net(work)?))(?=$|[._\d])", re.IGNORECASE
)
_ASIDE = re.compile(
    r"(^|[._])(\w*loss(es|_fn|_func)?|criterions?|criteria|objective|metrics?|\w*accuracy|acc\d?"
    r"|auroc|f1|confusion\w*|confmat|discriminator|optim\w*|\w*scheduler|scaler"
    r"|current_model_state)(?=$|[._\d])",
    re.IGNORECASE,
)
"""Lightning's WeightAveraging keeps the plain weights as `current_model_state` beside the average,
which it goes on with."""
_OPTIMIZER = re.compile(r"(^|[._])optim\w*(?=$|[._\d])", re.IGNORECASE)
_OBSERVER = re.compile(r"(^|[._])(\w*fake_quant|activation_post_process)(?=$|[._\d])")


def is_bookkeeping(key: str) -> bool:
    """Whether a key is a counter of PyTorch's or of a profiler, and not a weight."""
    return key.rpartition(".")[2] in BOOKKEEPING


def is_observer(key: str) -> bool:
    """Whether a key is of what quantization-aware training observes, beside the float weights."""
    return _OBSERVER.search(key) is not None


def is_optimizer(key: str) -> bool:
    """Whether a key names the state of an optimizer."""
    return _OPTIMIZER.search(key) is not None


def is_average(key: str) -> bool:
    """Whether a key names an average of weights (EMA, SWA)."""
    return _AVERAGE.search(key) is not None


def is_teacher(key: str) -> bool:
    """Whether a key names the network that another one was trained to imitate."""
    return _TEACHER.search(key) is not None


def is_set_aside(key: str) -> bool:
    """Whether a key names something beside the network: a loss, a metric, a teacher, an average."""
    return _ASIDE.search(key) is not None or is_average(key) or is_teacher(key)


def summarize(keys: Iterable[str], shown: int = 4) -> str:
    """Name tensors by their first parts: `criterion.pos_weight, teacher (160 tensors)`."""
    keys = list(keys)
    counts = Counter(key.partition(".")[0] for key in keys)
    names = []
    for first, count in counts.items():
        alone = next(key for key in keys if key.partition(".")[0] == first)
        names.append(alone if count == 1 else f"{first} ({count} tensors)")
    return ", ".join(names[:shown]) + (f", … ({len(names)} in all)" if len(names) > shown else "")
