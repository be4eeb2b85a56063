"""A service over two small counties, with a key for every role: what the tests of the service share."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
from starlette.testclient import TestClient
from stores import new_store
from trained_county import trained, two_counties

from dropout_risk.access import Role
from dropout_risk.bundle import save_bundle
from dropout_risk.schema import Tables
from dropout_risk.service.app import create_app
from dropout_risk.service.schemas import Problem, ScoreAnswer
from dropout_risk.service.settings import Settings
from dropout_risk.store.audit import lines
from dropout_risk.store.database import Database
from dropout_risk.store.keys import NewKey, create
from dropout_risk.store.schema import AuditLine

NO_MODEL = "no/model"
"""For tests that need none."""

JSON = {"content-type": "application/json"}
OF_STUDENTS = ("students", "enrolments", "attendance", "grades", "households", "status_changes")

SCHOOL, NEIGHBOUR, FAR = "9901010001", "9901010002", "9901020001"
"""A school, another of its county, and one of the other county."""
COUNTY, OTHER_COUNTY = "990101", "990102"

HOLDERS: dict[str, tuple[Role, tuple[str, ...]]] = {
    "school": ("school", (SCHOOL,)),
    "neighbour": ("school", (NEIGHBOUR,)),
    "county": ("county", (COUNTY,)),
    "other_county": ("county", (OTHER_COUNTY,)),
    "province": ("province", ("9901*",)),
    "other_province": ("province", ("51*", "9902")),
    "auditor": ("auditor", ()),
    "admin": ("admin", ()),
}
"""Who holds a key, by the name that tests give them."""


# Rosters ---------------------------------------------------------------------------------------------


class Roster(dict[str, list[dict[str, Any]]]):
    """The tables of a request; a test that fails shows their sizes instead of all their rows."""

    def __repr__(self) -> str:
        return f"Roster({', '.join(f'{name}: {len(rows)}' for name, rows in self.items())})"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as a client would write them in JSON: ISO dates, no key where there is no value."""
    dates = frame.select_dtypes("datetime").columns
    frame = frame.assign(**{name: frame[name].dt.strftime("%Y-%m-%d") for name in dates}).astype(object)
    return [{k: v for k, v in row.items() if not pd.isna(v)} for row in frame.to_dict("records")]


def roster_of(county: Tables, students: Sequence[str] | pd.Index) -> Roster:
    """Return everything that the tables hold about `students`, and the schools that they have been to."""
    frames = {name: frame[frame["student_id"].isin(students)] for name, frame in county.items() if name in OF_STUDENTS}
    schools = county["schools"][county["schools"]["school_id"].isin(frames["enrolments"]["school_id"])]
    frames = {"terms": county["terms"], "calendar": county["calendar"], "schools": schools, **frames}
    return Roster({name: records(frame) for name, frame in frames.items()})


def enrolled(county: Tables) -> pd.Series:
    """Return the school of every student enrolled in the last term."""
    rows = county["enrolments"][county["enrolments"]["term"] == county["terms"]["term"].iloc[-1]]
    return rows.set_index("student_id")["school_id"]


@cache
def students_of(school: str, count: int = 4) -> tuple[str, ...]:
    """Return students of a school who get a score: those who are not in the grade that graduates."""
    tables = two_counties().tables
    rows = tables["enrolments"][tables["enrolments"]["term"] == tables["terms"]["term"].iloc[-1]]
    rows = rows[(rows["school_id"] == school) & (rows["grade"] < 9)].drop_duplicates("student_id")
    return tuple(rows["student_id"].iloc[:count])


@cache
def small_roster(*schools: str) -> Roster:
    """Return the roster of a few students of each school, the schools one after the other."""
    return roster_of(two_counties().tables, [student for school in schools for student in students_of(school)])


# The service -----------------------------------------------------------------------------------------


@cache
def model_folder() -> Path:
    """Return a folder with the model of the two counties; it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="dropout-risk-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return save_bundle(trained("two_counties").bundle, folder / "two_counties")


def open_service(model: Path | str, **options: Any) -> Settings:
    """Return settings under which this machine needs no key, with a store of its own."""
    store = f"sqlite:///{tempfile.mkdtemp()}/store.db"
    return Settings(**{"model": str(model), "store": store, "access": "local", **options})


class Keys(dict[str, NewKey]):
    """The keys of `HOLDERS`, each made when it is first asked for."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    def __missing__(self, who: str) -> NewKey:
        self[who] = key = create(self._database, *HOLDERS[who])
        return key


@dataclass(frozen=True)
class Service:
    """A service that runs, its store, and the keys of `HOLDERS`."""

    http: TestClient
    database: Database
    keys: Keys

    def ask(self, who: str | None, method: str, path: str, **request: Any) -> httpx2.Response:
        """Ask as the holder of a key; None: without one."""
        headers = dict(request.pop("headers", {}))
        if who is not None:
            headers["authorization"] = f"Bearer {self.keys[who].token}"
        return self.http.request(method, path, headers=headers, **request)

    def score(self, who: str, roster: Roster, **wanted: Any) -> dict[str, Any]:
        """Score a roster and return the answer."""
        return scored_by(self.ask(who, "POST", "/score", json={"tables": roster, **wanted}))

    @property
    def audit(self) -> list[AuditLine]:
        """All lines of the audit."""
        return list(lines(self.database))


@contextmanager
def new_service(kind: str = "sqlite", *, model: str | None = None, **options: Any) -> Iterator[Service]:
    """Run a service with a new store of this kind that lets in holders of keys only; `NO_MODEL` starts at once."""
    with new_store(kind) as url, closing(Database(url)) as database:
        settings = Settings(model=model or str(model_folder()), store=url, **{"access": "keys", **options})
        with TestClient(create_app(settings)) as http:
            yield Service(http, database, Keys(database))


# Answers ---------------------------------------------------------------------------------------------


def post(client: TestClient, body: Any) -> httpx2.Response:
    """Send a body to be scored as it is, without a key."""
    return client.post("/score", content=json.dumps(body), headers=JSON)


def scored_by(response: httpx2.Response) -> dict[str, Any]:
    """Return the answer to a roster, which must have been scored."""
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    ScoreAnswer.model_validate(answer)
    return answer


def by_student(answer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each student's answer without the rank, which depends on who else is in the request.

    The pseudonym, which depends on the store, is left out as well.
    """
    left_out = ("rank", "pseudonym")
    return {row["student_id"]: {k: v for k, v in row.items() if k not in left_out} for row in answer["students"]}


def assert_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    """Return a problem document of this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert Problem.model_validate(document).status == status
    assert document["title"]
    assert document["detail"]
    return document
