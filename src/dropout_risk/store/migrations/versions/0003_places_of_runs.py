"""How many students of each school a run holds; scores are found by run and pseudonym."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COUNTED = """
insert into run_places (run_id, number, school_id, county_id, students)
select run_id, row_number() over (partition by run_id order by min(rank)), school_id, county_id, count(*)
from scores group by run_id, school_id, county_id
"""
_BEFORE = {
    "ix_scores_county_id": ["county_id"],
    "ix_scores_pseudonym": ["pseudonym"],
    "ix_scores_school_id": ["school_id"],
    "ix_scores_student_id_run_id": ["student_id", "run_id"],
}


def upgrade() -> None:
    """Count the students of each run by school, and put one index of scores in the place of four."""
    op.create_table(
        "run_places",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("school_id", sa.String(length=80), nullable=True),
        sa.Column("county_id", sa.String(length=80), nullable=True),
        sa.Column("students", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_places_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_run_places")),
    )
    op.execute(_COUNTED)
    for name in ("school_id", "county_id"):
        op.create_index(f"ix_run_places_{name}_run_id", "run_places", [name, "run_id"], unique=False)
    for name in _BEFORE:
        op.drop_index(name, "scores")
    op.create_index("ix_scores_run_id_pseudonym", "scores", ["run_id", "pseudonym"], unique=False)


def downgrade() -> None:
    """Put the indexes of before in place again, and let go of the counts, which the scores tell as well."""
    op.drop_index("ix_scores_run_id_pseudonym", "scores")
    for name, columns in _BEFORE.items():
        op.create_index(name, "scores", columns, unique=False)
    op.drop_table("run_places")
