"""The verbs that score a roster and cut the support list."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropout_risk.cli import options
from dropout_risk.cli.bulk import read_daily, score_into_folder
from dropout_risk.cli.inputs import PLACE_COLUMNS, is_flat, read_bundle, read_capacity, read_county, required
from dropout_risk.console import (
    answer,
    print_listing,
    print_scores,
    say,
    say_counts,
    steps,
    to_json,
    write_listing,
    write_scores,
    yield_sentence,
)

if TYPE_CHECKING:
    from dropout_risk.bundle import Bundle
    from dropout_risk.judgement import Progress
    from dropout_risk.scores import Scores

DEFAULT_MODEL = "models/demo"
SHOWN_STUDENTS = 20


def score(
    data: options.OptionalData = None,
    table: options.TableFile = None,
    model: options.Model = DEFAULT_MODEL,
    as_of: options.AsOf = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File for the scores (.csv, .parquet, .json), or a folder: then in parts, resumable."),
    ] = None,
    reasons: options.Reasons = 5,
    roster: Annotated[bool, typer.Option(help="DATA is one school's roster: compare with the model's county.")] = False,
    term: Annotated[str | None, typer.Option(help="Term of a roster that has no term column.")] = None,
    lang: options.Language = "en",
    tracking_uri: options.Tracking = None,
    engine: options.Engine = "local",
    workers: options.EngineWorkers = None,
    address: options.Address = None,
    id_column: options.IdColumn = None,
    attendance: options.DailyRecords = None,
    term_start: options.TermStart = None,
    last_term: options.LastTerm = None,
    calendar: options.Calendar = None,
    as_json: options.AsJson = False,
) -> None:
    """Score every student at risk, with reasons; rows without a score are listed with the cause."""
    with steps() as tell:
        tell(f"load {model}")
        bundle = read_bundle(model, tracking_uri)
    if out is not None and not out.suffix:
        source = table if is_flat(data, table) and table is not None else required(data)
        score_into_folder(
            source,
            bundle,
            out,
            as_of=as_of,
            reasons=reasons,
            engine=engine,
            workers=workers,
            address=address,
            id_column=id_column,
            attendance=read_daily(attendance, term_start, last_term, calendar),
            lang=lang,
            as_json=as_json,
        )
        return
    with steps() as tell:
        scores = _scores(
            bundle, data, table, as_of=as_of, reasons=reasons, lang=lang, roster=roster, term=term, tell=tell
        )
        written = write_scores(scores, out) if out else []
    if as_json:
        answer(to_json(scores.to_dict()))
    elif not written:
        print_scores(scores, top=SHOWN_STUDENTS, lang=lang)
    for path in written:
        answer(str(path))
    say_counts(scores)


def targets(
    data: options.OptionalData = None,
    capacity: options.StudentCount = None,
    workers: options.Workers = None,
    per_worker: options.PerWorker = None,
    capacities: Annotated[
        Path | None, typer.Option(help="File with a number per place: columns place and workers (or students).")
    ] = None,
    per: options.Place = "county",
    floor: options.Floor = 0,
    model: options.Model = DEFAULT_MODEL,
    as_of: options.AsOf = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the list (.csv); the draw and the changes go beside it.")
    ] = None,
    reasons: options.Reasons = 3,
    seed: options.Seed = 0,
    lang: options.Language = "en",
    tracking_uri: options.Tracking = None,
    as_json: options.AsJson = False,
) -> None:
    """List whom to help first, cut where capacity ends; say what the list is worth and what has changed."""
    from dropout_risk.pipeline import support_list

    limit = read_capacity(capacity, workers, per_worker, capacities)
    with steps() as tell:
        tell(f"load {model}")
        bundle = read_bundle(model, tracking_uri)
        tell(f"read and check {data}")
        county = read_county(required(data))
        tell("score this term and the last")
        listing = support_list(
            county,
            bundle,
            capacity=limit,
            place=PLACE_COLUMNS[per],
            floor_per_school=floor,
            as_of=as_of,
            reasons=reasons,
            lang=lang,
            seed=seed,
        )
        written = write_listing(listing, out) if out else []
    if as_json:
        answer(to_json(listing.to_dict()))
    elif not written:
        print_listing(listing, lang)
    for path in written:
        answer(str(path))
    for note in listing.targets.notes:
        say(note[lang])
    say(yield_sentence(listing.targets, lang))
    say(listing.targets.verdict[lang])


def _scores(
    bundle: "Bundle",
    data: Path | None,
    table: Path | None,
    *,
    as_of: str | None,
    reasons: int,
    lang: options.Lang,
    tell: "Progress",
    roster: bool,
    term: str | None,
) -> "Scores":
    if is_flat(data, table) and table is not None:
        from dropout_risk.flat import score_flat
        from dropout_risk.tables import read_flat

        tell(f"score {table}")
        return score_flat(read_flat(table), bundle, reasons=reasons, lang=lang)
    from dropout_risk.pipeline import score as score_county
    from dropout_risk.reference import Reference

    tell(f"read and check {data}")
    county = read_county(required(data), term)
    tell("score")
    reference = Reference.from_dict(bundle.reference) if roster and bundle.reference else None
    return score_county(county, bundle, as_of=as_of, reasons=reasons, lang=lang, reference=reference)
