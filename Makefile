# Every target is one command away from what it runs. ARGS goes to that command: make demo ARGS=--exit
ARGS ?=
BIN := .venv/bin

.PHONY: demo run install test lint bench

demo: install
	@$(BIN)/frontdesk demo $(ARGS)

run: install
	@$(BIN)/frontdesk up $(ARGS)

install: .venv/.installed

test: .venv/.installed-dev
	@sh deploy/bootstrap.sh services
	@$(BIN)/pytest $(ARGS)

lint: .venv/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: .venv/.installed-dev
	@sh deploy/bootstrap.sh services
	@$(BIN)/frontdesk bench $(ARGS)

.venv/.installed: pyproject.toml
	@sh deploy/bootstrap.sh venv

.venv/.installed-dev: .venv/.installed
	@sh deploy/bootstrap.sh dev
