"""What the reasons of a run say, each wording once; the reasons of a score are places among these."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_A_ROW = 256

_SCORES = sa.table("scores", sa.column("run_id"), sa.column("rank"), sa.column("reasons", sa.JSON))
_WORDINGS = sa.table("wordings", sa.column("run_id"), sa.column("number"), sa.column("told", sa.JSON))


def upgrade() -> None:
    """Keep each wording once for its run."""
    op.create_table(
        "wordings",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_wordings_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_wordings")),
    )
    for run_id in _runs():
        wordings: dict[tuple[Any, ...], int] = {}

        def pair(reason: dict[str, Any], wordings: dict[tuple[Any, ...], int] = wordings) -> list[Any]:
            contribution = reason.pop("contribution")
            return [wordings.setdefault(tuple(reason.items()), len(wordings)), contribution]

        _rewrite(run_id, pair)
        told = [dict(wording) for wording in wordings]
        rows = [
            {"run_id": run_id, "number": number, "told": told[start : start + _A_ROW]}
            for number, start in enumerate(range(0, len(told), _A_ROW))
        ]
        if rows:
            op.get_bind().execute(sa.insert(_WORDINGS), rows)


def downgrade() -> None:
    """Write each wording again where it is said."""
    for run_id in _runs():
        rows = sa.select(_WORDINGS.c.told).where(_WORDINGS.c.run_id == run_id).order_by(_WORDINGS.c.number)
        told = [wording for row in op.get_bind().scalars(rows) for wording in row]

        def whole(pair: list[Any], told: list[dict[str, Any]] = told) -> dict[str, Any]:
            return {**told[pair[0]], "contribution": pair[1]}

        _rewrite(run_id, whole)
    op.drop_table("wordings")


def _runs() -> list[str]:
    return list(op.get_bind().scalars(sa.select(_SCORES.c.run_id).distinct().order_by(_SCORES.c.run_id)))


def _rewrite(run_id: str, change: Callable[[Any], Any]) -> None:
    """Put what `change` gives in the place of every reason of a run."""
    held = op.get_bind().execute(sa.select(_SCORES.c.rank, _SCORES.c.reasons).where(_SCORES.c.run_id == run_id)).all()
    own = (_SCORES.c.run_id == run_id) & (_SCORES.c.rank == sa.bindparam("own_rank"))
    rows = [{"own_rank": rank, "reasons": [change(reason) for reason in reasons]} for rank, reasons in held]
    op.get_bind().execute(sa.update(_SCORES).where(own), rows)
