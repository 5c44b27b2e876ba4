"""Schema migrations (Alembic), run by `frontdesk migrate` and at the start of every process."""
