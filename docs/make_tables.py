"""Write docs/reference/tables.md from the schema: `python docs/make_tables.py`."""

from pathlib import Path

from dropout_risk.schema import MISSED_EXAM, SUBJECT_HEADERS, TABLES, Column, Table

TARGET = Path(__file__).parent / "reference" / "tables.md"

HEAD = """# Tables and columns

Generated from `dropout_risk.schema` by `python docs/make_tables.py`.

A folder holds one file per table (or several: `attendance_2020.parquet`), named as below or by its Chinese name.
Columns are found by their name, their Chinese or English label, or an alias; others are left out and named in a
warning. `recorded_at` is the day on which a fact became known; without it a fact counts as known on its own day.
Identity and audit columns are never features. A column about religion is refused.

Attendance may also come as a register, one line a student: under `codes` (逐日考勤) in place of `code` stand the codes
of one day after another as one text, from the day under `date` on, school days or not, such as `PPAPP..PPUP`; a
point, a blank or a stroke is a day without record. It has a tenth of the bytes.

Grades may also come as a mark sheet (成绩册), one line a student and exam: in place of `subject` and `score` it has a
column for each subject, with its marks under
{subjects}
or {english}.
Where the student missed the exam stands {missed}; an empty cell is no mark. `full_mark` holds for the line.
"""


def describe(column: Column) -> str:
    """Return one row of a table's description."""
    kind = column.kind
    if column.allowed:
        kind = ", ".join(f"`{value}`" for value in column.allowed)
    elif column.minimum is not None:
        kind += f" {column.minimum:g} to {column.maximum:g}"
    need = "required" if column.required else ""
    names = ", ".join((column.zh, *column.aliases))
    return f"| `{column.name}` | {column.en} | {names} | {kind} | {column.role} | {need} |"


def section(table: Table) -> str:
    """Return the description of one table."""
    need = "needed for the main job" if table.core else "optional"
    lines = [
        f"## `{table.name}` {table.zh}",
        "",
        f"{table.en}; {need}. A row is identified by {', '.join(f'`{name}`' for name in table.key)}.",
        "",
        "| column | meaning | Chinese headers | values | role | |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(describe, table.columns)])


def page() -> str:
    """Return the whole page."""
    chinese, english = ([name for name in SUBJECT_HEADERS if name.isascii() == ascii_] for ascii_ in (False, True))
    missed = " or ".join((", ".join(MISSED_EXAM[:-1]), MISSED_EXAM[-1]))
    head = HEAD.format(subjects=", ".join(chinese), english=", ".join(english), missed=missed)
    return "\n\n".join([head.strip(), *map(section, TABLES.values())]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
