"""Every row of the fault table has a test that exists, or a reason; every fault test belongs to a row."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.table import RANGE, ROWS, Row

ROOT = Path(__file__).parents[2]

# Tests of this folder that prove the harness or the audit and not one row.
_APART = {
    "test_table.py",
    "test_audit_finds.py",
    "test_holding_acks.py",
    "test_steady.py",
}


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_row_once_and_in_order() -> None:
    assert [row.name for row in ROWS] == [f"F{number:02}" for number in RANGE]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_has_a_test_or_a_reason(row: Row) -> None:
    assert row.tests or row.reason
    for node in row.nodes:
        path, _, name = node.partition("::")
        assert (ROOT / path).is_file(), node
        assert name in _functions(ROOT / path), node


def test_every_test_of_this_folder_belongs_to_a_row() -> None:
    known = {node for row in ROWS for node in row.nodes}
    here = Path(__file__).parent
    found = {
        f"tests/faults/{path.name}::{name}"
        for path in here.glob("test_*.py")
        if path.name not in _APART
        for name in _functions(path)
    }
    assert found <= known, sorted(found - known)


@pytest.mark.parametrize(
    ("words", "code", "said"), [(["f13"], 0, "test_broker.py"), (["F07"], 1, ""), (["F99"], 1, "")]
)
def test_rows_are_found_by_name(words: list[str], code: int, said: str) -> None:
    command = [sys.executable, "-m", "tests.faults.table", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stdout
    assert code == 0 or done.stderr.strip()
