"""What Alembic runs: the migrations, in the transaction that `upgrade` and `downgrade` have begun."""

from alembic import context

from dropout_risk.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
