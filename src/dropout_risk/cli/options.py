"""The options of the verbs: one name and one help text for each, wherever it stands."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Lang = Literal["zh", "en"]
Per = Literal["county", "township", "school"]
EngineName = Literal["local", "dask", "spark"]

Data = Annotated[Path, typer.Argument(help="Folder of tables (CSV, Parquet, XLSX) or one workbook.", metavar="DATA")]
OptionalData = Annotated[Path | None, typer.Argument(help="Folder of tables or one workbook.", metavar="[DATA]")]
Model = Annotated[str, typer.Option(help="Bundle folder, or models:/dropout-risk@champion.")]
AsOf = Annotated[str | None, typer.Option(help="Day whose knowledge counts (2022-07-08); default: end of newest term.")]
Language = Annotated[Lang, typer.Option(help="Language of reasons and reports.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text.")]
Threads = Annotated[int, typer.Option(help="Threads for training; the result does not depend on them.", min=1)]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Tracking = Annotated[str | None, typer.Option(help="MLflow store; default: $MLFLOW_TRACKING_URI or ./mlflow.db.")]
Report = Annotated[Path | None, typer.Option(help="Folder for the report (HTML in zh and en, and JSON).")]
Thorough = Annotated[
    bool, typer.Option("--thorough/--quick", help="Judge unseen places and sensitive inputs in every tested term.")
]

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
KnownBy = Annotated[str | None, typer.Option(help="Day on which DATA was exported (2022-08-20).")]
DeployedOn = Annotated[str | None, typer.Option(help="Day since when lists are worked with (2021-09-01).")]
Treatment = Annotated[
    str | None, typer.Option(help="Rows of students who were helped: exclude (default), weight or audit.")
]

Reasons = Annotated[int, typer.Option(help="Reasons per student.", min=1, max=10)]
StudentCount = Annotated[int | None, typer.Option(help="Students who can be supported per place.", min=1)]
Workers = Annotated[int | None, typer.Option(help="Support workers per place.", min=1)]
PerWorker = Annotated[int | None, typer.Option(help="Students that one worker can support.", min=1)]
Place = Annotated[Per, typer.Option(help="The place that has the capacity.")]
Floor = Annotated[int, typer.Option(help="At least so many students of every school.", min=0)]

Engine = Annotated[EngineName, typer.Option(help="Where the parts run when --out is a folder.")]
EngineWorkers = Annotated[int | None, typer.Option(help="Parts at a time; default: the cores here.", min=1)]
Address = Annotated[str | None, typer.Option(help="An existing cluster: tcp://host:8786 (Dask) or a Spark master.")]
DailyRecords = Annotated[
    Path | None,
    typer.Option("--attendance", help="Daily records (Parquet) from which a table of features is completed."),
]
TermStart = Annotated[str | None, typer.Option(help="With --attendance: first day of the running term.")]
Calendar = Annotated[Path | None, typer.Option(help="With --attendance: file of the table calendar.")]
LastTerm = Annotated[str | None, typer.Option(help="With --attendance: last term, as 2022-02-21:2022-07-08.")]
IdColumn = Annotated[str | None, typer.Option("--id", help="Column that names a row, if not student_id.")]
