"""What the command line shows and writes: text for people, JSON for machines, files for both.

The answer goes to standard output, everything else to standard error.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropout_risk.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from dropout_risk.pipeline import Scores


def to_json(value: Any) -> str:
    """Return `value` as indented JSON; Chinese stays readable, dates become text."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str, allow_nan=False)


def answer(text: str) -> None:
    """Write a line of the answer to standard output."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """Write a line about the work to standard error."""
    sys.stderr.write(text + "\n")


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Show what is being done and for how long, on standard error; plain lines where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step: say(f"… {step}")
        return
    with Bar(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("start")
        yield lambda step: bar.update(task, description=step)


def print_scores(scores: "Scores", *, top: int) -> None:
    """Print the `top` students with their strongest reasons."""
    answer(f"As of {scores.as_of}; the scores expire on {scores.expires or 'the end of the next term'}.")
    key = "student_id" if "student_id" in scores.frame else "row"
    for row, reasons, gaps in zip(scores.frame.head(top).to_dict("records"), scores.reasons, scores.gaps, strict=False):
        place = f"  school {row['school_id']}, grade {row['grade']:.0f}" if "school_id" in row else ""
        answer(f"{row['rank']:>4}. {row[key]}{place}  risk {row['risk']:.1%}  {row['band']}")
        for reason in reasons[:3]:
            mark = {True: "can change", False: "context", None: ""}[reason.changeable]
            measure = f"  ->  {reason.measure}" if reason.measure else ""
            answer(f"        {reason.label}: {reason.text}{f' [{mark}]' if mark else ''}{measure}")
        if gaps:
            answer(f"        not recorded: {', '.join(gaps)}")


def print_listed(frame: "pd.DataFrame") -> None:
    """Print a support list, one line a student."""
    for row in frame.to_dict("records"):
        answer(
            f"{row['list_place']:>4}. {row['student_id']}  school {row['school_id']}, grade {row['grade']:.0f}  "
            f"risk {row['risk']:.1%}  {row['band']}  {row.get('reason_1', '')}"
        )


def yield_sentence(places: "pd.DataFrame") -> str:
    """Return what the list is worth: how many are listed, how many true cases are expected."""
    listed, expected = int(places["listed"].sum()), float(places["expected"].sum())
    low, high = float(places["low"].sum()), float(places["high"].sum())
    return (
        f"{listed:,} of {int(places['students'].sum()):,} students are listed; about {expected:.0f} of them "
        f"(95 % interval {low:.0f} to {high:.0f}) would leave without help."
    )


def say_counts(scores: "Scores") -> None:
    """Say that no row was lost: rows in = scored + refused, with the commonest causes."""
    say(f"{scores.rows_in:,} rows in = {len(scores.frame):,} scored + {len(scores.refused):,} refused.")
    for message, count in scores.refused["message"].value_counts().head(10).items():
        say(f"  {count:,} refused: {message}")
    for note in scores.notes:
        say(note)


def write_scores(scores: "Scores", path: Path) -> list[Path]:
    """Write scores and, beside them, the refused rows; return the files."""
    from dropout_risk.tables import atomic_path

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        with atomic_path(path) as temporary:
            temporary.write_text(to_json(scores.to_dict()), encoding="utf-8")
        return [path]
    if path.suffix == ".parquet":
        with atomic_path(path) as temporary:
            scores.to_frame().to_parquet(temporary, index=False)
    elif path.suffix == ".csv":
        write_csv(scores.to_frame(), path)
    else:
        raise SettingsError(f"{path}: scores are written as .csv, .parquet or .json.")
    refused = path.with_name(f"{path.stem}.refused.csv")
    write_csv(scores.refused, refused)
    return [path, refused]


def write_csv(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table so that a spreadsheet opens it with its Chinese text intact."""
    from dropout_risk.tables import atomic_path

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, encoding="utf-8-sig")
