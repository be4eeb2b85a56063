"""What happens to the children from term to term: who is on roll, how disengaged, at what risk, who goes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dropout_risk.synthetic._world import (
    MARGINAL,
    MINIMUM_LIVING,
    RISK_LOG_ODDS,
    TRANSFERS,
    Bools,
    Children,
    Dates,
    Floats,
    Ints,
    Plan,
    Rng,
    Schools,
    Term,
    in_days,
    logistic,
    rank_within,
)

# fmt: off
BASE_LOG_ODDS = np.array([
    #  end of autumn (a holiday follows), end of spring (the summer follows)
    [-6.10, -6.30], [-6.00, -6.20], [-5.90, -6.10], [-5.75, -5.95], [-5.60, -5.80], [-5.45, -4.85],
    [-4.35, -4.60], [-3.65, -3.90], [-3.35, np.nan],
])
"""Log-odds of an average child by grade 1-9 and season; the way from grade 6 to 7 is a leak of its own."""

GRADUAL = .55                  # share of leavings that have a lead-up
PERSISTENCE = .80              # of disengagement from one term to the next

STAY, DROPOUT, TRANSFER, SUSPENDED, EMIGRATED, DIED = range(6)
CHANGES = np.array(["", "dropout", "transfer_out", "suspended", "emigrated", "died"])
OTHER_EXITS = np.cumsum([TRANSFERS, .001, .0001, .00005])       # per term, from TRANSFER to DIED
MID_TERM = np.array([0, .15, .30, .30, .30, .50])               # share of each that registers before it goes
LAST_EXIT_BEFORE_END = 22                                       # school days
NEVER = np.datetime64("NaT", "D")

SHOWN = .10                    # route as a list takes it: features explain a quarter of disengagement (R2 .25)
PICK_NOISE = .50               # log-odds by which the workers' pick departs from that
REACHED = .85                  # share of those picked whom the workers reach
# fmt: on


@dataclass(frozen=True)
class Snapshot:
    """Everybody registered in one term, one entry each, as they are in that term."""

    term: Term
    who: Ints  # rows of the children
    grade: Ints
    stage: Ints  # 0 primary, 1 junior
    school: Ints
    class_no: Ints
    boards: Bools
    km: Floats
    minutes: Floats
    poverty: Ints
    mother_away: Bools
    father_away: Bools
    achievement: Floats
    disengaged: Floats
    enrolled_on: Dates
    stop_day: Ints  # school days until the child is gone; all of them for those who stay
    drops_out: Bools  # in this term
    risk: Floats  # of leaving by the end of the next term; NaN where no next term comes
    leaves: Bools  # what was drawn
    helped: Bools  # at the start of the next term
    risk_without_help: Floats
    leaves_without_help: Bools  # by the same draw

    @property
    def poor(self) -> Bools:
        """Whether the family is registered as poor or lives on the minimum allowance."""
        return self.poverty >= MINIMUM_LIVING

    @property
    def travel_load(self) -> Floats:
        """Tens of minutes over half an hour that a day pupil travels, at most 6."""
        return np.clip((self.minutes - 30) / 10, 0, 6) * ~self.boards


@dataclass(frozen=True)
class Changes:
    """Status changes, one entry each."""

    who: Ints
    date: Dates
    change: NDArray[np.str_]
    arrival: Dates
    recorded_at: Dates


@dataclass
class _State:
    """Where every child stands between two terms."""

    on_roll: Bools
    fate: Ints  # what becomes of the child in the next term
    return_term: Ints
    suspended: Bools
    first_grade: Ints
    overage: Ints
    disengaged: Floats


def live(
    plan: Plan, schools: Schools, children: Children, calendar: Sequence[Term]
) -> tuple[list[Snapshot], list[Changes]]:
    """Let the children live through the terms; return each term's roll and the changes of status."""
    n = len(children)
    state = _State(
        on_roll=np.zeros(n, bool),
        fate=np.full(n, STAY),
        return_term=np.full(n, -1),
        suspended=np.zeros(n, bool),
        first_grade=children.first_grade.copy(),
        overage=children.overage.copy(),
        disengaged=plan.rng("life").normal(0, 1, n),
    )
    classes = _parallel_classes(plan, schools, children)
    history: list[Snapshot] = []
    changes: list[Changes] = []
    for term in calendar:
        rng = plan.rng("life", term.index + 1)
        innovation = np.sqrt(1 - PERSISTENCE**2) * rng.normal(0, 1, n)
        state.disengaged = PERSISTENCE * state.disengaged + innovation
        stop_day, exits = _leave(rng, term, state)
        arrivals = _arrive(rng, term, state, children=children, highest=plan.highest)
        enrolled_on = term.start + in_days(np.minimum(rng.geometric(0.7, n) - 1, 4))
        enrolled_on[arrivals.who] = arrivals.date
        now = _observe(
            plan, schools, children, term, state=state, rng=rng, classes=classes, enrolled_on=enrolled_on,
            stop_day=stop_day,
        )  # fmt: skip
        finishes = now.who[np.isnan(now.risk) & (now.stop_day == len(term.school_days))]
        state.on_roll[now.who] = ~np.isnan(now.risk)
        state.fate[:] = STAY
        state.fate[now.who] = _draw_fates(rng, now)
        history.append(now)
        changes += [exits, arrivals, _finish(rng, term, plan.highest, finishes)]
    return history, changes


def _parallel_classes(plan: Plan, schools: Schools, children: Children) -> Ints:
    """Return the number of parallel classes (about 45 children each) per grade by (stage, school)."""
    first = children.entry_term == 0
    grade = children.first_grade[first]
    classes = np.ones((2, len(schools.county)), int)
    for stage, (lowest, highest) in enumerate([(1, 6), (7, 9)]):
        grades = min(highest, plan.highest) - max(lowest, plan.lowest) + 1
        school = children.school[stage, first][(grade >= lowest) & (grade <= highest)]
        sizes = np.bincount(school, minlength=len(schools.county)) / max(grades, 1)
        classes[stage] = np.maximum(np.ceil(sizes / 45), 1)
    return classes


def _observe(
    plan: Plan,
    schools: Schools,
    children: Children,
    term: Term,
    *,
    state: _State,
    rng: Rng,
    classes: Ints,
    enrolled_on: Dates,
    stop_day: Ints,
) -> Snapshot:
    """Return everybody on roll in `term` as they are, with the risk and the draw for the next term."""
    who = np.flatnonzero(state.on_roll)
    grade = state.first_grade[who] + term.year
    stage = (grade > 6).astype(int)
    school = children.school[stage, who]
    boards = children.boards[stage, who] & (grade > 3)
    km = children.km[stage, who]
    minutes = np.where(~boards & (km < 2.5), km / 4 * 60, 8 + km / 22 * 60)
    home = (children.household_change[who] <= term.index).astype(int)
    now = Snapshot(
        term=term,
        who=who,
        grade=grade,
        stage=stage,
        school=school,
        class_no=1 + np.floor(children.class_draw[who] * classes[stage, school]).astype(int),
        boards=boards,
        km=km,
        minutes=minutes * np.where(schools.mountain[schools.county[school]], 1.5, 1.0),
        poverty=children.poverty[home, who],
        mother_away=children.mother_away[home, who],
        father_away=children.father_away[home, who],
        achievement=np.sqrt(0.20) * schools.quality[school] + np.sqrt(0.80) * children.achievement[who],
        disengaged=state.disengaged[who],
        enrolled_on=enrolled_on[who],
        stop_day=stop_day[who],
        drops_out=state.fate[who] == DROPOUT,
        risk=np.full(len(who), np.nan),  # this and what depends on it follow
        leaves=np.zeros(len(who), bool),
        helped=np.zeros(len(who), bool),
        risk_without_help=np.full(len(who), np.nan),
        leaves_without_help=np.zeros(len(who), bool),
    )
    is_last = (now.stop_day < len(term.school_days)) | ((grade == plan.highest) & (term.season == 1))
    by_grade = BASE_LOG_ODDS[grade - 1, term.season]
    by_age = RISK_LOG_ODDS["overage_year"] * state.overage[who]
    log_odds = (
        plan.shift
        + by_grade
        + children.fixed_risk[who]
        + schools.school_risk[school]
        + by_age
        + _current_log_odds(now, gradual=(rng.random(len(who)) < GRADUAL).astype(float))
    )
    listed = by_grade + by_age + _current_log_odds(now, gradual=SHOWN)
    helped = _choose_for_help(plan, term, children.county[who], np.where(is_last, np.nan, listed))
    risk_without_help, risk = (
        np.where(is_last, np.nan, np.round(logistic(value), 6))
        for value in (log_odds, log_odds - plan.help_effect * helped)
    )
    draw = rng.random(len(who))
    return replace(
        now,
        risk=risk,
        leaves=draw < np.nan_to_num(risk),
        helped=helped,
        risk_without_help=risk_without_help,
        leaves_without_help=draw < np.nan_to_num(risk_without_help),
    )


def _choose_for_help(plan: Plan, term: Term, county: Ints, listed: Floats) -> Bools:
    """Return whom the workers reach at the start of the next term: in each county the top of a list.

    `listed` are the log-odds that a list of what is known would go by, NaN for those who have no next term.
    """
    helped = np.zeros(len(county), bool)
    if plan.help_from is None or term.index + 1 < plan.help_from:
        return helped
    rng = plan.rng("help", term.index)
    apparent = listed + rng.normal(0, PICK_NOISE, len(county))
    goes_on = ~np.isnan(listed)
    picked = rank_within(county[goes_on], -apparent[goes_on]) < plan.help_share
    helped[goes_on] = picked & (rng.random(len(picked)) < REACHED)
    return helped


def _current_log_odds(now: Snapshot, *, gradual: Floats | float) -> Floats:
    """Return the part of the risk that may change from term to term; `gradual` is 1 on the gradual route."""
    odds = RISK_LOG_ODDS
    log_odds: Floats = (
        np.where(now.poor, odds["registered"], odds["marginal"] * (now.poverty >= MARGINAL))
        + odds["score_sd"] * now.achievement
        + odds["ten_minutes_over_30"] * now.travel_load
        + odds["boarder"] * now.boards
        + odds["mother_away"] * now.mother_away
        + odds["only_father_away"] * (now.father_away & ~now.mother_away)
        + (gradual * odds["disengaged_gradual"] + (1 - gradual) * odds["disengaged_abrupt"]) * now.disengaged
    )
    return log_odds


def _draw_fates(rng: Rng, now: Snapshot) -> Ints:
    """Return what becomes of everybody in the next term."""
    draw = rng.random(len(now.who))
    exits = [draw < share for share in OTHER_EXITS]
    fates = [STAY, DROPOUT, TRANSFER, SUSPENDED, EMIGRATED, DIED]
    return np.select([np.isnan(now.risk), now.leaves, *exits], fates, STAY)


def _leave(rng: Rng, term: Term, state: _State) -> tuple[Ints, Changes]:
    """Let go whoever is fated to; return everybody's number of school days, and what is recorded."""
    who = np.flatnonzero(state.fate != STAY)
    n, kind = len(who), state.fate[who]
    is_dropout = kind == DROPOUT
    latest = len(term.school_days) - LAST_EXIT_BEFORE_END
    day = np.where(rng.random(n) < MID_TERM[kind], rng.integers(5, latest + 1, n), 0)
    around_start = np.where(is_dropout, rng.integers(10, 26, n), rng.integers(-10, 11, n))
    date = np.where(day > 0, term.school_days[day], term.start + in_days(around_start))
    travel = np.where(rng.random(n) < 0.10, rng.integers(31, 121, n), rng.integers(10, 31, n))
    arrives = (kind == TRANSFER) & (rng.random(n) < 0.99)
    arrival = np.where(arrives, date + in_days(travel), NEVER)
    noticed = np.where(arrives, arrival, date)
    delay = np.where(is_dropout, rng.integers(5, 41, n), rng.integers(0, 11, n))
    kept = ~is_dropout | (rng.random(n) < 0.85)
    exits = Changes(who[kept], date[kept], CHANGES[kind][kept], arrival[kept], (noticed + in_days(delay))[kept])

    state.on_roll[who] = day > 0
    state.suspended[who[kind == SUSPENDED]] = True
    state.return_term[who[kind == SUSPENDED]] = term.index + 2
    state.return_term[who[is_dropout & (rng.random(n) < 0.10)]] = term.index + 1
    stop_day = np.full(len(state.fate), len(term.school_days))
    stop_day[who] = day
    return stop_day, exits


def _arrive(rng: Rng, term: Term, state: _State, *, children: Children, highest: int) -> Changes:
    """Put on roll whoever comes back, moves in or enters the lowest grade; return what is recorded."""
    back = np.flatnonzero(state.return_term == term.index)
    state.first_grade[back] -= state.suspended[back]  # a suspension costs a year
    state.overage[back] += state.suspended[back]
    state.suspended[back] = False
    returns = back[state.first_grade[back] + term.year <= highest]
    enters = children.entry_term == term.index
    newcomers = np.flatnonzero(enters & children.newcomer)
    state.on_roll |= enters
    state.on_roll[returns] = True

    who = np.concatenate([returns, newcomers])
    change = np.repeat(["returned", "transfer_in"], [len(returns), len(newcomers)])
    date = term.start + in_days(rng.integers(0, 10, len(who)))
    arrival = np.where(change == "transfer_in", date, NEVER)
    return Changes(who, date, change, arrival, date + in_days(rng.integers(0, 6, len(who))))


def _finish(rng: Rng, term: Term, highest: int, who: Ints) -> Changes:
    """Record that children leave the highest grade: as graduates, or on to the next school elsewhere."""
    n = len(who)
    date: Any = np.full(n, term.end)
    if highest == 9:
        return Changes(who, date, np.full(n, "graduated"), np.full(n, NEVER), date + in_days(rng.integers(0, 11, n)))
    arrival = date + in_days(60 + rng.integers(0, 11, n))
    return Changes(who, date, np.full(n, "transfer_out"), arrival, arrival + in_days(rng.integers(0, 6, n)))
