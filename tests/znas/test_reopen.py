"""A run folder gives back what was saved or one line: edited, foreign, newer, or without its space."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import znas
from tests.znas.test_show import TINY
from znas.output import html, text
from znas.presets import PRESETS, Preset
from znas_engine.backends import BACKENDS
from znas_engine.errors import DataError, InvalidValueError, PluginError, ZnasError
from znas_engine.graph import Graph
from znas_engine.spaces import Genotype, Macro
from znas_engine.spaces.nasbench201.genotype import NasBench201Genotype
from znas_engine.spaces.nasbench201.space import NasBench201

pytestmark = pytest.mark.ours

ASKED = TINY | {"score": "naswot+path_norm", "p": 0.0, "finalists": 2, "envs": 2}


class Wide(NasBench201):
    """A space that its class alone does not give back."""

    name = "wide"

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def network(self, genotype: NasBench201Genotype, macro: Macro) -> Graph:
        return super().network(genotype, replace(macro, channels=macro.channels * self.factor))

    def network_arguments(self, macro: Macro) -> dict[str, Any]:
        return super().network_arguments(replace(macro, channels=macro.channels * self.factor))


class Unread(NasBench201):
    name = "unread"

    def parse(self, written: Any) -> NasBench201Genotype:
        raise KeyError(written)


class Nothing(NasBench201):
    name = "nothing"

    def parse(self, written: Any) -> NasBench201Genotype:
        return None  # type: ignore[return-value]  # what is tested


class Another(NasBench201):
    name = "another"

    def parse(self, written: Any) -> NasBench201Genotype:
        return super().parse([3, 3, 3, 3, 3, 3])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return znas.search(**ASKED).save(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def plain(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def edited(plain: Any, path: tuple[Any, ...], value: Any) -> Any:
    """`plain` with another value there; a key that is not there yet is added."""
    changed = copy.deepcopy(plain)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


def opened(plain: Any, folder: Path) -> znas.SearchResult:
    file = folder / "edited.json"
    file.write_text(json.dumps(plain))
    return znas.load(file)


def opened_or_line(plain: Any, folder: Path) -> znas.SearchResult | str:
    try:
        return opened(plain, folder)
    except ZnasError as error:
        return str(error)


def readable(plain: Any) -> Any:
    """As JSON says it, and NaN equal to itself."""
    return json.loads(json.dumps(plain), parse_constant=str)


OPERATION = ("edges", 0, "operations", "nor_conv_3x3")
#: (path, value, what the line says of it)
EDITS: list[tuple[tuple[Any, ...], Any, str]] = [
    (("params",), "many", "`params` must be int but is 'many'"),
    (("params",), True, "`params` must be int but is True"),
    (("params",), 5, "its network has 5 params there, but "),
    (("flops",), 10**30, "is not JSON (the number 1000"),
    (("seconds", "total"), "x", "`seconds.total` must be float but is 'x'"),
    ((*OPERATION, "mean"), "x", "`edges[0].operations.nor_conv_3x3.mean` must be float or None but is 'x'"),
    ((*OPERATION, "values"), [1.0], "`edges[0]` has values for more or fewer than the 4 `rows`"),
    (("edges", 0, "selected"), "zzz", "`edges[0].selected` is 'zzz', no operation of the edge"),
    (("edges", 0, "kept"), 1, "`edges[0].kept` must be bool but is 1"),
    (("edges", 0, "new"), 5, "unexpected keyword argument 'new'"),
    (("edges",), [], "`edges` are not the 6 of the space nasbench201"),
    (("method",), {"auto": None}, "is missing"),
    (("method", "game"), "shapley", "`game` is 'shapley', but `request.game` is 'none'"),
    (("method", "finalists"), "2", "`method.finalists` must be int but is '2'"),
    (("p",), "x", "`p` must be float or tuple but is 'x'"),
    (("p",), [], "`p` has 0 numbers for 6 edges"),
    (("device",), 5, "`device` must be str but is 5"),
    (("notes",), [5], "`notes[0]` must be str but is 5"),
    (("notes",), ["\ud800"], "is not JSON ('utf-8' codec can't encode"),
    (("notes",), "ab", "`notes` is 'ab', but the rest makes it ['a', 'b']"),
    (("versions",), [["ab"]], "`versions` must be dict"),
    (("arch",), "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "is not what `edges` select"),
    (("arch",), "x", "not a NAS-Bench-201 architecture"),
    (("genotype",), ["x"], "`genotype` is ['x'], but the rest makes it"),
    (("space",), "darts", "`space` is 'darts', but the rest makes it 'nasbench201'"),
    (("request", "space"), "nosuch", "unknown search space 'nosuch'"),
    (("request", "images"), 0, "`images` must be between 1 and 1,000,000 but got 0"),
    (("request", "seed"), 5, "`seed` is 0, but `request.seed` is 5"),
    (("seed",), 5, "`seed` is 5, but `request.seed` is 0"),
    (("envs",), 10**12, "`rows` are 4, not one for each of `envs` 1000000000000 and `score`"),
    (("score",), "naswot+zen", "`rows[1].score` is 'path_norm', but the rest makes it 'zen'"),
    (("network", "cells"), 10**9, "`cells` must be between 1 and 1,048,576 but got 1,000,000,000"),
    (("network", "resolution"), None, "`resolution` must be a whole number but got None"),
    (("network", "depth"), 5, "unexpected keyword argument 'depth'"),
    (("preprocess",), 5, "is not what a search of znas-engine"),
    (("preprocess", "size"), 8, "`preprocess.size` has 8 pixels, not 16 as the network"),
    (("preprocess", "classes"), ["a", "b"], "`preprocess.classes` has 2 names, not 10 as the network"),
    (("preprocess", "mean"), [0.5], "`channels`, `scale`, `mean` and `std` must be given all or none"),
    (("preprocess", "format"), 2, "`preprocess.format` must be 1 but is 2"),
    (("preprocess", "blur"), 2, "unexpected keyword argument 'blur'"),
    (("request", "brand\nnew"), 5, "`request.brand\\nnew` is unknown"),
    (("brandnew",), 5, "`brandnew` is unknown"),
]


@pytest.mark.parametrize(("path", "value", "message"), EDITS, ids=lambda part: str(part)[:40])
def test_what_was_edited_is_refused(
    path: tuple[Any, ...], value: Any, message: str, plain: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ZnasError) as refused:
        opened(edited(plain, path, value), tmp_path)
    line = str(refused.value)
    assert line.startswith(f"the result {tmp_path / 'edited.json'}")
    assert message in line
    assert "\n" not in line


def places(plain: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in it."""
    if isinstance(plain, dict):
        inner = [(*at, key) for key in plain]
    else:
        inner = [(*at, i) for i in range(len(plain))] if isinstance(plain, list) else []
    return [*inner, *(path for each in inner for path in places(value_at(plain, each[len(at) :]), each))]


def value_at(plain: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        plain = plain[key]
    return plain


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["auto", "darts", "cifar10", "(in memory)", "__main__:X", [], {}, [[]], [1.0], {"a": 1}]),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_edit_gives_the_file_again_or_one_line(
    data: st.DataObject, plain: dict[str, Any], tmp_path: Path
) -> None:
    path = data.draw(st.sampled_from(places(plain)))
    if data.draw(st.booleans(), label="delete"):
        changed = copy.deepcopy(plain)
        del value_at(changed, path[:-1])[path[-1]]
    else:
        changed = edited(plain, path, data.draw(VALUES))
    result = opened_or_line(changed, tmp_path)
    if isinstance(result, str):
        assert len(result.splitlines()) == 1
        return
    document = result.document()
    assert text.render(document.parts)
    assert html.render(document)
    now = readable(result.to_dict())
    for part in ("request", "network", "supernet"):  # a field that older files do not have has its default
        now[part] = {name: value for name, value in now[part].items() if name in changed[part]}
    if "preprocess" not in changed:
        assert now.pop("preprocess") is None
    assert {name: part for name, part in now.items() if name in changed} == readable(changed)


@pytest.mark.parametrize("content", ["[" * 200_000, "", "1" * 5000, "\xff\xfe"], ids=lambda text: text[:2])
def test_what_is_no_json_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match="is not JSON"):
        znas.load(tmp_path)


@pytest.mark.parametrize("value", [[], 5, "x", None, {}, [None]])
def test_another_kind_of_json_is_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not what a search of znas-engine"):
        opened(value, tmp_path)


def test_what_is_no_path_is_refused() -> None:
    folder: Any
    for folder in (None, "a\0b", ""):
        with pytest.raises(InvalidValueError, match="`folder` must be a path but got"):
            znas.load(folder)


def test_a_newer_version_is_named(plain: dict[str, Any], tmp_path: Path) -> None:
    newer = edited(edited(plain, ("brandnew",), 5), ("versions", "znas-engine"), "9.0.0")
    with pytest.raises(DataError, match=r"written by znas-engine 9\.0\.0, newer than this .*: update"):
        opened(newer, tmp_path)
    older = edited(newer, ("versions", "znas-engine"), "0.0.9")
    with pytest.raises(DataError, match=r"`brandnew` is unknown\); search again"):
        opened(older, tmp_path)


def test_what_an_older_version_did_not_know_has_its_default(plain: dict[str, Any], tmp_path: Path) -> None:
    older = copy.deepcopy(plain)
    del older["request"]["channels_in"], older["network"]["inputs"], older["preprocess"]
    older["request"]["data_dir"] = "./data/"
    for name in ("channels", "cells"):
        older["request"][name] = older["request"].pop(f"supernet_{name}")
    result = opened(older, tmp_path)
    assert result.macro.inputs == 3
    assert result.preprocess is None
    assert {f"supernet_{name}": older["request"][name] for name in ("channels", "cells")} == {
        name: getattr(result.request, name) for name in ("supernet_channels", "supernet_cells")
    }
    assert result.request.data_dir == Path("data")


def test_a_space_that_was_made_with_arguments_must_be_given(tmp_path: Path) -> None:
    result = znas.search(**TINY, space=Wide(4))
    run = result.save(tmp_path / "run")
    with pytest.raises(InvalidValueError, match=r"run/result\.json: its network has .*load\(\.\.\., space="):
        znas.load(run)
    loaded = znas.load(run, space=Wide(4))
    assert loaded.to_dict() == result.to_dict()
    assert sum(p.numel() for p in loaded.to_torch().parameters()) == result.params
    assert isinstance(loaded.request.space, Wide)
    assert loaded.request.space.factor == 4
    with pytest.raises(InvalidValueError, match="its network has"):
        znas.load(run, space=Wide(2))
    with pytest.raises(DataError, match="`space` is 'wide', but the rest makes it 'nasbench201'"):
        znas.load(run, space="nasbench201")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Unread, r"`parse` of the search space 'unread' \(.*:Unread\) raised KeyError: '\|"),
        (Nothing, r"`parse` of the search space 'nothing' \(.*:Nothing\) returned None, no Genotype"),
    ],
)
def test_a_space_that_cannot_read_is_named(space: type[NasBench201], message: str, tmp_path: Path) -> None:
    run = znas.search(**TINY, space=space()).save(tmp_path / "run")
    with pytest.raises(PluginError, match=r"the result .*result\.json: " + message):
        znas.load(run)
    with pytest.raises(PluginError, match=message):
        znas.network(space(), "|none~0|")


def test_a_space_that_reads_something_else_is_found_out(tmp_path: Path) -> None:
    run = znas.search(**TINY, space=Another()).save(tmp_path / "run")
    with pytest.raises(DataError, match="is not what `edges` select"):
        znas.load(run)


def test_a_space_of_a_script_must_be_given(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import znas\n"
        "from znas_engine.spaces.nasbench201.space import NasBench201\n"
        "class Mine(NasBench201):\n    name = 'mine'\n"
        f"znas.search(**{TINY!r}, space=Mine()).save({str(tmp_path / 'run')!r})\n"
    )
    subprocess.run([sys.executable, script], check=True)
    with pytest.raises(InvalidValueError, match=r"__main__:Mine cannot be made .* its space is of a script"):
        znas.load(tmp_path / "run")

    class Mine(NasBench201):
        name = "mine"

    assert znas.load(tmp_path / "run", space=Mine()).space.name == "mine"


def test_a_package_that_is_not_here_is_named(plain: dict[str, Any], tmp_path: Path) -> None:
    absent = edited(plain, ("versions", "znas-elsewhere"), "1.2.0")
    assert opened(absent, tmp_path).versions["znas-elsewhere"] == "1.2.0"
    with pytest.raises(InvalidValueError, match=r"unknown search space 'theirs'.*znas-elsewhere 1\.2\.0$"):
        opened(edited(absent, ("request", "space"), "theirs"), tmp_path)


def test_presets_and_backends_are_their_names_or_must_be_given_again(tmp_path: Path) -> None:
    named = znas.search(**TINY | {"preset": PRESETS.get("naswot"), "backend": BACKENDS.get("native")})
    loaded = znas.load(named.save(tmp_path / "named"))
    assert (loaded.request.preset, loaded.request.backend) == ("naswot", "native")
    assert znas.search(loaded.request).edges == named.edges

    mine = Preset("mine", {"score": "naswot", "p": 0.5})
    backend = replace(BACKENDS.get("native"), name="ours")
    for field, value, called in (("preset", mine, "mine"), ("backend", backend, "ours")):
        result = znas.search(**TINY | {field: value})
        loaded = znas.load(result.save(tmp_path / field))
        assert loaded.to_json() == result.to_json()
        message = rf"the {field} of this request was an object \({called}\): give it again, as `{field}`"
        with pytest.raises(InvalidValueError, match=message):
            loaded.request.settled()
        assert znas.search(replace(loaded.request, **{field: value})).edges == result.edges


def test_a_genotype_is_an_architecture(plain: dict[str, Any], tmp_path: Path) -> None:
    genotype: Genotype = opened(plain, tmp_path).genotype
    network = znas.network("nasbench201", genotype, channels=4, cells=1)
    wanted = znas.network("nasbench201", str(genotype), channels=4, cells=1)
    assert {name: p.shape for name, p in network.named_parameters()} == {
        name: p.shape for name, p in wanted.named_parameters()
    }
    with pytest.raises(InvalidValueError, match="not a DARTS genotype"):
        znas.network("darts", genotype)
