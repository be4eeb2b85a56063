"""Versions of bundles in MLflow.

A bundle becomes a version of a registered model: `log_model` makes it the ``challenger``, `promote` makes the
challenger the ``champion``, and `load_model` fetches it back. Only what the bundle holds is logged, and no row
of any student. This file and ``pyfunc_model.py`` are the only ones that import mlflow; every call names its
store, so nothing global is set.
"""

import hashlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

from dropout_risk.bundle import Bundle, data_digest, folder_token, installed_versions, load_bundle, save_bundle
from dropout_risk.card import release_lines
from dropout_risk.errors import BundleError, GateError, MissingExtraError, RegistryError, SettingsError
from dropout_risk.figures import figures, number_of
from dropout_risk.gate import DEFAULT_GATE, Gate, Verdict, check_release
from dropout_risk.gate_text import Lang, Text, percent, say

MODEL_NAME = "dropout-risk"
CHAMPION, CHALLENGER = "champion", "challenger"

MAX_REASON = 1000
"""Longest reason for an override, in characters."""

MAX_DESCRIPTION = 5000
"""Longest description of a version that every database of MLflow takes, in characters."""

_ARTIFACT = "bundle"
_RELEASE = re.compile(r"release_(\d+)", re.ASCII)
_CUT = "\n\n… The whole card is MODEL_CARD.md in the bundle of this version."


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """Where a bundle was logged.

    Attributes
    ----------
    run_id
        The MLflow run.
    model_uri
        ``models:/<name>/<version>``, as `load_model` and MLflow take it.
    version
        Version number of the registered model.
    digest
        The bundle's digest.
    """

    run_id: str
    model_uri: str
    version: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What `promote` did.

    Attributes
    ----------
    version
        The version that is the champion now.
    verdict
        What the gate found, condition by condition.
    overridden
        Whether it was released although the gate did not hold.
    replaced
        The champion before; None where there was none, or the version was the champion already.
    comparison
        The figure of the gate for both, when both were judged on the same data.
    """

    version: str
    verdict: Verdict
    overridden: bool
    replaced: str | None
    comparison: Text | None


def log_model(
    bundle: Bundle,
    *,
    name: str = MODEL_NAME,
    tracking_uri: str | None = None,
    experiment: str = "dropout-risk",
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    dataset: pd.DataFrame | None = None,
    reports: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Log a bundle to MLflow as a run and as the next version of a registered model, the challenger.

    Parameters
    ----------
    bundle : Bundle
        What to log. It is stored as it is, inside a models-from-code pyfunc whose signature is explicit:
        numbers are `double`, categories `string`, every column may be absent.
    name : str
        Name of the registered model.
    tracking_uri : str, optional
        The MLflow store; without it the environment variable MLFLOW_TRACKING_URI, and without that
        ``mlflow.db`` in the working directory with its artifacts beside it.
    experiment : str
        The MLflow experiment; made when it is not there.
    params : mapping, optional
        Settings to show with the run; without it those of the model.
    metrics : mapping, optional
        Figures as in `Bundle.metrics`, which they are when not given. An interval becomes two more
        metrics, ``<name>_low`` and ``<name>_high``.
    dataset : DataFrame of shape (rows, features), optional
        The training table; its column names, types, size and digest are logged, and none of its rows.
    reports : mapping of file name to text, optional
        Reports that are kept with the run, such as ``report.zh.html``.

    Returns
    -------
    LoggedModel
        Run, URI, version and digest.

    Raises
    ------
    MissingExtraError
        If mlflow is not installed.
    RegistryError
        If the store does not answer or refuses.

    Examples
    --------
    >>> bundle = load_bundle("models/demo")  # doctest: +SKIP
    >>> log_model(bundle, tracking_uri="sqlite:///mlflow.db").model_uri  # doctest: +SKIP
    'models:/dropout-risk/1'
    """
    settings = {"kind": bundle.kind, "preset": bundle.preset, "horizon": bundle.horizon}
    params = {**bundle.model.get_params(), **settings} if params is None else params
    flat = _flat_figures(bundle.metrics if metrics is None else metrics)
    with _client(tracking_uri, new=True) as client:
        experiment_id = _experiment_id(client, experiment)
        run_id = client.create_run(experiment_id, run_name=f"{name} {bundle.version_label}").info.run_id
        try:
            _log_figures(client, run_id, params=params, figures=flat)
            if dataset is not None:
                client.log_inputs(run_id, datasets=[_dataset_input(dataset)])
            for file, text in (reports or {}).items():
                client.log_text(run_id, text, file)
            version = _log_version(client, bundle, name=name, experiment_id=experiment_id, run_id=run_id)
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
        client.set_registered_model_alias(name, CHALLENGER, version)
    return LoggedModel(run_id=run_id, model_uri=f"models:/{name}/{version}", version=version, digest=bundle.digest)


def promote(
    *,
    name: str = MODEL_NAME,
    tracking_uri: str | None = None,
    version: str | None = None,
    gate: Gate = DEFAULT_GATE,
    override_why: str | None = None,
    lang: Lang = "en",
) -> Promotion:
    """Make the challenger, or the version given, the champion that `load_model` fetches, if the release gate holds.

    Parameters
    ----------
    name : str
        Name of the registered model.
    tracking_uri : str, optional
        As in `log_model`.
    version : str, optional
        A version to promote instead of the challenger, such as an earlier champion; it passes the same gate.
    gate : Gate
        What the version has to show.
    override_why : str, optional
        Release it even if the gate does not hold, for this reason of at most 1000 characters. The reason is kept with
        the version for good, and shown in its card. No names of students.
    lang : {"zh", "en"}
        Language of the refusal.

    Returns
    -------
    Promotion
        The version that is the champion now, and what the gate found. The version's description in the registry
        begins with the release; its tags are ``promoted_from``, ``promoted_at`` (UTC), ``gate_passed``,
        ``gate_failed``, ``gate_override_why``, and ``release_1``, ``release_2``, … with the whole record of each time.

    Raises
    ------
    BundleError
        If what is stored as that version is damaged, or is not what was registered.
    GateError
        If a condition does not hold and no reason for an override is given; the text has every condition with its
        figure. Nothing was changed.
    MissingExtraError
        If mlflow is not installed.
    RegistryError
        If there is no challenger or no such version, or the store does not answer.
    SettingsError
        If the reason is blank or too long.

    Examples
    --------
    >>> why = "First model of the county; the list is checked by hand this term."
    >>> promote(tracking_uri="sqlite:///mlflow.db", override_why=why).version  # doctest: +SKIP
    '1'
    """
    why = _reason(override_why)
    with _client(tracking_uri) as client:
        aliases = {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}
        chosen, champion = version or aliases.get(CHALLENGER), aliases.get(CHAMPION)
        if chosen is None:
            raise RegistryError(
                f"The model {name} has no challenger: log a new model first, or name the version to promote."
            )
        bundle = _fetch(client, client.get_model_version(name, chosen))
        verdict = check_release(bundle.metrics, gate)
        if not verdict.passed and why is None:
            raise GateError(say("refused", name=name, version=chosen, verdict=verdict.to_text(lang))[lang])
        replaced = champion if champion != chosen else None
        promotion = Promotion(
            version=chosen,
            verdict=verdict,
            overridden=not verdict.passed,
            replaced=replaced,
            comparison=_comparison(client, name, bundle, chosen, replaced, gate) if replaced else None,
        )
        if chosen != champion:
            _record(client, name, bundle, promotion, why)
            client.set_registered_model_alias(name, CHAMPION, chosen)
        if chosen == aliases.get(CHALLENGER):
            client.delete_registered_model_alias(name, CHALLENGER)
    return promotion


def load_model(uri: str | Path = f"models:/{MODEL_NAME}@{CHAMPION}", *, tracking_uri: str | None = None) -> Bundle:
    """Fetch a bundle from MLflow, or from a folder, and check every digest.

    Only the bundle's own files are fetched; the logged code is not executed and nothing is unpickled.

    Parameters
    ----------
    uri : str or path
        ``models:/<name>@<alias>``, ``models:/<name>/<version>``, or the folder of a bundle.
    tracking_uri : str, optional
        As in `log_model`.

    Returns
    -------
    Bundle
        With bit-identical predictions; `Bundle.release` says how the version was last promoted.

    Raises
    ------
    BundleError
        If what was fetched is damaged, or is not what was registered.
    MissingExtraError
        If mlflow is not installed.
    RegistryError
        If there is no such model, or the store does not answer.

    Examples
    --------
    >>> load_model("models:/dropout-risk@champion", tracking_uri="sqlite:///mlflow.db").kind  # doctest: +SKIP
    'county'
    """
    if not str(uri).startswith("models:"):
        return load_bundle(uri)
    named = _named(str(uri))
    with _client(tracking_uri) as client:
        return _fetch(client, _find(client, named))


def model_token(uri: str | Path = f"models:/{MODEL_NAME}@{CHAMPION}", *, tracking_uri: str | None = None) -> str:
    """Return what tells the model that `load_model` would fetch now from another, without fetching it.

    For MLflow the version, the digest that was registered and the last release: a promotion changes it, and so does the
    next release of the same version. For a folder the sum of its digests.

    Raises
    ------
    BundleError
        If the folder holds no bundle.
    RegistryError
        If there is no such model, or the store does not answer.

    Examples
    --------
    >>> model_token("models/demo") == model_token("models/demo")
    True
    """
    if not str(uri).startswith("models:"):
        return folder_token(uri)
    named = _named(str(uri))
    with _client(tracking_uri) as client:
        found = _find(client, named)
    releases = _releases(found.tags)
    told = [found.name, found.version, found.tags.get("digest"), found.tags[releases[-1]] if releases else None]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _named(uri: str) -> tuple[str, str | None, str | None]:
    """Return name, alias and number of the model version that ``models:/…`` stands for."""
    parts = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", uri)
    if parts is None:
        raise RegistryError(f"{uri} is no model: write models:/name@alias or models:/name/version.")
    name, alias, number = parts.groups()
    return str(name), alias, number


def _find(client: Any, named: tuple[str, str | None, str | None]) -> Any:
    name, alias, number = named
    return client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)


def _fetch(client: Any, found: Any) -> Bundle:
    """Return the bundle of a model version after checking every digest, with the record of its last release."""
    location = _where_it_lies(client, client.get_model_version_download_uri(found.name, found.version))
    with tempfile.TemporaryDirectory() as folder:
        bundle = load_bundle(
            import_mlflow().artifacts.download_artifacts(
                f"{location}/artifacts/{_ARTIFACT}", dst_path=folder, tracking_uri=client.tracking_uri
            )
        )
    if found.tags.get("digest") != bundle.digest:
        raise BundleError(
            f"What is stored as models:/{found.name}/{found.version} is not what was registered: "
            "do not use it; log it again."
        )
    releases = _releases(found.tags)
    if not releases:
        return bundle
    try:
        return bundle.with_release(json.loads(found.tags[releases[-1]]))
    except (TypeError, ValueError, SettingsError) as error:
        raise RegistryError(
            f"The record {releases[-1]} of version {found.version} of {found.name} cannot be read; promote it again."
        ) from error


def _releases(tags: Mapping[str, str]) -> list[str]:
    """Return the names of the tags that hold a release, the last one last."""
    return sorted(filter(_RELEASE.fullmatch, tags), key=lambda name: int(name.rpartition("_")[2]))


def _reason(why: str | None) -> str | None:
    """Return the reason for an override without the space around it; refuse one that says nothing."""
    if why is None:
        return None
    reason = why.strip()
    if not reason:
        raise SettingsError(
            "An override needs a reason: say why the model is released although the gate does not hold."
        )
    if len(reason) > MAX_REASON:
        raise SettingsError(f"The reason has {len(reason):,} characters; say it in at most {MAX_REASON:,}.")
    return reason


def _record(client: Any, name: str, bundle: Bundle, promotion: Promotion, why: str | None) -> None:
    """Write down the release: in the tags for machines, in the description for people."""
    version, now = promotion.version, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    release = {
        "version": version,
        "digest": bundle.digest,
        "promoted_at": now,
        "promoted_from": promotion.replaced,
        "override_why": why if promotion.overridden else None,
        "gate": promotion.verdict.to_dict(),
        "comparison": promotion.comparison,
    }
    count = len(_releases(client.get_model_version(name, version).tags))
    tags = {
        "promoted_from": promotion.replaced or "none",
        "promoted_at": now,
        "gate_passed": str(promotion.verdict.passed).lower(),
        "gate_failed": ", ".join(condition.name for condition in promotion.verdict.failed) or "none",
        "gate_override_why": release["override_why"] or "none",
        f"release_{count + 1}": json.dumps(release, ensure_ascii=False, sort_keys=True),
    }
    for tag, value in tags.items():
        client.set_model_version_tag(name, version, tag, value)
    client.update_model_version(name, version, description=_description(bundle.with_release(release)))


def _description(bundle: Bundle) -> str:
    """Return the release, then as much of the card as fits."""
    release = ["## Release", *release_lines(bundle.release), ""] if bundle.release else []
    text = "\n".join([*release, bundle.with_release({}).card()])
    if len(text) <= MAX_DESCRIPTION:
        return text
    return text[: text.rindex("\n", 0, MAX_DESCRIPTION - len(_CUT))] + _CUT


def _comparison(client: Any, name: str, bundle: Bundle, new: str, old: str, gate: Gate) -> Text | None:
    """Return the figures of both versions in a sentence, None unless both were judged on the same data."""
    try:
        champion = _fetch(client, client.get_model_version(name, old))
    except (BundleError, RegistryError, OSError, import_mlflow().exceptions.MlflowException):
        return None  # it is being replaced; damage to it must not keep a sound model out
    path = ("evaluation", "metrics", gate.metric, "value")
    ours, other = number_of(bundle.metrics, *path), number_of(champion.metrics, *path)
    same = bundle.data.get("digest") is not None and bundle.data.get("digest") == champion.data.get("digest")
    if not same or ours is None or other is None:
        return None
    return say("comparison", metric=gate.metric_text, new=new, old=old, ours=percent(ours), other=percent(other))


def import_mlflow() -> Any:
    """Return the module mlflow, with its telemetry off: usage of a school's system is nobody's business.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    try:
        with warnings.catch_warnings():
            # While it is imported, MLflow warns about type hints of its own.
            warnings.filterwarnings("ignore", r".*Any type hint is inferred as AnyType", UserWarning)
            import mlflow.pyfunc
    except ImportError as error:
        raise MissingExtraError.of("mlflow", "track") from error
    return mlflow


def _store(tracking_uri: str | None) -> str:
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


@contextmanager
def _client(tracking_uri: str | None, *, new: bool = False) -> Iterator[Any]:
    """Yield an MLflow client for one store; what MLflow refuses becomes a `RegistryError`.

    A database that is not there is made only where a `new` one is wanted: nobody finds a model in an empty one.
    """
    mlflow = import_mlflow()
    uri = _store(tracking_uri)
    database = _database_of(uri)
    if not new and database is not None and not database.exists():
        raise RegistryError(
            f"There is no model registry at {uri}. Train a model (`dropout-risk train`), which makes one, or name the "
            "one that is meant: --tracking-uri, or MLFLOW_TRACKING_URI."
        )
    try:
        yield mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        first, *_ = str(error).splitlines()
        said = f"The model registry {uri} says: {first.rstrip('.')}. Check its address and the name."
        # From None: the original text may hold the password that is masked here.
        raise RegistryError(re.sub(r"(://[^/\s:@]*):[^/\s@]+@", r"\1:***@", said)) from None


def _log_figures(client: Any, run_id: str, *, params: Mapping[str, Any], figures: Mapping[str, float]) -> None:
    from mlflow.entities import Metric, Param

    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])
    now = int(datetime.now(UTC).timestamp() * 1000)
    metrics = [Metric(name, value, timestamp=now, step=0) for name, value in figures.items()]
    for start in range(0, len(metrics), 1000):  # MLflow takes no more at once
        client.log_batch(run_id, metrics=metrics[start : start + 1000])


def _experiment_id(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    database = _database_of(client.tracking_uri)
    beside = _artifacts_beside(database).as_uri() if database else None
    return str(client.create_experiment(name, artifact_location=beside))


def _database_of(uri: str) -> Path | None:
    """Return the file of a store in SQLite, None for any other."""
    found = re.fullmatch(r"sqlite:///(.+)", uri)
    return Path(found[1]) if found else None


def _artifacts_beside(database: Path) -> Path:
    return database.resolve().with_name(_ARTIFACTS)


_ARTIFACTS = "mlartifacts"


def _where_it_lies(client: Any, location: str) -> str:
    """Return where a model lies: MLflow keeps whole paths, and a registry that was moved has it beside its database."""
    database, parts = _database_of(client.tracking_uri), Path(unquote(urlsplit(location).path)).parts
    if database is None or not location.startswith("file:") or Path(*parts).exists() or _ARTIFACTS not in parts:
        return location
    moved = _artifacts_beside(database).joinpath(*parts[parts.index(_ARTIFACTS) + 1 :])
    return moved.as_uri() if moved.exists() else location


def _log_version(client: Any, bundle: Bundle, *, name: str, experiment_id: str, run_id: str) -> str:
    """Store the bundle as a pyfunc of the run and register it; return the version."""
    mlflow = import_mlflow()
    stored = client.create_logged_model(experiment_id, name=name, source_run_id=run_id)
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(
            path=f"{folder}/model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={_ARTIFACT: str(save_bundle(bundle, Path(folder) / _ARTIFACT))},
            signature=_signature(bundle),
            input_example=_example(bundle),
            pip_requirements=[f"{library}=={version}" for library, version in installed_versions().items()],
            mlflow_model=mlflow.models.Model(model_id=stored.model_id, run_id=run_id),
        )
        client.log_model_artifacts(stored.model_id, f"{folder}/model")
    client.finalize_logged_model(stored.model_id, "READY")
    client.log_outputs(run_id, [mlflow.entities.LoggedModelOutput(stored.model_id, step=0)])
    try:
        client.create_registered_model(name)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    registered = client.create_model_version(
        name,
        # Not "models:/<id>": MLflow would look that up in its global store.
        source=stored.artifact_location,
        run_id=run_id,
        model_id=stored.model_id,
        description=_description(bundle),
        tags={"digest": bundle.digest, "kind": bundle.kind, "created": bundle.created},
    )
    return str(registered.version)


def _signature(bundle: Bundle) -> Any:
    import_mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = [
        ColSpec("string" if name in bundle.model.categories_ else "double", name, required=False)
        for name in bundle.model.feature_names
    ]
    return ModelSignature(Schema(inputs), Schema([ColSpec("double", "risk"), ColSpec("string", "band")]))


def _example(bundle: Bundle) -> pd.DataFrame:
    """Return one made-up row: zeros, and the first level of every category."""
    levels = bundle.model.categories_
    return pd.DataFrame(
        {name: [str(levels[name][0]) if name in levels else 0.0] for name in bundle.model.feature_names}
    )


def _dataset_input(frame: pd.DataFrame) -> Any:
    """Describe a table to MLflow by column names, types, size and digest alone."""
    from mlflow.entities import Dataset, DatasetInput

    columns = [{"name": str(name), "type": str(dtype.name)} for name, dtype in frame.dtypes.items()]
    described = Dataset(
        name="training",
        digest=data_digest(frame)[:36],  # MLflow keeps no more
        source_type="code",
        source="{}",
        schema=json.dumps({"columns": columns}),
        profile=json.dumps({"num_rows": len(frame)}),
    )
    return DatasetInput(described)


def _flat_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures under names that MLflow takes, the bounds of intervals as figures of their own."""
    flat = {}
    for name, value, interval in figures(metrics):
        key = re.sub(r"[^\w\-. :/]", "_", name)
        flat[key] = value
        flat |= {f"{key}_{end}": interval[end] for end in ("low", "high") if interval.get(end) is not None}
    return flat
