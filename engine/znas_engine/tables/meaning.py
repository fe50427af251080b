"""What the name of a column means: the one rule by which a table's columns are accuracies or are not.

A name is cut into words, at everything but letters and at capitals. Then, the first that holds:

1. A name that is empty, `Unnamed: 0`, `#` or made of words for rows and architectures only (`arch_index`,
   `Model no.`), or has the word index, id or rank: **row numbers**.
2. A word of loss or error: **smaller is better**, and no accuracy whatever stands beside it (`test_error`).
3. A word of cost, spread or difference (`params`, `edgegpu_ms`, `acc_std`): **no accuracy**.
4. `train` without `test` or `val`: **accuracy of training**, which ranks nothing.
5. `acc`, `accuracy`, `top1`, `top5`, `prec@1`: an **accuracy**.
6. A setting (`epochs`, `seed`), unless its number stands beside it (`val_200epochs`): **no accuracy**.
7. Data sets and splits, with nothing beside them but numbers, such settings and `mean` or `best`
   (`cifar10`, `ImageNet16-120 valid`, `cifar10_test_200ep`): an **accuracy**.
8. Else the name **does not say**.
"""

from __future__ import annotations

import re
from typing import Literal

#: "rows", "loss" and "other" are no accuracies; "unsaid" may be one.
Kind = Literal["accuracy", "rows", "loss", "other", "unsaid"]


def meaning(name: str) -> tuple[Kind, str]:
    """The kind of a column's name, and in words why it is no accuracy ("" for an accuracy)."""
    words = _words(name)
    known = set(words)
    if not name.strip() or (known and not known - _ROWS - _ARCHITECTURES) or known & _ROW_NUMBERS:
        return "rows", "row numbers or ranks"
    if any(re.search(_LOSSES, word) for word in known):
        return "loss", "smaller is better: give 100 - error"
    for kind, why in _NOT:
        if known & kind:
            return "other", why
    if known & _TRAINING and not known & _HELD_OUT:
        return "other", "of training"
    if any(re.fullmatch(_ACCURACIES, word) for word in known):
        return "accuracy", ""
    if known & _SETTINGS:
        return "other", "a setting"
    if known & (_DATASETS | _HELD_OUT) and not known - _DATASETS - _HELD_OUT - _FILLERS:
        return "accuracy", ""
    return "unsaid", "its name does not say what it is"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ACCURACIES = r"(ori|x|test|val|valid|validation|best|final|mean|avg|my)?(acc|accs|accuracy|accuracies)"
_LOSSES = r"(loss|losses|error|errors|regret|perplexity|entropy|nll)$|^(err|errs|ppl|rmse|mse|mae|ce)$"
#: Wherever they stand.
_ROW_NUMBERS = _set("index indices idx id ids uid uuid hash rank ranks ranking unnamed rownames")
#: Where nothing but they and words for architectures stand.
_ROWS = _set("# no nr num number numbers n i j k row rows level pos position order line count key")
_ARCHITECTURES = _set(
    "arch archs architecture architectures model models cell cells net network genotype of in the"
)
_NOT: tuple[tuple[frozenset[str], str], ...] = (
    (
        _set(
            "param params parameter parameters weights flop flops mflops gflops mac macs mmacs gmacs "
            "madds multadds latency latencies lat ms us ns s sec secs second seconds minutes "
            "minute h hr hrs hour hours day days time times timing runtime walltime duration speed "
            "throughput fps energy mj kj joule joules power watt watts memory mem mb kb gb mib kib gib "
            "bytes size sizes cost costs price complexity"
        ),
        "a cost",
    ),
    (
        _set(
            "std stds stdev stddev sd sem se var variance ci deviation dispersion confidence interval pvalue"
        ),
        "a spread",
    ),
    (_set("gap diff difference delta drop gain improvement change"), "a difference"),
)
_TRAINING = _set("train training trained")
_HELD_OUT = _set("test testing tst val valid validation eval evaluation dev holdout heldout")
_SETTINGS = _set(
    "epoch epochs ep seed seeds lr rate wd decay momentum batch depth width widths layers channels "
    "resolution classes nodes edges ops images samples year date version fold folds run runs trial trials "
    "iteration iterations iter iters step steps stage budget"
)
_DATASETS = _set(
    "cifar imagenet imagenette imagewoof tinyimagenet svhn mnist fashionmnist emnist kmnist stl cinic "
    "places caltech aircraft dtd flowers pets food cars ninapro"
)
_FILLERS = _set(
    "mean avg average best final last max median ori original x c full tiny small set split percent "
    "percentage pct % result results at on of in the"
)
#: A setting with its number says of which setting the accuracy is.
_NUMBERED = re.compile(
    rf"(?<![a-z0-9])(?:(?:{'|'.join(sorted(_SETTINGS, key=len, reverse=True))})[^a-z0-9]*\d+"
    rf"|\d+[^a-z0-9]*(?:{'|'.join(sorted(_SETTINGS, key=len, reverse=True))}))(?![a-z0-9])"
)


def _words(name: str) -> list[str]:
    """Small letters; `testAcc` is two words, `ImageNet16` and `FLOPs` one."""
    plain = re.sub(r"image[-_ ]?net", "imagenet", name[:1000], flags=re.IGNORECASE)
    plain = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", plain).lower()
    plain = re.sub(r"(?<![a-z])(top|prec)[-_@ ]?[15](?!\d)", " acc ", plain)
    return re.findall(r"[^\W\d_]+|#|%", _NUMBERED.sub(" ", plain))
