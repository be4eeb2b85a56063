"""Texts as people write them, in the form in which they are kept and the one in which they are compared."""

import re
import unicodedata

import numpy as np

_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\ud800-\udfff]")
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_CLEAN = re.compile("[!-~\u4e00-\u9fff]+(?: [!-~\u4e00-\u9fff]+)*")  # nothing in it has another compatibility form
_NOT_COMPARED = re.compile(r"[\s_*]+")


def clean(text: str) -> str:
    """Return `text` in Unicode's compatibility form (NFKC), trimmed, on one line.

    Examples
    --------
    >>> clean("　２０２０－０９－０１ ")
    '2020-09-01'
    """
    if _CLEAN.fullmatch(text):
        return text
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", _UNSEEN.sub("", text))).strip()


def fold(text: str) -> str:
    """Return `text` as it is compared with headers and with the words of the schema.

    Examples
    --------
    >>> fold(" *上下学距离（公里） "), fold("Student ID"), fold("student_id")
    ('上下学距离(公里)', 'studentid', 'studentid')
    """
    return _NOT_COMPARED.sub("", clean(text).casefold())


def to_text(value: object) -> str:
    """Return one cell as text; a whole number loses the ``.0`` that a spreadsheet gives it.

    Examples
    --------
    >>> to_text(20110101.0), to_text(True), to_text("007")
    ('20110101', 'True', '007')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return _UNSEEN.sub("", str(value))
