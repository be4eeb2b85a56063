"""Every table and column of the canonical data, and the containers that carry them.

The tables are described once, here, as values: name, type, allowed values, zh and en labels, header
aliases. Readers, checks, documentation and the service all read these descriptions.

Religion is not recorded at all: `REFUSED_HEADERS` names the headers that no reader takes in.
Source of names and codes: the national student register template and `GB/T 2260` county codes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar

import pandas as pd

T = TypeVar("T")

Kind = Literal["string", "integer", "number", "boolean", "date", "category"]
Role = Literal["key", "fact", "label", "identity", "audit"]

DTYPES: dict[Kind, str] = {
    "string": "str",
    "integer": "float64",  # NaN marks a missing value
    "number": "float64",
    "boolean": "boolean",
    "date": "datetime64[us]",
    "category": "category",
}
"""The pandas dtype that each kind of column has after reading."""


@dataclass(frozen=True)
class Column:
    """One column: its type, its bounds and what people call it.

    Attributes
    ----------
    name, kind, zh, en
        Name in the code, kind of value, label in Chinese and English.
    role
        ``key`` identifies, ``fact`` may feed features, ``label`` is for display, ``identity`` (a name,
        an ID number) and ``audit`` (sex, disability) are never features; identities are never printed.
    required
        Whether a row without a value is an error.
    allowed
        For a category: canonical value -> the spellings that are read as it.
    minimum, maximum
        For numbers: inclusive bounds of a credible value.
    aliases
        Further headers (zh or en) under which the column is found in files.
    """

    name: str
    kind: Kind
    zh: str
    en: str
    role: Role = "fact"
    required: bool = False
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    aliases: tuple[str, ...] = ()

    @property
    def headers(self) -> tuple[str, ...]:
        """Every header under which this column is recognised."""
        return (self.name, self.zh, self.en, *self.aliases)


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key and the column that says when a fact happened.

    Attributes
    ----------
    key
        Columns that identify a row; two rows with one key are a correction (later `recorded_at` wins)
        or, when recorded at the same time, a duplicate to report.
    event
        The date column of the fact itself; a term column stands for the end (`term_end`) or the start
        (`term_start`) of that term where a row has no date of its own.
    core
        Whether the main job needs the table.
    """

    name: str
    zh: str
    en: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    event: str | None = None
    event_fallback: Literal["term_start", "term_end"] | None = None
    core: bool = True
    aliases: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Column:
        """Return the column called `name`."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> list[str]:
        """Names of all columns, in order."""
        return [column.name for column in self.columns]

    @property
    def has_recorded_at(self) -> bool:
        """Whether rows of this table carry the date on which they became known."""
        return "recorded_at" in self.names


_STUDENT_ID = Column(
    "student_id", "string", "学籍号", "Student ID", role="key", required=True,
    aliases=("全国学籍号", "国网学籍号", "省网学籍号", "学籍辅号", "学籍辅号(省内)"),
)  # fmt: skip
_SCHOOL_ID = Column("school_id", "string", "学校标识码", "School ID", role="key", required=True, aliases=("学校代码",))
_TERM = Column("term", "string", "学期", "Term", role="key", required=True, aliases=("term_id", "学年学期"))
_RECORDED_AT = Column("recorded_at", "date", "登记日期", "Recorded at", aliases=("录入日期", "上报时间", "reported_at"))
_BOARDING = Column(
    "boarding", "boolean", "是否住校", "Boards at school",
    aliases=("就读方式", "是否寄宿", "住宿", "mode"),
)  # fmt: skip
_LEFT_BEHIND = Column(
    "left_behind", "category", "是否留守儿童", "Left-behind child",
    allowed={
        "none": ("0", "否", "非留守儿童", "无", "no"),
        "one_parent": ("1", "单亲留守儿童", "是", "yes"),
        "both_parents": ("2", "双亲留守儿童"),
    },
    aliases=("是否农村留守儿童", "留守儿童"),
)  # fmt: skip
_POVERTY = Column(
    "poverty", "category", "贫困状况", "Poverty status",
    allowed={
        "none": ("0", "否", "无", "一般户", "一般农户", "no"),
        "marginal": ("边缘易致贫户", "低收入户", "农村低收入"),
        "sudden": ("突发严重困难户", "突发严重困难"),
        "minimum_living": ("低保", "低保户", "特困", "特困供养", "特困户"),
        "registered": ("1", "是", "建档立卡", "建档立卡贫困户", "贫困户", "脱贫户", "脱贫不稳定户", "yes"),
    },
    aliases=("是否建档立卡", "是否建档立卡贫困户", "是否贫困户", "户类型", "监测对象类别", "建档立卡"),
)  # fmt: skip
_DISTANCE_KM = Column(
    "distance_km", "number", "上下学距离(公里)", "Distance to school (km)",
    minimum=0, maximum=300, aliases=("上下学距离", "上下学距离（公里）", "家校距离", "distance"),
)  # fmt: skip

SCHOOLS = Table(
    "schools", "学校", "Schools",
    (
        _SCHOOL_ID,
        Column("county_id", "string", "行政区划代码", "County code", role="key", required=True,
               aliases=("县区代码", "县(市区)代码", "county_code")),
        Column("township_id", "string", "乡镇", "Township", role="key",
               aliases=("乡镇代码", "乡镇街道", "乡镇(街道)", "township")),
        Column("name", "string", "学校名称", "School name", role="label", aliases=("学校",)),
        Column("stage", "category", "办学类型", "Stage", allowed={
            "primary": ("小学",), "junior": ("初中", "初级中学"), "nine_year": ("九年一贯制学校", "九年一贯"),
            "teaching_point": ("教学点", "小学教学点"), "special": ("特殊教育学校", "特教"),
            "complete_secondary": ("完全中学", "完中"),
        }),
        Column("mountain", "boolean", "山区", "Mountain area"),
    ),
    key=("school_id",), aliases=("学校名单", "学校表", "school"),
)  # fmt: skip

TERMS = Table(
    "terms", "学期", "Terms",
    (
        _TERM,
        Column("start", "date", "开始日期", "Start", required=True, aliases=("学期开始", "开学日期")),
        Column("end", "date", "结束日期", "End", required=True, aliases=("学期结束", "放假日期")),
    ),
    key=("term",), aliases=("学期表", "term"),
)  # fmt: skip

CALENDAR = Table(
    "calendar", "校历", "School calendar",
    (
        Column("school_id", "string", "学校标识码", "School ID", role="key", aliases=("学校代码",)),
        Column("date", "date", "日期", "Date", role="key", required=True),
        Column("is_school_day", "boolean", "是否上课", "School day", required=True, aliases=("上课",)),
        Column("reason", "string", "原因", "Reason", role="label"),
        _RECORDED_AT,
    ),
    key=("school_id", "date"), core=False,
)  # fmt: skip

STUDENTS = Table(
    "students", "学生", "Students",
    (
        _STUDENT_ID,
        Column("name", "string", "姓名", "Name", role="identity", aliases=("学生姓名",)),
        Column("id_number", "string", "身份证件号", "ID number", role="identity",
               aliases=("身份证号", "身份证号码", "证件号码", "身份证", "id_no")),
        Column("sex", "category", "性别", "Sex", role="audit",
               allowed={"male": ("1", "男", "1-男", "m"), "female": ("2", "女", "2-女", "f")}),
        Column("birth_date", "date", "出生日期", "Birth date", aliases=("出生年月",)),
        Column("disability", "boolean", "是否残疾人", "Disability", role="audit",
               aliases=("是否残疾", "残疾类型", "残疾人类型")),
    ),
    key=("student_id",), aliases=("学生表", "学生名单", "student"),
)  # fmt: skip

ENROLMENTS = Table(
    "enrolments", "在籍在校", "Enrolments",
    (
        _STUDENT_ID,
        _SCHOOL_ID,
        _TERM,
        Column("grade", "integer", "年级", "Grade", required=True, minimum=1, maximum=9,
               aliases=("年级名称",)),
        Column("class_id", "string", "班级", "Class", role="label", aliases=("班号", "班级名称", "class")),
        _BOARDING,
        _DISTANCE_KM,
        Column("travel_minutes", "number", "上下学时间(分钟)", "Travel time to school (minutes)",
               minimum=0, maximum=600, aliases=("上下学时间", "minutes")),
        _LEFT_BEHIND,
        Column("migrant", "boolean", "是否随迁子女", "Child of migrant workers",
               aliases=("是否进城务工人员随迁子女", "随迁子女")),
        Column("enrolled_on", "date", "注册日期", "Enrolled on", aliases=("报到日期",)),
        _RECORDED_AT,
    ),
    key=("student_id", "term"), event="enrolled_on", event_fallback="term_start",
    aliases=("学籍", "学籍表", "注册", "enrollments"),
)  # fmt: skip

ATTENDANCE_CODES: dict[str, tuple[str, ...]] = {
    "N": ("未报", "not reported"),
    "X": ("停课", "closed"),
    "P": ("出勤", "到校", "present"),
    "O": ("线上", "online"),
    "L": ("迟到", "late"),
    "E": ("早退", "left early"),
    "S": ("病假", "sick"),
    "A": ("事假", "请假", "leave"),
    "U": ("旷课", "缺勤", "truant", "unexcused"),
}
"""Daily attendance codes; `N` (not reported) is not `P` (present)."""

REGISTER_HEADERS = ("codes", "逐日考勤")
"""Headers of the codes of one day after another, from the date of the row on: a register with one line a student."""

ATTENDANCE = Table(
    "attendance", "每日考勤", "Daily attendance",
    (
        _STUDENT_ID,
        Column("date", "date", "日期", "Date", role="key", required=True),
        Column("code", "category", "考勤", "Code", required=True, allowed=ATTENDANCE_CODES,
               aliases=("考勤代码", "出勤情况", *REGISTER_HEADERS)),
        _RECORDED_AT,
    ),
    key=("student_id", "date"), event="date", core=False, aliases=("考勤", "考勤表"),
)  # fmt: skip


def _days(name: str, zh: str, en: str, *, required: bool = False) -> Column:
    return Column(name, "integer", zh, en, required=required, minimum=0, maximum=250)


ATTENDANCE_COUNTS = Table(
    "attendance_counts", "学期考勤", "Attendance counts of a term",
    (
        _STUDENT_ID,
        _TERM,
        _days("days_reported", "上报天数", "Days reported", required=True),
        _days("days_absent", "缺勤天数", "Days absent", required=True),
        _days("days_unexcused", "旷课天数", "Days absent without leave"),
        _days("days_late", "迟到早退天数", "Days late or left early"),
        _days("days_not_reported", "未报天数", "Days not reported"),
        _days("longest_absence", "最长连续缺勤", "Longest run of absence"),
        _RECORDED_AT,
    ),
    key=("student_id", "term"), event="recorded_at", event_fallback="term_end", core=False,
    aliases=("学期考勤表",),
)  # fmt: skip

GRADES = Table(
    "grades", "学期成绩", "Grades",
    (
        _STUDENT_ID,
        _TERM,
        Column("subject", "string", "科目", "Subject", role="key", required=True, aliases=("学科",)),
        Column("exam", "category", "考试", "Exam", role="key", required=True, allowed={
            "midterm": ("期中", "期中考试"), "final": ("期末", "期末考试"), "joint": ("联考", "统考"),
        }),
        Column("exam_date", "date", "考试日期", "Exam date"),
        Column("score", "number", "分数", "Score", minimum=0, maximum=200, aliases=("成绩", "得分")),
        Column("full_mark", "number", "满分", "Full mark", minimum=1, maximum=200),
        Column("absent", "boolean", "缺考", "Missed the exam", aliases=("是否缺考",)),
        _RECORDED_AT,
    ),
    key=("student_id", "term", "subject", "exam"), event="exam_date", event_fallback="term_end",
    core=False, aliases=("成绩", "成绩表", "成绩册", "成绩单"),
)  # fmt: skip

SUBJECT_HEADERS = (
    "语文", "数学", "英语", "物理", "化学", "生物", "道德与法治", "政治", "思想品德", "品德", "历史", "地理", "科学",
    "音乐", "美术", "体育", "信息技术", "信息科技", "劳动",
    "Chinese", "Mathematics", "Maths", "Math", "English", "Physics", "Chemistry", "Biology", "Morality and law",
    "Politics", "History", "Geography", "Science", "Music", "Art", "Physical education", "PE",
    "Information technology", "IT", "Labour",
)  # fmt: skip
"""Headers of the marks of one subject after another: a mark sheet with one line a student and exam."""

MISSED_EXAM = ("缺考", "缺", "缓考", "absent")
"""What stands in a mark sheet in place of a mark that there is none of, because the student was not there."""

HOUSEHOLDS = Table(
    "households", "家庭", "Households",
    (
        _STUDENT_ID,
        _POVERTY,
        Column("mother_away", "boolean", "母亲外出", "Mother lives away"),
        Column("father_away", "boolean", "父亲外出", "Father lives away"),
        Column("siblings", "integer", "兄弟姐妹数", "Siblings", minimum=0, maximum=15),
        Column("valid_from", "date", "生效日期", "Valid from", role="key"),
        Column("valid_to", "date", "失效日期", "Valid to"),
        _RECORDED_AT,
    ),
    key=("student_id", "valid_from"), event="valid_from", core=False, aliases=("家庭表", "贫困户"),
)  # fmt: skip

STATUS_CHANGES = Table(
    "status_changes", "学籍异动", "Status changes",
    (
        _STUDENT_ID,
        Column("date", "date", "异动日期", "Date", role="key", required=True, aliases=("日期",)),
        Column("change", "category", "异动类型", "Change", role="key", required=True, allowed={
            "transfer_in": ("转入",), "transfer_out": ("转出",), "suspended": ("休学",),
            "returned": ("复学",), "dropout": ("辍学", "失踪"), "graduated": ("毕业",),
            "died": ("死亡",), "emigrated": ("出国", "出国(境)"),
        }),
        Column("arrival_date", "date", "到校确认日期", "Arrival confirmed on"),
        _RECORDED_AT,
    ),
    key=("student_id", "date", "change"), event="date", core=False, aliases=("异动", "异动表"),
)  # fmt: skip

INTERVENTIONS = Table(
    "interventions", "帮扶记录", "Support given",
    (
        _STUDENT_ID,
        Column("date", "date", "日期", "Date", role="key", required=True),
        Column("kind", "category", "帮扶方式", "Kind", role="audit", required=True, allowed={
            "home_visit": ("家访",), "phone": ("电话",), "tutoring": ("辅导", "学业辅导"),
            "subsidy": ("资助",), "transport": ("交通",), "boarding_place": ("寄宿",), "other": ("其他",),
        }),
        _RECORDED_AT,
    ),
    key=("student_id", "date", "kind"), event="date", core=False, aliases=("帮扶",),
)  # fmt: skip

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        SCHOOLS, TERMS, CALENDAR, STUDENTS, ENROLMENTS, ATTENDANCE, ATTENDANCE_COUNTS, GRADES, HOUSEHOLDS,
        STATUS_CHANGES, INTERVENTIONS,
    )
}  # fmt: skip
"""All canonical tables by name."""

REFUSED_HEADERS = ("宗教", "宗教信仰", "信教", "是否信教", "religion", "faith", "belief")
"""Headers that are never taken in: religion is not needed to help a child."""

NEVER_READ_HEADERS = (
    "民族", "ethnicity", "现住址", "家庭地址", "通信地址", "address", "联系电话", "家长电话", "phone",
    "健康状况", "health", "血型", "备注", "remarks",
)  # fmt: skip
"""Headers that are common in registers and left unread: they are no feature and no audit column."""

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the data: where it is, what is allowed, what to do next.

    Attributes
    ----------
    level
        ``error``: the row (or the whole table, when `row` is None) cannot be used; ``warning``: it is
        used as it is.
    kind
        A short machine-readable name, such as ``not_a_date``.
    table, file, row, column, value
        Where: `row` is the row number in the file (the header row counts), None for the whole table.
        Values of identity columns are masked before they get here.
    message
        What is wrong and what to do, as one sentence each in English (`message`) and Chinese (`message_zh`).
    position
        Index label of the row in the table's frame, None for the whole table.
    count
        How many rows the problem stands for (warnings may be counted rather than listed).
    """

    level: Level
    kind: str
    table: str
    message: str
    message_zh: str
    file: str | None = None
    row: int | None = None
    column: str | None = None
    value: str | None = None
    position: int | None = None
    count: int = 1

    def where(self) -> str:
        """Return the place as people write it: ``attendance.csv, row 7, column date``."""
        parts = [self.file or self.table]
        if self.row is not None:
            parts.append(f"row {self.row}")
        if self.column is not None:
            parts.append(f"column {self.column}")
        return ", ".join(parts)

    def __str__(self) -> str:
        return f"{self.where()}: {self.message}"


@dataclass(frozen=True)
class Source:
    """A stretch of rows of one table that came from one file.

    `first` is the index label of the first row, `first_row` its row number in the file; `labels_a_row` is how many
    labels a row of the file has, which in a register is one for each day. In a mark sheet it is one for each of
    `headers`, under which the scores of a row stand.
    """

    file: str | None
    first: int
    count: int
    first_row: int
    labels_a_row: int = 1
    headers: tuple[str, ...] = ()


Frame = pd.DataFrame | Callable[[], pd.DataFrame]


class Tables(Mapping[str, pd.DataFrame]):
    """The canonical tables of one county (or school), as frames whose columns the schema names.

    Parameters
    ----------
    frames : mapping of table name to DataFrame, or to what makes it when it is first asked for
        Every frame has exactly the schema's columns, in the schema's dtypes; the index label of a row is
        its position as read and survives every later selection.
    problems : sequence of Problem
        What was found while reading.
    sources : mapping of table name to tuple of Source
        Which files the rows came from.
    oracle : DataFrame or None
        For synthetic data only: the truth, columns ``student_id, term, risk, leaves``.
    known : mapping of table name to what is derived from it already, by key
        See `derived_of`.

    Examples
    --------
    >>> import pandas as pd
    >>> tables = Tables({"terms": pd.DataFrame({"term": ["2020-1"]})})
    >>> list(tables), len(tables["terms"])
    (['terms'], 1)
    """

    def __init__(
        self,
        frames: Mapping[str, Frame],
        *,
        problems: tuple[Problem, ...] = (),
        sources: Mapping[str, tuple[Source, ...]] | None = None,
        oracle: pd.DataFrame | None = None,
        known: Mapping[str, Mapping[object, Any]] | None = None,
    ) -> None:
        self._frames = dict(frames)
        self.problems = tuple(problems)
        self.sources = dict(sources or {})
        self.oracle = oracle
        self._derived: dict[object, Any] = {}
        self._derived_of: dict[str, dict[object, Any]] = {
            name: dict(known[name]) if known and name in known else {} for name in self._frames
        }

    def __getitem__(self, name: str) -> pd.DataFrame:
        frame = self._frames[name]
        if not isinstance(frame, pd.DataFrame):
            frame = self._frames[name] = frame()
        return frame

    def __contains__(self, name: object) -> bool:
        return name in self._frames  # without making the frame

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def __repr__(self) -> str:
        return f"Tables({', '.join(f'{name}: {len(frame):,} rows' for name, frame in self.items())})"

    def get_frame(self, name: str) -> pd.DataFrame:
        """Return the table called `name`, or an empty one with the schema's columns."""
        return self[name] if name in self._frames else empty_frame(name)

    def derived(self, key: object, make: Callable[[], T]) -> T:
        """Return what `make` gives, worked out once: tables are never changed, only replaced."""
        if key not in self._derived:
            self._derived[key] = make()
        made: T = self._derived[key]
        return made

    def derived_of(self, name: str, key: object, make: Callable[[], T]) -> T:
        """Return what `make` gives from the table `name` alone, worked out once, for copies that hold it too."""
        kept = self._derived_of[name] if name in self._derived_of else _OF_NONE[name]
        if key not in kept:
            kept[key] = make()
        made: T = kept[key]
        return made

    def known_of(self, name: str) -> Mapping[Any, Any]:
        """Return what has been derived from the table `name` so far."""
        return self._derived_of[name] if name in self._derived_of else _OF_NONE[name]

    def with_frame(self, name: str, make: Callable[[], pd.DataFrame], derived: Mapping[object, Any]) -> "Tables":
        """Return a copy with another frame under `name`, made when it is asked for, of which `derived` is known."""
        copy = self.replace(**{name: cache(make)})
        copy._derived_of[name] = dict(derived)
        return copy

    def replace(self, **changes: Any) -> "Tables":
        """Return a copy in which the named frames are others: ``tables.replace(grades=frame)``."""
        return self._copy({**self._frames, **changes}, problems=self.problems, sources=self.sources, oracle=self.oracle)

    def only(self, *names: str) -> "Tables":
        """Return the tables called `names`, as far as they are there, without problems and sources."""
        return self._copy({name: self._frames[name] for name in names if name in self._frames})

    def without(self, *names: str) -> "Tables":
        """Return a copy without the tables called `names`."""
        frames = {name: frame for name, frame in self._frames.items() if name not in names}
        return self._copy(frames, problems=self.problems, sources=self.sources, oracle=self.oracle)

    def with_problems(self, problems: Iterable[Problem]) -> "Tables":
        """Return a copy of which these problems are told."""
        return self._copy(self._frames, problems=tuple(problems), sources=self.sources, oracle=self.oracle)

    def _copy(self, frames: Mapping[str, Frame], **others: Any) -> "Tables":
        copy = Tables(frames, **others)
        for name, frame in frames.items():
            if self._frames.get(name) is frame:
                copy._derived_of[name] = self._derived_of[name]
        return copy

    def locate(self, name: str, position: int) -> tuple[str | None, int]:
        """Return the file and the row number of the row with index label `position` in table `name`."""
        source = self._source(name, position)
        if source is None:
            return None, position + 1
        return source.file, (position - source.first) // source.labels_a_row + source.first_row

    def header(self, name: str, position: int, column: str) -> str:
        """Return what stands above a cell of table `name`: the column, or in a mark sheet the subject of a score."""
        source = self._source(name, position) if column == "score" else None
        return source.headers[(position - source.first) % source.labels_a_row] if source and source.headers else column

    def _source(self, name: str, position: int) -> Source | None:
        own = self.sources.get(name, ())
        return next((source for source in own if source.first <= position < source.first + source.count), None)


_OF_NONE: dict[str, dict[object, Any]] = {name: {} for name in TABLES}
"""What has been derived of tables that are not there: the same for all, since all have no rows."""


def empty_frame(name: str) -> pd.DataFrame:
    """Return table `name` without rows, with the schema's columns and dtypes."""
    return _empty(name).copy()


@cache
def _empty(name: str) -> pd.DataFrame:
    columns = {
        column.name: pd.Series(
            dtype=pd.CategoricalDtype(list(column.allowed)) if column.kind == "category" else DTYPES[column.kind]
        )
        for column in TABLES[name].columns
    }
    return pd.DataFrame(columns)
