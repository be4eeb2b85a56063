"""The tables of the store. A change here needs a migration beside it; a test compares the two."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Moment(TypeDecorator[datetime]):
    """A moment in UTC; SQLite gives it back without its zone, which is put on again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment without a zone, which would be read as another one elsewhere."""
        if value is not None and value.tzinfo is None:
            raise ValueError("A moment needs a time zone.")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables; constraints have names, so that migrations can find them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Moment, dict[str, Any]: JSON, list[Any]: JSON}

    def values(self) -> dict[str, Any]:
        """Return what the row says, by column."""
        return {column.key: getattr(self, column.key) for column in self.__table__.columns}


class Secret(Base):
    """Random values that this store was made with: the one that makes pseudonyms of student ids."""

    __tablename__ = "secrets"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary(64))


class Key(Base):
    """An API key. The secret itself is not kept, only its scrypt hash."""

    __tablename__ = "keys"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    label: Mapped[str] = mapped_column(String(120))
    role: Mapped[str] = mapped_column(String(16))
    scope: Mapped[list[Any]]
    salt: Mapped[bytes] = mapped_column(LargeBinary(16))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created: Mapped[datetime]
    expires: Mapped[datetime]
    revoked: Mapped[datetime | None]
    replaces: Mapped[str | None] = mapped_column(ForeignKey("keys.id"))
    """The key that this one was made for in a rotation."""


class Attempt(Base):
    """Failed attempts to come in, by the id that was tried and where it came from (hashed)."""

    __tablename__ = "attempts"
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    first: Mapped[datetime]
    locked_until: Mapped[datetime | None]


class Run(Base):
    """One roster that was scored: by whom, with which model, of which data."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject: Mapped[str] = mapped_column(String(200), index=True)
    role: Mapped[str] = mapped_column(String(16))
    purpose: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(index=True)
    as_of: Mapped[str] = mapped_column(String(10))
    expires: Mapped[str | None] = mapped_column(String(10))
    lang: Mapped[str] = mapped_column(String(2))
    model_version: Mapped[str] = mapped_column(String(64))
    model_digest: Mapped[str] = mapped_column(String(64))
    data_digest: Mapped[str] = mapped_column(String(64))
    rows_in: Mapped[int]
    scored: Mapped[int]
    refused: Mapped[int]


class RunPlace(Base):
    """How many students of one school stand in a run: what a list of runs tells, without a look at their scores."""

    __tablename__ = "run_places"
    __table_args__ = (
        Index("ix_run_places_school_id_run_id", "school_id", "run_id"),
        Index("ix_run_places_county_id_run_id", "county_id", "run_id"),
    )
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    school_id: Mapped[str | None] = mapped_column(String(80))
    county_id: Mapped[str | None] = mapped_column(String(80))
    students: Mapped[int]


class Score(Base):
    """The score of one student in one run.

    `reasons` is a list of pairs: the place of a wording among those of the run, and the contribution.

    All that finds a score begins with its run, so that the scores of a run stand side by side in every index: an
    index by pseudonym alone would have those of a roster on as many pages as it has students, each to be written anew.
    """

    __tablename__ = "scores"
    __table_args__ = (Index("ix_scores_run_id_pseudonym", "run_id", "pseudonym"),)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Place in the run, highest risk first: each there once."""
    rank: Mapped[int]
    student_id: Mapped[str] = mapped_column(String(80))
    pseudonym: Mapped[str] = mapped_column(String(20))
    school_id: Mapped[str | None] = mapped_column(String(80))
    county_id: Mapped[str | None] = mapped_column(String(80))
    class_id: Mapped[str | None] = mapped_column(String(80))
    grade: Mapped[int | None]
    risk: Mapped[float]
    band: Mapped[str] = mapped_column(String(8))
    reasons: Mapped[list[Any]]
    gaps: Mapped[list[Any]]


class Wordings(Base):
    """What the reasons of a run say, each wording once, in the order of their places: many students share one.

    They stand in rows of `WORDINGS_A_ROW`, so that to read one student's does not read those of a whole province.
    """

    __tablename__ = "wordings"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    told: Mapped[list[Any]]


WORDINGS_A_ROW = 256


class Replay(Base):
    """The answer to a request with an idempotency key, so that its repetition gets the same and scores nothing."""

    __tablename__ = "replays"
    __table_args__ = (UniqueConstraint("subject", "idempotency_key"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    subject: Mapped[str] = mapped_column(String(200))
    idempotency_key: Mapped[str] = mapped_column(String(100))
    request_digest: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    media_type: Mapped[str] = mapped_column(String(100))
    body: Mapped[bytes]
    """Sealed with the idempotency key, of which `idempotency_key` is a digest."""
    at: Mapped[datetime] = mapped_column(index=True)


class AuditLine(Base):
    """One access to the data of children. The database itself refuses to change or remove a line."""

    __tablename__ = "audit"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    subject: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    scope: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(String(32))
    purpose: Mapped[str] = mapped_column(String(16))
    allowed: Mapped[bool]
    why: Mapped[str] = mapped_column(Text)
    students: Mapped[int]
    """How many children's data were read or scored."""
    run_id: Mapped[str | None] = mapped_column(String(32))
    pseudonym: Mapped[str | None] = mapped_column(String(20))
    model_version: Mapped[str | None] = mapped_column(String(64))
    data_digest: Mapped[str | None] = mapped_column(String(64))
    seconds: Mapped[float]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
