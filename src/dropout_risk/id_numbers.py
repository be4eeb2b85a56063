"""Resident ID numbers (GB 11643): whether they can be right, what a spreadsheet did to them, and the birth dates."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dropout_risk.arrays import NO_DAY, Int8s, Int64s

FAULTS = ("excel_damaged", "bad_date", "bad_check_digit", "bad_length")
"""What can be wrong with a number, in the order in which it is told."""

DAMAGED = FAULTS.index("excel_damaged")

_SCIENTIFIC = re.compile(r"\d(\.\d+)?[eE]\+?\d+")
_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int16)
_CHECK_DIGITS = np.frombuffer(b"10X98765432", dtype=np.uint8)
_POWERS = np.array([1000, 100, 10, 1], dtype=np.int16)


class Judged(NamedTuple):
    """What was found in ID numbers.

    Attributes
    ----------
    fault : int8 array (n,)
        The place in `FAULTS` of what is wrong with each; -1 where nothing is.
    birth : int64 array (n,)
        The birth date in each number with which nothing is wrong, in days since 1970; `NO_DAY` in other documents.
    """

    fault: Int8s
    birth: Int64s


def id_number_fault(number: str) -> str | None:
    """Return what is wrong with a resident ID number, or None.

    Parameters
    ----------
    number
        18 characters (15 digits in old papers); other documents, with letters, are not judged.

    Returns
    -------
    ``excel_damaged`` (the check digit fails and the number is one that a spreadsheet would have made),
    ``bad_date``, ``bad_check_digit``, ``bad_length`` or None.

    References
    ----------
    GB 11643-1999: check character by ISO 7064, MOD 11-2. A spreadsheet keeps 15 digits of a number and
    writes 000 after them; a library that reads the cell as a 64-bit float prints the nearest one.

    Examples
    --------
    >>> id_number_fault("11010519491231002x"), id_number_fault("110105491231002")
    (None, None)
    >>> id_number_fault("513425201001011328"), id_number_fault("110105194912310021")
    ('excel_damaged', 'bad_check_digit')
    """
    fault = int(judge([number]).fault[0])
    return None if fault < 0 else FAULTS[fault]


def judge(numbers: Sequence[str]) -> Judged:
    """Judge many numbers at once, by the rules of `id_number_fault`.

    Examples
    --------
    >>> judged = judge(["11010519491231002X", "110105194912310021", "G1234567"])
    >>> judged.fault.tolist(), judged.birth.tolist() == [-7306, NO_DAY, NO_DAY]
    ([-1, 2, -1], True)
    """
    numbers = [number.upper() for number in numbers]
    cells = _cells(numbers)
    digits = (cells[:, :17] - np.uint8(ord("0"))).astype(np.int16)
    resident = (digits <= 9).all(axis=1)
    old = np.array([len(number) == 15 for number in numbers], dtype=bool)
    fits = old | (cells[:, 17] == _CHECK_DIGITS[digits @ _WEIGHTS % 11])
    birth = _birth_dates(digits)
    fault = np.where(fits, -1, FAULTS.index("bad_check_digit")).astype(np.int8)
    fault[birth == NO_DAY] = FAULTS.index("bad_date")
    for row in np.flatnonzero(resident & ~fits):
        if looks_rounded(numbers[row]):
            fault[row] = DAMAGED
    for row in np.flatnonzero(~resident):
        fault[row] = _fault_of_other(numbers[row])
    return Judged(fault, np.where(resident & (fault < 0), birth, NO_DAY))


def looks_rounded(number: str) -> bool:
    """Return whether a spreadsheet may have made the number: 15 digits and 000, or exactly a 64-bit float.

    Of sound numbers 1 in 16 to 128 is exactly a float, by chance.
    """
    return number.isdecimal() and len(number) == 18 and (number.endswith("000") or int(float(number)) == int(number))


def _cells(numbers: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return the characters of each number in 18 columns, ? for what cannot stand in one."""
    text = "".join([number if len(number) == 18 and number.isascii() else _in_18(number) for number in numbers])
    return np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8).reshape(-1, 18)


def _in_18(number: str) -> str:
    """Return an old number with the century that it leaves out, and the digits of any script as ours."""
    if len(number) == 15:
        number = f"{number[:6]}19{number[6:]}?"
    if len(number) != 18:
        return "?" * 18
    return "".join(str(int(cell)) if cell.isdecimal() else cell for cell in number[:17]) + number[17]


def _birth_dates(digits: npt.NDArray[np.int16]) -> Int64s:
    """Return the birth date that stands in each number, `NO_DAY` where it does not exist."""
    year, month, day = digits[:, 6:10] @ _POWERS, digits[:, 10:12] @ _POWERS[2:], digits[:, 12:14] @ _POWERS[2:]
    months = (year.astype(np.int64) - 1970) * 12 + month - 1
    first, last = (after.view("datetime64[M]").astype("datetime64[D]").view(np.int64) for after in (months, months + 1))
    exists = (year >= 1900) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= last - first)
    return np.where(exists, first + day - 1, NO_DAY)


def _fault_of_other(number: str) -> int:
    if _SCIENTIFIC.fullmatch(number):
        return DAMAGED
    return FAULTS.index("bad_length") if number.isdigit() else -1
