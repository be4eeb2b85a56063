"""Who may do what: the table of roles, and the reach of a scope as rows and as SQL."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from dropout_risk.access import ALLOWED, LOOKS_AT_CHILDREN, ROLES, Principal, Reach
from dropout_risk.errors import SettingsError
from dropout_risk.store.runs import within
from dropout_risk.store.schema import Base, Run, Score

PLACES = ["a", "A", "ab", "Ab", "a%", "a_", "", "学校", "b"]
principals = st.builds(
    lambda role, scope: Principal("p", role, tuple(scope)),
    st.sampled_from(["school", "county"]),
    st.lists(st.sampled_from([place for place in PLACES if place]), min_size=1, max_size=3),
) | st.builds(
    lambda scope: Principal("p", "province", tuple(scope)),
    st.lists(st.sampled_from(["a", "a*", "A*", "a%*", "a_*", "*", "学*"]), min_size=1, max_size=3),
)
rows = st.lists(st.tuples(*[st.none() | st.sampled_from(PLACES)] * 2), min_size=1, max_size=8)


def test_who_may_what() -> None:
    assert ALLOWED["admin"].isdisjoint(LOOKS_AT_CHILDREN)
    assert ALLOWED["auditor"].isdisjoint(LOOKS_AT_CHILDREN)
    assert {role for role in ROLES if "open_student" in ALLOWED[role]} == {"school", "county"}
    assert {role for role in ROLES if "read_audit" in ALLOWED[role]} == {"auditor"}
    assert {role for role in ROLES if "read_metrics" in ALLOWED[role]} == {"auditor", "admin"}


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_who_sees_no_child_reaches_no_row(role: str) -> None:
    reach = Principal("p", role).reach  # type: ignore[arg-type]
    assert not reach.holds("a", "a")
    assert not reach.rows(pd.DataFrame({"school_id": ["a"], "county_id": ["a"]})).any()


@pytest.mark.parametrize(
    ("role", "scope", "said"),
    [
        ("teacher", ("a",), "is no role"),
        ("school", (), "needs a scope"),
        ("auditor", ("a",), "takes no scope"),
        ("county", ("5*",), "only a province"),
        ("province", ("5*1",), "only a province"),
        ("school", (" ",), "is no id"),
        ("school", ("a", " b"), "is no id"),
    ],
)
def test_role_and_scope_fit_together(role: str, scope: tuple[str, ...], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Principal("p", role, scope)  # type: ignore[arg-type]


def slow(reach: Reach, school: str | None, county: str | None) -> bool:
    """The obvious way: one id after another."""
    place = {"school_id": school, "county_id": county, None: None}[reach.column]
    if place is None:
        return False
    return any(place == one for one in reach.exact) or any(place[: len(one)] == one for one in reach.prefixes)


@given(principals, rows)
def test_reach_is_one_whichever_way_it_is_asked(
    principal: Principal, places: list[tuple[str | None, str | None]]
) -> None:
    reach = principal.reach
    expected = [slow(reach, *place) for place in places]
    assert [reach.holds(*place) for place in places] == expected
    assert reach.rows(pd.DataFrame(places, columns=["school_id", "county_id"])).tolist() == expected
    assert in_sql(reach, places) == [place for place, seen in enumerate(expected) if seen]


def in_sql(reach: Reach, places: list[tuple[str | None, str | None]]) -> list[int]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine, tables=[Run.__table__, Score.__table__])
    with Session(engine) as session:
        session.add_all(
            Score(
                run_id="r",
                position=position,
                rank=1,
                student_id="s",
                pseudonym="p",
                school_id=school,
                county_id=county,
                risk=0.1,
                band="low",
                reasons=[],
                gaps=[],
            )
            for position, (school, county) in enumerate(places)
        )
        return list(session.scalars(select(Score.position).where(within(reach)).order_by(Score.position)))


def test_a_decision_says_why() -> None:
    assert "may score within its scope S1" in Principal("p", "school", ("S1",)).may("score").why
    refused = Principal("p", "auditor").may("score")
    assert not refused.allowed
    assert refused.why == "The role auditor may not score."
