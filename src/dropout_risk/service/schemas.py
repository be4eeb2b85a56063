"""What goes into the service and what comes out, as pydantic models; the OpenAPI document is made of them.

The envelope is strict. The cells of the tables are not: they are read as those of a file are, so that one
bad cell costs one row.
"""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from dropout_risk.descriptions import Lang
from dropout_risk.explanation import Reason
from dropout_risk.schema import TABLES, Column, Kind, Table

Band = Literal["high", "raised", "watch", "low"]

_JSON_TYPES: dict[Kind, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "category": {"type": "string"},
}


def _column_schema(column: Column) -> dict[str, Any]:
    schema = {**_JSON_TYPES[column.kind], "description": f"{column.zh} · {column.en}"}
    if column.allowed:
        schema["enum"] = list(column.allowed)
    if column.minimum is not None:
        schema |= {"minimum": column.minimum, "maximum": column.maximum}
    return schema


def _records_schema(table: Table) -> dict[str, Any]:
    """Describe the records of a table; names and ID numbers are left out because nobody needs to send them."""
    columns = [column for column in table.columns if column.role != "identity"]
    record = {
        "type": "object",
        "properties": {column.name: _column_schema(column) for column in columns},
        "required": [column.name for column in columns if column.required],
    }
    return {"type": "array", "items": record, "description": f"{table.zh} · {table.en}"}


_TABLES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: _records_schema(table) for name, table in TABLES.items()},
    "required": [name for name, table in TABLES.items() if table.core],
    "description": (
        "The tables of one school or more, as lists of records. The Chinese header of a column is understood as "
        "well as its name; an empty cell is null or left out. `roster` takes the place of `students`, `enrolments` "
        "and `households`: one wide record per student, as the register exports it. Leave names and ID numbers out."
    ),
}


Records = Annotated[list[dict[str, Any]], Field(fail_fast=True)]
"""A list that is not of records is refused at the first item: to list a million faults helps nobody."""


class ScoreRequest(BaseModel):
    """A roster to score: `tables` for a county model, `rows` for a model of somebody's own table."""

    model_config = ConfigDict(strict=True, extra="forbid")

    as_of: date | None = Field(
        None, description="The day whose knowledge counts; without it the end of the newest term with enrolments."
    )
    lang: Lang = Field("zh", description="Language of reasons and messages.")
    reasons: int = Field(5, ge=1, le=10, description="How many reasons per student, at most.")
    tables: Annotated[dict[str, Records], WithJsonSchema(_TABLES_SCHEMA)] | None = None
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
    school_id: str | None = None
    county_id: str | None = None
    class_id: str | None = None
    grade: float | None = None
    row: int | None = Field(None, description="Position in `rows`, from 1.")
    risk: float = Field(ge=0, le=1, description="Probability of leaving school within the horizon.")
    band: Band
    rank: int = Field(ge=1, description="Place within this request, 1 is the highest risk.")
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


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="about:blank, or the place in /docs that explains this kind of problem.")
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do.")
    instance: str | None = Field(None, description="Number under which the failure stands in the log.")
    problems: list[Place] | None = None
