"""The model of the service: found, checked, changed under load, and kept while there is no better one."""

import gc
import shutil
import socket
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from dropout_risk.bundle import Bundle, folder_token, load_bundle, save_bundle
from dropout_risk.errors import RegistryError
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.registry import import_mlflow, log_model, model_token, promote
from dropout_risk.service import runs
from dropout_risk.service.app import create_app
from dropout_risk.service.models import Models
from dropout_risk.service.scoring import describe_model, load
from dropout_risk.service.settings import Settings

ROWS = [{"absent": 9.0, "km": 1.5}, {"absent": 0.0, "km": 12.0}, {"absent": 4.0, "km": None}]
COLUMNS = ("absent", "km")


def flat_bundle(seed: int, columns: tuple[str, str] = COLUMNS) -> Bundle:
    """Return a small model; each seed gives other risks."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(random.gamma(2, 2, (400, 2)), columns=list(columns))
    y = (random.random(400) < X[columns[0]] / 15).astype(int)
    return Bundle(model=DropoutRiskClassifier(n_estimators=5).fit(X, y), kind="flat", created="2026-11-22")


def risks_of(bundle: Bundle) -> list[float]:
    X = pd.DataFrame(ROWS, dtype=float)
    return [float(risk) for risk in bundle.model.predict_proba(X)[:, 1]]


@pytest.fixture(scope="module")
def first() -> Bundle:
    return flat_bundle(1)


@pytest.fixture(scope="module")
def second() -> Bundle:
    return flat_bundle(2)


@pytest.fixture
def folder(first: Bundle, tmp_path: Path) -> Path:
    return save_bundle(first, tmp_path / "model")


def settings_for(model: Path | str, tmp_path: Path, **more: Any) -> Settings:
    return Settings(model=str(model), store=f"sqlite:///{tmp_path}/store.db", access="local", **more)


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings_for(folder, tmp_path))) as client:
        yield client


def look(client: TestClient) -> bool:
    """Make the service look for another model now, and not when it is time."""
    return bool(client.app.state.service.models.refresh())  # type: ignore[attr-defined]


def figure(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"dropout_risk_{name} ")).rpartition(" ")[2])


def version(client: TestClient) -> str:
    answer = client.post("/score", json={"rows": ROWS})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"]["version"])


# One after another -----------------------------------------------------------------------------------


def test_a_new_model_in_the_folder_takes_the_place_of_the_old_one(
    client: TestClient, folder: Path, first: Bundle, second: Bundle
) -> None:
    assert version(client) == first.version_label
    assert not look(client)
    save_bundle(second, folder, overwrite=True)
    assert look(client)
    assert version(client) == second.version_label
    assert client.get("/health/ready").json() == {
        "status": "ready", "model": second.version_label, "trouble": None,
    }  # fmt: skip
    assert (figure(client, "model_swaps"), figure(client, "model_stale")) == (1.0, 0.0)


def damaged(bundle: Bundle, folder: Path) -> None:
    save_bundle(bundle, folder, overwrite=True)
    (folder / "model.json").write_text("{}")


def taken_away(bundle: Bundle, folder: Path) -> None:
    shutil.rmtree(folder)


def of_other_columns(bundle: Bundle, folder: Path) -> None:
    save_bundle(flat_bundle(3, ("absent", "minutes")), folder, overwrite=True)


def of_a_county(bundle: Bundle, folder: Path) -> None:
    save_bundle(replace(bundle, kind="county"), folder, overwrite=True)


def with_a_profile_of_nonsense(bundle: Bundle, folder: Path) -> None:
    save_bundle(replace(bundle, data={"profile": {"features": {"absent": {}}}}), folder, overwrite=True)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damaged, "model.json does not match"),
        (taken_away, "is no folder of a saved bundle"),
        (of_other_columns, "takes other features"),
        (of_a_county, "has learned other features"),
        (with_a_profile_of_nonsense, "cannot be read (KeyError)"),
    ],
)
def test_the_last_good_model_stays_in_use_and_the_trouble_is_told_until_it_is_over(
    client: TestClient, folder: Path, first: Bundle, second: Bundle, harm: Any, words: str
) -> None:
    harm(second, folder)
    assert not look(client)
    assert version(client) == first.version_label
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["model"] == first.version_label
    assert words in ready.json()["trouble"]
    assert figure(client, "model_stale") == 1.0
    save_bundle(second, folder, overwrite=True)
    assert look(client)
    assert version(client) == second.version_label
    assert client.get("/health/ready").json()["trouble"] is None
    assert figure(client, "model_stale") == 0.0


def test_trouble_that_goes_away_without_a_new_model_is_over_too(client: TestClient, folder: Path) -> None:
    away = folder.rename(folder.with_name("away"))
    look(client)
    assert client.get("/health/ready").json()["trouble"]
    away.rename(folder)
    assert not look(client)
    assert client.get("/health/ready").json()["trouble"] is None


def test_a_service_without_a_model_starts_and_gets_one_later_by_itself(first: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with TestClient(create_app(settings_for(folder, tmp_path, poll_seconds=1))) as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 503
        assert client.post("/score", json={"rows": ROWS}).status_code == 503
        assert figure(client, "model_stale") == 0.0  # nothing older is in use
        assert "dropout_risk_model_age_seconds NaN" in client.get("/metrics").text
        save_bundle(first, folder)
        models = client.app.state.service.models  # type: ignore[attr-defined]
        assert any(models.current or threading.Event().wait(0.1) for _ in range(100))
        assert version(client) == first.version_label
        assert figure(client, "model_age_seconds") > 0


def test_the_looking_outlives_whatever_a_model_raises(first: Bundle, tmp_path: Path) -> None:
    tries: list[int] = []
    loaded = threading.Event()

    def fetch(_: Settings) -> Bundle:
        tries.append(1)
        if len(tries) < 3:
            raise ZeroDivisionError("S1 of class 3")
        loaded.set()
        return first

    settings = settings_for("anywhere", tmp_path, poll_seconds=1)
    models = Models(settings, fetch=fetch, token_of=lambda *_, **__: "same")
    models.start()
    try:
        assert models.trouble == "it cannot be read (ZeroDivisionError)"  # its text may hold anything
        assert loaded.wait(20)
    finally:
        models.stop()


def test_the_looking_outlives_figures_that_cannot_be_told(
    first: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("of a value that nobody may see")

    models = Models(
        settings_for("anywhere", tmp_path), fetch=lambda _: first, token_of=lambda *_, **__: "same", after_look=fail
    )
    assert models.refresh()
    assert models.current is not None
    assert "cannot be told (ZeroDivisionError)" in caplog.text
    assert "nobody may see" not in caplog.text


def test_the_start_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dropout_risk.service.models.FIRST_LOOK_SECONDS", 0.1)
    answers = threading.Event()

    def token_of(*_: Any, **__: Any) -> str:
        answers.wait(20)
        raise RegistryError("It does not answer.")

    models = Models(settings_for("anywhere", tmp_path), token_of=token_of)
    models.start()
    assert models.trouble == "the service is starting"
    answers.set()
    models.stop()
    assert models.trouble == "It does not answer."


# Under load ------------------------------------------------------------------------------------------


def test_a_request_ends_on_the_model_that_it_began_on_and_then_the_old_one_is_let_go(
    client: TestClient, folder: Path, first: Bundle, second: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    really = runs.score_roster

    def slowly(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return really(*given)

    monkeypatch.setattr(runs, "score_roster", slowly)
    old = weakref.ref(client.app.state.service.models.current)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(version, client)
        assert begun.wait(20)
        save_bundle(second, folder, overwrite=True)
        assert look(client)
        assert old() is not None
        go_on.set()
        assert answer.result(20) == first.version_label
    assert version(client) == second.version_label
    gc.collect()
    assert old() is None


def test_models_change_while_requests_are_answered_and_no_answer_mixes_two(
    client: TestClient, folder: Path, first: Bundle, second: Bundle
) -> None:
    risks = {bundle.version_label: risks_of(bundle) for bundle in (first, second)}
    assert risks[first.version_label] != risks[second.version_label]
    stop, seen = threading.Event(), []

    def ask(_: int) -> int:
        count = 0
        while not stop.is_set():
            answer = client.post("/score", json={"rows": ROWS})
            assert answer.status_code == 200, answer.text
            told = answer.json()
            given = {student["row"]: student["risk"] for student in told["students"]}
            assert [given[row] for row in (1, 2, 3)] == pytest.approx(risks[told["model"]["version"]], abs=1e-12)
            seen.append(told["model"]["version"])
            count += 1
        return count

    with ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(ask, number) for number in range(3)]
        try:
            for number in range(12):
                save_bundle((second, first)[number % 2], folder, overwrite=True)
                assert look(client)
                count = len(seen)
                assert any(len(seen) > count + 2 or stop.wait(0.01) for _ in range(2000))
        finally:
            stop.set()
        assert all(one.result(20) > 0 for one in asking)
    assert set(seen) == set(risks)
    assert figure(client, "model_swaps") == 12.0


def test_a_model_is_described_once_and_the_next_one_anew(
    client: TestClient, folder: Path, second: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[str] = []

    def count(bundle: Bundle) -> dict[str, Any]:
        described.append(bundle.version_label)
        return describe_model(bundle)

    monkeypatch.setattr("dropout_risk.service.models.describe_model", count)
    answer, again = client.get("/model"), client.get("/model")
    assert answer.content == again.content
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == describe_model(load_bundle(folder))
    save_bundle(second, folder, overwrite=True)
    assert look(client)
    assert client.get("/model").json() == client.get("/model").json() == describe_model(load_bundle(folder))
    assert described == [answer.json()["version"], second.version_label]


# What tells one model from another -------------------------------------------------------------------


def test_the_token_of_a_folder_is_the_digest_of_its_model(folder: Path, first: Bundle, second: Bundle) -> None:
    assert folder_token(folder) == first.digest == model_token(folder)
    save_bundle(second, folder, overwrite=True)
    assert model_token(folder) == second.digest


@pytest.fixture(scope="module")
def store(first: Bundle, second: Bundle, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with two versions, the first of them the champion."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"
    log_model(first, tracking_uri=uri)
    promote(tracking_uri=uri, override_why="a test")
    log_model(second, tracking_uri=uri)
    return uri


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Operation with range is deprecated:DeprecationWarning")
class TestRegistry:
    """The life of a model in a real MLflow store."""

    @pytest.fixture(autouse=True)
    def champion_is_the_first(self, store: str) -> None:
        promote(tracking_uri=store, version="1", override_why="a test")

    def token(self, store: str) -> str:
        return model_token(tracking_uri=store)

    def test_the_token_changes_with_the_champion_and_with_its_next_release(self, store: str) -> None:
        before = self.token(store)
        assert self.token(store) == before
        mlflow = import_mlflow().MlflowClient(tracking_uri=store, registry_uri=store)
        mlflow.update_model_version("dropout-risk", "1", description="Somebody has corrected a word.")
        mlflow.set_model_version_tag("dropout-risk", "1", "seen_by", "the office")
        assert self.token(store) == before, "nothing that the service uses has changed"
        promote(tracking_uri=store, version="2", override_why="a test")
        other = self.token(store)
        assert other != before
        promote(tracking_uri=store, version="1", override_why="a test")
        assert self.token(store) not in (before, other), "it was released again, which its card has to say"

    def test_the_service_follows_the_champion_and_says_how_it_was_released(
        self, store: str, first: Bundle, second: Bundle, tmp_path: Path
    ) -> None:
        settings = settings_for("models:/dropout-risk@champion", tmp_path, tracking_uri=store)
        with TestClient(create_app(settings)) as client:
            assert version(client) == first.version_label
            promote(tracking_uri=store, version="2", override_why="the office has looked at it")
            assert look(client)
            assert version(client) == second.version_label
            released = client.get("/model").json()["release"]
            assert (released["version"], released["override_why"]) == ("2", "the office has looked at it")
            promote(tracking_uri=store, version="1", override_why="back again")
            assert look(client)
            assert client.get("/model").json()["release"]["override_why"] == "back again"

    def test_a_registry_that_is_down_costs_no_request_and_is_found_again(
        self, store: str, first: Bundle, second: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        at = [store]

        def token_of(uri: str, tracking_uri: str | None) -> str:
            return model_token(uri, tracking_uri=at[0])

        def fetch(settings: Settings) -> Bundle:
            return load(replace(settings, tracking_uri=at[0]))

        models = Models(settings_for("models:/dropout-risk@champion", tmp_path), fetch=fetch, token_of=token_of)
        assert models.refresh()
        at[0] = nobody
        assert not models.refresh()
        assert models.require().bundle.digest == first.digest
        assert models.trouble is not None and "127.0.0.1" in models.trouble
        promote(tracking_uri=store, version="2", override_why="a test")
        at[0] = store
        assert models.refresh()
        assert models.require().bundle.digest == second.digest
        assert models.trouble is None

    def test_a_champion_that_is_damaged_in_the_registry_is_not_used(
        self, store: str, first: Bundle, second: Bundle, tmp_path: Path
    ) -> None:
        models = Models(settings_for("models:/dropout-risk@champion", tmp_path, tracking_uri=store))
        assert models.refresh()
        promote(tracking_uri=store, version="2", override_why="a test")
        mlflow = import_mlflow().MlflowClient(tracking_uri=store, registry_uri=store)
        location = mlflow.get_model_version_download_uri("dropout-risk", "2")
        kept = Path(location.removeprefix("file://")) / "artifacts" / "bundle" / "model.json"
        content = kept.read_bytes()
        kept.write_bytes(content + b" ")
        assert not models.refresh()
        assert models.require().bundle.digest == first.digest
        assert "model.json does not match" in (models.trouble or "")
        kept.write_bytes(content)
        assert models.refresh()
        assert models.require().bundle.digest == second.digest
