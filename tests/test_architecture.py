"""The house rules of DESIGN 2 and 3, read off the syntax trees. Every rule is also shown to bite on a bad source."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("normalizer", "adapters", "gateway", "tests")
MAX_LINES = 600

# Who may import whom: normalizer <- adapters <- gateway <- tests.
MAY_IMPORT = {
    "normalizer": {"normalizer"},
    "adapters": {"normalizer", "adapters"},
    "gateway": {"normalizer", "adapters", "gateway"},
    "tests": {"normalizer", "adapters", "gateway", "tests"},
}

# Modules through which the world gets in: the pure package has no use for them.
IMPURE_MODULES = {
    "aiohttp", "asyncio", "concurrent", "ftplib", "gateway", "getpass", "glob", "http", "logging", "multiprocessing",
    "os", "pathlib", "platform", "pydantic_settings", "random", "requests", "secrets", "select", "shutil", "signal",
    "smtplib", "socket", "sqlalchemy", "sqlite3", "ssl", "structlog", "subprocess", "sys", "tempfile", "threading",
    "time", "urllib.request", "uuid7", "warnings",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "urandom", "uuid1", "uuid4", "uuid7", "getenv", "open", "input", "print"}

# Backends have names in one place; everyone else is handed a Runtime.
BACKENDS = {"EmbeddedQueue", "RabbitQueue", "FailoverQueue", "SqliteStore", "PostgresStore", "open_store"}

# One module per third-party system (prefixes of paths; tests and the demo play the other side of the wire).
SYSTEM_HOMES = {
    "aio_pika": ("gateway/queues/",),
    "aiormq": ("gateway/queues/",),
    "pamqp": ("gateway/queues/",),
    "asyncpg": ("gateway/store/",),
    "sqlite3": ("gateway/queues/", "gateway/store/"),
    "alembic": ("gateway/store/",),
    "aiosmtpd": ("gateway/mailserver.py", "gateway/mail/"),
    "tweepy": ("adapters/twitter",),
    "imapclient": ("adapters/email",),
    "twilio": ("adapters/phone", "adapters/sms"),
    "cyclopts": ("gateway/cli.py",),
    "dkim": ("adapters/email/signatures.py",),
    "spf": ("adapters/email/sender_policy.py",),
    "dns": ("adapters/email/lookups.py",),
    "publicsuffixlist": ("adapters/email/sender_check.py",),
}
PLAYS_THE_WORLD = ("gateway/demo", "gateway/bench", "tests/")

# The three doors.
PUBLISHERS = ("gateway/intake.py", "gateway/queues/", "gateway/dead.py", "gateway/replay.py", "gateway/bench")
RECORDED_TABLES = {
    "tickets", "comments", "receipts", "attachments", "customers", "identities", "delivery_keys", "thread_keys",
    "participants", "suspended", "update_facts", "folded", "ticket_links",
}  # fmt: skip
RECORDERS = ("gateway/store/record.py", "gateway/store/record/")

MAY_PRINT = ("gateway/cli.py", "gateway/commands/", "gateway/demo")

Rule = Callable[[str, str], Iterator[str]]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every imported name, dotted and with its line: `from a.b import c` gives a.b.c."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the last part of the called name: `a.b.c(...)` gives c."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, last_name(node.func)


def last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def owner(node: ast.expr) -> str:
    """The name before the last dot: `self.queue.publish` gives queue."""
    return last_name(node.value) if isinstance(node, ast.Attribute) else ""


def is_module(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


def imports_go_one_way(path: str, source: str) -> Iterator[str]:
    """normalizer <- adapters <- gateway <- tests."""
    here = path.split("/", maxsplit=1)[0]
    for line, name in imported(ast.parse(source)):
        top = name.split(".")[0]
        if top in PACKAGES and top not in MAY_IMPORT[here]:
            yield f"{path}:{line}: {here} must not import {top}"
        if not top:
            yield f"{path}:{line}: imports are absolute, so that a reader sees the direction"


def adapters_stand_alone(path: str, source: str) -> Iterator[str]:
    """A channel imports the contract and itself, never another channel: a channel can be deleted by deleting it."""
    if not path.startswith("adapters/"):
        return
    own = path.removeprefix("adapters/").split("/")[0].removesuffix(".py")
    for line, name in imported(ast.parse(source)):
        parts = name.split(".")
        if parts[0] == "adapters" and len(parts) > 1 and parts[1] not in {"base", own}:
            yield f"{path}:{line}: imports another adapter ({name})"


def normalizer_is_pure(path: str, source: str) -> Iterator[str]:
    """Values in, values out: no I/O, no event loop, no clock, no chance, no log."""
    if not path.startswith("normalizer/"):
        return
    tree = ast.parse(source)
    for line, name in imported(tree):
        if is_module(name, IMPURE_MODULES):
            yield f"{path}:{line}: {name} in the pure package"
    for node, name in calls(tree):
        if name in IMPURE_CALLS:
            yield f"{path}:{node.lineno}: {name}() in the pure package"
    for part in ast.walk(tree):
        if isinstance(part, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{path}:{part.lineno}: async in the pure package"


def backends_are_named_once(path: str, source: str) -> Iterator[str]:
    """Only gateway/runtime.py chooses a queue, a store and a blob folder."""
    if not path.startswith("gateway/") or path.startswith(("gateway/runtime.py", "gateway/queues/", "gateway/store/")):
        return
    tree = ast.parse(source)
    for line, name in imported(tree):
        if name.split(".")[-1] in BACKENDS:
            yield f"{path}:{line}: names the backend {name}; take it from the Runtime"
    for node, name in calls(tree):
        if name in BACKENDS or name == "Blobs":
            yield f"{path}:{node.lineno}: makes a {name}; take it from the Runtime"


def systems_have_one_home(path: str, source: str) -> Iterator[str]:
    """One module per third-party system, so that replacing one touches one."""
    if path.startswith(PLAYS_THE_WORLD):
        return
    for line, name in imported(ast.parse(source)):
        homes = SYSTEM_HOMES.get(name.split(".")[0])
        if homes and not path.startswith(homes):
            yield f"{path}:{line}: {name} belongs in {' or '.join(homes)}"


def one_door_in(path: str, source: str) -> Iterator[str]:
    """Only intake.accept publishes deliveries (and dead.replay and replay publish them again)."""
    if path.startswith(("tests/", *PUBLISHERS)):
        return
    for node, name in calls(ast.parse(source)):
        if name == "publish" and "queue" in owner(node.func):
            yield f"{path}:{node.lineno}: publishes beside the door; call intake.accept"


def one_door_to_record(path: str, source: str) -> Iterator[str]:
    """Only store/record.py inserts what deliveries become: receipts, keys, customers, tickets, comments."""
    if path.startswith(("tests/", "gateway/bench", *RECORDERS)):
        return
    tree = ast.parse(source)
    for node, name in calls(tree):
        target = owner(node.func) if not node.args else last_name(node.args[0]) or owner(node.func)
        if name.endswith("insert") and target in RECORDED_TABLES:
            yield f"{path}:{node.lineno}: inserts into {target} beside the door; call store.record"
    statement = re.compile(r"\binsert\s+into\s+\"?(\w+)", re.IGNORECASE)
    for part in ast.walk(tree):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            for table in statement.findall(part.value):
                if table in RECORDED_TABLES:
                    yield f"{path}:{part.lineno}: inserts into {table} beside the door; call store.record"


def only_the_commands_print(path: str, source: str) -> Iterator[str]:
    """What a process has to say goes to the log; only a verb talks to the terminal."""
    if path.startswith(("tests/", *MAY_PRINT)):
        return
    for node, name in calls(ast.parse(source)):
        if name == "print" and isinstance(node.func, ast.Name):
            yield f"{path}:{node.lineno}: print() outside the commands"


def files_stay_readable(path: str, source: str) -> Iterator[str]:
    """A file that cannot be reviewed in one sitting holds two nouns."""
    lines = source.count("\n") + 1
    if lines > MAX_LINES:
        yield f"{path}: {lines} lines; past {MAX_LINES} nobody reviews it in a sitting"


def nothing_is_left_for_later(path: str, source: str) -> Iterator[str]:
    """What is not done is an issue, not a note in the code."""
    note = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    for number, line in enumerate(source.splitlines(), 1):
        if note.search(line):
            yield f"{path}:{number}: an unfinished thought: {line.strip()}"


def errors_are_named(path: str, source: str) -> Iterator[str]:
    """`except:` also swallows cancellation and Ctrl-C; `except ...: pass` on Exception is silence."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield f"{path}:{node.lineno}: a bare except"
        elif last_name(node.type) in {"Exception", "BaseException"} and all(isinstance(x, ast.Pass) for x in node.body):
            yield f"{path}:{node.lineno}: swallows {last_name(node.type)} without a word"


RULES: list[Rule] = [
    imports_go_one_way,
    adapters_stand_alone,
    normalizer_is_pure,
    backends_are_named_once,
    systems_have_one_home,
    one_door_in,
    one_door_to_record,
    only_the_commands_print,
    files_stay_readable,
    nothing_is_left_for_later,
    errors_are_named,
]


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    files = sources()
    assert len(files) > 20, "the walk has lost the packages"
    broken = [
        message
        for path in files
        for message in rule(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not broken, "\n".join(["", rule.__doc__ or "", *broken])


BAD: list[tuple[Rule, str, str]] = [
    (imports_go_one_way, "normalizer/x.py", "from gateway.settings import Settings"),
    (imports_go_one_way, "normalizer/x.py", "import adapters.base"),
    (imports_go_one_way, "adapters/x.py", "from gateway import intake"),
    (imports_go_one_way, "gateway/x.py", "def f():\n    from tests.helpers import y"),
    (imports_go_one_way, "gateway/x.py", "from . import settings"),
    (imports_go_one_way, "gateway/x.py", "from .settings import Settings"),
    (adapters_stand_alone, "adapters/chat.py", "from adapters.webform import Form"),
    (adapters_stand_alone, "adapters/chat.py", "from adapters import phone"),
    (adapters_stand_alone, "adapters/mail/parse.py", "import adapters.chat"),
    (normalizer_is_pure, "normalizer/x.py", "import asyncio"),
    (normalizer_is_pure, "normalizer/x.py", "from os import path"),
    (normalizer_is_pure, "normalizer/x.py", "import urllib.request"),
    (normalizer_is_pure, "normalizer/x.py", "from datetime import datetime\nx = datetime.now()"),
    (normalizer_is_pure, "normalizer/x.py", "def f(p):\n    return open(p).read()"),
    (normalizer_is_pure, "normalizer/x.py", "async def f(): ..."),
    (backends_are_named_once, "gateway/web/app.py", "from gateway.queues.embedded import EmbeddedQueue"),
    (backends_are_named_once, "gateway/audit.py", "from gateway.store.engine import open_store"),
    (backends_are_named_once, "gateway/web/app.py", "import gateway.store.blobs as b\nx = b.Blobs('folder')"),
    (systems_have_one_home, "gateway/worker/consume.py", "import aio_pika"),
    (systems_have_one_home, "gateway/web/inbound.py", "from twilio.request_validator import RequestValidator"),
    (systems_have_one_home, "adapters/sms_other.py", "import tweepy"),
    (systems_have_one_home, "adapters/email/inbox.py", "import dns.resolver"),
    (one_door_in, "gateway/web/inbound.py", "async def f(runtime):\n    await runtime.queue.publish([1])"),
    (one_door_in, "adapters/x.py", "async def f(self):\n    await self._queue.publish([1])"),
    (one_door_to_record, "gateway/web/api.py", "from sqlalchemy import insert\nx = insert(tickets).values(a=1)"),
    (one_door_to_record, "gateway/web/api.py", "x = tables.comments.insert()"),
    (one_door_to_record, "gateway/worker/x.py", "x = insert(tables.receipts)"),
    (one_door_to_record, "gateway/x.py", "SQL = 'INSERT INTO tickets (id) VALUES (1)'"),
    (only_the_commands_print, "gateway/intake.py", "print('here')"),
    (files_stay_readable, "gateway/x.py", "x = 1\n" * (MAX_LINES + 1)),
    (nothing_is_left_for_later, "gateway/x.py", "x = 1  # TO" + "DO: later"),
    (errors_are_named, "gateway/x.py", "try:\n    f()\nexcept:\n    g()"),
    (errors_are_named, "gateway/x.py", "try:\n    f()\nexcept Exception:\n    pass"),
]

GOOD: list[tuple[Rule, str, str]] = [
    (imports_go_one_way, "gateway/x.py", "from normalizer.message import Message\nimport adapters.base"),
    (adapters_stand_alone, "adapters/mail/parse.py", "from adapters.base import Raw\nimport adapters.mail.headers"),
    (normalizer_is_pure, "normalizer/x.py", "from datetime import datetime\nfrom urllib.parse import quote"),
    (backends_are_named_once, "gateway/runtime.py", "from gateway.queues.embedded import EmbeddedQueue"),
    (one_door_in, "gateway/intake.py", "async def f(self):\n    await self.queue.publish([1])"),
    (one_door_to_record, "gateway/store/record.py", "x = insert(tables.receipts)"),
    (one_door_to_record, "gateway/x.py", "rows.insert(0, tickets_wanted)\nparts.insert(0, 1)"),
    (only_the_commands_print, "gateway/commands/x.py", "print('here')"),
]


@pytest.mark.parametrize(("rule", "path", "source"), BAD, ids=lambda value: getattr(value, "__name__", None))
def test_the_rule_bites(rule: Rule, path: str, source: str) -> None:
    assert list(rule(path, source))


@pytest.mark.parametrize(("rule", "path", "source"), GOOD, ids=lambda value: getattr(value, "__name__", None))
def test_the_rule_lets_the_right_thing_pass(rule: Rule, path: str, source: str) -> None:
    assert not list(rule(path, source))


def test_every_rule_has_a_bad_source() -> None:
    assert {rule for rule, _, _ in BAD} == set(RULES)
