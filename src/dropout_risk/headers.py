"""What stands above the columns of a file, and which columns of the schema these are."""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple

from dropout_risk.notes import Notes
from dropout_risk.schema import NEVER_READ_HEADERS, REFUSED_HEADERS, SUBJECT_HEADERS, TABLES, Problem
from dropout_risk.words import clean, fold


def expected_names() -> str:
    """Return under which names tables are found, for whoever has to name a file.

    Examples
    --------
    >>> expected_names()[:29]
    'schools (学校), terms (学期), cal'
    """
    return ", ".join(f"{table.name} ({table.zh})" for table in TABLES.values())


@cache
def headers_of(names: tuple[str, ...]) -> frozenset[str]:
    """Return every header that means something in one of the tables, as headers are compared.

    Examples
    --------
    >>> sorted(headers_of(("terms",)))[:3]
    ['end', 'start', 'term']
    """
    headers = [header for name in names for column in TABLES[name].columns for header in column.headers]
    return frozenset(map(fold, [*headers, *(SUBJECT_HEADERS if "grades" in names else ())]))


class Headed(NamedTuple):
    """The headers of a sheet, and what stands under them; this is kept for sheets that look alike and never changed."""

    headers: tuple[str, ...]
    """On one line each."""
    folded: tuple[str, ...]
    """As they are compared."""
    places: Mapping[str, Mapping[str, list[int]]]
    """For each table the columns found, and where."""


def headed(headers: tuple[str, ...], tables: tuple[str, ...]) -> Headed:
    """Return which columns of some tables stand under the headers of a sheet.

    Examples
    --------
    >>> headed(("学期", "Start "), ("terms",)).places
    {'terms': {'term': [0], 'start': [1]}}
    """
    is_short = len(headers) + sum(map(len, headers)) <= _LONGEST_KEPT  # what is kept has a bound whatever headers are
    return _headed(headers, tables) if is_short else _headed.__wrapped__(headers, tables)


_LONGEST_KEPT = 1000


@lru_cache(maxsize=256)
def _headed(headers: tuple[str, ...], tables: tuple[str, ...]) -> Headed:
    headers = tuple(map(clean, headers))
    folded = tuple(map(fold_header, headers))
    return Headed(headers, folded, {table: match(headers, folded, table) for table in tables})


def match(headers: Sequence[str], folded: Sequence[str], table: str) -> dict[str, list[int]]:
    """Return, for each column found, where its headers stand: the schema's favourite first.

    Where grades have headers that are subjects in place of a column of subjects, these are columns of their own.

    Examples
    --------
    >>> match(["学期", "语文"], ["学期", "语文"], "grades")
    {'term': [0], '语文': [1]}
    """
    places: dict[str, list[int]] = {column: [] for column in TABLES[table].names}
    ranks = _ranks_of_spellings(table)
    for place, header in enumerate(folded):
        for column in ranks.get(header, ()):
            places[column].append(place)
    found = {
        column: at if len(at) == 1 else sorted(at, key=lambda place: ranks[folded[place]][column])
        for column, at in places.items()
        if at
    }
    if table == "grades" and "subject" not in found and (subjects := _subject_places(headers)):
        found.pop("score", None)  # of which subject is not said
        found |= subjects
    return found


def _subject_places(headers: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, header in enumerate(headers):
        if is_subject(header):
            places.setdefault(header, []).append(place)
    return places


@cache
def _ranks_of_spellings(table: str) -> dict[str, dict[str, int]]:
    """Return for each header the columns that are found under it, and how far it is from the schema's favourite."""
    ranks: dict[str, dict[str, int]] = {}
    for column in TABLES[table].columns:
        for rank, spelling in enumerate(dict.fromkeys(map(fold, column.headers))):
            ranks.setdefault(spelling, {})[column.name] = rank
    return ranks


def fold_header(header: str) -> str:
    """Return a header as it is compared; those of the schema are looked up.

    Examples
    --------
    >>> fold_header("student_id"), fold_header("Student  ID")
    ('studentid', 'studentid')
    """
    return _folded_headers().get(header) or fold(header)


@cache
def _folded_headers() -> dict[str, str]:
    """Return each header of the schema as it is compared."""
    return {header: fold(header) for table in TABLES.values() for column in table.columns for header in column.headers}


def header_problems(
    headers: Sequence[str],
    folded: Sequence[str],
    places: Mapping[str, Mapping[str, list[int]]],
    *,
    notes: Notes,
    file: str | None,
) -> list[Problem]:
    """Return what is to be told of the headers of a sheet: refused, left out, or twice there.

    Parameters
    ----------
    headers, folded
        As they stand there, and as they are compared.
    places
        For each table the columns found, and where.
    notes, file
        Write it down.

    Examples
    --------
    >>> from dropout_risk.schema import Tables
    >>> headers = ["term", "学期", "宗教"]
    >>> places = {"terms": match(headers, headers, "terms")}
    >>> [one.kind for one in header_problems(headers, headers, places, notes=Notes("terms", Tables({})), file=None)]
    ['refused_column', 'second_header']
    """
    found_at = [at for found in places.values() for at in found.values()]
    read = set(chain.from_iterable(found_at))
    if len(read) == len(headers) and max(map(len, found_at), default=1) == 1:
        return []
    strange = {header: folded[place] for place, header in enumerate(headers) if header and place not in read}
    odd = [header for header in headers if header in strange]
    refused = [header for header in odd if any(word in strange[header] for word in folded_set(REFUSED_HEADERS))]
    problems = [notes.whole("refused_column", file=file, column=header) for header in refused]
    rest = [header for header in odd if header not in refused]
    never = [header for header in rest if strange[header] in folded_set(NEVER_READ_HEADERS)]
    unknown = [header for header in rest if header not in never]
    for kind, left in (("never_read", never), ("unknown_column", unknown)):
        if left:
            problems.append(notes.whole(kind, level="warning", file=file, headers=", ".join(left), count=len(left)))
    twice = {column: at for found in places.values() for column, at in found.items() if len(at) > 1}
    for column, at in twice.items():
        same = ", ".join(headers[place] for place in at)
        problems.append(notes.whole("second_header", level="warning", file=file, column=column, headers=same))
    return problems


@cache
def folded_set(words: tuple[str, ...]) -> frozenset[str]:
    """Return words as headers are compared.

    Examples
    --------
    >>> folded_set(("Address",))
    frozenset({'address'})
    """
    return frozenset(map(fold, words))


def subjects_among(found: Mapping[str, object]) -> tuple[str, ...]:
    """Return the subjects among the columns of grades that were found.

    Examples
    --------
    >>> subjects_among({"term": [0], "语文": [1]})
    ('语文',)
    """
    return tuple(column for column in found if column not in TABLES["grades"].names)


def is_subject(header: str) -> bool:
    """Whether the marks of a subject may stand under a header.

    Examples
    --------
    >>> is_subject(" 语 文"), is_subject("总分")
    (True, False)
    """
    return fold(header) in _SUBJECTS


_SUBJECTS = frozenset(map(fold, SUBJECT_HEADERS))
