"""The verbs that make, judge and release a model."""

from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropout_risk.cli import options
from dropout_risk.cli.inputs import is_flat, read_bundle, read_county, read_day, read_flat_table, required
from dropout_risk.console import answer, say, steps, to_json
from dropout_risk.errors import SettingsError

if TYPE_CHECKING:
    from dropout_risk.judgement import Progress
    from dropout_risk.training import Training


def train(
    data: options.OptionalData = None,
    table: options.TableFile = None,
    label: options.Label = None,
    group: options.Group = None,
    fold: options.Fold = None,
    split: options.Split = None,
    time: options.Time = None,
    baseline: options.Baseline = None,
    drop: options.Drop = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the bundle.")] = None,
    report: options.Report = None,
    horizon: options.Horizon = 1,
    preset: options.Preset = "default",
    known_by: options.KnownBy = None,
    deployed_on: options.DeployedOn = None,
    treatment: options.Treatment = None,
    thorough: options.Thorough = True,
    start: Annotated[
        str | None, typer.Option("--from", help="Bundle trained elsewhere: set it to the outcomes of DATA instead.")
    ] = None,
    seed: options.Seed = 0,
    threads: options.Threads = 1,
    track: Annotated[bool, typer.Option(help="Log the run to MLflow and register it as challenger.")] = True,
    tracking_uri: options.Tracking = None,
    created: Annotated[str | None, typer.Option(help="Date written into the bundle; default: today.")] = None,
    lang: options.Language = "en",
    as_json: options.AsJson = False,
) -> None:
    """Learn from a county's tables, or from a flat table of your own, and judge the model out of time."""
    from dropout_risk import flat, training
    from dropout_risk.bundle import save_bundle

    day = read_day(created)
    if start is not None and (is_flat(data, table) or report or deployed_on or treatment or horizon != 1):
        raise SettingsError(
            "--from keeps a trained model and sets its level to the outcomes of DATA, so --table, --report, --horizon, "
            "--deployed-on and --treatment have no use with it; leave them out, or train without --from."
        )
    with steps() as tell:
        if is_flat(data, table):
            tell(f"read {table}")
            rows = read_flat_table(table, label, group, fold=fold, split=split, time=time, baseline=baseline, drop=drop)
            made = flat.train_flat(rows, seed=seed, threads=threads, created=day, progress=tell)
        else:
            tell(f"read and check {data}")
            county = read_county(required(data))
            if start is not None:
                _adapt(
                    county,
                    start,
                    out,
                    tracking_uri,
                    day=day,
                    preset=preset,
                    known_by=known_by,
                    lang=lang,
                    as_json=as_json,
                    tell=tell,
                )
                return
            made = training.train(
                county,
                horizon=horizon,
                preset=preset,
                known_by=known_by,
                deployed_on=deployed_on,
                treatment=treatment,
                thorough=thorough,
                seed=seed,
                threads=threads,
                created=day,
                progress=tell,
            )
        saved = save_bundle(made.bundle, out, overwrite=True) if out else None
        written = _write_report(made, report, tell)
        run = _track(made, tracking_uri, tell) if track else None
    if saved:
        say(f"Bundle written to {saved}.")
    _answer(made, written, lang=lang, as_json=as_json, run=run)


def evaluate(
    data: options.OptionalData = None,
    table: options.TableFile = None,
    label: options.Label = None,
    group: options.Group = None,
    fold: options.Fold = None,
    split: options.Split = None,
    time: options.Time = None,
    baseline: options.Baseline = None,
    drop: options.Drop = None,
    report: options.Report = None,
    horizon: options.Horizon = 1,
    preset: options.Preset = "default",
    known_by: options.KnownBy = None,
    deployed_on: options.DeployedOn = None,
    treatment: options.Treatment = None,
    thorough: options.Thorough = True,
    seed: options.Seed = 0,
    threads: options.Threads = 1,
    lang: options.Language = "en",
    as_json: options.AsJson = False,
) -> None:
    """Judge the model out of time on a county's tables, or by the splits of a flat table; keep no model."""
    train(
        data, table, label, group, fold, split, time, baseline, drop,
        report=report, horizon=horizon, preset=preset, known_by=known_by, deployed_on=deployed_on,
        treatment=treatment, thorough=thorough, seed=seed, threads=threads, track=False, lang=lang, as_json=as_json,
    )  # fmt: skip


def promote(
    name: Annotated[str, typer.Option(help="Name of the registered model.")] = "dropout-risk",
    version: Annotated[str | None, typer.Option(help="Version; default: the challenger.")] = None,
    gate: Annotated[Path | None, typer.Option(help="TOML file whose table [gate] sets the release gate.")] = None,
    override: Annotated[bool, typer.Option("--override", help="Release although a condition fails.")] = False,
    why: Annotated[str | None, typer.Option(help="The reason for --override; it is kept with the model.")] = None,
    tracking_uri: options.Tracking = None,
    lang: options.Language = "en",
    as_json: options.AsJson = False,
) -> None:
    """Make the challenger the champion that the service loads, if the release gate lets it pass."""
    from dropout_risk.gate import DEFAULT_GATE, Gate
    from dropout_risk.registry import promote as move

    if override != bool(why and why.strip()):
        raise SettingsError("Overriding the gate needs a reason that others can read: --override --why TEXT.")
    promotion = move(
        name=name,
        version=version,
        tracking_uri=tracking_uri,
        gate=DEFAULT_GATE if gate is None else Gate.from_toml(gate),
        override_why=why,
        lang=lang,
    )
    if as_json:
        answer(
            to_json({"version": promotion.version, "overridden": promotion.overridden, **promotion.verdict.to_dict()})
        )
        return
    answer(promotion.verdict.to_text(lang))
    if promotion.comparison is not None:
        answer(promotion.comparison[lang])
    answer(f"Version {promotion.version} of {name} is the champion now.")


def _adapt(
    county: Any,
    start: str,
    out: Path | None,
    tracking_uri: str | None,
    *,
    day: date | None,
    preset: str,
    known_by: str | None,
    lang: options.Lang,
    as_json: bool,
    tell: "Progress",
) -> None:
    """Set a bundle from elsewhere to the outcomes of this county, and say how sure its level is."""
    from dropout_risk.bundle import save_bundle
    from dropout_risk.training import adapt_county

    tell(f"load {start}")
    bundle = read_bundle(start, tracking_uri)
    tell("set to local outcomes")
    adapted = adapt_county(county, bundle, preset=preset, known_by=known_by, created=day)
    if out:
        say(f"Bundle written to {save_bundle(adapted.bundle, out, overwrite=True)}.")
    answer(to_json(adapted.to_dict()) if as_json else adapted.to_text(lang))


def _write_report(made: "Training", folder: Path | None, tell: "Progress") -> list[Path]:
    if folder is None:
        return []
    from dropout_risk.report import write_report

    tell("report")
    return write_report(made.assessment.to_dict(), folder)


def _track(made: "Training", tracking_uri: str | None, tell: "Progress") -> Any:
    from dropout_risk.registry import MODEL_NAME, log_model
    from dropout_risk.report import report_files

    if find_spec("mlflow") is None:
        say("Not logged: mlflow is not installed (pip install 'dropout-risk[track]').")
        return None
    tell("log to MLflow")
    # A model of somebody's own columns must never become the champion that the service loads.
    name = MODEL_NAME if made.bundle.kind == "county" else f"{MODEL_NAME}-flat"
    reports = report_files(made.assessment.to_dict()) if find_spec("jinja2") else None
    run = log_model(made.bundle, name=name, tracking_uri=tracking_uri, reports=reports)
    say(f"Logged to MLflow as version {run.version} of {name}, alias challenger (run {run.run_id}).")
    return run


def _answer(made: "Training", written: list[Path], *, lang: options.Lang, as_json: bool, run: Any) -> None:
    from dropout_risk.evaluation_summary import evaluation_text

    for note in made.notes:
        say(note[lang])
    for alarm in made.assessment.parts["alarms"]:
        say(alarm[lang])
    for path in written:
        say(f"Report written to {path}.")
    answer(to_json(_as_dict(made, run)) if as_json else evaluation_text(made.evaluation, lang))


def _as_dict(made: "Training", run: Any) -> dict[str, Any]:
    """Return the figures with the rules among the peers, so that all comparisons stand in one place."""
    assessment = made.assessment.to_dict()
    evaluation = assessment.pop("evaluation")
    return {
        **evaluation,
        "peers": {**evaluation["peers"], **evaluation["rules"]},
        **assessment,
        "model": {
            "kind": made.bundle.model.kind_,
            "version": made.bundle.version_label,
            "created": made.bundle.created,
        },
        "refused": len(made.refused),
        "run": None if run is None else {"run_id": run.run_id, "model_uri": run.model_uri, "version": run.version},
    }
