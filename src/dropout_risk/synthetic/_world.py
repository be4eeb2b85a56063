"""Who and what is there: the terms, the schools and everything that is fixed about the children."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Dates: TypeAlias = NDArray[np.datetime64]
Rng: TypeAlias = np.random.Generator

# fmt: off
RISK_LOG_ODDS = {
    "registered": .55, "marginal": .30, "score_sd": -.50, "overage_year": .45, "ten_minutes_over_30": .12,
    "boarder": -.25, "mother_away": .30, "only_father_away": -.10, "parent_ill": .35, "siblings": .20,
    "girl": -.20, "girl_of_minority": .90, "disengaged_gradual": 1.45, "disengaged_abrupt": .10,
}
"""Log-odds of leaving in the next term, for each fact of a child (an assumption, tuned to aggregates)."""

PLACES = (
    "青石", "云岭", "松河", "白水", "龙泉", "石桥", "清溪", "柳林", "红岩", "黄坪", "大湾",
    "新田", "双井", "竹园", "三江", "高坡", "金沟", "马场", "东坝", "西屯", "南塘", "北坡",
)
# fmt: on

TYPICAL_LOG_ODDS = 0.424  # mean of junior pupils' circumstances: base rates are those of a typical child
COUNTY_SD, SCHOOL_SD, CHILD_SD = 0.50, 0.35, 0.45  # log-odds that no table explains
TRANSFERS = 0.009  # share of the roll that comes and goes per term
NONE, MARGINAL, SUDDEN, MINIMUM_LIVING, REGISTERED = range(5)  # order of the schema's poverty categories


@dataclass(frozen=True)
class Plan:
    """The checked arguments of `make_county`."""

    students: int
    terms: int
    counties: int
    lowest: int
    highest: int
    first_year: int
    shift: float
    seed: int
    help_from: int | None = None  # position of the first term in which help is given
    help_share: float = 0.0
    help_effect: float = 0.0

    @property
    def cohort(self) -> int:
        """Children who enter the lowest grade each autumn."""
        return round(self.students / (self.highest - self.lowest + 1))

    def rng(self, stream: str, term: int = 0) -> Rng:
        """Return the random stream of one part of the work, so that parts do not disturb each other."""
        streams = ("schools", "children", "life", "attendance", "grades", "registers", "help", "help_records")
        return np.random.default_rng([self.seed, streams.index(stream), term])


@dataclass(frozen=True)
class Term:
    """One term: its days, and which of them are school days."""

    index: int
    name: str
    days: Dates
    school_days: Dates
    reasons: NDArray[np.str_]  # why a day is no school day; empty for school days

    @property
    def start(self) -> Any:
        """First day."""
        return self.days[0]

    @property
    def end(self) -> Any:
        """Last day."""
        return self.days[-1]

    @property
    def season(self) -> int:
        """0 for an autumn term, 1 for a spring term."""
        return self.index % 2

    @property
    def year(self) -> int:
        """School years since the first one."""
        return self.index // 2


def in_days(count: ArrayLike) -> NDArray[np.timedelta64]:
    """Return a number of days, or an array of them, as what NumPy adds to dates."""
    return np.asarray(count).astype("timedelta64[D]")


def term_name(first_year: int, index: int) -> str:
    """Return the name of the term number `index`, such as 2019-2020-1."""
    autumn = first_year + index // 2
    return f"{autumn}-{autumn + 1}-{index % 2 + 1}"


def make_term(first_year: int, index: int) -> Term:
    """Return the term number `index`: autumn from about 1 Sep to mid Jan, spring from late Feb to early Jul."""
    autumn = first_year + index // 2
    if index % 2 == 0:
        start = np.busday_offset(f"{autumn}-09-01", 0, roll="forward")
        end = np.busday_offset(f"{autumn + 1}-01-20", 0, roll="backward", weekmask="Fri")
    else:
        start = np.busday_offset(f"{autumn + 1}-02-21", 0, roll="forward", weekmask="Mon")
        end = np.busday_offset(f"{autumn + 1}-07-12", 0, roll="backward", weekmask="Fri")
    days = np.arange(start, end + np.timedelta64(1, "D"))
    holidays = np.concatenate([_holidays(autumn), _holidays(autumn + 1)])
    is_school_day = np.is_busday(days, holidays=holidays)
    reasons = np.where(is_school_day, "", np.where(np.is_busday(days), "节假日", "周末"))
    return Term(index, term_name(first_year, index), days, days[is_school_day], reasons)


def _holidays(year: int) -> Dates:
    """Return the public holidays of a year on weekdays (Qingming and Dragon Boat to within days)."""
    single = np.array([f"{year}-{day}" for day in ("01-01", "04-04", "06-14")], dtype="M8[D]")
    labour = np.busday_offset(f"{year}-05-01", np.arange(3), roll="forward")
    national = np.arange(f"{year}-10-01", f"{year}-10-08", dtype="M8[D]")
    return np.concatenate([np.busday_offset(single, 0, roll="forward"), labour, national])


# --- the schools --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schools:
    """All schools, county after county; every county has the same number of each stage."""

    ids: Any
    county: Ints
    stage: NDArray[np.str_]
    names: list[str]
    county_ids: list[str]
    mountain: Bools  # by county
    county_risk: Floats  # by county, log-odds
    school_risk: Floats
    quality: Floats  # standard normal, part of every pupil's achievement
    records: Floats  # share of true absences that the school writes down
    full_mark: Floats  # by county, of junior exams
    primary_range: tuple[int, int]  # within each county
    junior_range: tuple[int, int]

    @property
    def per_county(self) -> int:
        """Number of schools in each county."""
        return len(self.county) // len(self.county_ids)


def make_schools(plan: Plan) -> Schools:
    """Draw the schools of all counties: about 40 pupils a grade in primary, 120 in junior schools."""
    rng = plan.rng("schools")
    grade_size = plan.cohort / plan.counties
    juniors = max(1, round(grade_size / 120)) if plan.highest >= 7 else 0
    primaries = max(1, round(grade_size / 40)) if plan.lowest <= 6 else 0
    nine_years = int(juniors >= 2 and primaries >= 2)
    stages = ["primary"] * (primaries - nine_years) + ["nine_year"] * nine_years + ["junior"] * (juniors - nine_years)
    count = len(stages) * plan.counties
    county = np.repeat(np.arange(plan.counties), len(stages))
    county_ids = [str(990101 + 100 * (k // 99) + k % 99) for k in range(plan.counties)]
    titles = {"primary": "小学", "nine_year": "九年一贯制学校", "junior": "初级中学"}
    names = [f"{_place(k)}{titles[stage]}" for _ in range(plan.counties) for k, stage in enumerate(stages)]
    ids = [f"{county_ids[c]}{k % len(stages) + 1:04d}" for k, c in enumerate(county)]
    return Schools(
        ids=pd.array(ids, dtype="str"),
        county=county,
        stage=np.array(stages * plan.counties),
        names=names,
        county_ids=county_ids,
        mountain=rng.random(plan.counties) < 0.3,
        county_risk=rng.normal(0, COUNTY_SD, plan.counties),
        school_risk=rng.normal(0, SCHOOL_SD, count),
        quality=rng.normal(0, 1, count),
        records=rng.beta(3, 5, count),
        full_mark=np.where(rng.random(plan.counties) < 0.4, 120.0, 100.0),
        primary_range=(0, primaries),
        junior_range=(primaries - nine_years, len(stages)),
    )


def _place(number: int) -> str:
    """Return a made-up place name, numbered when the list is used up."""
    lap, place = divmod(number, len(PLACES))
    return PLACES[place] + (str(lap + 1) if lap else "")


# --- the children -------------------------------------------------------------------------------------


@dataclass
class Children:
    """What is fixed about everybody who is ever on roll.

    Arrays of shape (2, n) hold two states: (primary, junior), or (before, after) a change at home.
    """

    ids: Any
    entry_term: Ints
    newcomer: Bools
    first_grade: Ints  # grade in the first school year of the county; 0 and less: not yet at school
    overage: Ints
    county: Ints
    fixed_risk: Floats  # log-odds of all that never changes
    achievement: Floats  # own part, standard normal
    habit: Floats  # of being absent
    girl: Bools
    disability: Bools
    migrant: Bools
    siblings: Ints
    school: Ints  # (primary, junior)
    class_draw: Floats
    km: Floats  # (primary, junior)
    km_known: Bools  # (primary, junior)
    boards: Bools  # (primary, junior), from grade 4
    poverty: Ints  # (before, after)
    mother_away: Bools  # (before, after)
    father_away: Bools  # (before, after)
    household_change: Ints  # first term of the second state

    def __len__(self) -> int:
        return len(self.entry_term)


def make_children(plan: Plan, schools: Schools) -> Children:
    """Draw everybody who is ever on roll: the first roll, each new cohort and the newcomers."""
    rng = plan.rng("children")
    county, entry_term, first_grade, newcomer = _entries(plan, rng)
    n = len(county)
    ses = rng.normal(0, 1, n)
    minority_county = (rng.random(plan.counties) < 0.25)[county]
    minority = rng.random(n) < np.where(minority_county, 0.70, 0.05)
    girl = rng.random(n) < 0.47
    siblings = np.minimum(rng.poisson(1.0, n), 8)
    parent_ill = rng.random(n) < logistic(-2.1 - 0.35 * ses)
    odds = RISK_LOG_ODDS
    fixed_risk = (
        odds["parent_ill"] * parent_ill
        + odds["siblings"] * (siblings > 0)
        + odds["girl"] * girl
        + odds["girl_of_minority"] * (girl & minority & minority_county)
        + schools.county_risk[county]
        + rng.normal(0, CHILD_SD, n)
        - TYPICAL_LOG_ODDS
    )
    home = rng.normal(0, 1, n)
    km_primary = np.exp(np.log(1.5) + 0.9 * home)
    km_junior = np.exp(np.log(6.0) + 0.6 * home + 0.8 * rng.normal(0, 1, n))
    km = np.clip([km_primary, km_junior], 0.2, 80)
    boards = rng.random((2, n)) < logistic(np.array([[-1.4], [-1.1]]) + 1.3 * np.log(km / 3))
    poverty, mother_away, father_away, change = _make_households(
        plan, rng, county=county, ses=ses, entry_term=entry_term
    )
    return Children(
        ids=pd.array([f"S{k:06d}" for k in range(1, n + 1)], dtype="str"),
        entry_term=entry_term,
        newcomer=newcomer,
        first_grade=first_grade,
        overage=np.minimum(rng.poisson(np.exp(-0.75 - 0.22 * ses + 0.35 * minority_county)), 4),
        county=county,
        fixed_risk=fixed_risk,
        achievement=0.28 * ses + np.sqrt(1 - 0.28**2) * rng.normal(0, 1, n),
        habit=rng.normal(0, 1, n),
        girl=girl,
        disability=rng.random(n) < 0.01,
        migrant=rng.random(n) < 0.02,
        siblings=siblings,
        school=_choose_schools(schools, county, rng),
        class_draw=rng.random(n),
        km=km,
        km_known=rng.random((2, n)) < 0.85,
        boards=boards,
        poverty=poverty,
        mother_away=mother_away,
        father_away=father_away,
        household_change=change,
    )


def _entries(plan: Plan, rng: Rng) -> tuple[Ints, Ints, Ints, Bools]:
    """Return county, term of entry, grade in the first year and whether a newcomer, for everybody."""
    start = np.arange(plan.students)
    start_grade = plan.lowest + start // plan.counties % (plan.highest - plan.lowest + 1)
    autumns = np.repeat(np.arange(2, plan.terms, 2), plan.cohort)
    cohort_county = np.arange(len(autumns)) % max(plan.cohort, 1) % plan.counties
    arrivals = np.repeat(np.arange(1, plan.terms), round(TRANSFERS * plan.students))
    arrival_county = rng.integers(0, plan.counties, len(arrivals))
    arrival_grade = rng.integers(plan.lowest, plan.highest + 1, len(arrivals))
    return (
        np.concatenate([start % plan.counties, cohort_county, arrival_county]),
        np.concatenate([0 * start, autumns, arrivals]),
        np.concatenate([start_grade, plan.lowest - autumns // 2, arrival_grade - arrivals // 2]),
        np.repeat([False, False, True], [len(start), len(autumns), len(arrivals)]),
    )


def _make_households(
    plan: Plan, rng: Rng, *, county: Ints, ses: Floats, entry_term: Ints
) -> tuple[Ints, Bools, Bools, Ints]:
    """Return poverty, mother and father away before and after one change, and the term of the change."""
    n = len(county)
    villages = max(1, plan.students // plan.counties // 60)
    village = rng.normal(0, 1, (plan.counties, villages))[county, rng.integers(0, villages, n)]
    standing = 1.3 * ses + np.sqrt(0.54) * village + np.sqrt(0.46) * rng.normal(0, 1, n)
    rank = rank_within(county, standing)
    poor_share = np.clip(rng.beta(4, 18, plan.counties), 0.05, 0.40)[county]
    other_kind = rng.random(n) < 0.10
    before = np.select(
        [rank < poor_share, rank < poor_share + 0.10],
        [np.where(other_kind, MINIMUM_LIVING, REGISTERED), np.where(other_kind, SUDDEN, MARGINAL)],
        NONE,
    )
    hit = np.where(rng.random(n) < 0.6, SUDDEN, MINIMUM_LIVING)
    parents_move = rng.random(n) < 0.5
    after = np.where(parents_move, before, np.where(before == NONE, hit, NONE))
    mother, father = _parents_away(rng, ses)
    mother_later, father_later = _parents_away(rng, ses)
    change = np.where(rng.random(n) < 0.015 * plan.terms, rng.integers(0, plan.terms, n), plan.terms)
    return (
        np.array([before, after]),
        np.array([mother, np.where(parents_move, mother_later, mother)]),
        np.array([father, np.where(parents_move, father_later, father)]),
        np.where(change > entry_term, change, plan.terms),
    )


def _parents_away(rng: Rng, ses: Floats) -> tuple[Bools, Bools]:
    both = rng.random(len(ses)) < logistic(-1.8 - 0.2 * ses)
    one = rng.random(len(ses))
    return both | (one < 0.04), both | ((one >= 0.04) & (one < 0.25))


def rank_within(group: Ints, value: Floats) -> Floats:
    """Return the rank of `value` within its group, from 0 to just under 1."""
    ranks = pd.Series(value).groupby(group).rank(method="first")
    return (ranks.to_numpy(float) - 1) / np.bincount(group)[group]


def _choose_schools(schools: Schools, county: Ints, rng: Rng) -> Ints:
    """Return each child's primary and junior school; most pupils of a nine-year school stay there."""
    n = len(county)
    (first, last), (first_junior, last_junior) = schools.primary_range, schools.junior_range
    # the power makes town schools (the first primary, the last junior) larger than village schools
    primary = first + np.floor((last - first) * rng.random(n) ** 1.3).astype(int)
    junior = last_junior - 1 - np.floor((last_junior - first_junior) * rng.random(n) ** 1.3).astype(int)
    stays = (primary >= first_junior) & (last > first) & (rng.random(n) < 0.9)
    chosen: Ints = np.array([primary, np.where(stays, primary, junior)])
    chosen = np.clip(chosen, 0, schools.per_county - 1)  # a stage that is not simulated has no schools
    return chosen + county * schools.per_county


def logistic(log_odds: ArrayLike) -> Floats:
    """Return the probability that belongs to `log_odds`."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(log_odds, dtype=float))))
