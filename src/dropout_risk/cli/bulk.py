"""The verb that makes term features, and scoring into a folder on an engine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropout_risk.cli import options
from dropout_risk.cli.inputs import read_county
from dropout_risk.console import answer, bar, say, steps, to_json
from dropout_risk.errors import SettingsError

if TYPE_CHECKING:
    from dropout_risk.bulk.daily import DailyAttendance
    from dropout_risk.bundle import Bundle


def features(
    data: options.Data,
    out: Annotated[Path, typer.Option(help="Parquet file for one row of features per student at risk.")],
    as_of: options.AsOf = None,
) -> None:
    """Write the features of every student at risk, to be scored later or elsewhere."""
    from dropout_risk.asof import to_day
    from dropout_risk.county import newest_day
    from dropout_risk.pipeline import roster_features
    from dropout_risk.tables import atomic_path

    if out.suffix != ".parquet":
        raise SettingsError(f"{out}: features are written as .parquet.")
    with steps() as tell:
        tell(f"read and check {data}")
        county = read_county(data)
        day = newest_day(county) if as_of is None else to_day(as_of)
        tell("build features")
        rows = roster_features(county, day)
        with atomic_path(out) as fresh:
            rows.to_parquet(fresh, index=False)
    answer(str(out))
    say(f"{len(rows):,} students at risk on {day.date()}; score them with: dropout-risk score {out} --out FOLDER")


def read_daily(
    source: Path | None, term_start: str | None, last_term: str | None, calendar: Path | None
) -> "DailyAttendance | None":
    """Return where daily records are and which days count, from the options."""
    if source is None:
        return None
    from dropout_risk.asof import to_day
    from dropout_risk.bulk.daily import DailyAttendance

    if term_start is None:
        raise SettingsError("--attendance needs --term-start: the first day of the running term.")
    days = [str(to_day(day).date()) for day in [term_start, *(last_term.split(":") if last_term else [])]]
    if len(days) not in (1, 3):
        raise SettingsError(f"--last-term {last_term}: write the first and the last day, as 2022-02-21:2022-07-08.")
    return DailyAttendance(
        str(source), days[0], str(calendar) if calendar else None, (days[1], days[2]) if last_term else None
    )


def score_into_folder(
    source: Path,
    bundle: "Bundle",
    out: Path,
    *,
    as_of: str | None,
    reasons: int,
    engine: options.EngineName,
    workers: int | None,
    address: str | None,
    id_column: str | None,
    attendance: "DailyAttendance | None",
    lang: options.Lang,
    as_json: bool,
) -> None:
    """Score a source of any size in partitions; the answer is the folder and what is in it."""
    from dropout_risk.bulk import score_in_bulk
    from dropout_risk.bulk.partitions import county_folders
    from dropout_risk.engines import engine as make_engine

    # Tables of counties are read in Python, one thread at a time; features are not.
    processes = engine == "local" and bool(county_folders(source))
    made = make_engine(engine, workers=workers or os.cpu_count(), address=address, processes=processes)
    with bar() as tell, made as runner:
        done = score_in_bulk(
            source,
            bundle,
            out,
            runner,
            as_of=as_of,
            reasons=reasons,
            id_column=id_column,
            attendance=attendance,
            lang=lang,
            progress=tell,
        )
    if as_json:
        counts = {"rows_in": done.rows_in, "scored": done.scored, "refused": done.refused}
        answer(to_json({"folder": str(done.folder), **counts, "partitions": len(done.parts)}))
    else:
        answer(str(done.folder))
    say(f"{done.rows_in:,} rows in = {done.scored:,} scored + {done.refused:,} refused.")
