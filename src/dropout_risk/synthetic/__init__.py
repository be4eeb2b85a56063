"""A made-up county: all canonical tables, with the true risk of every child in every term.

No child here is real. The risk comes from one set of log-odds that was tuned until the simulated county
agrees with published aggregates from poor rural counties (dropout by grade, boarding, over-age, recorded
absence), so it shows what the software does with plausible data and says nothing about any real place.

How it works: every child has fixed circumstances and a latent *disengagement* that drifts from term to
term. Absence and scores follow disengagement; so does the risk of leaving in the next term, on the gradual
route. On the abrupt route, drawn for each child and term, the same signs say next to nothing. Nothing ever
looks ahead at the outcome, so that no honest model can beat the true risk, the `oracle`.

`_world` holds what is there, `_life` what happens, `_registers` and `_classroom` what the school writes
down, `mess` what goes wrong with that.
"""

import math

from dropout_risk.errors import SettingsError
from dropout_risk.schema import TABLES, Tables
from dropout_risk.synthetic import _classroom, _registers
from dropout_risk.synthetic._life import live
from dropout_risk.synthetic._world import Plan, make_children, make_schools, make_term, term_name
from dropout_risk.synthetic.mess import MESS, add_mess

__all__ = ["MESS", "make_county"]


def make_county(
    students: int = 3000,
    *,
    terms: int = 6,
    counties: int = 1,
    grades: tuple[int, int] = (1, 9),
    first_year: int = 2019,
    shift: float = 0.0,
    seed: int = 7,
    daily: bool = True,
    mess: bool | frozenset[str] = False,
    help_from: str | int | None = None,
    help_share: float = 0.10,
    help_effect: float = 1.0,
) -> Tables:
    """Simulate one or more counties and return their tables, with the true risk beside them.

    Parameters
    ----------
    students : int
        Children on roll in the first term, over all counties.
    terms : int
        Number of terms; the first is the autumn term of `first_year`.
    counties : int
        Number of counties; each has its own schools, share of poor families and level of risk.
    grades : (int, int)
        Lowest and highest grade, within 1-9. The highest leaves after its spring term: as graduates from
        grade 9, by transfer with confirmed arrival from any other.
    first_year : int
        Calendar year of the first autumn.
    shift : float
        Moves the whole risk, in log-odds: 0 is a poor county of 2009, -1.2 a middle one, -2.5 the years
        of the national dropout ledger.
    seed : int
        Same arguments, same tables.
    daily : bool
        Whether attendance comes day by day (`attendance`) or as counts of a term (`attendance_counts`).
    mess : bool or frozenset of str
        Whether to damage the tables as real registers are; a set switches on single kinds of
        `dropout_risk.synthetic.MESS`.
    help_from : str or int, optional
        Name or position (from 1 on) of the first term in which the county helps. At the start of this and
        each later term workers go down a list of the highest risks, as far as the data shows them. None:
        nobody is helped, and there is no table `interventions`.
    help_share : float
        Share of those with a next term whom the workers of each county pick; they reach 85 % of those.
    help_effect : float
        Log-odds of leaving in that term that help takes off.

    Returns
    -------
    Tables
        Frames exactly as the schema has them. `.oracle` has one row for each child on roll at the end of
        each term: ``student_id, term, risk`` (true probability of leaving by the end of the next term,
        given the latent state at the end of `term`) and ``leaves`` (what the simulation then drew).
        The highest grade has no row in spring. The last term has rows too, although its outcome lies
        beyond the tables. With `help_from` there are also ``risk_without_help``, ``leaves_without_help``
        (what the same draw would have brought without help) and ``helped``; ``risk`` and ``leaves`` are what
        really happened.

    Raises
    ------
    SettingsError
        If arguments are out of range; the message names all of them.

    Notes
    -----
    Tuned to: grade 7 to 8 5.7 %, 8 to 9 9.0 %, cumulative 14.2 % and twice the rate among the poorest [1]_;
    grade 1-6 about 2 % a year [2]_; 0.26 % of pupil-days recorded as absence [3]_. Meeting them shows that
    the log-odds are compatible with what was published, not that they are true.

    References
    ----------
    .. [1] Yi et al. 2012, International Journal of Educational Development 32(4).
    .. [2] Lu et al. 2016, Asia Pacific Education Review 17.
    .. [3] Xu 2021, Chinese Journal of School Health 42(3).

    Examples
    --------
    >>> county = make_county(200, terms=2, seed=1)
    >>> county["enrolments"].groupby("term").size().index.to_list()
    ['2019-2020-1', '2019-2020-2']
    >>> list(county.oracle.columns)
    ['student_id', 'term', 'risk', 'leaves']
    >>> bool(county.oracle["risk"].between(0, 1).all())
    True
    """
    start = _position(help_from, first_year, terms)
    plan = Plan(students, terms, counties, *grades, first_year, shift, seed, start, help_share, help_effect)
    _check(plan, help_from)
    kinds = _check_mess(mess)
    calendar = [make_term(first_year, index) for index in range(terms)]
    schools = make_schools(plan)
    children = make_children(plan, schools)
    history, changes = live(plan, schools, children, calendar)
    frames = {
        **_registers.tables(plan, schools, children, calendar, history, changes),
        **_classroom.tables(plan, schools, children, history, daily=daily),
    }
    frames = {name: frames[name] for name in TABLES if name in frames}
    return Tables(add_mess(frames, kinds=kinds, seed=seed), oracle=_registers.oracle(plan, children, history))


def _position(help_from: str | int | None, first_year: int, terms: int) -> int | None:
    """Return the position of the term in which help begins; -1 if no such term is simulated."""
    if not isinstance(help_from, str):
        return help_from
    names = [term_name(first_year, index) for index in range(terms)]
    return names.index(help_from) if help_from in names else -1


def _check(plan: Plan, help_from: str | int | None) -> None:
    grades = (plan.lowest, plan.highest)
    wishes = (
        (plan.students >= 1, f"students must be at least 1, not {plan.students}"),
        (plan.terms >= 1, f"terms must be at least 1, not {plan.terms}"),
        (
            1 <= plan.counties <= max(plan.students, 1),
            f"counties must lie between 1 and students, not {plan.counties}",
        ),
        (
            1 <= plan.lowest <= plan.highest <= 9,
            f"grades must be two grades within 1-9, the lower first, not {grades}",
        ),
        (1990 <= plan.first_year <= 2100, f"first_year must lie between 1990 and 2100, not {plan.first_year}"),
        (math.isfinite(plan.shift), f"shift must be a finite number of log-odds, not {plan.shift}"),
        (plan.seed >= 0, f"seed must not be negative, but is {plan.seed}"),
        (
            plan.help_from is None or 1 <= plan.help_from < plan.terms,
            f"help_from must be one of the terms after the first, by name or position, not {help_from!r}",
        ),
        (0 <= plan.help_share <= 1, f"help_share must lie between 0 and 1, not {plan.help_share}"),
        (
            math.isfinite(plan.help_effect),
            f"help_effect must be a finite number of log-odds, not {plan.help_effect}",
        ),
    )
    if broken := [text for holds, text in wishes if not holds]:
        raise SettingsError(f"The county cannot be simulated: {'; '.join(broken)}.")


def _check_mess(mess: bool | frozenset[str]) -> frozenset[str]:
    if isinstance(mess, bool):
        return frozenset(MESS) if mess else frozenset()
    if unknown := sorted(set(mess) - set(MESS)):
        raise SettingsError(f"No such mess: {', '.join(unknown)}. Choose among {', '.join(MESS)}.")
    return frozenset(mess)
