"""What is not ours and breaks its contract is one line that names it; `doctor` lists it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import znas
from tests.ragged import Ragged
from znas.presets import PRESETS, Preset
from znas_engine.backends import BACKENDS, Backend, can_run, evaluator_of, get_backend
from znas_engine.backends.torch_reference import TorchReference
from znas_engine.data import Batch, Dataset
from znas_engine.errors import InvalidValueError, PluginError, ZnasError
from znas_engine.graph import Mixed
from znas_engine.registry import Registry
from znas_engine.scores import (
    SCORES,
    ForwardScore,
    GradientScore,
    Observation,
    Probe,
    Score,
    StaticScore,
    get_scores,
)
from znas_engine.spaces import SPACES, Macro, SearchSpace
from znas_engine.testing.agreement import small

HERE = re.escape(__name__)
TINY: dict[str, Any] = {
    "supernet_channels": 4,
    "supernet_cells": 1,
    "resolution": 8,
    "images": 4,
    "threads": 1,
}
CPU = {"cpu": ("float32",)}


def search(**options: Any) -> Any:
    """In the small space of the tests, everything measured."""
    asked = {"space": Ragged(), "preset": "naswot", "p": 0.0, "backend": "torch"} | TINY | options
    return znas.search(**asked)


def refusal(wrong: type[ZnasError] = ZnasError, **options: Any) -> str:
    """What a search says that is refused: one line."""
    with pytest.raises(wrong) as refused:
        search(**options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def raises(error: BaseException) -> Any:
    """A method that raises it."""

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        raise error

    return method


def returns(value: Any) -> Any:
    return lambda self, *arguments, **named: value


def space(**facts: Any) -> type[SearchSpace[Any]]:
    """A space with a few other facts."""
    return type("Theirs", (Ragged,), facts | {"__module__": __name__})


class Flat(ForwardScore):
    """The sum of all logits."""

    name = "flat"

    def __call__(self, observations: Sequence[Observation]) -> float:
        return float(sum(seen.logits.sum() for seen in observations))


def score(**facts: Any) -> type[Score]:
    return type("Theirs", (Flat,), facts | {"__module__": __name__})


class Noise(Dataset):
    name, classes, resolution, labelled, size, origin = "noise", 3, 8, True, 20, "drawn here"

    def _draw(self, images: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        return Batch(rng.standard_normal((images, 3, 8, 8), np.float32), rng.integers(0, 3, images))


# --------------------------------------------------------------------------- spaces


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"name": None}, "has None for `name`"),
        ({"name": "a:b"}, "has 'a:b' for `name`, no line of text without"),
        ({"operations": 7}, "has 7 for `operations`, no tuple of different names"),
        ({"operations": ("a", "a", "b", "c")}, "for `operations`, no tuple of different names"),
        ({"edges": None}, "has None for `edges`, no tuple of Edge"),
        ({"edges": ()}, r"has \(\) for `edges`, no tuple of Edge"),
        ({"edges": property(raises(ValueError("oh\nno")))}, r"cannot be read \(ValueError: oh\)"),
        ({"candidates": None}, r"has None for `candidates`, no bool array \[3, 4\]"),
        ({"candidates": np.ones((3, 4), int)}, r"has int64 \[3, 4\] for `candidates`, no bool array"),
        ({"candidates": np.ones((2, 4), bool)}, r"has bool \[2, 4\] for `candidates`, no bool array"),
        ({"candidates": np.zeros((3, 4), bool)}, "has no candidate on the edge cell:0->1"),
        (
            {"candidates": np.ones((3, 4), bool), "mixed": np.eye(3, 4, dtype=bool)},
            "has the candidate identity on the edge cell:0->1, which is not in `mixed`",
        ),
        ({"in_edges": 0}, "has 0 for `in_edges`"),
        ({"cells_are": 1}, "has 1 for `cells_are`"),
        ({"presets": "shortlist"}, "has 'shortlist' for `presets`, no mapping"),
        ({"prior": "prior.json"}, "has 'prior.json' for `prior`, no Path"),
        ({"eager": "json:Absent"}, "has 'json:Absent' for `eager`, but the module 'json' has no `Absent`"),
        ({"trainable": 5}, "has 5 for `trainable`, but it must be the name of the module"),
        ({"trainable": "nowhere.network"}, "for `trainable`, but there is no module 'nowhere.network'"),
        ({"trainable": "json"}, "for `trainable`, but the module 'json' has no `Network`"),
        ({"trainable": "wave"}, "for `trainable`, but the module 'wave' has no `Network`"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_facts_of_a_space(facts: dict[str, Any], says: str) -> None:
    """Refused before anything is measured, whether the class or an object is given."""
    sys.modules.pop("wave", None)
    theirs = space(**facts)
    for given in (theirs, theirs()):
        assert re.search(rf"the search space .*{HERE}:Theirs\)? .*{says}", refusal(space=given))
    assert "wave" not in sys.modules  # it was looked at, not imported


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"search_macro": returns(None)}, "`search_macro` of X returned None, no Macro"),
        ({"evaluation_macro": returns(3)}, "`evaluation_macro` of X returned 3, no Macro"),
        ({"supernet": returns(None)}, "`supernet` of X returned None, no Graph"),
        ({"supernet": raises(AssertionError())}, "`supernet` of X raised AssertionError$"),
        ({"network": raises(IndexError("x"))}, "`network` of X raised IndexError: x"),
        ({"repair": returns(None)}, r"`repair` of X returned None, no selection: int64 \[3\]"),
        ({"repair": lambda self, scores, selected: selected + 99}, r"returned array\(\[.*\]\), no selection"),
        ({"repair": raises(KeyError("oh\nno"))}, "`repair` of X raised KeyError: "),
        ({"genotype": returns("x")}, "`genotype` of X returned 'x', no Genotype"),
        ({"genotype": raises(TypeError("x"))}, "`genotype` of X raised TypeError: x"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_methods_of_a_space(facts: dict[str, Any], says: str) -> None:
    says = says.replace("X", rf"the search space 'ragged' \({HERE}:Theirs\)")
    assert re.search(says, refusal(PluginError, space=space(**facts)))


@pytest.mark.parametrize(
    ("parse", "says"),
    [(raises(KeyError("a")), "raised KeyError: 'a'"), (returns(None), "returned None, no ")],
)
def test_a_notation_that_cannot_be_read(parse: Any, says: str) -> None:
    with pytest.raises(PluginError, match=rf"^`parse` of .*{HERE}:Theirs\) {says}"):
        znas.network(space(parse=parse)(), "conv_1-identity-conv_3")


def test_what_a_space_refuses_stays_what_it_is() -> None:
    with pytest.raises(InvalidValueError, match=r"^not a ragged architecture: 'x'$"):
        znas.network(Ragged(), "x")


def test_a_trainable_network_that_cannot_be_built() -> None:
    """What looking at its module cannot tell is one line when it is built."""
    theirs = Ragged()
    found = theirs.parse("conv_1-identity-conv_3")
    theirs.trainable = "tests.engine.graphs"
    macro = Macro(channels=4, cells=1, resolution=8, classes=3)
    with pytest.raises(PluginError, match=r"^the trainable network tests\.engine\.graphs raised Attribute"):
        theirs.to_torch(found, macro)
    theirs.trainable = "nowhere.network"
    with pytest.raises(PluginError, match=r"^the trainable network nowhere\.network raised ModuleNotFound"):
        theirs.source(found, macro)


def test_a_supernet_of_other_masks_is_refused() -> None:
    def supernet(self: Any, macro: Macro) -> Any:
        graph = Ragged.supernet(self, macro)
        nodes = [
            replace(node, slots=tuple((e, o + 1) for e, o in node.slots)) if isinstance(node, Mixed) else node
            for node in graph.nodes
        ]
        return replace(graph, nodes=tuple(nodes))

    said = refusal(PluginError, space=space(supernet=supernet))
    says = r"Theirs\) has a term of edge 0 and operation 4 in '.*', but masks of 3 edges and 4 operations$"
    assert re.search(rf"^the supernet of the search space .*{says}", said)


# --------------------------------------------------------------------------- scores


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"name": 5}, "has 5 for `name`"),
        ({"name": "a+b"}, r"has 'a\+b' for `name`"),
        ({"name": "a\nb"}, r"has 'a\\nb' for `name`"),
        ({"name": property(raises(RuntimeError("oh")))}, r"cannot be read \(RuntimeError: oh\)"),
        ({"needs_labels": "yes"}, "has 'yes' for `needs_labels`, no bool"),
        ({"min_images": "2"}, "has '2' for `min_images`, no int of 1 or more"),
        ({"max_images": 0}, "has 0 for `max_images`, no int of 1 or more"),
        ({"reads": ("soul",)}, r"reads \('soul',\), but `reads` must be a tuple of some of logits, "),
        ({"probes": "batch"}, "has 'batch' for `probes`, no tuple of Probe"),
        ({"probes": ()}, r"has \(\) for `probes`, no tuple of Probe"),
        ({"differences": 1}, "has 1 for `differences`, no bool"),
        ({"__init__": raises(KeyError("k"))}, r"cannot be made \(KeyError: 'k'\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_facts_of_a_score(facts: dict[str, Any], says: str) -> None:
    assert re.search(
        rf"^the score .*{HERE}:Theirs\)? {says}", refusal(InvalidValueError, score=score(**facts))
    )


def test_a_rule_that_raises_is_one_line_and_keeps_its_traceback() -> None:
    theirs = score(__call__=raises(KeyError("oops")))
    with pytest.raises(PluginError) as refused:
        search(score=theirs)
    assert str(refused.value) == f"the score 'flat' ({__name__}:Theirs) raised KeyError: 'oops'"
    assert isinstance(refused.value.__cause__, KeyError)


def test_what_scores_of_other_kinds_raise() -> None:
    class Static(StaticScore):
        name = "static"

        def prepare(self, graph: Any, environment: Any) -> Any:
            return 3.0

    class Late(Static):
        def prepare(self, graph: Any, environment: Any) -> Any:
            return lambda mask: {}["x"]

    class Gradient(GradientScore):
        name = "gradient"

        def __call__(self, network: Any, mask: Any, batch: Any) -> float:
            raise RuntimeError("oh")

    assert "`prepare` of the score 'static' " in refusal(PluginError, score=Static)
    assert refusal(PluginError, score=Late()).endswith("Late) raised KeyError: 'x'")
    assert refusal(PluginError, score=Gradient()).endswith("Gradient) raised RuntimeError: oh")


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (lambda environment: environment.absent, "raised AttributeError: "),
        (
            lambda environment: environment.batch.images[:, :1],
            r"returned .*, no float32 array \[4, 3, 8, 8\]",
        ),
    ],
)
def test_a_probe_that_shows_nothing(images: Any, says: str) -> None:
    said = refusal(PluginError, score=score(probes=(Probe("mine", images),)))
    assert re.search(rf"^`images` of the probe 'mine', {HERE}:<lambda>, {says}", said)


def test_memory_and_errors_of_ours_stay_what_they_are() -> None:
    with pytest.raises(MemoryError):
        search(score=score(__call__=raises(MemoryError())))
    assert refusal(InvalidValueError, score=score(__call__=raises(InvalidValueError("mine")))) == "mine"


def test_bugs_of_our_own_keep_their_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    naswot = SCORES.get("naswot")
    monkeypatch.setattr(type(naswot), "__call__", raises(KeyError("ours")))
    with pytest.raises(KeyError, match="ours"):
        search(score="naswot")


@pytest.mark.parametrize("asked", [5, None, {}, [5], str, []])
def test_what_is_no_score(asked: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^(the score .* is \w+, no znas|`score` must name)"):
        get_scores(asked)


# --------------------------------------------------------------------------- data sets


def test_drawing_that_raises() -> None:
    theirs = type("Theirs", (Noise,), {"_draw": raises(KeyError("draw")), "__module__": __name__})
    said = refusal(PluginError, data=theirs, resolution=None)
    assert said == f"the data set 'noise' ({__name__}:Theirs) raised KeyError: 'draw'"
    theirs = type("Theirs", (Noise,), {"classes": property(raises(OSError("x"))), "__module__": __name__})
    said = refusal(InvalidValueError, data=theirs, resolution=None)
    assert said == f"the data set {__name__}:Theirs cannot be read (OSError: x)"
    assert search(data=Noise, resolution=None).conditions.data == "noise"


def leaves() -> None:
    raise SystemExit(3)


def test_a_maker_that_leaves_the_program() -> None:
    assert refusal(data=leaves) == f"the data set {__name__}:leaves cannot be made (SystemExit: 3)"


# --------------------------------------------------------------------------- backends


def absent(device: str) -> str | None:
    raise OSError(device)


NAMED = Backend("theirs", f"{__name__}:Reference", CPU, lambda device: None)


class Reference(TorchReference):
    record = NAMED


class Unready(Reference):
    def prepare(self, environment: Any, **asked: Any) -> Any:
        raise KeyError("prepare")


class Unmade(Reference):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        raise KeyError("made")


class Broken(Reference):
    def prepare(self, environment: Any, **asked: Any) -> Any:
        return lambda mask, images: {}["pass"]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"name": "auto"}, "the backend 'auto' is called auto, which stands for the first built-in"),
        ({"evaluator": None}, "the backend 'theirs' has None for `evaluator`, no 'module:Class'"),
        ({"evaluator": "nowhere.x:Y"}, "for `evaluator`, but there is no module 'nowhere.x'"),
        ({"evaluator": "json:Nope"}, "for `evaluator`, but the module 'json' has no `Nope`"),
        (
            {"evaluator": "json:JSONDecoder"},
            "the evaluator json:JSONDecoder .* is no subclass of znas_engine",
        ),
        ({"dtypes": {}}, "has {} for `dtypes`, no mapping from cpu and cuda"),
        ({"dtypes": {"tpu": ("float32",)}}, "for `dtypes`, no mapping from cpu and cuda"),
        ({"dtypes": {"cpu": "float32"}}, "has 'float32' for `dtypes` on cpu, no tuple of some of float32, "),
        ({"lacks": None}, "has None for `lacks`, no function of a device"),
        ({"lacks": absent}, rf"`lacks` of the backend 'theirs', {HERE}:absent, raised OSError: cpu"),
        ({"lacks": lambda device: True}, "returned True, no str and not None"),
        ({"nodes": (Mixed,)}, "for `nodes`, no frozenset of kinds of nodes"),
        ({"evaluator": f"{__name__}:Unmade"}, rf"`__init__` of .*{HERE}:Unmade\)? raised KeyError: 'made'"),
        ({"evaluator": f"{__name__}:Unready"}, r"`prepare` of .*:Unready\)? raised KeyError: 'prepare'"),
        ({"evaluator": f"{__name__}:Broken"}, r"the pass \S+:Broken\.prepare\S+ raised KeyError: 'pass'"),
    ],
)
def test_backends(facts: dict[str, Any], says: str) -> None:
    assert re.search(says, refusal(backend=replace(NAMED, **facts)))


def test_a_backend_that_keeps_its_promises() -> None:
    assert evaluator_of(NAMED) is Reference
    assert search(backend=NAMED).conditions.backend == "theirs"


# --------------------------------------------------------------------------- presets


@pytest.mark.parametrize(
    ("common", "says"),
    [
        (
            {"scor": "naswot"},
            "sets `scor`, which is none of score, p, selection, finalists, envs, images, norm",
        ),
        ({"threads": 2}, "sets `threads`, which is none of score, p, selection, finalists, envs"),
        ({"images": "many"}, "sets `images` to 'many', which is no whole number above 0"),
        ({"finalists": 1.5}, "sets `finalists` to 1.5, which is no whole number above 0"),
        ({"supernet_cells": "two"}, "sets `supernet_cells` to 'two', which is no whole number above 0"),
        ({"p": "x"}, r"sets `p` to 'x', which is no number in \[0, 1\]"),
        ({"norm": "nope"}, "sets `norm` to 'nope', which is no member of calibrated, batch, identity"),
        ({"norm": None}, "sets `norm` to None, which is no member of calibrated, batch, identity"),
        ({"score": 5}, "sets `score` to 5, which is no score's name, Score or list of them"),
        (5, "has 5 for `common`, no mapping from fields to their values"),
    ],
)
def test_presets(common: Any, says: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^the preset 'mine' {says}"):
        PRESETS.get(Preset("mine", common))
    if isinstance(common, dict):
        theirs = space(presets={"naswot": common})
        said = refusal(PluginError, space=theirs)
        assert re.search(
            rf"^the search space 'ragged' \({HERE}:Theirs\) {says}.* in its preset 'naswot'$", said
        )


# --------------------------------------------------------------------------- classes, and packages


def test_classes_stand_for_their_objects() -> None:
    by_class = search(space=Ragged, score=[Flat, "naswot"], finalists=1)
    by_name = search(space="tests.ragged:Ragged", score=[f"{__name__}:Flat", "naswot"], finalists=1)
    assert by_class.arch == by_name.arch
    assert by_class.conditions.score == "flat+naswot"
    assert SPACES.get(Ragged) is SPACES.get(Ragged)
    plain = by_class.to_dict()
    assert plain["request"]["space"] == "tests.ragged:Ragged"
    assert plain["request"]["score"] == [f"{__name__}:Flat", "naswot"]


def test_our_own_backends_know_what_they_lack() -> None:
    """A record of ours is held to no less."""
    for name in BACKENDS.builtin:
        record = BACKENDS.get(name)
        assert BACKENDS.get(record) is record
        assert can_run(name) == (record.missing() is None)
    assert get_backend("torch")(Ragged(), small(Ragged())).graph.nodes


def test_extras_of_an_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = tmp_path / "theirs-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text(
        "[theirs.things]\nragged = tests.ragged : Ragged [torch, vision]\n"
    )
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    monkeypatch.setattr("znas_engine.registry._entry_points", entry_points)  # not those read before
    registry: Registry[Any] = Registry("thing", "theirs.things", SearchSpace, {})
    assert [(each.where, each.package) for each in registry.outside()] == [
        ("tests.ragged:Ragged", "theirs 1.2")
    ]
    assert isinstance(registry.get("ragged"), Ragged)


THEIRS = """
import numpy as np
from tests.ragged import Ragged
from tests.test_promises import Flat, Noise, NAMED
from dataclasses import replace
from znas.presets import Preset

class Space(Ragged): name = "space"
class NoEdges(Ragged): name, edges = "no-edges", ()
class Reads(Ragged):
    name = "reads"
    @property
    def edges(self): raise ValueError("oh")
class Own(Ragged): name, presets = "own", {"naswot": {"scor": 1}}
class Plus(Flat): name = "a+b"
FIVE = 5
def nothing(): return None
def files(data_dir): raise RuntimeError("must not be made")
class Wrong(Noise): resolution = "x"
FIELD = Preset("field", {"threads": 2})
AUTO = replace(NAMED, name="auto")
NATIVE = replace(NAMED, name="native")
EMPTY = replace(NAMED, name="empty", dtypes={})
ABSENT = replace(NAMED, name="absent", evaluator="nowhere:Y")
DECODER = replace(NAMED, name="decoder", evaluator="json:JSONDecoder")
LACKS = replace(NAMED, name="lacks", lacks=lambda device: "a GPU of theirs: buy one")
"""
POINTS = """[znas.spaces]
space = theirs:Space [torch]
no-edges = theirs:NoEdges
reads = theirs:Reads
own = theirs:Own
leaves = leaves:X

[znas.scores]
a+b = theirs:Plus

[znas.data]
five = theirs:FIVE
nothing = theirs:nothing
files = theirs:files
wrong = theirs:Wrong

[znas.presets]
field = theirs:FIELD

[znas.backends]
auto = theirs:AUTO
native = theirs:NATIVE
empty = theirs:EMPTY
absent = theirs:ABSENT
decoder = theirs:DECODER
lacks = theirs:LACKS
"""


def test_doctor_lists_all_of_it(tmp_path: Path) -> None:
    """Also where a package claims a built-in name, an attribute raises, and a module ends the program."""
    (tmp_path / "theirs.py").write_text(THEIRS)
    (tmp_path / "leaves.py").write_text("import sys; sys.exit('bye')\n")
    facts = tmp_path / "theirs-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text(POINTS)
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([str(tmp_path), root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "znas", "doctor", "--json"],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    checks = json.loads(done.stdout)
    found = {check["name"]: check for check in checks}
    assert len(found) == len(checks)
    says = {
        "search space space": ("ok", "from theirs 1.2 (theirs:Space)"),
        "search space no-edges": ("broken", "which has () for `edges`, no tuple of Edge"),
        "search space reads": ("broken", "which cannot be read (ValueError: oh)"),
        "search space own": ("broken", "sets `scor`, which is none of score, p,"),
        "search space leaves": ("broken", "which cannot be made (SystemExit: bye)"),
        "score a+b": ("broken", "which has 'a+b' for `name`"),
        "data set five": ("broken", "which is no data set but int"),
        "data set nothing": ("broken", "which is no data set but NoneType"),
        "data set files": ("ok", "from theirs 1.2 (theirs:files)"),
        "data set wrong": ("broken", "which has 'x' for `resolution`"),
        "preset field": ("broken", "which sets `threads`, which is none of"),
        "backend auto": ("broken", "which is called auto"),
        "backend native": ("broken", "is claimed by znas-engine and by theirs 1.2"),
        "backend empty": ("broken", "which has {} for `dtypes`"),
        "backend absent": ("broken", "for `evaluator`, but there is no module 'nowhere'"),
        "backend decoder": ("broken", "json:JSONDecoder of the backend 'decoder' is no subclass of"),
        "backend lacks": ("missing", "from theirs 1.2 (theirs:LACKS): a GPU of theirs: buy one"),
        "auto": ("broken", "the backend 'native' is claimed by znas-engine and by theirs 1.2"),
        "backend torch": ("ok", "torch"),
    }
    for name, (state, detail) in says.items():
        assert found[name]["state"] == state, found[name]
        assert detail in found[name]["detail"]
        assert "\n" not in found[name]["detail"]
