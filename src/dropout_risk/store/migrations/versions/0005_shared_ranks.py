"""Equal risks share a rank; their places in the run tell them apart."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SCORES = sa.table("scores", sa.column("run_id"), sa.column("position"), sa.column("rank"), sa.column("risk", sa.Float))


def upgrade() -> None:
    """Call the ranks of before positions, and let students of one risk have one rank."""
    with op.batch_alter_table("scores") as scores:
        scores.alter_column("rank", new_column_name="position", existing_type=sa.Integer(), existing_nullable=False)
    with op.batch_alter_table("scores") as scores:
        scores.add_column(sa.Column("rank", sa.Integer(), nullable=True))
    op.execute(sa.update(_SCORES).values(rank=_SCORES.c.position))
    held = sa.select(_SCORES.c.run_id, _SCORES.c.position, _SCORES.c.risk)
    held = held.order_by(_SCORES.c.run_id, _SCORES.c.position).execution_options(yield_per=10_000)
    equal, previous = [], (None, 0, None)
    for run_id, position, risk in op.get_bind().execute(held):
        is_equal = (run_id, risk) == (previous[0], previous[2])
        previous = (run_id, previous[1] if is_equal else position, risk)
        if is_equal:
            equal.append({"own_run": run_id, "own_position": position, "shared": previous[1]})
    if equal:
        own = (_SCORES.c.run_id == sa.bindparam("own_run")) & (_SCORES.c.position == sa.bindparam("own_position"))
        op.get_bind().execute(sa.update(_SCORES).where(own).values(rank=sa.bindparam("shared")), equal)
    with op.batch_alter_table("scores") as scores:
        scores.alter_column("rank", existing_type=sa.Integer(), nullable=False)


def downgrade() -> None:
    """Let the positions be the ranks again."""
    with op.batch_alter_table("scores") as scores:
        scores.drop_column("rank")
    with op.batch_alter_table("scores") as scores:
        scores.alter_column("position", new_column_name="rank", existing_type=sa.Integer(), existing_nullable=False)
