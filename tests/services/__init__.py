"""Private services for tests and benches: each on its own port and folder, never a service that already runs."""
