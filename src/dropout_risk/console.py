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

    from dropout_risk.descriptions import Lang
    from dropout_risk.pipeline import Listing
    from dropout_risk.scores import Scores
    from dropout_risk.targets import TargetList


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


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show how many parts of a step are done, on standard error; plain lines where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step, done, total: say(f"… {step}: {done} of {total} parts") if done in (0, total) else None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=console) as shown:
        tasks: dict[str, Any] = {}

        def tell(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = shown.add_task(step, total=total)
            shown.update(tasks[step], completed=done)

        yield tell


DATES: dict["Lang", str] = {
    "en": "As of {as_of}; the scores expire on {expires}.",
    "zh": "评分日期 {as_of}；评分有效期至 {expires}。",
}
END: dict["Lang", str] = {"en": "the day that their outcome is known", "zh": "结果揭晓之日"}
PLACE: dict["Lang", str] = {
    "en": "  school {school_id}, grade {grade:.0f}",
    "zh": "  学校 {school_id}，{grade:.0f} 年级",
}
RISK: dict["Lang", str] = {"en": "risk {risk:.1%}  {band}", "zh": "风险 {risk:.1%}  {band}"}
TO_END: dict["Lang", str] = {"en": "to the end of grade 9 {risk_to_end:.0%}", "zh": "至九年级末 {risk_to_end:.0%}"}
CHANGEABLE: dict[bool | None, dict["Lang", str]] = {
    True: {"en": " [can change]", "zh": "［可改变］"},
    False: {"en": " [context]", "zh": "［背景］"},
    None: {"en": "", "zh": ""},
}
GAPS: dict["Lang", str] = {"en": "        not recorded: {}", "zh": "        没有登记：{}"}
BETWEEN: dict["Lang", str] = {"en": ", ", "zh": "、"}


def print_scores(scores: "Scores", *, top: int, lang: "Lang") -> None:
    """Print the `top` students with their strongest reasons."""
    answer(DATES[lang].format(as_of=scores.as_of, expires=scores.expires or END[lang]))
    key = "student_id" if "student_id" in scores.frame else "row"
    for row, reasons, gaps in zip(_rows(scores.frame.head(top)), scores.reasons, scores.gaps, strict=False):
        place = PLACE[lang].format(**row) if "school_id" in row else ""
        answer(f"{row['rank']:>4}. {row[key]}{place}  {RISK[lang].format(**row)}")
        for reason in reasons[:3]:
            measure = f"  ->  {reason.measure}" if reason.measure else ""
            answer(f"        {reason.label}: {reason.text}{CHANGEABLE[reason.changeable][lang]}{measure}")
        if gaps:
            answer(GAPS[lang].format(BETWEEN[lang].join(gaps)))


def _rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def print_listing(listing: "Listing", lang: "Lang") -> None:
    """Print a support list, one line a student, and what has changed since last term."""
    for row in _rows(listing.targets.frame):
        where, risk, to_end = (text[lang].format(**row) for text in (PLACE, RISK, TO_END))
        answer(f"{row['list_place']:>4}. {row['student_id']}{where}  {risk}  {to_end}  {row.get('reason_1', '')}")
    if listing.churn is not None:
        answer("")
        answer(CHANGES[lang].format(kept=listing.churn.kept, new=listing.churn.new, gone=listing.churn.gone))
        for row in _rows(listing.churn.frame):
            answer(f"  {MARKS[row['change']][lang]} {row['student_id']}: {row[lang]}")


CHANGES: dict["Lang", str] = {
    "en": "Since last term: {kept} stay on the list, {new} are new, {gone} are gone.",
    "zh": "与上学期相比：{kept} 人仍在名单，{new} 人新进入，{gone} 人退出。",
}
MARKS: dict[str, dict["Lang", str]] = {"new": {"en": "new ", "zh": "新进"}, "gone": {"en": "gone", "zh": "退出"}}

YIELD: dict["Lang", str] = {
    "en": "{listed:,} of {students:,} students are listed; about {expected:.0f} of them "
    "({level} interval {low:.0f} to {high:.0f}) would leave without help, "
    "and about {missed:.0f} ({missed_low:.0f} to {missed_high:.0f}) of those not listed.{worker}",
    "zh": "{students:,} 名学生中列入 {listed:,} 名；若无帮扶，其中约 {expected:.0f} 名会离校"
    "（{level} 区间 {low:.0f} 至 {high:.0f}），"
    "未列入者中约 {missed:.0f} 名（{missed_low:.0f} 至 {missed_high:.0f}）。{worker}",
}
WORKER: dict["Lang", str] = {
    "en": " One more worker would reach about {one_more:.1f} more of them, one fewer {one_fewer:.1f} less.",
    "zh": "多一名帮扶人员约可多覆盖 {one_more:.1f} 名，少一名约少 {one_fewer:.1f} 名。",
}


def yield_sentence(targets: "TargetList", lang: "Lang") -> str:
    """Return what the list is worth: how many are listed, how many true cases are expected on it and off it."""
    figures = targets.overall
    known = all(figures[name] == figures[name] for name in ("one_more", "one_fewer"))  # NaN: nobody left to list
    worker = WORKER[lang].format(**figures) if known else ""
    return YIELD[lang].format(**figures, level=f"{100 * targets.confidence:g} %", worker=worker)


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


def write_listing(listing: "Listing", path: Path) -> list[Path]:
    """Write a support list and, beside it, the changes since last term and the draw between equal risks."""
    from dropout_risk.tables import atomic_path

    if path.suffix != ".csv":
        raise SettingsError(f"{path}: the list is written as .csv.")
    write_csv(listing.targets.frame, path)
    written = [path]
    if listing.churn is not None:
        written.append(path.with_name(f"{path.stem}.changes.csv"))
        write_csv(listing.churn.frame, written[-1])
    written.append(path.with_name(f"{path.stem}.draw.json"))
    with atomic_path(written[-1]) as temporary:
        temporary.write_text(to_json(listing.targets.to_lottery_record()), encoding="utf-8")
    return written


def write_csv(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table so that a spreadsheet opens it with its Chinese text intact."""
    from dropout_risk.tables import atomic_path

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, encoding="utf-8-sig")
