"""An answer as it is written: plain JSON whatever its numbers are, in pieces, and the same in a table."""

import csv
import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropout_risk.reasons import Reason, Reasons
from dropout_risk.scores import Scores, nobody_refused
from dropout_risk.service import answers
from dropout_risk.service.answers import write
from dropout_risk.store.runs import Told

numbers = st.floats(allow_nan=True, allow_infinity=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)  # half a character comes in by no door
cells = st.none() | numbers | texts
reasons = st.builds(
    Reason, group=texts, label=texts, feature=texts, contribution=numbers, value=cells, median=cells, text=texts,
    changeable=st.none() | st.booleans(), measure=texts,
)  # fmt: skip
students = st.lists(st.tuples(texts, numbers, st.lists(reasons, max_size=2), st.lists(texts, max_size=2)), max_size=5)


def scores_of(rows: list[tuple[str, float, list[Reason], list[str]]]) -> Scores:
    students = {"student_id": [row[0] for row in rows], "risk": [row[1] for row in rows], "rank": [1] * len(rows)}
    reasons, gaps = Reasons.of([row[2] for row in rows]), [row[3] for row in rows]
    return Scores(students, reasons, gaps, nobody_refused(), len(rows), "2022-07-08", None)


def written(scores: Scores, wanted: answers.Format = "json") -> bytes:
    return b"".join(write(scores.around(Told.of(scores, str.upper).columns), wanted))


def without_nan(value: Any) -> Any:
    """The obvious way: one value after another."""
    if isinstance(value, dict):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, list):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize("piece", [1, 2, 500])
@given(rows=students)
def test_an_answer_is_json_and_says_what_the_scores_say(rows: Any, piece: int) -> None:
    scores = scores_of(rows)
    expected = without_nan(scores.to_dict())
    for student in expected["students"]:
        student["pseudonym"] = student["student_id"].upper()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_PIECE", piece)
        found = json.loads(written(scores), parse_constant=refuse_constant)
    assert found == expected
    assert [math.copysign(1, row["risk"] or 1) for row in found["students"]] == [
        math.copysign(1, row["risk"] or 1) for row in expected["students"]
    ]
    assert all(list(row)[:2] == ["pseudonym", "student_id"] for row in found["students"])


def test_a_table_says_the_same_as_the_json() -> None:
    reason = Reason("a", "A", "a", None, None, "=1", True, "help", 0.1 + 0.2)
    rows = [("S1", 1 / 3, [reason, replace(reason, contribution=1e-17)], ["x", "y"]), ("S2", 0.1, [], [])]
    lines = list(csv.reader(io.StringIO(written(scores_of(rows), "csv").decode("utf-8-sig"))))
    names = [f"{name}_{place}" for place in (1, 2) for name in ("text", "contribution", "changeable", "measure")]
    assert lines == [
        ["student_id", "pseudonym", "risk", "rank", *names, "data_gaps", "as_of", "expires", "not_scored"],
        ["S1", "S1", str(1 / 3), "1", "'=1", str(0.1 + 0.2), "True", "help", "'=1", "1e-17", "True", "help", "x; y",
         "2022-07-08", "", ""],
        ["S2", "S2", "0.1", "1", *[""] * 8, "", "2022-07-08", "", ""],
    ]  # fmt: skip


@pytest.mark.parametrize("wanted", ["json", "csv", "xlsx"])
def test_an_answer_without_students_is_one(wanted: answers.Format) -> None:
    scores = scores_of([])
    whole = written(scores, wanted)
    if wanted == "json":
        assert json.loads(whole)["students"] == []
    elif wanted == "csv":
        assert whole.decode("utf-8-sig") == "data_gaps,as_of,expires,not_scored\r\n"
