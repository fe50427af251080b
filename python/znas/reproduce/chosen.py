"""What was chosen by `znas.reproduce.choose`, and what it is worth where it was not chosen: two sheets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from znas.reproduce.choose import FIGURES, HALVES, Choice
from znas.reproduce.sheet import Sheet
from znas.reproduce.statistics import kendall
from znas.selection.criteria import Floats
from znas_engine.scores import names_in

NOTES = (
    "everything is chosen on half A; half B had no part in it",
    "share: of the functions of a half those that are better than what a search finds there, mean over seeds",
    "accuracy: of what it finds, mean over seeds; tau: Kendall's, of the half's log-rank sums with accuracy",
    "worst: the largest share of all tables",
    "geometric: exp of the mean over tables of log(share + 1 / functions of the half)",
    "a search: the default's, looked up: a shortlist of the half, as many random ones, environments in turn",
    "the largest architecture, which a search compares too, is left out: it is in one half only",
)


def sheet(choice: Choice, by: str, show: int, default: str, notes: Sequence[str]) -> Sheet:
    """The best `show` sets by a criterion on half A, and all of them in the CSV. default: the scores of the
    default search."""
    order = choice.order(by)
    criteria = [choice.criteria(half) for half in range(len(HALVES))]
    entries = [_entry(choice, criteria, n) for n in order.tolist()]
    return Sheet(
        title=f"{len(choice.sets):,} sets of scores on {len(choice.tables)} tables, by {by} on half A",
        headings=[
            "scores",
            *(f"{name} {half}" for name in criteria[0] for half in HALVES),
            *(f"{table.name}: share A, B; accuracy, tau B" for table in choice.tables),
        ],
        cells=[list(_cells(entry)) for entry in entries[:show]],
        notes=[
            *NOTES,
            _agreement(choice, criteria),
            *notes,
            *map(str, choice.tables),
            *_of_default(entries, default),
        ],
        records=[_record(entry) for entry in entries],
        data={"table": "choose", "by": by, "sets": len(entries), "rows": entries[:show]},
    )


def left_out(choice: Choice, by: str) -> Sheet:
    """Every table on half B by the set that is chosen without it, beside the one that is chosen with it; none
    where there is one table."""
    entries: list[dict[str, Any]] = [
        {
            "table": table.name,
            "without": _of_table(choice, t, int(choice.order(by, without=t)[0])),
            "with": _of_table(choice, t, int(choice.order(by)[0])),
        }
        for t, table in enumerate(choice.tables)
        if len(choice.tables) > 1
    ]
    return Sheet(
        title=f"One table left out: sets chosen by {by} on half A of the others, on half B of that table",
        headings=["table", "chosen without it", *FIGURES, "chosen with it", *FIGURES],
        cells=[
            [entry["table"], *(cell for of in ("without", "with") for cell in _cells_of(entry[of]))]
            for entry in entries
        ],
        notes=["share, accuracy and tau are of half B of the table on the left, on which neither was chosen"],
        records=[
            {"table": entry["table"]}
            | {f"{of}_{name}": value for of in ("without", "with") for name, value in entry[of].items()}
            for entry in entries
        ],
        data={"table": "choose-left-out", "by": by, "rows": entries},
        left=(0, 1, 2 + len(FIGURES)),
    )


def _entry(choice: Choice, criteria: Sequence[dict[str, Floats]], n: int) -> dict[str, Any]:
    return {
        "scores": "+".join(choice.sets[n]),
        **{half: {name: float(of[n]) for name, of in criteria[h].items()} for h, half in enumerate(HALVES)},
        "tables": {
            table.name: {
                half: dict(zip(FIGURES, choice.figures[t, h, :, n].tolist(), strict=True))
                for h, half in enumerate(HALVES)
            }
            for t, table in enumerate(choice.tables)
        },
    }


def _of_table(choice: Choice, t: int, n: int) -> dict[str, Any]:
    """On half B."""
    figures = choice.figures[t, 1, :, n].tolist()
    return {"scores": "+".join(choice.sets[n])} | dict(zip(FIGURES, figures, strict=True))


def _agreement(choice: Choice, criteria: Sequence[dict[str, Floats]]) -> str:
    """How much an order of the sets on half A says of that on half B: near 0, that a choice is a lot."""
    on_a, on_b = criteria
    pairs = [(f"by {name}", on_a[name], on_b[name]) for name in on_a]
    shares = choice.figures[:, :, 0]
    pairs += [(f"by share on {t.name}", *of) for t, of in zip(choice.tables, shares, strict=True)]
    taus = ", ".join(f"{kendall(a, b):.3f} {by}" for by, a, b in pairs)
    return f"the sets' order on half A against that on half B, Kendall's tau: {taus}"


def _of_default(entries: list[dict[str, Any]], default: str) -> Iterator[str]:
    """Where the default's own set stands, if it is among them."""
    own = set(names_in(default))
    for rank, entry in enumerate(entries, 1):
        if set(names_in(entry["scores"])) == own:
            on = (
                f"on {half} worst {_percent(entry[half]['worst'])}, "
                f"geometric {_percent(entry[half]['geometric'])}"
                for half in HALVES
            )
            yield f"the default's own set, {default}: number {rank:,} of {len(entries):,}; {'; '.join(on)}"


def _cells(entry: dict[str, Any]) -> Iterator[str]:
    yield entry["scores"]
    for name in entry["A"]:
        yield from (_percent(entry[half][name]) for half in HALVES)
    for of in entry["tables"].values():
        shares = ", ".join(_percent(of[half]["share"]) for half in HALVES)
        yield f"{shares}; {of['B']['accuracy']:.2f}, {of['B']['tau']:.3f}"


def _cells_of(of: dict[str, Any]) -> list[str]:
    return [of["scores"], _percent(of["share"]), f"{of['accuracy']:.2f}", f"{of['tau']:.3f}"]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _record(entry: dict[str, Any]) -> dict[str, Any]:
    flat = {f"{name}_{half}": value for half in HALVES for name, value in entry[half].items()}
    for table, of in entry["tables"].items():
        flat |= {f"{table}_{name}_{half}": v for half in HALVES for name, v in of[half].items()}
    return {"scores": entry["scores"]} | flat
