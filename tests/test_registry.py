"""Bundles on disk and in MLflow: whole or refused, bit for bit, and without any student."""

import doctest
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_builder import FAULTS, assessment, sound

from dropout_risk import registry
from dropout_risk.bundle import FORMAT, MAX_FILE_BYTES, Bundle, data_digest, load_bundle, save_bundle
from dropout_risk.errors import (
    BundleError,
    ColumnsError,
    GateError,
    InputError,
    MissingExtraError,
    RegistryError,
    SettingsError,
)
from dropout_risk.gate import Gate
from dropout_risk.gate_text import LABELS
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.registry import MAX_DESCRIPTION, MAX_REASON, load_model, log_model, promote

DEMO = Path(__file__).parent.parent / "models" / "demo"
PLANTED_ID = "PLANTED-532901201011111234"
PLANTED_KM = 6.178239450016742
METRICS = {
    "auc": {"value": 0.81, "low": 0.78, "high": 0.84},
    "rows": 400,
    "by_sex": {"female": {"auc": {"value": 0.8, "low": None, "high": None}}, "male": {"auc": None}},
    "recall @ 5%": 0.4,
    "note": "one term",
}


@pytest.fixture(scope="session")
def frame():
    rng = np.random.default_rng(7)
    n = 400
    table = pd.DataFrame(
        {
            "absent_days": rng.poisson(4, n).astype(float),
            "distance_km": np.where(rng.random(n) < 0.2, np.nan, rng.gamma(2, 4, n)),
            "poverty": pd.Categorical(rng.choice(["无", "低保", "registered"], n)),
        },
        index=pd.Index([f"student-{i}" for i in range(n - 1)] + [PLANTED_ID], name="student_id"),
    )
    table.iloc[-1, 1] = PLANTED_KM
    return table


def make_bundle(frame, small_data="boosted", **changes):
    rng = np.random.default_rng(1)
    y = rng.random(len(frame)) < 1 / (1 + np.exp(3 - 0.5 * frame["absent_days"]))
    model = DropoutRiskClassifier(n_estimators=8, small_data=small_data).fit(frame, y)
    fields = {
        "kind": "county",
        "created": "2026-11-22",
        "preset": "default",
        "metrics": METRICS,
        "reference": {"cutoffs": {"grade 7": [0.1, 0.25]}, "名称": "县"},
        "data": {"rows": 400, "digest": data_digest(frame)},
    }
    return Bundle(model=model, **fields | changes)


@pytest.fixture(scope="session", params=["boosted", "logistic"])
def any_bundle(request, frame):
    return make_bundle(frame, small_data=request.param)


@pytest.fixture(scope="session")
def bundle(frame):
    return make_bundle(frame)


@pytest.fixture
def folder(bundle, tmp_path):
    return save_bundle(bundle, tmp_path / "kept")


@pytest.fixture(scope="session")
def sound_bundle(bundle):
    """A bundle whose figures hold the release gate."""
    return replace(bundle, metrics=sound())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rewrite(folder, **changes):
    """Change the content of bundle.json, with digests that fit: what only a later version would write."""
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


# Save and load ---------------------------------------------------------------------------------------


def test_a_loaded_bundle_is_the_saved_one_bit_for_bit(any_bundle, frame, tmp_path):
    loaded = load_bundle(save_bundle(any_bundle, tmp_path / "new" / "folder"))
    expected = any_bundle.model.predict_proba(frame)
    assert loaded.model.predict_proba(frame).tobytes() == expected.tobytes()
    for name in ("kind", "created", "preset", "horizon", "bands", "reference", "metrics", "data", "versions"):
        assert getattr(loaded, name) == getattr(any_bundle, name)
    assert loaded.digest == any_bundle.digest
    assert loaded.to_files() == any_bundle.to_files()


def test_the_folder_holds_the_files_that_the_readme_names(folder):
    names = {name for name in contents(folder) if not name.startswith("booster_")}
    assert names == {"model.json", "bundle.json", "reference.json", "MODEL_CARD.md", "SHA256SUMS"}


def test_sha256sum_agrees_and_the_digest_is_that_of_its_list(bundle, folder):
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert checked.returncode == 0
    assert checked.stdout.count(": OK") == len(contents(folder)) - 1
    listed = subprocess.run(["sha256sum", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert listed.stdout.split()[0] == bundle.digest
    assert bundle.digest.startswith(bundle.version_label)


def test_equal_content_gives_equal_bytes(bundle, folder, tmp_path):
    same = replace(bundle, metrics=dict(reversed(METRICS.items())), versions=dict(bundle.versions))
    assert contents(save_bundle(same, tmp_path / "again")) == contents(folder)
    assert replace(bundle, horizon=2).digest != bundle.digest


def test_a_loaded_bundle_keeps_the_digest_of_its_folder(bundle, folder):
    (folder / "MODEL_CARD.md").write_text("As another version would write it.")
    rewrite(folder)
    loaded = load_bundle(folder)
    assert loaded.digest == hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest() != bundle.digest
    assert replace(loaded, horizon=2).digest == replace(bundle, horizon=2).digest
    again = save_bundle(loaded, folder.with_name("again"))
    assert contents(again) == contents(folder)


def test_a_second_model_and_a_backtest_come_along_and_are_checked(bundle, frame, tmp_path):
    outlook = make_bundle(frame, small_data="boosted").model
    backtest = {"terms": ["2021-2022-1"], "hits": [[3, 1]]}
    more = replace(bundle, outlook=outlook, backtest=backtest)
    folder = save_bundle(more, tmp_path / "more")
    assert set(contents(folder)) - set(bundle.to_files()) == {
        "backtest.json", *(f"outlook_{name}" for name in outlook.to_files()),
    }  # fmt: skip
    loaded = load_bundle(folder)
    assert loaded.to_files() == more.to_files() and loaded.backtest == backtest
    expected = outlook.predict_proba(frame)
    assert loaded.outlook.predict_proba(frame).tobytes() == expected.tobytes()
    assert loaded.model.predict_proba(frame).tobytes() == bundle.model.predict_proba(frame).tobytes()
    assert load_bundle(save_bundle(bundle, tmp_path / "less")).outlook is None
    for name in ("backtest.json", "outlook_model.json", "outlook_booster_0.txt"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(kept + b" ")
        with pytest.raises(BundleError, match=f"{name} does not match"):
            load_bundle(folder)
        (folder / name).write_bytes(kept)


def test_an_outlook_in_parts_is_refused(bundle, tmp_path):
    folder = save_bundle(replace(bundle, outlook=bundle.model), tmp_path / "parts")
    (folder / "outlook_model.json").unlink()
    rewrite(folder)
    with pytest.raises(BundleError, match="model.json"):
        load_bundle(folder)


def test_a_release_is_on_the_card_but_no_part_of_the_model(bundle):
    released = bundle.with_release({"version": "7", "promoted_at": "2026-11-22T08:00:00Z", "promoted_from": None})
    assert released.digest == bundle.digest and released.to_files() == bundle.to_files()
    assert "Version 7 became the champion" in released.card() and "Version 7" not in bundle.card()
    assert bundle.card().encode() == bundle.to_files()["MODEL_CARD.md"]


def test_bundles_of_the_first_version_still_load():
    """Saved by the first version; the risks are those that it gave."""
    first = load_bundle(Path(__file__).with_name("data") / "first_bundle")
    assert first.release == {} and first.backtest == {} and first.outlook is None
    assert first.card().startswith("# Model card: flat model")
    poverty = pd.Categorical(["no", "yes", None])
    risk = first.model.predict_proba(pd.DataFrame({"absent_days": [0.0, 9.0, np.nan], "poverty": poverty}))[:, 1]
    assert risk.tolist() == [0.02757123029403064, 0.5935811065948674, 0.14091468365342066]


def test_later_changes_from_outside_do_not_reach_in(frame):
    metrics = {"auc": 0.8}
    bundle = make_bundle(frame, metrics=metrics)
    metrics["auc"] = 0.9
    assert bundle.metrics == {"auc": 0.8}


def test_the_card_says_what_it_is_for_and_shows_intervals(folder):
    card = (folder / "MODEL_CARD.md").read_text("utf-8")
    assert "A risk is a reason to help, never a verdict." in card
    assert "- auc: 0.81 (95% interval 0.78 to 0.84)" in card
    assert "- by_sex/female/auc: 0.8\n" in card
    assert "by_sex/male" not in card
    assert "`poverty`: one of" in card and "低保" in card


@settings(deadline=None)  # it reads and hashes files
@given(data=st.data())
def test_one_changed_byte_anywhere_is_refused(broken_once, data):
    folder, files = broken_once
    name = data.draw(st.sampled_from(sorted(files)))
    position = data.draw(st.integers(0, len(files[name]) - 1))
    content = bytearray(files[name])
    content[position] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(content)
    try:
        with pytest.raises(BundleError, match=name):
            load_bundle(folder)
    finally:
        (folder / name).write_bytes(files[name])


@pytest.fixture(scope="module")
def broken_once(bundle, tmp_path_factory):
    folder = save_bundle(bundle, tmp_path_factory.mktemp("flips") / "kept")
    return folder, contents(folder)


@pytest.mark.parametrize("name", ["model.json", "booster_1.txt", "bundle.json", "reference.json", "MODEL_CARD.md"])
def test_a_missing_file_is_refused_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_bundle(folder)


def test_whatever_does_not_belong_there_is_refused_all_at_once(folder, tmp_path):
    (folder / "__pycache__").mkdir()
    (folder / "model.json").rename(tmp_path / "elsewhere")
    (folder / "model.json").symlink_to(tmp_path / "elsewhere")
    with open(folder / "huge.txt", "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(BundleError) as refused:
        load_bundle(folder)
    for sentence in ("__pycache__ is not a plain", "model.json is not a plain", "huge.txt is over 64 MiB"):
        assert sentence in str(refused.value)


def test_an_extra_file_is_refused(folder):
    (folder / "extra.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match="extra.pkl is not in SHA256SUMS"):
        load_bundle(folder)


def test_a_folder_of_very_many_files_is_refused_unread(folder):
    for number in range(100):
        (folder / f"more_{number}.txt").touch()
    with pytest.raises(BundleError, match="the limit is 100"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "..", "a b", "*model.json", "名"])
def test_names_that_lead_elsewhere_are_refused(folder, name):
    with open(folder / "SHA256SUMS", "a", encoding="utf-8") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(BundleError, match="SHA256SUMS is no list of digests and plain file names"):
        load_bundle(folder)


def test_no_list_or_an_empty_one_is_refused(folder):
    (folder / "SHA256SUMS").write_bytes(b"")
    with pytest.raises(BundleError, match="SHA256SUMS is no list"):
        load_bundle(folder)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(BundleError, match="SHA256SUMS is missing"):
        load_bundle(folder)


def test_a_bundle_from_the_future_is_refused_with_a_sentence(folder):
    rewrite(folder, format=FORMAT + 1, versions={"dropout-risk": "9.1"})
    with pytest.raises(BundleError, match=r"written by dropout-risk 9\.1; this is dropout-risk .*: upgrade"):
        load_bundle(folder)


@pytest.mark.parametrize("change", [{"format": "one"}, {"bands": {"high": 0.1}}, {"bands": None}, {"versions": None}])
def test_a_bundle_whose_content_makes_no_sense_is_refused(folder, change):
    rewrite(folder, **change)
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(folder)


def test_an_existing_folder_is_kept_unless_told(bundle, folder):
    before = contents(folder)
    with pytest.raises(SettingsError, match="exists already"):
        save_bundle(replace(bundle, horizon=2), folder)
    assert contents(folder) == before
    save_bundle(replace(bundle, horizon=2), folder, overwrite=True)
    assert load_bundle(folder).horizon == 2
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_damaged_bundle_can_be_replaced_but_nothing_else_can(bundle, folder, tmp_path):
    (folder / "model.json").unlink()
    save_bundle(bundle, folder, overwrite=True)
    assert load_bundle(folder).digest == bundle.digest
    (folder / "thesis").mkdir()
    (tmp_path / "file").touch()
    for place in (folder, tmp_path, tmp_path / "file"):
        with pytest.raises(SettingsError, match="not overwritten"):
            save_bundle(bundle, place, overwrite=True)
    assert (folder / "thesis").exists()


class Unwritable(DropoutRiskClassifier):
    """A model whose last file has a name that no file system takes: writing fails in the middle."""

    def to_files(self):
        return super().to_files() | {"z" * 300: "text"}


def test_a_failure_in_the_middle_leaves_what_was_there(bundle, folder, tmp_path):
    model = Unwritable.from_files(bundle.model.to_files())
    before = contents(folder)
    with pytest.raises(BundleError, match="could not be written"):
        save_bundle(replace(bundle, model=model), folder, overwrite=True)
    assert contents(folder) == before
    with pytest.raises(BundleError, match="could not be written"):
        save_bundle(replace(bundle, model=model), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_everything_that_is_wrong_with_a_bundle_is_said_at_once(bundle):
    with pytest.raises(SettingsError) as refused:
        Bundle(
            model=bundle.model,
            kind="town",
            created="22/11/2026",
            horizon=0,
            bands={"high": 0.1, "raised": 0.2, "watch": 0.05},
            metrics={"auc": float("nan")},
            data={"rows": np.int64(3)},
        )
    for word in ("kind", "created", "horizon", "bands", "metrics", "data"):
        assert word in str(refused.value)


# Bands -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0, 1)))
def test_bands_are_those_of_the_slow_obvious_way(bundle, risks):
    def slowly(risk):
        return next((name for name, cut in (("high", 0.2), ("raised", 0.1), ("watch", 0.05)) if risk >= cut), "low")

    assert bundle.band_of(risks).tolist() == [slowly(risk) for risk in risks]


@pytest.mark.parametrize("risk", [np.nan, -0.1, 1.1])
def test_what_is_no_risk_has_no_band(bundle, risk):
    with pytest.raises(InputError, match="between 0 and 1"):
        bundle.band_of([0.1, risk])


# Digest of the data ----------------------------------------------------------------------------------


def test_the_data_digest_does_not_depend_on_how_values_are_held():
    plain = pd.DataFrame(
        {
            "count": [3.0, np.nan, -1.0],
            "km": [0.5, -0.0, np.nan],
            "flag": [True, None, False],
            "town": ["大理", None, ""],
            "day": pd.to_datetime(["2026-11-22", None, "2026-01-01"]),
            "empty": [np.nan] * 3,
        }
    )
    held = [
        plain.convert_dtypes(),
        plain.convert_dtypes(dtype_backend="pyarrow"),
        plain.astype({"town": "category", "day": "datetime64[s]", "empty": "str"}),
        plain.astype({"town": "object", "flag": "boolean", "count": "object", "empty": "object"}),
        plain.assign(km=[0.5, 0.0, None], flag=[1.0, np.nan, 0.0], day=plain["day"].dt.date),
        plain.set_axis(["x", "y", "z"]),
    ]
    assert {data_digest(frame) for frame in held} == {data_digest(plain)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": ["ab", "c"]}, {"a": ["a", "bc"]}),
        ({"a": ["1", "2"]}, {"a": [1, 2]}),
        ({"a": [1, None]}, {"a": [None, 1]}),
        ({"a": [1, None]}, {"a": [1, 0]}),
        ({"a": ["x", None]}, {"a": ["x", ""]}),
        ({"a": [1], "b": [2]}, {"b": [2], "a": [1]}),
        ({"a": [1]}, {"b": [1]}),
        ({"a": []}, {"a": [None]}),
        ({"a": [2**62]}, {"a": [2**62 + 1]}),
        ({"a": [-(2**62)]}, {"a": [-(2**62) - 1]}),
        ({"a": [0.1]}, {"a": [np.nextafter(0.1, 1)]}),
        ({"a": pd.to_datetime(["2026-11-22"])}, {"a": ["2026-11-22"]}),
    ],
)
def test_the_data_digest_tells_different_tables_apart(one, other):
    assert data_digest(pd.DataFrame(one)) != data_digest(pd.DataFrame(other))


def test_named_index_levels_count(frame):
    assert data_digest(frame) != data_digest(frame.reset_index(drop=True))
    assert data_digest(frame) == data_digest(frame.reset_index())
    twice = frame.assign(student_id=frame.index)
    assert data_digest(twice) != data_digest(frame)


def test_the_data_digest_is_the_same_everywhere_and_for_ever():
    frame = pd.DataFrame({"a": ["x", None], "b": [1, 2.5], "c": pd.to_datetime(["2026-11-22", None])})
    assert data_digest(frame) == "92ed090f8dca2418f2c7c990348a95a016a929a01e0e9437122ce908666b7cf2"


# MLflow ----------------------------------------------------------------------------------------------


def test_without_mlflow_the_error_says_how_to_install_it(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'dropout-risk\[track\]'"):
        log_model(bundle)


def test_a_folder_is_loaded_without_mlflow(folder, bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert load_model(folder).digest == load_model(str(folder)).digest == bundle.digest


@pytest.mark.parametrize("uri", ["models:/a", "models:/a@", "models:/a/b/c", "models:/a/latest"])
def test_what_is_no_model_uri_is_refused(uri):
    with pytest.raises(RegistryError, match="models:/name@alias"):
        load_model(uri)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "县 mlflow"
    folder.mkdir()
    return f"sqlite:///{folder / 'mlflow.db'}"


class TestStore:
    """One real MLflow store on SQLite for all; every test registers under a name of its own."""

    pytestmark = pytest.mark.slow

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path, monkeypatch):
        """Work in an empty folder without settings; nothing may appear in it."""
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (tmp_path / "cwd").mkdir()
        monkeypatch.chdir(tmp_path / "cwd")
        yield
        assert os.listdir(tmp_path / "cwd") == []

    def test_the_examples_of_the_docstrings_run_one_after_another(self, tmp_path, monkeypatch):
        """They are skipped as doctests, because they write a store; here they run in an empty folder."""
        place = tmp_path / "examples"
        shutil.copytree(DEMO, place / "models" / "demo")
        monkeypatch.chdir(place)
        space = vars(registry).copy()
        for function in (log_model, promote, load_model):
            examples = doctest.DocTestParser().get_doctest(function.__doc__, space, function.__name__, None, 0)
            assert examples.examples
            for example in examples.examples:
                example.options.pop(doctest.SKIP, None)
            result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, clear_globs=False)
            space.update(examples.globs)
            assert result.failed == 0
        monkeypatch.chdir(tmp_path / "cwd")

    def test_a_model_becomes_challenger_then_champion(self, store, sound_bundle, frame):
        bundle = sound_bundle
        at = {"name": "term", "tracking_uri": store}
        with pytest.raises(RegistryError, match="There is no model registry"):
            promote(**at)
        first = log_model(bundle, **at)
        assert (first.version, first.model_uri, first.digest) == ("1", "models:/term/1", bundle.digest)
        with pytest.raises(RegistryError, match="champion"):
            load_model("models:/term@champion", tracking_uri=store)
        assert promote(**at).version == "1"
        with pytest.raises(RegistryError, match="no challenger"):
            promote(**at)
        champion = load_model("models:/term@champion", tracking_uri=store)
        assert champion.digest == bundle.digest
        expected = bundle.model.predict_proba(frame)
        assert champion.model.predict_proba(frame).tobytes() == expected.tobytes()

        second = log_model(replace(bundle, created="2026-11-23"), **at)
        assert load_model("models:/term@challenger", tracking_uri=store).digest == second.digest
        assert load_model("models:/term@champion", tracking_uri=store).digest == first.digest
        assert promote(**at).version == "2"
        assert load_model("models:/term@champion", tracking_uri=store).digest == second.digest
        assert promote(version="1", **at).version == "1"
        assert load_model("models:/term@champion", tracking_uri=store).digest == first.digest
        with pytest.raises(RegistryError, match="99"):
            promote(version="99", **at)

        tags = client(store).get_model_version("term", "1").tags
        assert tags["promoted_from"] == "2"
        assert pd.Timestamp(tags["promoted_at"]).tz is not None

    def test_the_run_holds_settings_figures_and_the_digest_of_the_data(self, store, bundle, frame):
        logged = log_model(bundle, name="figures", tracking_uri=store, dataset=frame)
        run = client(store).get_run(logged.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.metrics == {
            "auc": 0.81, "auc_low": 0.78, "auc_high": 0.84, "rows": 400,
            "by_sex/female/auc": 0.8, "recall _ 5_": 0.4,
        }  # fmt: skip
        assert run.data.params["num_leaves"] == "15" and run.data.params["preset"] == "default"
        [described] = run.inputs.dataset_inputs
        assert described.dataset.digest == data_digest(frame)[:36]
        assert json.loads(described.dataset.schema)["columns"][0] == {"name": "absent_days", "type": "float64"}

    def test_settings_and_figures_can_be_given(self, store, bundle):
        many = {f"figure {number}": number for number in range(1500)}
        at = {"name": "given", "tracking_uri": store, "experiment": "other"}
        logged = log_model(bundle, params={"seed": 3}, metrics=many, **at)
        run = client(store).get_run(logged.run_id)
        assert run.data.params == {"seed": "3"}
        assert run.data.metrics == many
        assert client(store).get_experiment(run.info.experiment_id).name == "other"

    def test_mlflow_itself_scores_the_same_without_pickle(self, store, bundle, frame, monkeypatch):
        import mlflow

        log_model(bundle, name="served", tracking_uri=store)
        monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        served = mlflow.pyfunc.load_model("models:/served@challenger")
        asked = frame.astype({"poverty": "str"})
        risk = bundle.model.predict_proba(frame)[:, 1]
        answer = served.predict(asked[["poverty", "distance_km", "absent_days"]])
        assert answer["risk"].to_numpy().tobytes() == risk.tobytes()
        assert answer["band"].tolist() == bundle.band_of(risk).tolist()
        assert answer.index.equals(frame.index)

        missing = frame.assign(distance_km=np.nan)
        assert np.array_equal(
            served.predict(asked.drop(columns="distance_km"))["risk"],
            bundle.model.predict_proba(missing)[:, 1],
        )
        with pytest.raises(ColumnsError, match="None of the model's features"):
            served.predict(pd.DataFrame({"other": [1.0]}))
        unknown = asked.assign(poverty=None, distance_km=np.nan)
        assert served.predict(unknown)["risk"].between(0, 1).all()
        example = served.predict(served.input_example)
        assert example["risk"].between(0, 1).all()
        inputs = {column.name: (str(column.type), column.required) for column in served.metadata.signature.inputs}
        assert inputs["poverty"] == ("DataType.string", False)
        assert inputs["distance_km"] == ("DataType.double", False)

    def test_categories_that_are_numbers_reach_the_model(self, store, frame, monkeypatch):
        import mlflow

        coded = frame.assign(poverty=frame["poverty"].cat.rename_categories([1, 2, 3]))
        log_model(make_bundle(coded), name="coded", tracking_uri=store)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        served = mlflow.pyfunc.load_model("models:/coded/1")
        expected = make_bundle(coded).model.predict_proba(coded)[:, 1]
        assert np.array_equal(served.predict(coded.astype({"poverty": "str"}))["risk"], expected)

    def test_no_student_is_anywhere_in_the_store(self, store, bundle, frame):
        log_model(bundle, name="private", tracking_uri=store, dataset=frame)
        held = b"".join(path.read_bytes() for path in files_of(store))
        assert b"absent_days" in held  # the search would find what is there
        for value in (PLANTED_ID, "PLANTED", "student-7", repr(PLANTED_KM)[:8]):
            assert value.encode() not in held
        assert np.float64(PLANTED_KM).tobytes() not in held
        assert not [path for path in files_of(store) if path.suffix in {".pkl", ".skops", ".joblib"}]

    def test_nothing_global_is_set(self, store, sound_bundle):
        import mlflow

        before = (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run())
        environment = dict(os.environ)
        log_model(sound_bundle, name="quiet", tracking_uri=store)
        promote(name="quiet", tracking_uri=store)
        load_model("models:/quiet@champion", tracking_uri=store)
        assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run()) == before
        assert {name for name in os.environ if os.environ[name] != environment.get(name)} <= {
            "MLFLOW_DISABLE_TELEMETRY", "PYTEST_CURRENT_TEST",
        }  # fmt: skip
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"

    def test_the_environment_names_the_store(self, store, bundle, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        log_model(bundle, name="named")
        assert load_model("models:/named/1").digest == bundle.digest

    def test_what_was_changed_or_swapped_in_the_store_is_refused(self, store, bundle, frame):
        log_model(bundle, name="tampered", tracking_uri=store)
        location = client(store).get_model_version_download_uri("tampered", "1")
        kept = path_of(location) / "artifacts" / "bundle"
        save_bundle(replace(bundle, horizon=3), kept, overwrite=True)
        with pytest.raises(BundleError, match="not what was registered"):
            load_model("models:/tampered/1", tracking_uri=store)
        (kept / "model.json").write_text("{}")
        with pytest.raises(BundleError, match="model.json does not match"):
            load_model("models:/tampered/1", tracking_uri=store)
        shutil.rmtree(kept)
        with pytest.raises(RegistryError):
            load_model("models:/tampered/1", tracking_uri=store)

    @pytest.mark.parametrize(("kind", "cause"), FAULTS.items())
    def test_the_gate_stops_a_model_with_a_fault_and_changes_nothing(self, store, bundle, kind, cause):
        at = {"name": kind, "tracking_uri": store}
        log_model(replace(bundle, metrics=assessment(kind)), **at)
        before = client(store).get_model_version(kind, "1")
        with pytest.raises(GateError) as refused:
            promote(**at)
        condition, words = cause
        assert f"FAILED  {LABELS[condition]['en']}" in str(refused.value) and words in str(refused.value)
        assert all(label["en"] in str(refused.value) for label in LABELS.values())
        assert (refused.value.exit_code, refused.value.http_status) == (5, 409)
        assert client(store).get_registered_model(kind).aliases == {"challenger": 1}
        after = client(store).get_model_version(kind, "1")
        assert (after.tags, after.description) == (before.tags, before.description)
        with pytest.raises(GateError, match="没有发布"):
            promote(lang="zh", **at)

    def test_a_good_model_passes_the_gate(self, store, bundle):
        at = {"name": "good", "tracking_uri": store}
        logged = log_model(replace(bundle, metrics=assessment()), **at)
        promotion = promote(**at)
        assert promotion.verdict.passed and not promotion.overridden and promotion.replaced is None
        tags = client(store).get_model_version("good", "1").tags
        assert (tags["gate_passed"], tags["gate_failed"], tags["gate_override_why"]) == ("true", "none", "none")
        champion = load_model("models:/good@champion", tracking_uri=store)
        assert champion.digest == logged.digest
        assert champion.release["gate"] == promotion.verdict.to_dict() and champion.release["override_why"] is None

    def test_an_override_needs_a_reason_and_is_seen_everywhere(self, store, bundle, tmp_path):
        at = {"name": "overridden", "tracking_uri": store}
        logged = log_model(replace(bundle, metrics=assessment("miscalibrated")), **at)
        for blank in ("", "  \n"):
            with pytest.raises(SettingsError, match="needs a reason"):
                promote(override_why=blank, **at)
        with pytest.raises(SettingsError, match="at most 1,000"):
            promote(override_why="因" * (MAX_REASON + 1), **at)
        why = "由县控辍保学办人工复核。" * 80
        promotion = promote(override_why=f" {why}\n", **at)
        assert promotion.overridden and not promotion.verdict.passed
        found = client(store).get_model_version("overridden", "1")
        assert found.tags["gate_passed"] == "false" and found.tags["gate_override_why"] == why
        assert found.tags["gate_failed"] == "calibration, risk_level" and found.tags["promoted_from"] == "none"
        assert why in found.description and "too high on the whole" in found.description
        assert len(found.description) <= MAX_DESCRIPTION and found.description.startswith("## Release")
        loaded = load_model("models:/overridden@champion", tracking_uri=store)
        assert loaded.release["override_why"] == why and loaded.release["digest"] == logged.digest == loaded.digest
        assert why in loaded.card() and "## Release\n" in loaded.card()
        saved = save_bundle(loaded, tmp_path / "saved")
        assert load_bundle(saved).digest == logged.digest

    def test_going_back_to_an_earlier_champion_passes_the_gate_too(self, store, bundle, sound_bundle):
        at = {"name": "back", "tracking_uri": store}
        log_model(replace(bundle, metrics=assessment("part of the roster")), **at)
        promote(override_why="The first one.", **at)
        better = sound()
        better["evaluation"]["metrics"]["recall_at_10"]["value"] = 0.61
        log_model(replace(sound_bundle, metrics=better), **at)
        second = promote(**at)
        assert second.replaced == "1"
        ours, other = 0.61, assessment("part of the roster")["evaluation"]["metrics"]["recall_at_10"]["value"]
        told = f"version 2 {100 * ours:.1f} %, version 1 {100 * other:.1f} %."
        assert told in second.comparison["en"]
        assert told in client(store).get_model_version("back", "2").description
        with pytest.raises(GateError, match="coverage"):
            promote(version="1", **at)
        assert load_model("models:/back@champion", tracking_uri=store).release["version"] == "2"
        assert promote(version="1", gate=Gate(min_coverage=0.8), **at).verdict.passed
        found = client(store).get_model_version("back", "1")
        assert (found.tags["gate_override_why"], found.tags["promoted_from"]) == ("none", "2")
        first, again = (json.loads(found.tags[f"release_{number}"]) for number in (1, 2))
        assert first["override_why"] == "The first one." and again["override_why"] is None
        assert load_model("models:/back/1", tracking_uri=store).release == again

    def test_versions_judged_on_other_data_are_not_compared(self, store, sound_bundle):
        at = {"name": "apart", "tracking_uri": store}
        log_model(sound_bundle, **at)
        promote(**at)
        log_model(replace(sound_bundle, data={"digest": "other"}), **at)
        assert promote(**at).comparison is None

    def test_a_damaged_champion_does_not_keep_a_sound_model_out(self, store, sound_bundle):
        at = {"name": "ruined", "tracking_uri": store}
        for created in ("2026-11-22", "2026-11-23", "2026-11-24"):
            log_model(replace(sound_bundle, created=created), **at)
            if created > "2026-11-22":
                assert promote(**at).comparison is None
            else:
                promote(**at)
            number = client(store).get_registered_model("ruined").aliases["champion"]
            kept = path_of(client(store).get_model_version_download_uri("ruined", number)) / "artifacts" / "bundle"
            (kept / "model.json").unlink() if created == "2026-11-22" else shutil.rmtree(kept)

    def test_what_was_swapped_in_the_store_is_not_promoted(self, store, sound_bundle):
        at = {"name": "swapped", "tracking_uri": store}
        log_model(replace(sound_bundle, metrics={}), **at)
        location = path_of(client(store).get_model_version_download_uri("swapped", "1"))
        save_bundle(sound_bundle, location / "artifacts" / "bundle", overwrite=True)
        with pytest.raises(BundleError, match="not what was registered"):
            promote(override_why="It will be fine.", **at)
        assert "champion" not in client(store).get_registered_model("swapped").aliases

    def test_a_damaged_record_of_a_release_is_not_passed_over(self, store, sound_bundle):
        at = {"name": "record", "tracking_uri": store}
        log_model(sound_bundle, **at)
        promote(**at)
        client(store).set_model_version_tag("record", "1", "release_1", "{")
        with pytest.raises(RegistryError, match="release_1"):
            load_model("models:/record@champion", tracking_uri=store)

    def test_reports_and_the_figures_of_an_assessment_are_in_the_run(self, store, bundle):
        made = assessment()
        reports = {"report.zh.html": "<p>控辍保学</p>", "report.json": "{}"}
        logged = log_model(replace(bundle, metrics=made), name="reports", tracking_uri=store, reports=reports)
        run = client(store).get_run(logged.run_id)
        assert {file.path for file in client(store).list_artifacts(logged.run_id)} == set(reports)
        held = (path_of(run.info.artifact_uri) / "report.zh.html").read_text("utf-8")
        assert held == reports["report.zh.html"]
        auc = made["evaluation"]["metrics"]["auc"]
        assert (run.data.metrics["auc"], run.data.metrics["auc_low"]) == (auc["value"], auc["low"])
        assert "differences/random/recall_at_10_low" in run.data.metrics
        assert "groups/sex/female/recall_at_10" in run.data.metrics
        assert 50 < len(run.data.metrics) < 400
        version = client(store).get_model_version("reports", "1")
        assert version.description.startswith("# Model card") and len(version.description) <= MAX_DESCRIPTION

    def test_a_refused_log_ends_as_failed_and_registers_nothing(self, store, bundle):
        unwritable = replace(bundle, model=Unwritable.from_files(bundle.model.to_files()))
        with pytest.raises(BundleError):
            log_model(unwritable, name="failed", tracking_uri=store, experiment="failed")
        experiment = client(store).get_experiment_by_name("failed")
        [run] = client(store).search_runs([experiment.experiment_id])
        assert run.info.status == "FAILED"
        with pytest.raises(RegistryError, match="failed"):
            load_model("models:/failed/1", tracking_uri=store)

    def test_a_store_that_does_not_answer_is_named_without_its_password(self, monkeypatch):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(RegistryError, match="127.0.0.1:9") as refused:
            load_model(tracking_uri="http://county:secret@127.0.0.1:9")
        assert "secret" not in str(refused.value)


@pytest.mark.slow
def test_without_settings_the_store_is_in_the_working_directory(sound_bundle, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    log_model(sound_bundle)
    assert sorted(os.listdir(tmp_path)) == ["mlartifacts", "mlflow.db"]
    promote()
    assert load_model().digest == sound_bundle.digest


def client(store):
    import mlflow

    return mlflow.MlflowClient(tracking_uri=store, registry_uri=store)


def path_of(uri):
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(uri))


def files_of(store):
    return [path for path in Path(store.removeprefix("sqlite:///")).parent.rglob("*") if path.is_file()]


def test_a_registry_that_is_not_there_is_not_made_by_looking(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    looks = (
        lambda: load_model(tracking_uri=uri),
        lambda: registry.model_token(tracking_uri=uri),
        lambda: promote(tracking_uri=uri, override_why="a test"),
    )
    for look in looks:
        with pytest.raises(RegistryError, match="There is no model registry at .*dropout-risk train"):
            look()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_registry_that_was_moved_gives_its_models(tmp_path):
    bundle = load_bundle("models/demo")
    before, after = tmp_path / "before", tmp_path / "after it"
    before.mkdir()
    log_model(bundle, tracking_uri=f"sqlite:///{before}/mlflow.db")
    promote(tracking_uri=f"sqlite:///{before}/mlflow.db", override_why="a test")
    before.rename(after)
    uri = f"sqlite:///{after}/mlflow.db"
    assert load_model(tracking_uri=uri).digest == bundle.digest
    shutil.rmtree(after / "mlartifacts")
    with pytest.raises(RegistryError):
        load_model(tracking_uri=uri)
