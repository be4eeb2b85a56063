"""The command `dropout-risk`: thin verbs over `pipeline` and `flat`.

Nothing but the answer goes to standard output; progress, counts and errors go to standard error. Errors are
sentences with the exit code of `errors`. Libraries are imported when a verb needs them, so that `--help` is
quick.
"""

import os
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dropout_risk.console import (
    answer,
    print_listed,
    print_scores,
    say,
    say_counts,
    steps,
    to_json,
    write_csv,
    write_scores,
    yield_sentence,
)
from dropout_risk.errors import DropoutRiskError, MissingExtraError, SettingsError

if TYPE_CHECKING:
    from dropout_risk.bundle import Bundle
    from dropout_risk.flat import FlatTable
    from dropout_risk.pipeline import County, Progress, Scores, Training

app = typer.Typer(
    name="dropout-risk",
    help="Early warning for school dropout: who may leave next term, why, and whom to help first. "
    "A risk is a reason to help, never a verdict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Argument(help="Folder of tables (CSV, Parquet, XLSX) or one workbook.", metavar="DATA")]
OptionalData = Annotated[Path | None, typer.Argument(help="Folder of tables or one workbook.", metavar="[DATA]")]
Model = Annotated[str, typer.Option(help="Bundle folder, or models:/dropout-risk@champion.")]
AsOf = Annotated[str | None, typer.Option(help="Day whose knowledge counts (2022-07-08); default: end of newest term.")]
Language = Annotated[Literal["zh", "en"], typer.Option(help="Language of reasons and reports.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text.")]
Threads = Annotated[int, typer.Option(help="Threads for training; the result does not depend on them.", min=1)]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Tracking = Annotated[str | None, typer.Option(help="MLflow store; default: $MLFLOW_TRACKING_URI or ./mlflow.db.")]
TableFile = Annotated[Path | None, typer.Option(help="A flat table of your own columns instead of DATA.")]
Label = Annotated[str | None, typer.Option(help="Flat table: the 0/1 column to learn.")]
Group = Annotated[str | None, typer.Option(help="Flat table: the unit that never crosses a split.")]
Fold = Annotated[str | None, typer.Option(help="Flat table: fold numbers; each is scored by a model of the others.")]
Split = Annotated[str | None, typer.Option(help="Flat table: train/test.")]
Time = Annotated[str | None, typer.Option(help="Flat table: time order; newest times are scored by older models.")]
Baseline = Annotated[str | None, typer.Option(help="Flat table: a simple rule's score to compare with.")]
Drop = Annotated[list[str] | None, typer.Option(help="Flat table: a column that is no feature (repeat, or a,b,c).")]
Horizon = Annotated[int, typer.Option(help="How many terms ahead the risk looks.", min=1)]
Preset = Annotated[str, typer.Option(help="Label rule: default, yunnan-2022, guangdong-2009, liaoning-2017.")]

DEFAULT_MODEL = "models/demo"
DEMO_DATA = Path("data/synthetic")
SHOWN_STUDENTS = 20


def main() -> None:
    """Run the command line; errors become one sentence on standard error and an exit code."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        app()
    except DropoutRiskError as error:
        say(f"{error.title}: {error}")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        say(f"A file could not be read or written: {error.strerror}: {error.filename}. Check the path and its rights.")
        sys.exit(2)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for what the demo writes.")] = Path("demo-output"),
    data: Annotated[Path, typer.Option(help="The county to use.")] = DEMO_DATA,
    capacity: Annotated[int, typer.Option(help="How many students can be supported.", min=1)] = 15,
    lang: Language = "en",
) -> None:
    """Run the main job on the synthetic county: check, train, judge, score, list."""
    from dropout_risk.bundle import save_bundle
    from dropout_risk.peers import PEERS
    from dropout_risk.pipeline import score, train
    from dropout_risk.targets import target_list

    with steps() as tell:
        tell(f"read and check {data}")
        county = _county(data)
        training = train(county, peers={"logistic_regression": PEERS["logistic_regression"]}, progress=tell)
        bundle_folder = save_bundle(training.bundle, out / "bundle", overwrite=True)
        tell("score")
        scores = score(county, training.bundle, lang=lang)
        chosen = target_list(scores.to_frame(), capacity=capacity)
        written = [bundle_folder, *write_scores(scores, out / "scores.csv"), out / "targets.csv"]
        write_csv(chosen.frame, out / "targets.csv")
    answer(training.evaluation.to_text(lang))
    answer("")
    print_scores(scores, top=capacity)
    answer("")
    answer(yield_sentence(chosen.places))
    answer("Files written:")
    for path in written:
        answer(f"  {path}")


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Folder for the tables.")],
    students: Annotated[int, typer.Option(help="Students on roll in the first term.", min=50)] = 3000,
    terms: Annotated[int, typer.Option(help="School terms.", min=2)] = 6,
    counties: Annotated[int, typer.Option(help="Counties.", min=1)] = 1,
    seed: Seed = 7,
    mess: Annotated[bool, typer.Option(help="Add the usual mess of real registers.")] = False,
) -> None:
    """Make a synthetic county: no child in it is real, and its true risks are known."""
    from dropout_risk.synthetic import make_county
    from dropout_risk.tables import write_tables

    with steps() as tell:
        tell("simulate")
        tables = make_county(students, terms=terms, counties=counties, seed=seed, mess=mess)
        tell("write")
        written = write_tables(tables, folder, overwrite=True)
    for path in written:
        answer(str(path))


@app.command()
def validate(data: Data, lang: Language = "en", as_json: AsJson = False) -> None:
    """Check a folder of tables and report every problem: file, row, column, what is allowed, what to do."""
    from dropout_risk.tables import read_tables
    from dropout_risk.validation import validate as check

    with steps() as tell:
        tell(f"read {data}")
        tables = read_tables(data)
        tell("check")
        report = check(tables)
    answer(to_json(report.to_dict()) if as_json else report.to_text(lang))
    if not report.ok:
        raise typer.Exit(2)


@app.command()
def train(
    data: OptionalData = None,
    table: TableFile = None,
    label: Label = None,
    group: Group = None,
    fold: Fold = None,
    split: Split = None,
    time: Time = None,
    baseline: Baseline = None,
    drop: Drop = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the bundle.")] = None,
    horizon: Horizon = 1,
    preset: Preset = "default",
    known_by: Annotated[str | None, typer.Option(help="Day on which DATA was exported (2022-08-20).")] = None,
    seed: Seed = 0,
    threads: Threads = 1,
    track: Annotated[bool, typer.Option(help="Log the run to MLflow and register it as challenger.")] = True,
    tracking_uri: Tracking = None,
    created: Annotated[str | None, typer.Option(help="Date written into the bundle; default: today.")] = None,
    lang: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Learn from a county's tables, or from a flat table of your own, and judge the model out of time."""
    from dropout_risk import flat, pipeline
    from dropout_risk.bundle import save_bundle

    day = _day(created)
    with steps() as tell:
        if _is_flat(data, table):
            tell(f"read {table}")
            rows = _flat_table(table, label, group, fold=fold, split=split, time=time, baseline=baseline, drop=drop)
            training = flat.train_flat(rows, seed=seed, threads=threads, created=day, progress=tell)
        else:
            tell(f"read and check {data}")
            training = pipeline.train(
                _county(_required(data)),
                horizon=horizon,
                preset=preset,
                known_by=known_by,
                seed=seed,
                threads=threads,
                created=day,
                progress=tell,
            )
        saved = save_bundle(training.bundle, out, overwrite=True) if out else None
        run = _track(training, tracking_uri, tell) if track else None
    for note in training.notes:
        say(note)
    if saved:
        say(f"Bundle written to {saved}.")
    if as_json:
        answer(to_json(_training_dict(training, run)))
    else:
        answer(training.evaluation.to_text(lang))


@app.command()
def evaluate(
    data: OptionalData = None,
    table: TableFile = None,
    label: Label = None,
    group: Group = None,
    fold: Fold = None,
    split: Split = None,
    time: Time = None,
    baseline: Baseline = None,
    drop: Drop = None,
    horizon: Horizon = 1,
    preset: Preset = "default",
    seed: Seed = 0,
    threads: Threads = 1,
    lang: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Judge the model out of time on a county's tables, or by the splits of a flat table; keep nothing."""
    from dropout_risk import flat, pipeline
    from dropout_risk.cohort import cohorts

    with steps() as tell:
        if _is_flat(data, table):
            tell(f"read {table}")
            rows = _flat_table(table, label, group, fold=fold, split=split, time=time, baseline=baseline, drop=drop)
            model = flat.flat_model(seed=seed, threads=threads)
            result, _ = flat.judge_flat(rows, model, seed=seed, progress=tell)
            for note in rows.notes:
                say(note)
        else:
            tell(f"read and check {data}")
            county = _county(_required(data))
            learned = cohorts(county.tables, horizon=horizon, preset=preset, progress=tell)
            model = pipeline.county_model(seed=seed, threads=threads)
            result, _, _ = pipeline.judge(learned, model, horizon=horizon, seed=seed, progress=tell)
    answer(to_json(_evaluation_dict(result.to_dict())) if as_json else result.to_text(lang))


@app.command()
def score(
    data: OptionalData = None,
    table: TableFile = None,
    model: Model = DEFAULT_MODEL,
    as_of: AsOf = None,
    out: Annotated[Path | None, typer.Option(help="File for the scores: .csv, .parquet or .json.")] = None,
    reasons: Annotated[int, typer.Option(help="Reasons per student.", min=1, max=10)] = 5,
    roster: Annotated[bool, typer.Option(help="DATA is one school's roster: compare with the model's county.")] = False,
    term: Annotated[str | None, typer.Option(help="Term of a roster that has no term column.")] = None,
    lang: Language = "en",
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Score every student at risk, with reasons; rows without a score are listed with the cause."""
    with steps() as tell:
        tell(f"load {model}")
        bundle = _bundle(model, tracking_uri)
        scores = _scores(
            bundle, data, table, as_of=as_of, reasons=reasons, lang=lang, roster=roster, term=term, tell=tell
        )
        written = write_scores(scores, out) if out else []
    if as_json:
        answer(to_json(scores.to_dict()))
    elif not written:
        print_scores(scores, top=SHOWN_STUDENTS)
    for path in written:
        answer(str(path))
    say_counts(scores)


@app.command()
def targets(
    data: OptionalData = None,
    capacity: Annotated[int | None, typer.Option(help="Students who can be supported per place.", min=1)] = None,
    workers: Annotated[int | None, typer.Option(help="Support workers per place.", min=1)] = None,
    per_worker: Annotated[int | None, typer.Option(help="Students that one worker can support.", min=1)] = None,
    per: Annotated[Literal["county", "school"], typer.Option(help="The place that has the capacity.")] = "county",
    model: Model = DEFAULT_MODEL,
    as_of: AsOf = None,
    out: Annotated[Path | None, typer.Option(help="File for the list (.csv).")] = None,
    reasons: Annotated[int, typer.Option(help="Reasons per student.", min=1, max=10)] = 3,
    seed: Seed = 0,
    lang: Language = "en",
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """List whom to help first, cut where the capacity of the support workers ends."""
    from dropout_risk.targets import target_list

    limit = _capacity(capacity, workers, per_worker)
    with steps() as tell:
        tell(f"load {model}")
        bundle = _bundle(model, tracking_uri)
        scores = _scores(bundle, data, None, as_of=as_of, reasons=reasons, lang=lang, tell=tell)
        place: Literal["county_id", "school_id"] = "county_id" if per == "county" else "school_id"
        chosen = target_list(scores.to_frame(), capacity=limit, place=place, seed=seed)
        if out:
            write_csv(chosen.frame, out)
    if as_json:
        answer(to_json(chosen.to_dict()))
    elif out:
        answer(str(out))
    else:
        print_listed(chosen.frame)
    say(yield_sentence(chosen.places))
    say_counts(scores)


@app.command()
def promote(
    name: Annotated[str, typer.Option(help="Name of the registered model.")] = "dropout-risk",
    version: Annotated[str | None, typer.Option(help="Version; default: the challenger.")] = None,
    tracking_uri: Tracking = None,
) -> None:
    """Make the challenger the champion, the model that the service loads."""
    from dropout_risk.registry import promote as move

    promoted = move(name=name, version=version, tracking_uri=tracking_uri)
    answer(f"Version {promoted} of {name} is the champion now.")


@app.command()
def serve(
    model: Annotated[str | None, typer.Option(help="Bundle folder, or models:/dropout-risk@champion.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 8000,
    tracking_uri: Tracking = None,
) -> None:
    """Start the scoring service."""
    from dataclasses import replace

    try:
        import uvicorn

        from dropout_risk.service.app import create_app
        from dropout_risk.service.settings import load_settings
    except ImportError as error:
        raise MissingExtraError.of(error.name or "fastapi", "serve") from error
    settings = load_settings()
    settings = replace(settings, model=model or settings.model, tracking_uri=tracking_uri or settings.tracking_uri)
    uvicorn.run(create_app(settings), host=host, port=port)


def _required(data: Path | None) -> Path:
    if data is None:
        raise SettingsError("Give a folder of tables, or --table FILE with --label COLUMN.")
    return data


def _is_flat(data: Path | None, table: Path | None) -> bool:
    if data is not None and table is not None:
        raise SettingsError("Give either a folder of tables or --table FILE, not both.")
    return table is not None


def _day(text: str | None) -> date | None:
    from dropout_risk.asof import to_day

    return to_day(text).date() if text else None


def _flat_table(
    table: Path | None,
    label: str | None,
    group: str | None,
    *,
    fold: str | None,
    split: str | None,
    time: str | None,
    baseline: str | None,
    drop: list[str] | None,
) -> "FlatTable":
    from dropout_risk.flat import FlatTable

    if table is None or label is None:
        raise SettingsError("A flat table needs --label COLUMN: the 0/1 column to learn.")
    dropped = [name.strip() for item in drop or [] for name in item.split(",") if name.strip()]
    return FlatTable.of(
        table, label=label, group=group, fold=fold, split=split, time=time, baseline=baseline, drop=dropped
    )


def _county(data: Path, term: str | None = None) -> "County":
    from dropout_risk.pipeline import load_county

    county = load_county(data, term=term)
    warnings = len(county.report.warnings)
    if warnings or len(county.refused):
        say(
            f"{data}: {len(county.refused):,} rows set aside, {warnings:,} kinds of warning; "
            f"see them with: dropout-risk validate {data}"
        )
    return county


def _bundle(model: str, tracking_uri: str | None) -> "Bundle":
    from dropout_risk.registry import load_model

    return load_model(model, tracking_uri=tracking_uri)


def _scores(
    bundle: "Bundle",
    data: Path | None,
    table: Path | None,
    *,
    as_of: str | None,
    reasons: int,
    lang: Literal["zh", "en"],
    tell: "Progress",
    roster: bool = False,
    term: str | None = None,
) -> "Scores":
    if _is_flat(data, table) and table is not None:
        from dropout_risk.flat import score_flat
        from dropout_risk.tables import read_flat

        tell(f"score {table}")
        return score_flat(read_flat(table), bundle, reasons=reasons, lang=lang)
    from dropout_risk.pipeline import score as score_county
    from dropout_risk.reference import Reference

    tell(f"read and check {data}")
    county = _county(_required(data), term)
    tell("score")
    reference = Reference.from_dict(bundle.reference) if roster and bundle.reference else None
    return score_county(county, bundle, as_of=as_of, reasons=reasons, lang=lang, reference=reference)


def _capacity(capacity: int | None, workers: int | None, per_worker: int | None) -> int:
    if capacity is not None and workers is None and per_worker is None:
        return capacity
    if capacity is None and workers is not None and per_worker is not None:
        return workers * per_worker
    raise SettingsError("Give the capacity once: --capacity STUDENTS, or --workers N with --per-worker STUDENTS.")


def _track(training: "Training", tracking_uri: str | None, tell: "Progress") -> Any:
    from importlib.util import find_spec

    from dropout_risk.registry import MODEL_NAME, log_model

    if find_spec("mlflow") is None:
        say("Not logged: mlflow is not installed (pip install 'dropout-risk[track]').")
        return None
    tell("log to MLflow")
    # A model of somebody's own columns must never become the champion that the service loads.
    name = MODEL_NAME if training.bundle.kind == "county" else f"{MODEL_NAME}-flat"
    run = log_model(training.bundle, name=name, tracking_uri=tracking_uri)
    say(f"Logged to MLflow as version {run.version} of {name}, alias challenger (run {run.run_id}).")
    return run


def _training_dict(training: "Training", run: Any) -> dict[str, Any]:
    return {
        **_evaluation_dict(training.evaluation.to_dict()),
        "validation": training.bundle.metrics.get("validation"),
        "model": {
            "kind": training.bundle.model.kind_,
            "version": training.bundle.version_label,
            "created": training.bundle.created,
        },
        "data": dict(training.bundle.data),
        "refused": len(training.refused),
        "notes": list(training.notes),
        "run": None if run is None else {"run_id": run.run_id, "model_uri": run.model_uri, "version": run.version},
    }


def _evaluation_dict(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return the figures with the rules among the peers, so that all comparisons stand in one place."""
    return {**evaluation, "peers": {**evaluation["peers"], **evaluation["rules"]}}


if __name__ == "__main__":
    main()
