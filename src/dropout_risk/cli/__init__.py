"""The command `dropout-risk`: thin verbs over `training`, `pipeline` and `flat`.

Nothing but the answer goes to standard output; progress, counts and errors go to standard error. Errors are
sentences with the exit code of `errors`. Libraries are imported when a verb needs them, so that `--help` is
quick.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dropout_risk.cli import options
from dropout_risk.cli.bulk import features
from dropout_risk.cli.inputs import read_county
from dropout_risk.cli.models import evaluate, promote, train
from dropout_risk.cli.rosters import score, targets
from dropout_risk.cli.store import audit, keys, store
from dropout_risk.console import answer, print_scores, say, steps, to_json, write_listing, write_scores, yield_sentence
from dropout_risk.errors import DropoutRiskError, MissingExtraError, StoreError

__all__ = ["app", "main"]

app = typer.Typer(
    name="dropout-risk",
    help="Early warning for school dropout: who may leave next term, why, and whom to help first. "
    "A risk is a reason to help, never a verdict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEMO_DATA = Path("data/synthetic")

GRACE_SECONDS = 30
"""How long the service answers what it has begun when it is told to stop."""
PULSE_SECONDS = 10
"""How long a process may be too busy to say that it is alive; it is also how long a dead one may go unnoticed."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from dropout_risk import __version__

        answer(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


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
    lang: options.Language = "en",
) -> None:
    """Run the main job on the synthetic county: check, train, judge, score, list, report."""
    from dropout_risk.bundle import save_bundle
    from dropout_risk.evaluation_summary import evaluation_text
    from dropout_risk.peers import PEERS
    from dropout_risk.pipeline import score, support_list
    from dropout_risk.report import write_report
    from dropout_risk.training import train

    with steps() as tell:
        tell(f"read and check {data}")
        county = read_county(data)
        peers = {"logistic_regression": PEERS["logistic_regression"]}
        made = train(county, peers=peers, thorough=False, threads=os.cpu_count() or 1, progress=tell)
        written = [save_bundle(made.bundle, out / "bundle", overwrite=True)]
        tell("score")
        scores = score(county, made.bundle, lang=lang)
        tell("list")
        listing = support_list(county, made.bundle, capacity=capacity, lang=lang)
        written += [*write_scores(scores, out / "scores.csv"), *write_listing(listing, out / "targets.csv")]
        tell("report")
        written += write_report(made.assessment.to_dict(), out, listing=listing.to_dict())
    answer(evaluation_text(made.evaluation, lang))
    answer("")
    print_scores(scores, top=capacity, lang=lang)
    answer("")
    answer(yield_sentence(listing.targets, lang))
    answer("Files written:")
    for path in written:
        answer(f"  {path}")


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Folder for the tables.")],
    students: Annotated[int, typer.Option(help="Students on roll in the first term.", min=50)] = 3000,
    terms: Annotated[int, typer.Option(help="School terms.", min=2)] = 6,
    counties: Annotated[int, typer.Option(help="Counties.", min=1)] = 1,
    seed: options.Seed = 7,
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
def validate(data: options.Data, lang: options.Language = "en", as_json: options.AsJson = False) -> None:
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


for verb in (train, evaluate, features, score, targets, promote):
    app.command()(verb)
for group, name in ((keys, "keys"), (audit, "audit"), (store, "store")):
    app.add_typer(group, name=name)


@app.command()
def serve(
    model: Annotated[str | None, typer.Option(help="Bundle folder, or models:/dropout-risk@champion.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 8000,
    tracking_uri: options.Tracking = None,
    workers: Annotated[int, typer.Option(help="Processes; they share the store.", min=1, max=64)] = 1,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="For trials: answer this machine's own requests without a key.")
    ] = False,
) -> None:
    """Start the scoring service. Requests need a key: `dropout-risk keys create`."""
    try:
        import uvicorn

        from dropout_risk.service.logs import write_json_lines
        from dropout_risk.service.settings import PREFIX, load_settings
        from dropout_risk.service.waiting import PROCESSES
    except ImportError as error:
        raise MissingExtraError.of(error.name or "fastapi", "serve") from error
    given = {"model": model, "tracking_uri": tracking_uri, "access": "local" if no_keys else None}
    os.environ.update({PREFIX + name.upper(): value for name, value in given.items() if value})
    os.environ[PROCESSES] = str(workers)
    # Python's own clearing up says on standard error what a process that was told to stop has left; it is no JSON.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::UserWarning:multiprocessing.resource_tracker")
    load_settings()  # what is wrong with them is told here, and not by each process
    write_json_lines()
    with _figures_of(workers):
        uvicorn.run(
            "dropout_risk.service.app:from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_worker_healthcheck=PULSE_SECONDS,
        )


@contextmanager
def _figures_of(workers: int) -> Iterator[None]:
    """Let several processes add up their figures in a folder, a temporary one where none is named."""
    if workers == 1 or _FIGURES in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="dropout-risk-figures-") as folder:
        os.environ[_FIGURES] = folder
        try:
            yield
        finally:
            del os.environ[_FIGURES]


_FIGURES = "PROMETHEUS_MULTIPROC_DIR"


@app.command()
def backup(
    out: Annotated[Path, typer.Argument(help="Folder for the copy; it must not exist.")],
    as_json: options.AsJson = False,
) -> None:
    """Copy all that the service needs to start anew elsewhere: store, audit, model, settings, versions."""
    try:
        from dropout_risk.service.backups import back_up_service
        from dropout_risk.service.settings import load_settings
    except ImportError as error:
        raise MissingExtraError.of(error.name or "sqlalchemy", "serve") from error
    with steps() as tell:
        tell("copy")
        verdict = back_up_service(load_settings(), out)
    told = {"copy": str(out), "audit_lines": verdict.lines, "head": verdict.head, "audit_ok": verdict.ok}
    answer(to_json(told) if as_json else f"Copied to {out}. Head of the audit (keep it elsewhere): {verdict.head}")
    if not verdict.ok:
        raise StoreError(
            "The audit in the copy is not as it was written; keep the store as it is, and tell the auditor."
        )
