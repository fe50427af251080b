"""Every kind of picture can be read, whatever is measured: no text covers another or leaves the picture,
marks are within their axes, percents within 0 to 100, and an outlier squashes nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from znas import priors
from znas.diagnose import plots
from znas.diagnose.agreement import agreement
from znas.diagnose.distributions import READINGS, Activations, ScoreSamples
from znas.diagnose.lemmas import Intervened
from znas.diagnose.robustness_report import Robustness, Varied
from znas.diagnose.robustness_report import drawing as draw_robustness
from znas.diagnose.sites import ENSEMBLE, FIRST_LAYER, NEURON, Site
from znas.front import FrontPoint
from znas.front import drawing as draw_front
from znas.output.figures import overlaps, png
from znas.output.scales import beyond, decades, focus
from znas.priors.plot import drawing as draw_prior
from znas.reproduce import drawings
from znas.request import Request
from znas_engine.spaces import get_space

Floats = NDArray[np.float64]
ROOT = Path(__file__).parents[2]
LONG = "a_rather_long_name_of_somebody's_own_<zero-cost>_&_$proxy$"
#: Numbers in percent that pictures must bear.
HOSTILE: dict[str, list[float]] = {
    "one": [93.2],
    "equal": [93.2] * 30,
    "ends": [0.0, 100.0] * 6,
    "outlier": [94.0 + 0.01 * i for i in range(20)] + [1.5],
    "many": [90 + 0.1 * i for i in range(40)],
}
CASES = [*((name, True) for name in HOSTILE), ("many", False)]


def names(count: int, long: bool) -> list[str]:
    return [f"{LONG if long else 'row'} {i}" for i in range(count)]


def points(axes: Any) -> Floats:
    """Where marks are, in the axes' own coordinates from 0 to 1."""
    found = [np.column_stack(line.get_data()) for line in axes.lines if line.get_marker() not in ("None", "")]
    xy = np.concatenate([each for each in found if len(each)] or [np.zeros((0, 2))]).astype(float)
    return np.asarray(axes.transAxes.inverted().transform(axes.transData.transform(xy)))


def readable(drawn: Any) -> None:
    assert overlaps(drawn) == []
    assert png(drawn)
    for axes in drawn.axes:
        where = points(axes)
        assert ((where > -1e-6) & (where < 1 + 1e-6)).all()


def in_percent(axes: Any, which: str) -> None:
    low, high = getattr(axes, f"get_{which}lim")()
    assert 0 <= low < high <= 100
    ticks = [
        float(t.get_text().replace("\N{MINUS SIGN}", "-")) for t in getattr(axes, f"get_{which}ticklabels")()
    ]
    shown = [tick for tick in ticks if low <= tick <= high]
    assert all(0 <= tick <= 100 for tick in shown)
    assert shown


# --- tables ---


def table(values: list[float], long: bool, columns: int = 1) -> dict[str, Any]:
    """As table2.json is."""
    rng = np.random.default_rng(0)
    heads = ["cifar10_test_200ep", LONG][:columns]
    rows, published = [], []
    for i, (name, value) in enumerate(zip(names(len(values), long), values, strict=True)):
        seeds = [value, min(100.0, value + 0.3), max(0.0, value - (60 if i % 7 == 0 else 0.2))]
        found = {"values": seeds, "mean": value, "low": value - 30, "high": value + 30, "std": 1.0}
        known = {
            "method": f"{name} of others",
            "accuracy": {"cifar10-test": [value, None]},
            "seconds": 10.0**i,
        }
        rows.append(
            {
                "row": name,
                "accuracy": dict.fromkeys(heads, found),
                "seconds": {"total": {"mean": float(rng.choice([0, 0.2, 20]))}},
                "params": {"mean": 1e6 * value},
                "published": known if i % 2 else None,
            }
        )
        published.append(known | {"seconds": float(rng.choice([3, 4e4])), "params_millions": 3.3})
    return {"table": "table1", "rows": rows, "published": published[:10]}


@pytest.mark.parametrize(("name", "long"), CASES)
def test_accuracies(name: str, long: bool) -> None:
    data = table(HOSTILE[name], long)
    drawn = drawings.accuracies(data)
    readable(drawn)
    (axes,) = drawn.axes
    in_percent(axes, "x")
    low, high = axes.get_xlim()
    assert all(low <= value <= high for value in HOSTILE[name])
    entries = {text.get_text() for text in drawn.legends[0].get_texts()}
    assert {"a seed", "mean, 95 % interval over seeds"} <= entries
    assert ("published" in entries) == (len(HOSTILE[name]) > 1)


def test_a_seed_beyond_the_axis_is_written_there() -> None:
    values = [93.0 + 0.1 * i for i in range(10)]
    data = table(values, False)
    drawn = drawings.accuracies(data)
    (axes,) = drawn.axes
    assert axes.get_xlim()[0] > 90
    assert sorted(text.get_text() for text in axes.texts) == ["33.0", "33.7"]
    assert drawings.draw_accuracies(data).name == "table2.png"


@pytest.mark.parametrize(("name", "long"), CASES)
def test_accuracy_against_seconds(name: str, long: bool) -> None:
    data = table(HOSTILE[name], long, columns=2)
    here = [(r["row"], r["seconds"]["total"]["mean"], r["accuracy"][LONG]["mean"]) for r in data["rows"]]
    known = [(e["method"], e["seconds"], e["accuracy"]["cifar10-test"][0]) for e in data["published"]]
    drawn, missing = drawings.against_seconds([("accuracy (%)", here, known)], most=100)
    readable(drawn)
    (axes,) = drawn.axes
    in_percent(axes, "y")
    assert len(axes.texts) + missing == len(here) + len(known)
    assert missing == 0 or len(here) == len(HOSTILE["many"])
    assert {text.get_text() for text in drawn.legends[0].get_texts()} == {
        "this machine",
        "published, each on its own GPU",
    }


def test_names_without_room_are_said() -> None:
    data = table([93.0] * 200, True)
    figure = drawings.draw_cost(data)
    assert figure.name == "figure-cost.png"
    assert "names had no room" in figure.caption
    assert "names had no room" not in drawings.draw_cost(table([93.0], True)).caption


@pytest.mark.parametrize("name", HOSTILE)
def test_sizes_against_seconds(name: str) -> None:
    data = table(HOSTILE[name], False)
    figure = drawings.draw_sizes(data)
    assert (figure.name, figure.caption.partition(";")[0]) == (
        "table1.png",
        "Parameters against seconds of search",
    )
    here = [(r["row"], r["seconds"]["total"]["mean"], r["params"]["mean"] / 1e6) for r in data["rows"]]
    drawn, missing = drawings.against_seconds([("parameters (M)", here, [])])
    readable(drawn)
    assert missing == 0


def correlation(values: list[float], long: bool, protocols: int) -> dict[str, Any]:
    rows = []
    for score, value in zip(names(len(values), long), values, strict=True):
        for protocol in ("all", "unique", "third")[:protocols]:
            tau = value / 50 - 1
            kendall = {"value": tau, "low": max(-1, tau - 0.1), "high": min(1, tau + 0.1)}
            row = {"score": score, "protocol": protocol, "column": "c", "kendall": kendall}
            rows.append(row | {"published_kendall": tau if protocol == "all" else None})
    return {"rows": rows}


@pytest.mark.parametrize("protocols", [1, 3])
@pytest.mark.parametrize(("name", "long"), CASES)
def test_correlations(name: str, long: bool, protocols: int) -> None:
    drawn = drawings.correlations(correlation(HOSTILE[name], long, protocols))
    readable(drawn)
    low, high = drawn.axes[0].get_xlim()
    assert -1 <= low <= 0 <= high <= 1
    entries = [text.get_text() for text in drawn.legends[0].get_texts()]
    kinds = ["all", "unique", "third"][:protocols]
    assert entries == [*(f"{kind} architectures" for kind in kinds), "published"]


@pytest.mark.parametrize("count", [1, 3, 11])
@pytest.mark.parametrize("name", HOSTILE)
def test_scatter(name: str, count: int) -> None:
    accuracy = np.array(HOSTILE[name])
    scores = names(count, True)
    values = dict.fromkeys(scores, accuracy**2) | {"c": accuracy}
    values[scores[0]] = np.where(np.arange(len(accuracy)) == 0, 1e199, accuracy)
    drawn = drawings.scatter(values, scores, "c")
    assert overlaps(drawn) == []
    assert png(drawn)
    in_percent(drawn.axes[0], "y")
    if name == "many":
        assert drawn.axes[0].get_xlim()[1] < 1000
        assert drawn.axes[0].get_title(loc="left") == "1 of 40 beyond the axes"


# --- fronts, priors, diagnoses ---


@pytest.mark.parametrize(
    ("costs", "scores"),
    [
        ([1e6], [-0.3]),
        ([5.0] * 12, [1.0] * 12),
        (list(range(12)), [-1e9, *range(11)]),
        (list(np.logspace(0, 9, 30)), list(range(30))),
    ],
)
@pytest.mark.parametrize("asked", ["params", "latency@a_phone_with_a_rather_long_name_of_its_own"])
def test_fronts(asked: str, costs: list[float], scores: list[float]) -> None:
    space = get_space("nasbench201")
    rng = np.random.default_rng(0)
    front = []
    for cost, score in zip(costs, scores, strict=True):
        quartiles = (cost * 0.9, cost * 1.2) if "latency" in asked else None
        genotype = space.genotype(space.random_path(rng))
        front.append(FrontPoint(genotype, float(score), float(cost), None, quartiles, 10, 20))
    drawn = draw_front(front, asked, front[-1].arch)
    readable(drawn)
    entries = {text.get_text() for text in drawn.legends[0].get_texts()}
    assert entries == {"the front", "handed over"} | ({"quartiles"} if "latency" in asked else set())
    if scores[0] == -1e9:
        assert drawn.axes[0].get_ylim()[0] > -10
        assert [text.get_text() for text in drawn.axes[0].texts] == ["-1e+09"]


@pytest.mark.parametrize("kind", ["shipped", "outlier", "constant", "unknown"])
@pytest.mark.parametrize("space", ["nasbench201", "darts"])
def test_priors(space: str, kind: str) -> None:
    own = get_space(space)
    assert own.prior is not None
    prior = priors.load(own.prior, own)
    if kind != "shipped":
        mean = {"constant": 1.0, "unknown": np.nan}.get(kind, prior.mean) * np.ones(own.shape)
        if kind == "outlier":
            mean[0, 1] = -1e30
        prior = replace(prior, score=LONG, mean=mean, variance=np.abs(mean), check=None)
    drawn = draw_prior(prior)
    assert overlaps(drawn) == []
    means, deviations, *bars = drawn.axes
    assert len(bars) == 2
    known = int(np.isfinite(prior.mean).sum())
    assert len(means.texts) == len(deviations.texts) == known
    if kind == "outlier":
        low, high = means.images[0].get_clim()
        assert high - low < 1000
        assert "-1e+30" in [text.get_text() for text in means.texts]


SAMPLES: dict[str, Floats] = {
    "constant": np.ones(50),
    "outlier": np.append(np.random.default_rng(0).normal(size=200), 1e9),
    "far": 1e6 + 1e-3 * np.random.default_rng(0).normal(size=60),
}


def samples(values: Floats) -> tuple[list[Activations], list[ScoreSamples]]:
    roles = [(FIRST_LAYER, 1), (NEURON, 2), (NEURON, 2), (NEURON, 2), (ENSEMBLE, 3)]
    sites = tuple(Site(f"n{i}", role, depth, f"{LONG} {i}") for i, (role, depth) in enumerate(roles))
    inits = ["gaussian", "my_own_package.weights:Family", "constant"]
    outputs = [Activations(i, LONG, sites, {r: [values] * 5 for r in READINGS}, values) for i in inits]
    neurons = {f"do(normal:0->2, {LONG} {i})": values for i in range(3)}
    scores = [ScoreSamples(i, LONG, neurons, {LONG: values}, values[None], values) for i in inits]
    return outputs, scores


@pytest.mark.parametrize("name", SAMPLES)
def test_diagnoses(name: str) -> None:
    values = SAMPLES[name]
    outputs, scores = samples(values)
    drawn = np.arange(len(values)) % 2 == 0
    intervened = [Intervened(s.init, p, values[None], drawn, ()) for s in scores for p in (0, 0.5, 1)]
    pictures = {
        "quantiles": plots.draw_quantiles(outputs),
        "intervened": plots.draw_intervened(intervened, LONG),
        "neurons": plots.draw_neurons(outputs, scores),
        "architectures": plots.draw_architectures(scores, values),
    }
    for what, picture in pictures.items():
        assert overlaps(picture) == [], what
        assert picture.legends or name == "constant"
    if name == "outlier":
        (axes, *_) = pictures["architectures"].axes
        assert axes.get_xlim()[1] < 100
        assert axes.get_title(loc="left").endswith("1 of 201 beyond the axis")


@pytest.mark.parametrize("space", ["nasbench201", "darts"])
@pytest.mark.parametrize("settings", [1, 12])
def test_robustness(space: str, settings: int) -> None:
    own = get_space(space)
    edges = tuple(edge.label for edge in own.edges)
    choices = [[own.operations[1]] * len(edges)] * 3
    found = agreement(choices, [5] * len(edges))
    varied = [Varied("init", name, (), (), found, 1.0, None) for name in names(settings, True)]
    drawn = draw_robustness(Robustness(Request(), {}, 3, edges, varied, found, None, None))
    readable(drawn)
    assert drawn.axes[1].get_xlim()[1] == 1  # where all agree


# --- bench ---


@pytest.fixture(scope="module")
def page() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("bench_page", ROOT / "bench" / "page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_page"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_page"]


def measured(scaled: bool, long: bool, factor: float) -> list[dict[str, Any]]:
    path = ROOT / "bench" / "results" / "amd-epyc-25-1-2-cores" / "88d0675.json"
    rows = [row for row in json.loads(path.read_text())["rows"] if row["part"] == "passes"]
    for row in rows:
        if long and row["contender"] != "eager":
            row["contender"] = f"{row['contender']} {LONG}"
        if row["contender"] != "eager":
            row["seconds"] = [factor * each for each in row["seconds"]]
    if scaled:
        rows += [row | {axis: 4 * row[axis]} for row in list(rows) for axis in ("images", "masks")]
    return rows


@pytest.mark.parametrize("factor", [1.0, 1e-5, 50.0])
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_benches(page: ModuleType, scaled: bool, long: bool, factor: float) -> None:
    rows = measured(scaled, long, factor)
    drawn = page.drawing(rows)
    readable(drawn)
    assert len(drawn.axes) == (6 if scaled else 2)
    assert {"do masks", "one-hot masks"} <= {text.get_text() for text in drawn.legends[0].get_texts()}


# --- axes ---


def test_an_axis_is_about_what_is_near() -> None:
    low, high = focus([*range(20), 1e6])
    assert -2 < low < 0 < 19 < high < 21
    assert focus([0.0, 100.0], least=0, most=100) == (0, 100)
    assert focus([*range(20), 1e6], keep=[1e6])[1] > 1e6
    assert focus([*range(20), 30])[1] > 30  # not so far as to squash the rest
    assert focus([*range(20), 1e6], gain=1e9)[1] > 1e6
    assert focus([7.0] * 9 + [9.0])[1] > 9
    for nothing in ([], [float("nan")], [3.0], [0.0, 0.0]):
        low, high = focus(nothing)
        assert low < high
    assert [beyond(x, 0, 1) for x in (-1, 0, 1, 2)] == [(0, "<"), (0, ""), (1, ""), (1, ">")]


def test_a_logarithmic_axis_is_never_a_point() -> None:
    for values in ([], [3.0], [0.0, 5.0], [1e-9, float("inf")]):
        low, high = decades(values, 0.01)
        assert 0 < low < high
        assert high / low > 3
