"""One suite for all engines: real pools, a real Dask cluster of two workers, a real Spark session."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from engine_tasks import Doubled, Misbehaving, fault

from dropout_risk.engines import Engine, engine
from dropout_risk.errors import ColumnsError, DropoutRiskError, EngineError, MissingExtraError, SettingsError

KINDS = ["one", "threads", "processes", "dask", "spark"]
LOSES_WORKERS = ["processes", "dask", "spark"]
"""Engines whose workers can die without us."""

slow = [pytest.param(kind, marks=pytest.mark.slow) for kind in LOSES_WORKERS]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "spark" and shutil.which("java") is None:
        pytest.skip("no java here: apt-get install openjdk-17-jre-headless")
    local = {"one": {"workers": 1}, "threads": {"workers": 2}, "processes": {"workers": 2, "processes": True}}
    name = "local" if request.param in local else request.param
    with engine(name, **local.get(request.param, {"workers": 2})) as started:
        yield started


def batches(n: int) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"number": [k] * 3, "x": [k, k + 1, k + 2]}) for k in range(n)]


def run_of(results: Iterator[tuple[int, pa.RecordBatch]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for place, result in results:
        assert place not in found and result["number"][0].as_py() == place
        found[place] = result["x"][0].as_py()
    return found


ALL = pytest.mark.parametrize("made", ["one", "threads", *slow], indirect=True)


@ALL
def test_every_partition_comes_back_exactly_once(made: Engine, tmp_path: Path) -> None:
    found = run_of(made.run(Doubled(str(tmp_path)), batches(23)))
    assert found == {k: 6 * k + 6 for k in range(23)}
    assert len(list(tmp_path.iterdir())) == 23


@ALL
def test_no_partitions_give_nothing(made: Engine, tmp_path: Path) -> None:
    assert list(made.run(Doubled(str(tmp_path)), [])) == []


@ALL
def test_our_errors_reach_the_caller_as_themselves(made: Engine, tmp_path: Path) -> None:
    with pytest.raises(ColumnsError, match="The table lacks x; add it."):
        list(made.run(Doubled(str(tmp_path), fails_at=2), batches(5)))
    assert run_of(made.run(Doubled(str(tmp_path)), batches(2))) == {0: 6, 1: 12}  # the engine goes on


@ALL
def test_other_errors_keep_their_words(made: Engine) -> None:
    with pytest.raises(RuntimeError, match="this function is broken"):
        list(made.run(fault, batches(2)))


@pytest.mark.parametrize("made", slow, indirect=True)
def test_a_lost_worker_loses_and_doubles_nothing(made: Engine, tmp_path: Path) -> None:
    found = run_of(made.run(Doubled(str(tmp_path), dies_at=4), batches(12)))
    assert found == {k: 6 * k + 6 for k in range(12)}
    assert (tmp_path / "4-1").exists()  # it ran again


@pytest.mark.parametrize("made", slow, indirect=True)
def test_workers_of_many_partitions_may_die_once_each(made: Engine, tmp_path: Path) -> None:
    found = run_of(made.run(Misbehaving(str(tmp_path)), batches(24)))  # 6 deaths, more than one partition is allowed
    assert found == {k: 6 * k + 6 for k in range(24)}


@ALL
@pytest.mark.parametrize("says", ["plain", "unpicklable"])
def test_a_function_that_says_no_is_not_run_again(made: Engine, says: str, tmp_path: Path) -> None:
    expected = "number is one"
    with pytest.raises(Exception, match=expected) as caught:
        list(made.run(Misbehaving(str(tmp_path), says), batches(12)))
    assert says == "unpicklable" or caught.type is ValueError
    assert len(list(tmp_path.glob("1-*"))) == 1


@ALL
def test_the_rest_is_not_handed_in_before_results_are_taken(made: Engine, tmp_path: Path) -> None:
    results = made.run(Doubled(str(tmp_path)), batches(40))
    next(results)
    time.sleep(1)
    # Spark is handed two jobs of several tasks a core, and a third as the first result is taken.
    assert len(list(tmp_path.iterdir())) <= (24 if made.name == "spark" else 8)
    results.close()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_session_of_somebody_else_goes_on() -> None:
    if shutil.which("java") is None:
        pytest.skip("no java here: apt-get install openjdk-17-jre-headless")
    with engine("spark", workers=1) as made, ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(_open_and_close).result()
        assert made.session.range(3).count() == 3  # type: ignore[attr-defined]


def _open_and_close() -> None:
    with engine("spark"):
        pass


def test_a_function_that_cannot_be_sent_is_told() -> None:
    with engine("local", workers=2, processes=True) as made, pytest.raises(SettingsError, match="top of a module"):
        list(made.run(lambda batch: batch, batches(1)))


@pytest.mark.slow
def test_a_worker_that_always_dies_is_told() -> None:
    with (
        engine("local", workers=2, processes=True) as made,
        pytest.raises(EngineError, match="Partition 0 has killed its worker process 4 times"),
    ):
        list(made.run(_exits, batches(1)))


def _exits(batch: pa.RecordBatch) -> pa.RecordBatch:
    os._exit(3)


def test_results_come_while_others_are_still_to_be_done(tmp_path: Path) -> None:
    with engine("local", workers=1) as made:
        results = made.run(Doubled(str(tmp_path)), batches(5))
        next(results)
        assert len(list(tmp_path.iterdir())) == 1


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(SettingsError, match="no engine 'ray'; choose one of local, dask, spark"):
        engine("ray")
    with pytest.raises(SettingsError, match="workers=0"):
        engine("local", workers=0)
    with pytest.raises(SettingsError, match="needs --engine dask"):
        engine("local", address="tcp://127.0.0.1:8786")


@pytest.mark.parametrize(("name", "library"), [("dask", "distributed"), ("spark", "pyspark")])
def test_a_library_that_is_missing_is_named(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dropout_risk.engines.find_spec", lambda wanted: None if wanted == library else object())
    with pytest.raises(MissingExtraError, match=rf"pip install 'dropout-risk\[{name}\]'"):
        engine(name)


def test_spark_without_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = pytest.importorskip("pyspark").SparkContext
    monkeypatch.setattr(contexts, "_active_spark_context", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(EngineError, match="openjdk-17-jre-headless"), engine("spark"):
        pass


@pytest.mark.slow
def test_a_dask_address_that_does_not_answer_is_told() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(EngineError, match=r"No Dask scheduler answers"), engine("dask", address="tcp://127.0.0.1:1"):
        pass


def test_importing_the_engines_imports_no_engine() -> None:
    assert issubclass(EngineError, DropoutRiskError)
    code = "import sys, dropout_risk.engines as e; assert not {'dask', 'distributed', 'pyspark'} & set(sys.modules)"
    assert os.system(f'{sys.executable} -c "{code}"') == 0
