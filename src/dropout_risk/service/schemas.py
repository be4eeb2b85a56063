"""What goes into the service and what comes out, as pydantic models; the OpenAPI document is made of them.

The envelope is strict. The cells of the tables are not: they are read as those of a file are, so that one
bad cell costs one row.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from dropout_risk.descriptions import Lang
from dropout_risk.reasons import Reason
from dropout_risk.schema import REGISTER_HEADERS, SUBJECT_HEADERS, TABLES, Column, Kind, Table
from dropout_risk.service.described import WRITTEN
from dropout_risk.tables import ROSTER, ROSTER_TABLES

Band = Literal["high", "raised", "watch", "low"]

_KINDS: dict[Kind, str] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "date": "a day as 2022-07-08",
    "category": "one of",
}


def _cell_schema(column: Column) -> dict[str, Any]:
    """Say what a cell should hold. It is no constraint: a cell that holds something else costs its row, no more."""
    told = f"{column.zh} · {column.en}: {_KINDS[column.kind]}"
    if column.allowed:
        told += f" {', '.join(column.allowed)}"
    if column.minimum is not None:
        told += f", {column.minimum:g} to {column.maximum:g}"
    return {"description": f"{told}{', needed' if column.required else ''}."}


_REGISTER = (
    "逐日考勤 · Daily codes: in place of code, and quicker for large rosters, one line a student with the codes of one "
    "day after another, from date on, as one text such as PPAP..PUP; a point where a day has no record."
)


_MARK_SHEET = (
    "语文, 数学, Chinese, Mathematics, … · Marks of a subject: in place of subject and score, one line a student and "
    "exam with a column for each subject; 缺考 or absent where the student missed the exam, null for no mark."
)


def _table_schema(title: str, tables: Sequence[Table]) -> dict[str, Any]:
    """Describe a table; names and ID numbers are left out because nobody needs to send them."""
    columns = {column.name: column for table in tables for column in table.columns if column.role != "identity"}
    cells = {name: _cell_schema(column) for name, column in columns.items()}
    if "attendance" in {table.name for table in tables}:
        cells[REGISTER_HEADERS[0]] = {"description": _REGISTER}
    if "grades" in {table.name for table in tables}:
        cells[SUBJECT_HEADERS[0]] = {"description": _MARK_SHEET}
    by_column = {name: {"type": "array", "items": cell} for name, cell in cells.items()}
    return {
        "description": title,
        "anyOf": [
            {"type": "array", "items": {"type": "object", "properties": cells}},
            {"type": "object", "properties": by_column, "additionalProperties": {"type": "array"}},
        ],
    }


_TABLES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: _table_schema(f"{table.zh} · {table.en}", [table]) for name, table in TABLES.items()},
        ROSTER: _table_schema(
            "花名册 · Register export: one wide row per student, in place of students, enrolments and households",
            [TABLES[name] for name in ROSTER_TABLES],
        ),
    },
    "additionalProperties": False,
    "description": (
        "The tables of one school or more, each as a list of records or, for large rosters, as an object of columns, "
        "each a list of values of one length. The Chinese header of a column is understood as well as its name; an "
        "empty cell is null or left out. students and enrolments are needed, or `roster` in their place; schools and "
        "terms where the county's own are not those of the model. Leave names and ID numbers out."
    ),
}


Records = Annotated[list[dict[str, Any]], Field(fail_fast=True)]
"""A list that is not of records is refused at the first item: to list a million faults helps nobody."""


Columns = dict[str, list[Any]]
"""A table as columns, which large rosters are quicker in."""


def _as_written(day: object) -> object:
    """Refuse a moment as a number, which pydantic would read as a day of 1970 or later."""
    if day is not None and not (isinstance(day, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", day, re.ASCII)):
        raise ValueError("a day is written as 2022-07-08")
    return day


class ScoreRequest(BaseModel):
    """A roster to score: `tables` for a county model, `rows` for a model of somebody's own table."""

    model_config = ConfigDict(strict=True, extra="forbid")

    as_of: Annotated[date | None, Field(strict=False), BeforeValidator(_as_written)] = Field(
        None,
        description="The day whose knowledge counts; without it the end of the newest term with enrolments, or today.",
    )
    lang: Lang = Field("zh", description="Language of reasons and messages.")
    reasons: int = Field(5, ge=1, le=10, description="How many reasons per student, at most.")
    tables: Annotated[dict[str, Records | Columns], WithJsonSchema(_TABLES_SCHEMA)] | None = None
    rows: Records | None = Field(None, description="One record per student, with the columns that `GET /model` lists.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.tables is None) == (self.rows is None):
            raise ValueError("send either tables (for a county model) or rows (for a model of a flat table)")
        if self.rows is not None and self.as_of is not None:
            raise ValueError("as_of goes with tables; the rows of a flat table carry no dates to cut at")
        return self


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScoredStudent(_Answer):
    """One student at risk; a county model names student and place, a flat one the row that was sent."""

    student_id: str | None = None
    pseudonym: str | None = Field(None, description="What lists and addresses call the student.")
    school_id: str | None = None
    county_id: str | None = None
    class_id: str | None = None
    grade: float | None = None
    row: int | None = Field(None, description="Position in `rows`, from 1.")
    risk: float = Field(ge=0, le=1, description="Probability of leaving school within the horizon.")
    band: Band
    rank: int = Field(ge=1, description="1 more than how many of this request have a higher risk; equal ones share it.")
    reasons: list[Reason] = Field(description="What raises this risk, strongest first; contributions in log-odds.")
    data_gaps: list[str] = Field(description="Facts that are not recorded; they are no zeros.")


class Place(_Answer):
    """Where something is wrong, and what."""

    table: str | None = None
    row: int | None = Field(None, description="Position in the list, from 1; null for the table as a whole.")
    column: str | None = None
    message: str


class RefusedRow(Place):
    """A row of the roster that got no score."""

    file: str | None = None
    student_id: str | None = None
    value: str | None = Field(None, description="What stands there, masked where it could be an ID number.")


class DataProblem(Place):
    """Something that is wrong or odd in the data, beside the refused rows."""

    level: Literal["error", "warning"] = Field(description="error: the row is not used; warning: it is used as it is.")
    value: str | None = None
    count: int = Field(1, description="How many rows it stands for; the message names the first ones.")


class ModelVersion(_Answer):
    """The model that gave the scores."""

    version: str = Field(description="First 12 digits of the bundle's sha256.")
    created: date
    preset: str | None
    horizon: int = Field(description="How many terms ahead the risk looks.")


class ScoreAnswer(_Answer):
    """Risks with their reasons, the rows that got none, and what is wrong with the data."""

    run_id: str | None = Field(description="Id of the run that was kept; null where nothing was.")
    as_of: date
    expires: date | None = Field(description="End of the outcome window; after it the scores mean nothing.")
    rows_in: int = Field(description="Roster rows that came in: `scored` and `refused_count` together.")
    scored: int
    refused_count: int
    students: list[ScoredStudent]
    refused: list[RefusedRow]
    notes: list[str]
    problems: list[DataProblem]
    problems_left_out: int = Field(description="Problems beyond those in the list.")
    model: ModelVersion
    disclaimer: str


class FeatureAnswer(_Answer):
    """One feature of the model."""

    name: str
    zh: str
    en: str
    group: str | None = None
    unit: str | None = None
    changeable: bool | None = Field(None, description="Whether school or county can change it.")
    levels: list[str | int | float | bool] | None = Field(None, description="The values of a category.")


class ModelAnswer(ModelVersion):
    """What the service scores with."""

    kind: Literal["county", "flat"]
    bands: dict[str, float] = Field(description="Lowest risk of each band.")
    features: list[FeatureAnswer]
    data: dict[str, Any] = Field(description="The training data in brief.")
    metrics: dict[str, Any] = Field(description="How the model was judged.")
    release: dict[str, Any] = Field(description="When and how it passed the release gate; empty for a folder.")
    card: str = Field(description="The model card, in Markdown.")


class Health(_Answer):
    """How the service is."""

    status: Literal["alive", "ready"]
    model: str | None = Field(None, description="Version of the model that is loaded.")
    trouble: str | None = Field(None, description="Why a newer model is not in use; the last good one is.")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="about:blank, or the place in /docs that explains this kind of problem.")
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do.")
    instance: str | None = Field(None, description="Number under which the failure stands in the log.")
    problems: list[Place] | None = None


Places = Annotated[int, Field(ge=0, le=10_000_000)]
"""How many students can be supported."""


class TargetsRequest(ScoreRequest):
    """A support list: of a run that was kept, or of a roster that is scored first, cut where capacity ends."""

    run_id: str | None = Field(
        None,
        pattern=WRITTEN,
        max_length=64,
        description="A run of `POST /score`; its scores within your scope are listed.",
    )
    capacity: Places | Annotated[dict[str, Places], Field(min_length=1)] = Field(
        description="How many students can be supported: in all, or in each place named (see `per`)."
    )
    per: Literal["county", "school"] = Field("county", description="What the places of `capacity` are.")
    floor_per_school: int = Field(0, ge=0, le=1000, description="Places that every school gets at least.")
    seed: int = Field(0, ge=0, le=2**31, description="Of the draw that orders equal risks.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        given = sum(part is not None for part in (self.run_id, self.tables))
        if given != 1 or self.rows is not None:
            raise ValueError("send either run_id (of a run that was kept) or tables (a roster to score)")
        return self


class Target(_Answer):
    """One student on a support list, by the pseudonym."""

    pseudonym: str
    school_id: str | None
    county_id: str | None
    class_id: str | None
    grade: int | None
    risk: float
    band: Band
    rank: int
    reasons: list[Reason]
    data_gaps: list[str]


class TargetsAnswer(_Answer):
    """Whom to help first with the people there are, and what the list is worth."""

    run_id: str
    as_of: date
    expires: date | None
    students: list[Target]
    considered: int = Field(description="Students within your scope whom the list was made from.")
    expected: dict[str, Any] = Field(description="Expected cases on the list and beyond it, with intervals.")
    notes: list[str]
    disclaimer: str


class HistoryEntry(_Answer):
    """One score of a student."""

    run_id: str
    at: datetime
    as_of: date
    expires: date | None
    model_version: str
    risk: float
    band: Band
    rank: int | None = Field(description="Within the run; null for a run of somebody else.")
    reasons: list[Reason]
    data_gaps: list[str]


class StudentAnswer(_Answer):
    """The latest score of one student, why, and the scores before."""

    pseudonym: str
    student_id: str | None = Field(description="Only if it was asked for with open=true, by a role that may.")
    school_id: str | None
    county_id: str | None
    class_id: str | None
    grade: int | None
    expired: bool = Field(description="Whether the term that the latest score is for is over.")
    latest: HistoryEntry
    history: list[HistoryEntry]
    disclaimer: str


class RunAnswer(_Answer):
    """One run."""

    run_id: str
    at: datetime
    as_of: date
    expires: date | None
    purpose: str
    model_version: str
    model_digest: str
    data_digest: str | None = Field(description="sha256 of what was sent; null for a run of somebody else.")
    students: int = Field(description="Scores of the run that are within your scope.")
    rows_in: int | None = Field(description="null for a run of somebody else, as are the next two.")
    scored: int | None
    refused: int | None


class RunsAnswer(_Answer):
    """Runs, the newest first."""

    runs: list[RunAnswer]
    next: str | None = Field(description="Give it as `before` for the next page; null on the last.")
