# Every target is one command away from what it runs. ARGS goes to that command: make demo ARGS=--exit
ARGS ?=
BIN := .venv/bin

.PHONY: demo run install test chaos lint bench

demo: install
	@$(BIN)/frontdesk demo $(ARGS)

run: install
	@$(BIN)/frontdesk up $(ARGS)

install: .venv/.installed

# On every core, up to four: each of them starts a RabbitMQ and a PostgreSQL of its own. One by one: ARGS=-n0.
test: .venv/.installed-dev
	@sh deploy/bootstrap.sh services
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# Every fault of the table: make chaos; some rows: ROW="F13 F20"; the soak: MINUTES=30; the same dice again: SEED=7.
chaos: .venv/.installed-dev
	@sh deploy/bootstrap.sh services
ifdef MINUTES
	@$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
else
	@nodes=$$($(BIN)/python -m tests.faults.table $(ROW)) && SEED=$(SEED) $(BIN)/pytest -m "chaos or not chaos" $$nodes $(ARGS)
endif

lint: .venv/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: .venv/.installed-dev
	@sh deploy/bootstrap.sh services
	@$(BIN)/frontdesk bench --write deploy/bench.md $(ARGS)
	@$(BIN)/python -m tests.test_docs

.venv/.installed: pyproject.toml
	@sh deploy/bootstrap.sh venv

.venv/.installed-dev: .venv/.installed
	@sh deploy/bootstrap.sh dev
