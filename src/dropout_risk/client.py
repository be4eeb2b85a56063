"""Ask a scoring service from Python: send a roster, get frames back.

>>> client = Client("https://risk.example.org", key="dr_…")  # doctest: +SKIP
>>> scored = client.score({"students": students, "enrolments": enrolments})  # doctest: +SKIP
>>> scored.frame.head()  # doctest: +SKIP
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from dropout_risk.errors import DropoutRiskError, MissingExtraError
from dropout_risk.headers import is_subject
from dropout_risk.plain import plain
from dropout_risk.registers import lines_of_days, lines_of_marks
from dropout_risk.schema import TABLES

if TYPE_CHECKING:
    import httpx2

Lang = Literal["zh", "en"]
Purpose = Literal["support", "planning", "correction", "test"]

_AGAIN = (429, 503)
_LONGEST_WAIT = 60.0


class ServiceError(DropoutRiskError):
    """The service refused, or does not answer.

    Attributes
    ----------
    status
        The HTTP status; 0 where there was no answer.
    problems
        Where and what is wrong: ``table``, ``row``, ``column``, ``message``.
    """

    exit_code = 9
    title = "The service has refused"

    def __init__(self, detail: str, *, status: int = 0, problems: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.problems = list(problems)


@dataclass(frozen=True, eq=False)
class ScoredRoster:
    """What the service said about a roster.

    Attributes
    ----------
    run_id
        Under which the run is kept.
    frame
        One row per student, highest risk first: ids, ``risk``, ``band``, ``rank``, ``reasons``, ``data_gaps``.
    refused
        One row per roster row without a score: where it stands, and why.
    rows_in
        Equals ``len(frame) + len(refused)``.
    as_of, expires
        The day whose knowledge counts, and the day after which the scores mean nothing.
    model_version
        The model that was used.
    notes
        Sentences about the whole roster.
    problems
        What else is wrong or odd in the data.
    """

    run_id: str | None
    frame: pd.DataFrame
    refused: pd.DataFrame
    rows_in: int
    as_of: str
    expires: str | None
    model_version: str
    notes: tuple[str, ...]
    problems: pd.DataFrame


@dataclass(frozen=True, eq=False)
class SupportList:
    """Whom to help first, by pseudonym, and how many of them would leave without help."""

    run_id: str
    frame: pd.DataFrame
    considered: int
    expected: Mapping[str, Any]
    notes: tuple[str, ...]


class Client:
    """A connection to a scoring service.

    Parameters
    ----------
    url
        Where the service is.
    key
        A key, or a bearer token; None for a service that needs none.
    purpose
        What the data is used for; the service writes it down.
    timeout
        Seconds to wait for an answer.
    retries
        How often a request is sent again when the service is busy or does not answer. A roster is scored once all
        the same.
    transport
        Another way to reach the service, as `httpx2.Client` takes it; for tests.

    Raises
    ------
    MissingExtraError
        If httpx2 is not installed.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        purpose: Purpose = "support",
        timeout: float = 120.0,
        retries: int = 3,
        transport: "httpx2.BaseTransport | None" = None,
    ) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise MissingExtraError.of("httpx2", "client") from error
        headers = {"x-purpose": purpose, **({"authorization": f"Bearer {key}"} if key else {})}
        self._retries, self._transport_error = retries, httpx2.TransportError
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def score(
        self,
        roster: Mapping[str, pd.DataFrame] | Sequence[str | Path] | str | Path,
        *,
        as_of: str | None = None,
        reasons: int = 5,
        lang: Lang = "zh",
    ) -> ScoredRoster:
        """Score a roster.

        Parameters
        ----------
        roster
            Frames by the name of their table, or one file or several, as schools export them.
        as_of
            The day whose knowledge counts; None: the end of the newest term with enrolments.
        reasons, lang
            How many reasons per student, and in which language.

        Raises
        ------
        ServiceError
            If the service refuses, or does not answer.
        """
        settings = {name: value for name, value in {"as_of": as_of, "reasons": reasons, "lang": lang}.items() if value}
        headers = {"idempotency-key": token_hex(16)}
        if isinstance(roster, Mapping):
            tables = {name: columns_of(_short(name, frame)) for name, frame in roster.items() if len(frame)}
            return _scored(self._ask("POST", "/score", json={**settings, "tables": tables}, headers=headers))
        paths = [Path(roster)] if isinstance(roster, str | Path) else [Path(one) for one in roster]
        with ExitStack() as stack:
            files = [("file", (path.name, stack.enter_context(path.open("rb")).read())) for path in paths]
        fields = {name: str(value) for name, value in settings.items()}
        return _scored(self._ask("POST", "/score", data=fields, files=files, headers=headers))

    def targets(
        self,
        run_id: str,
        capacity: int | Mapping[str, int],
        *,
        per: Literal["county", "school"] = "county",
        floor_per_school: int = 0,
        lang: Lang = "zh",
    ) -> SupportList:
        """Return whom of a run to help first with the people there are.

        Parameters
        ----------
        run_id
            Of a run that was kept (`ScoredRoster.run_id`).
        capacity
            How many students can be supported, in each place or in the places named.
        per
            What the places are.
        floor_per_school
            How many of each school are listed at least.
        """
        wanted = {
            "run_id": run_id,
            "capacity": capacity,
            "per": per,
            "floor_per_school": floor_per_school,
            "lang": lang,
        }
        told = self._ask("POST", "/targets", json=wanted)
        return SupportList(
            told["run_id"], pd.DataFrame(told["students"]), told["considered"], told["expected"], tuple(told["notes"])
        )

    def student(self, name: str, *, open: bool = False, lang: Lang | None = None) -> dict[str, Any]:
        """Return the latest score of one student, by pseudonym or id, and those before.

        Parameters
        ----------
        name
            Pseudonym or student id.
        open
            Whether to show the id, which is written down apart.
        lang
            Language of the reasons. None: that of the latest score.
        """
        asked = {"open": str(open).lower()} | ({} if lang is None else {"lang": lang})
        return self._ask("GET", f"/students/{name}", params=asked)

    def runs(self) -> Iterator[dict[str, Any]]:
        """Yield the runs that hold a student within the scope of the key, the newest first."""
        before: str | None = None
        while True:
            page = self._ask("GET", "/runs", params={"before": before} if before else {})
            yield from page["runs"]
            before = page["next"]
            if before is None:
                return

    def scores_of(self, run_id: str, *, lang: Lang | None = None) -> pd.DataFrame:
        """Return the scores of a run within the scope of the key, by pseudonym.

        Parameters
        ----------
        run_id
            Of a run that was kept.
        lang
            Language of the reasons. None: that in which the roster was scored.
        """
        asked = {} if lang is None else {"lang": lang}
        return pd.DataFrame(self._ask("GET", f"/runs/{run_id}/scores", params=asked)["students"])

    def model(self) -> dict[str, Any]:
        """Return what the service scores with: version, features, how it was judged, its card."""
        return self._ask("GET", "/model")

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Send a request, again where the service is busy, and return the answer."""
        for left in range(self._retries, -1, -1):
            try:
                answer = self._http.request(method, path, **request)
            except self._transport_error as error:
                if not left:
                    raise ServiceError(f"The service does not answer ({type(error).__name__}); try again.") from error
                time.sleep(1.0)
                continue
            if answer.is_success:
                return dict(answer.json())
            if not left or answer.status_code not in _AGAIN or "retry-after" not in answer.headers:
                raise _refused(answer)
            time.sleep(min(float(answer.headers["retry-after"]), _LONGEST_WAIT))
        raise AssertionError("unreachable")


def columns_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Return a table as columns for JSON: dates as ISO text, None where there is no value.

    Examples
    --------
    >>> columns_of(pd.DataFrame({"start": pd.to_datetime(["2022-02-21", None]), "grade": [7, 8]}))
    {'start': ['2022-02-21', None], 'grade': [7, 8]}
    """
    columns = {}
    for name in frame.columns:
        values = frame[name]
        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            values = values.dt.strftime("%Y-%m-%d")
        columns[str(name)] = plain(values.astype(object).where(values.notna(), None).tolist())
    return columns


def _short(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return attendance and marks as lines with many facts where these are fewer cells; else the table as it is."""
    if name not in TABLES or list(frame) != TABLES[name].names:
        return frame
    if name == "attendance" and _are_days(frame):
        return lines_of_days(frame)
    if name == "grades" and _are_marks(frame):
        lines = lines_of_marks(frame)
        return lines if 2 * lines.size <= frame.size else frame  # with fewer marks a line they are slower to read
    return frame


def _are_days(frame: pd.DataFrame) -> bool:
    dates = (is_datetime64_any_dtype(frame[column].dtype) for column in ("date", "recorded_at"))
    return all(dates) and not frame[["student_id", "date", "code"]].isna().to_numpy().any()


def _are_marks(frame: pd.DataFrame) -> bool:
    """Whether every row has a subject that may be a header, and a score, or no score because the exam was missed."""
    if not (is_numeric_dtype(frame["score"].dtype) and is_bool_dtype(frame["absent"].dtype)):
        return False
    subjects, absent = frame["subject"], frame["absent"]
    return bool(
        all(isinstance(subject, str) and is_subject(subject) for subject in subjects.unique())
        and not absent.isna().any()
        and (absent.astype(bool) == frame["score"].isna()).all()
    )


def _scored(told: Mapping[str, Any]) -> ScoredRoster:
    return ScoredRoster(
        run_id=told["run_id"],
        frame=pd.DataFrame(told["students"]),
        refused=pd.DataFrame(told["refused"]),
        rows_in=told["rows_in"],
        as_of=told["as_of"],
        expires=told["expires"],
        model_version=told["model"]["version"],
        notes=tuple(told["notes"]),
        problems=pd.DataFrame(told["problems"]),
    )


def _refused(answer: "httpx2.Response") -> ServiceError:
    try:
        told = answer.json()
        detail, problems = str(told["detail"]), told.get("problems", [])
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"The service answers with HTTP status {answer.status_code}.", status=answer.status_code)
    places = "".join(f"\n  {_line(problem)}" for problem in problems[:20])
    return ServiceError(f"{detail}{places}", status=answer.status_code, problems=problems)


def _line(problem: Mapping[str, Any]) -> str:
    where = ", ".join(f"{name} {problem[name]}" for name in ("table", "row", "column") if problem.get(name) is not None)
    return f"{where}: {problem['message']}" if where else str(problem["message"])
