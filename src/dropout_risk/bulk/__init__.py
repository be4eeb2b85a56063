"""Score rosters of any size in partitions on an engine: nothing lost, nothing doubled, resumable.

The output is a folder:

    scores/part-00000.parquet    identity, risk, band, rank, and the reasons of each row
    refused/part-00000.parquet   rows without a risk, each with a sentence; only where there are any
    reasons.csv                  what the names of the features in the reasons mean, in Chinese and English
    manifest.json                rows in, scored and refused, and a digest, of each partition and of all

A partition is scored into a file of the working folder `.work`, then all risks are put in order, then the
partition is written with its ranks. Each file appears whole or not at all, under a name that its partition
decides, so a partition that an engine runs twice is in the answer once. A run that was stopped goes on where it
was when it is called again; when the manifest stands there, all is done and `.work` is gone.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dropout_risk.asof import to_day
from dropout_risk.batch import batch_scorer, identity_of
from dropout_risk.bulk.daily import DailyAttendance, write_attendance
from dropout_risk.bulk.partitions import WORK, Partition, check_columns, find_partitions, write_json
from dropout_risk.bulk.publishing import Publishing
from dropout_risk.bulk.ranking import write_ranks
from dropout_risk.bulk.scoring import Scoring, refuse_divided_counties
from dropout_risk.bundle import Bundle, save_bundle
from dropout_risk.descriptions import FEATURES, GROUPS, MEASURES, Lang
from dropout_risk.engines import Engine
from dropout_risk.errors import SettingsError
from dropout_risk.tables import atomic_path

MANIFEST = "manifest.json"
FORMAT = 1

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, how many partitions are done, and of how many."""


@dataclass(frozen=True)
class Part:
    """What became of one partition."""

    position: int
    source: str
    rows_in: int
    scored: int
    refused: int
    sha256: str | None = None
    """Of the file of scores; None until it is written."""


@dataclass(frozen=True)
class Manifest:
    """What a run has written.

    Attributes
    ----------
    folder : Path
    rows_in, scored, refused : int
        ``rows_in == scored + refused``.
    parts : list of Part
    settings : mapping
        Model digest, as-of date, and what else the scores depend on.
    """

    folder: Path
    rows_in: int
    scored: int
    refused: int
    parts: list[Part]
    settings: Mapping[str, Any]


def score_in_bulk(
    source: str | Path,
    bundle: Bundle,
    out: str | Path,
    engine: Engine,
    *,
    as_of: str | date | None = None,
    reasons: int = 5,
    id_column: str | None = None,
    attendance: DailyAttendance | None = None,
    lang: Lang = "zh",
    progress: Progress | None = None,
) -> Manifest:
    """Score all rows of `source` into the folder `out`; go on where an earlier run was stopped.

    Parameters
    ----------
    source : path
        A Parquet file of term features, a folder of such files, a county's folder of tables, or a folder that
        holds one folder of tables for each county.
    bundle : Bundle
        Of kind ``county``, or ``flat`` for somebody's own columns.
    out : path
        Folder for the answer. If it holds the manifest of the same run, nothing is done.
    engine : Engine
        Where the partitions run, from `engines.engine`. They read `source` and write `out` by these paths.
    as_of : str or date, optional
        The day whose knowledge counts; needed for folders of counties. For features it is only written down.
    reasons : int
        Reasons per row.
    id_column : str, optional
        The column that names a row of features, if it is not `student_id`.
    attendance : DailyAttendance, optional
        Daily records from which the features of attendance are measured, in one pass, in the place of columns of
        the table; for features of the package's own only.
    lang : {"zh", "en"}
        Language of the sentences about rows that are refused.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    Manifest

    Raises
    ------
    TableError
        When `source` holds nothing to score.
    ColumnsError
        When columns are missing, or a county's rows stand in several partitions.
    SettingsError
        When `out` holds another run.

    Examples
    --------
    >>> import tempfile
    >>> from dropout_risk.bundle import load_bundle
    >>> from dropout_risk.engines import engine
    >>> out = tempfile.mkdtemp()
    >>> with engine("local", workers=1) as local:
    ...     done = score_in_bulk("data/synthetic", load_bundle("models/demo"), out, local, as_of="2022-07-08")
    >>> done.rows_in == done.scored + done.refused, done.scored
    (True, 2553)
    """
    source, out = Path(source), Path(out)
    day = None if as_of is None else str(to_day(as_of).date())
    partitions = find_partitions(source, day)
    settings = {
        "format": FORMAT,
        "model": bundle.digest,
        "as_of": day,
        "reasons": reasons,
        "id_column": id_column,
        "lang": lang,
        "attendance": attendance and attendance.fingerprint(),
        "source": [one.fingerprint() for one in partitions],
    }
    if (manifest := _finished(out, settings)) is not None:
        return manifest
    work = _working_folder(out, settings, bundle)
    scorer = batch_scorer(str(work / "model"), bundle, reasons=reasons, lang=lang)
    tell = progress or (lambda step, done, total: None)
    if partitions[0].row_groups:
        identity = identity_of(pq.read_schema(partitions[0].path), id_column)
        scorer = batch_scorer(str(work / "model"), bundle, reasons=reasons, identity=identity, lang=lang)
        check_columns(partitions, scorer, measured=attendance.features if attendance else ())
        if attendance is not None:
            tell("attendance", 0, 1)
            write_attendance(work, partitions, attendance, key=identity[0], day=day, threads=os.cpu_count() or 1)
            tell("attendance", 1, 1)
    elif attendance is not None:
        raise SettingsError("A county's folder of tables has its attendance in it; give --attendance with features.")
    scoring = Scoring(scorer, str(work), day, attendance)
    scored = _run(engine, scoring, partitions, _sidecars(work, "scored"), "score", tell)
    refuse_divided_counties(scored)
    write_ranks(work, [part["position"] for part in scored])
    written = _run(engine, Publishing(str(out), day), partitions, _sidecars(work, "written"), "write", tell)
    return _finish(out, [Part(**part) for part in written], settings, bundle)


# The working folder --------------------------------------------------------------------------------------


def _finished(out: Path, settings: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest of a finished run of the same settings; refuse to mix with another run."""
    for file in (out / MANIFEST, out / WORK / "job.json"):
        if not file.exists():
            continue
        kept = json.loads(file.read_text("utf-8"))
        if kept["settings"] != json.loads(json.dumps(settings)):
            raise SettingsError(
                f"{out} holds a run of other data, another model or other settings; choose another folder, or "
                "remove this one to begin anew."
            )
        if file.name == MANIFEST:
            parts = [Part(**part) for part in kept["parts"]]
            return Manifest(out, kept["rows_in"], kept["scored"], kept["refused"], parts, settings)
    if out.exists() and any(out.iterdir()) and not (out / WORK).exists():
        raise SettingsError(f"{out} is not empty; choose a new folder for the scores.")
    return None


def _working_folder(out: Path, settings: Mapping[str, Any], bundle: Bundle) -> Path:
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "model").exists():
        save_bundle(bundle, work / "model")
    write_json(work / "job.json", {"settings": settings})
    return work


def _sidecars(work: Path, step: str) -> list[dict[str, Any]]:
    """Return what the partitions that have passed a step have left, in order."""
    return [json.loads(file.read_text("utf-8")) for file in sorted(work.glob(f"{step}-*.json"))]


def _run(
    engine: Engine,
    function: Callable[[pa.RecordBatch], pa.RecordBatch],
    partitions: Sequence[Partition],
    finished: Sequence[dict[str, Any]],
    step: str,
    tell: Progress,
) -> list[dict[str, Any]]:
    """Run the partitions that have not passed the step yet; return what all have left, in order."""
    left = {one["position"]: one for one in finished}
    tell(step, len(left), len(partitions))
    pending = [one.to_batch() for one in partitions if one.position not in left]
    for _, result in engine.run(function, pending):
        (row,) = result.to_pylist()
        left[row["position"]] = json.loads(row["result"])
        tell(step, len(left), len(partitions))
    return [left[position] for position in sorted(left)]


def _finish(out: Path, parts: list[Part], settings: Mapping[str, Any], bundle: Bundle) -> Manifest:
    """Write what the reasons mean and the manifest, then remove the working folder."""
    with atomic_path(out / "reasons.csv") as fresh:
        meanings(bundle).to_csv(fresh, index=False, encoding="utf-8-sig")
    totals = {name: sum(getattr(part, name) for part in parts) for name in ("rows_in", "scored", "refused")}
    write_json(out / MANIFEST, {**totals, "parts": [asdict(part) for part in parts], "settings": settings})
    shutil.rmtree(out / WORK)
    return Manifest(out, parts=parts, settings=settings, **totals)


def meanings(bundle: Bundle) -> pd.DataFrame:
    """Return what each feature of the model means: group, labels, whether it can change, the measure it points to.

    Examples
    --------
    >>> from dropout_risk.bundle import load_bundle
    >>> meanings(load_bundle("models/demo")).set_index("feature").at["absence_rate", "group_en"]
    'Attendance'
    """
    names = bundle.model.feature_names
    if bundle.kind != "county":
        return pd.DataFrame({"feature": names})
    rows = [FEATURES[name] for name in names]
    return pd.DataFrame(
        {
            "feature": names,
            "group_zh": [GROUPS[row.group]["zh"] for row in rows],
            "group_en": [GROUPS[row.group]["en"] for row in rows],
            "label_zh": [row.zh for row in rows],
            "label_en": [row.en for row in rows],
            "changeable": [row.changeable for row in rows],
            "measure_zh": [MEASURES[row.measure]["zh"] for row in rows],
            "measure_en": [MEASURES[row.measure]["en"] for row in rows],
        }
    )
