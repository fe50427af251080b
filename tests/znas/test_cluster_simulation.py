"""The simulation of a cluster where arithmetic says what must come out, and its page."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.znas.test_pictures import readable
from znas_engine.errors import StorageError

pytestmark = pytest.mark.ours

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("cluster_model")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("cluster_simulation")


def job(model: ModuleType, **facts: Any) -> Any:
    """64,000 passes of 0.1 s, in units of 48."""
    usual = {"masks": 16_000, "environments": 4, "group": 64, "kept": 4}
    return model.Job(**usual | {"pass_seconds": 0.1, "prepare_seconds": 0.0} | facts)


def outcome(model: ModuleType, asked: Any, fleet: Any, **driver: Any) -> Any:
    return model.simulate(asked, fleet, model.Driver(**driver), whole=True)


def test_one_worker_takes_as_long_as_its_work(model: ModuleType) -> None:
    found = outcome(model, job(model, prepare_seconds=0.5), model.Fleet(1, start_seconds=3.0))
    assert found.seconds == pytest.approx(3 + 64_000 * 0.1 + 4 * 0.5)
    assert found.preparing == pytest.approx(4 * 0.5)
    assert found.efficiency(1) == pytest.approx(6400 / 6405)


@pytest.mark.parametrize("workers", [2, 7, 64])
def test_many_take_their_share_within_a_unit(model: ModuleType, workers: int) -> None:
    found = outcome(model, job(model), model.Fleet(workers))
    assert 6400 / workers <= found.seconds < 6400 / workers + model.cutting.USUAL


def test_threads_are_workers_within_one(model: ModuleType) -> None:
    found = outcome(model, job(model), model.Fleet(2, threads=8))
    assert found.seconds == pytest.approx(6400 / 16, abs=model.cutting.USUAL)


def test_too_few_environments_kept_are_prepared_in_every_group(model: ModuleType) -> None:
    found = outcome(model, job(model, kept=1, prepare_seconds=0.25, unit_seconds=6.4), model.Fleet(1))
    assert found.preparing == pytest.approx(1000 * 0.25, rel=0.02)


def test_a_driver_that_is_too_slow_is_all_that_counts(model: ModuleType) -> None:
    found = outcome(model, job(model), model.Fleet(64), unit=1.0)
    assert found.seconds == pytest.approx(found.units, rel=0.1)
    assert found.driver_busy == pytest.approx(1.0, abs=0.02)
    assert outcome(model, job(model), model.Fleet(4), unit=0.1).seconds == pytest.approx(1600, rel=0.02)


def test_one_result_per_look_pays_a_look_for_each(model: ModuleType) -> None:
    fleet = model.Fleet(64)
    one, all_ = (
        outcome(model, job(model), fleet, worker=0.5 / 64, all_at_once=each) for each in (False, True)
    )
    assert one.seconds == pytest.approx(0.5 * one.units, rel=0.1)
    assert all_.seconds < one.seconds / 4


def test_the_first_environment_waits_for_the_link(model: ModuleType) -> None:
    asked = job(model, environment_bytes=1e6)
    found = outcome(model, asked, model.Fleet(8, per_node=2), link=1e6)
    assert found.moved["environments"] == 4 * 4 * 1e6
    assert found.seconds == pytest.approx(6400 / 8 + 4, abs=10)


def test_slow_machines_get_less(model: ModuleType) -> None:
    fleet = model.Fleet(64, per_node=1, slow=1.0, slowness=3.0)
    assert outcome(model, job(model), fleet).seconds == pytest.approx(300, abs=15)
    some = outcome(model, job(model), replace(fleet, slow=0.5))
    assert some.seconds < 6400 / (32 + 32 / 3) * 1.35


def test_nothing_is_lost_where_workers_and_nodes_are(model: ModuleType) -> None:
    fleet = model.Fleet(64, worker_life=600.0, node_life=1200.0, hangs=0.2, node_seconds=20.0)
    found = outcome(model, job(model), fleet, unit=0.05)
    assert found.repeated > 10
    assert 0 < found.lost < 0.2 * 6400
    assert found.moved["values"] == 0
    assert 100 < found.seconds < 100 + 2 * model.PATIENCE


def test_a_part_stands_for_the_whole(model: ModuleType) -> None:
    asked = job(model, masks=160_000, prepare_seconds=0.3, kept=2)
    fleet = model.Fleet(16, start_seconds=5.0)
    part, whole = (
        model.simulate(asked, fleet, model.Driver(unit=1e-3), whole=each) for each in (False, True)
    )
    assert part.simulated < 0.5
    assert part.seconds == pytest.approx(whole.seconds, rel=0.01)
    assert part.units == pytest.approx(whole.units, rel=0.04)


def test_it_knows_the_protocol_by_heart(model: ModuleType) -> None:
    pytest.importorskip("ray", reason="--on ray needs it")
    from znas.cluster import on_ray

    for name in ("BEAT", "PATIENCE"):
        assert getattr(model, name) == getattr(on_ray, name)


def test_its_page(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, page = tmp_path / "simulation.json", tmp_path / "simulation.md"
    arguments = [
        *("cluster_simulation.py", str(result), str(page), "--space", "nasbench201", "--masks", "2000"),
        *("--costs", str(ROOT / "docs" / "evidence" / "cluster-costs.json"), "--most", "100"),
        *("--times", str(BENCH / "results" / "amd-epyc-25-17-2-cores" / "d346cdb.json")),
    ]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setattr(script, "WORKERS", (1, 10, 100))
    script.main()
    data = json.loads(result.read_text())
    rows = data["rows"]
    assert {each["scenario"] for each in rows} >= {script.AS_IT_IS, script.BROAD}
    for each in rows:
        assert sum(each["shares"].values()) == pytest.approx(1)
    text = page.read_text()
    assert "scales to" in text
    assert "made by `python cluster_simulation.py" in text
    readable(script.drawing(data))
    assert page.with_suffix(".png").is_file()
    with pytest.raises(StorageError, match="exists already"):
        script.main()
