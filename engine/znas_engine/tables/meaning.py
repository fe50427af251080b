"""What the name of a column means: the one rule by which a table's columns are accuracies or are not.

A name is cut into words, at everything but letters and at capitals. Then, the first that holds:

1. A name that is empty, `Unnamed: 0`, `#` or made of words for rows and architectures only (`arch_index`,
   `Model no.`), or has the word index, id or rank: **row numbers**.
2. A word of loss or error: **smaller is better**, and no accuracy whatever stands beside it (`test_error`);
   `1 - acc` too.
3. A word of cost, spread, difference, count or another scale (`params`, `edgegpu_ms`, `acc_std`, `n_acc`,
   `acc_zscore`): **no accuracy**.
4. `train` without `test` or `val`: **accuracy of training**, which ranks nothing. `pred_acc`: not measured,
   so that it **does not say**.
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
    if any(re.search(_LOSSES, word) for word in known) or _REST.match(_plain(name)):
        return "loss", "smaller is better: give 100 - error"
    for kind, why in _NOT:
        if known & kind or (why in _SIGNS and any(sign in name for sign in _SIGNS[why])):
            return "other", why
    if known & _TRAINING and not known & _HELD_OUT:
        return "other", "of training"
    if known & _GUESSED:
        return "unsaid", "predicted, not measured"
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
_LOSSES = (
    r"(loss|losses|error|errors|regret|perplexity|entropy|nll|mistakes?|verlust|perte|erreurs?)$|^fehler"
    r"|^misclass|^(err|errs|errorrate|ppl|rmse|mse|mae|ce|bce|wer|cer|fid|wrong)$"
)
#: 1 - accuracy, 100 - acc
_REST = re.compile(r"\W*(1|100|one|hundred)(\.0+)?\W*([-−–]|minus)\W*(\w+\W+)?acc")
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
            "std stds stdev stddev stderr stde sd sem se sigma iqr var variance ci deviation dispersion "
            "confidence interval pvalue lower upper bound bounds quantile quantiles q"
        ),
        "a spread",
    ),
    (_set("gap diff difference delta drop gain improvement change increase decrease"), "a difference"),
    (_set("count counts num n"), "a count"),
    (
        _set("relative rel normalized normalised standardized standardised zscore z log logit percentile"),
        "on another scale",
    ),
)
_SIGNS = {"a spread": "±σ", "a difference": "Δδ∆"}
#: By a model, not by training.
_GUESSED = _set("pred preds predicted prediction predictions predictor surrogate estimated estimate")
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
#: What is written shorter, and what stands for it; `acc (n=3)` is one of three runs.
_SHORT = (
    (re.compile(r"(?<![a-z])(top|prec)[-_@ ]?[15](?!\d)"), " acc "),
    (re.compile(r"(?<![a-z0-9])c(10|100)(?![a-z0-9])"), " cifar "),
    (re.compile(r"(?<![a-z0-9])in[-_]?(16|1k|22k)(?![a-z0-9])"), " imagenet "),
    (re.compile(r"(?<![a-z])n *= *\d+"), " "),
)
#: A setting with its number says of which setting the accuracy is.
_NUMBERED = re.compile(
    rf"(?<![a-z0-9])(?:(?:{'|'.join(sorted(_SETTINGS, key=len, reverse=True))})[^a-z0-9]*\d+"
    rf"|\d+[^a-z0-9]*(?:{'|'.join(sorted(_SETTINGS, key=len, reverse=True))}))(?![a-z0-9])"
)


def _words(name: str) -> list[str]:
    """Small letters; `testAcc` is two words, `ImageNet16` and `FLOPs` one."""
    return re.findall(r"[^\W\d_]+|#|%", _NUMBERED.sub(" ", _plain(name)))


def _plain(name: str) -> str:
    plain = re.sub(r"image[-_ ]?net", "imagenet", name[:1000], flags=re.IGNORECASE)
    plain = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", plain).lower()
    for short, long in _SHORT:
        plain = short.sub(long, plain)
    return plain
