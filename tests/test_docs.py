"""README, schema and deploy/ say what the code does. `python -m tests.test_docs` writes the README's tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from cyclopts import App
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from adapters.base import InboxOptions
from gateway import schema, telemetry
from gateway.cli import verbs
from gateway.queues.topology import DEFAULT_CHANNELS, compose_topology
from gateway.runtime import CHANNELS, configure_inbox, find_adapter
from gateway.settings import DEFAULT_INBOXES, PREFIX, describe, load_settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DEPLOY = ROOT / "deploy"

ARRIVES = {
    "email": "SMTP and LMTP from your mail server, its pipe, a mailbox by IMAP, a provider's webhook, files by"
    " `frontdesk ingest`",
    "form": "`GET` and `POST /form/<inbox>`",
    "chat": "widget at `/chat/<inbox>`, WebSocket or REST",
    "phone": "Twilio Voice: `/hooks/<inbox>/voice`, `/status`, `/recording`, `/transcription`",
    "twitter": "X webhooks at `/hooks/<inbox>`, and mentions polling",
}


# --- the tables ------------------------------------------------------------------------------------------------------


def cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def table(heading: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def settings_table() -> str:
    rows = (
        (f"`{row.env}`", f"`{row.default}`" if row.default else "", row.help + (" (secret)" if row.secret else ""))
        for row in describe()
    )
    return table(("variable", "default", "meaning"), rows)


def channels_table() -> str:
    rows = (
        (options["channel"], f"`{name}`", ARRIVES[options["channel"]], _needs(name, options))
        for name, options in DEFAULT_INBOXES.items()
    )
    return table(("channel", "inbox", "arrives by", "needs"), rows)


def _needs(name: str, options: dict[str, Any]) -> str:
    missing = configure_inbox(name, options).adapter.missing()
    return ", ".join(f"`{PREFIX}INBOXES__{name.upper()}__{option.upper()}`" for option in missing) or "nothing"


def options_table() -> str:
    return table(("channel", "option", "default", "meaning"), _option_rows())


def options_of(channel: str) -> type[InboxOptions]:
    adapter = find_adapter(channel)
    assert adapter is not None
    return adapter.Options


def _option_rows() -> Iterator[tuple[str, ...]]:
    first = options_of(next(iter(CHANNELS)))
    common = {name for name in InboxOptions.model_fields if name != "channel"}
    for name in sorted(common):
        yield "every", f"`{name}`", *_default_and_help(first, name)
    for channel in CHANNELS:
        options = options_of(channel)
        for name in options.model_fields:
            if name != "channel" and name not in common:
                yield channel, f"`{name}`", *_default_and_help(options, name)


def _default_and_help(model: type[BaseModel], name: str) -> tuple[str, str]:
    field = model.model_fields[name]
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, list | tuple):
        default = ", ".join(map(str, default))
    secret = " (secret)" if "SecretStr" in str(field.annotation) else ""
    empty = default is PydanticUndefined or default is None or default in ("", {})
    return "" if empty else f"`{default}`", (field.description or "") + secret


def verbs_table() -> str:
    ordered = sorted(commands(verbs), key=lambda entry: _place(entry[0]))
    rows = ((f"`frontdesk {name}`", app.help.strip().split("\n\n")[0]) for name, app in ordered)
    return table(("command", "what it does"), rows)


def _place(name: str) -> tuple[int, str]:
    """Commands stand in the order of the groups that `frontdesk --help` shows."""
    groups: Any = verbs[name.split(maxsplit=1)[0]].group
    return (groups[0].sort_key, name)


def commands(app: App, prefix: str = "") -> Iterator[tuple[str, App]]:
    """Every command a person can type, sub-commands instead of their group."""
    for name in app:
        if name.startswith("-"):
            continue
        command = app[name]
        inner = [entry for entry in command if not entry.startswith("-")]
        if inner:
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def bench_page() -> str:
    """What `make bench` wrote last: figures are quoted with their date and machine, never typed."""
    return (DEPLOY / "bench.md").read_text(encoding="utf-8").strip()


TABLES: dict[str, Callable[[], str]] = {
    "channels": channels_table,
    "settings": settings_table,
    "options": options_table,
    "verbs": verbs_table,
    "bench": bench_page,
}


def shown(name: str, text: str) -> str:
    """What stands between the marks of one table."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    assert found, f"README.md has no <!-- {name} --> ... <!-- /{name} -->"
    return found[1].strip()


def write_tables() -> None:
    text = README.read_text(encoding="utf-8")
    for name, compose in TABLES.items():
        text = text.replace(
            f"<!-- {name} -->\n{shown(name, text)}".rstrip("\n") + f"\n<!-- /{name} -->",
            f"<!-- {name} -->\n{compose()}\n<!-- /{name} -->",
        )
    README.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_readme_table_equals_the_code(name: str) -> None:
    assert shown(name, README.read_text(encoding="utf-8")) == TABLES[name](), "run: python -m tests.test_docs"


@pytest.mark.parametrize("row", list(describe()), ids=lambda row: row.name)
def test_every_setting_explains_itself(row: Any) -> None:
    assert len(row.help) > 10


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_option_explains_itself(channel: str) -> None:
    fields = options_of(channel).model_fields
    silent = [name for name, field in fields.items() if name != "channel" and not field.description]
    assert not silent


# --- what the prose names --------------------------------------------------------------------------------------------

DOCUMENTS = [README, DEPLOY / "RUNBOOK.md"]


def names_of(paths: list[Path], pattern: str) -> list[tuple[Path, str]]:
    return [(path, name) for path in paths for name in re.findall(pattern, path.read_text(encoding="utf-8"))]


def deployed() -> list[Path]:
    return [*DOCUMENTS, ROOT / "frontdesk.example.toml", *(path for path in DEPLOY.rglob("*") if is_text(path))]


def is_text(path: Path) -> bool:
    return path.is_file() and path.suffix in {".md", ".yaml", ".json", ".service", ".env", ".sh", ""}


def test_every_command_in_the_documents_exists() -> None:
    known = {name for name, _ in commands(verbs)} | {"dead", "suspended"}
    # Prose says Frontdesk; `frontdesk word` in code or in a block is a command.
    used = names_of(DOCUMENTS, r"(?:`|^|/)frontdesk ([a-z][a-z-]+(?: (?:list|show|replay|drop|recover|reject))?)")
    assert len(used) > 20
    assert not [(path.name, name) for path, name in used if name not in known and name.split()[0] not in known]


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {name for _, name in names_of(DOCUMENTS, r"(?:`|^)make ([a-z]+)")}
    assert used
    assert used <= targets


def test_every_setting_named_anywhere_exists() -> None:
    known = {row.env for row in describe()} | {f"{PREFIX}CONFIG", f"{PREFIX}TESTS_FORBID_SKIPS"}
    options = {
        f"{PREFIX}INBOXES__{name.upper()}__{option.upper()}"
        for name, inbox in DEFAULT_INBOXES.items()
        for option in options_of(inbox["channel"]).model_fields
    }
    used = names_of(deployed(), rf"\b({PREFIX}[A-Z][A-Z_]*[A-Z])\b")
    assert len(used) > 30
    wrong = [(path.name, name) for path, name in used if name not in known | options]
    assert not [entry for entry in wrong if not entry[1].startswith(f"{PREFIX}INBOXES__<")]


SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}


def test_every_metric_named_in_deploy_is_exported() -> None:
    families = [*telemetry.REGISTRY.collect(), *telemetry.RECORDING.collect()]
    exported = {f"{family.name}{suffix}" for family in families for suffix in SUFFIXES[family.type]}
    used = names_of([DEPLOY / "alerts.yaml", DEPLOY / "grafana" / "dashboard.json"], r"\b(frontdesk_[a-z_]+)\b")
    assert len(used) > 15
    assert not [name for _, name in used if name not in exported]


def test_every_alert_has_a_section_in_the_runbook() -> None:
    headings = re.findall(r"^## (.+)$", (DEPLOY / "RUNBOOK.md").read_text(), re.MULTILINE)
    anchors = {anchor(heading) for heading in headings}
    wanted = re.findall(r"runbook: RUNBOOK\.md#(\S+)", (DEPLOY / "alerts.yaml").read_text())
    assert len(wanted) == (DEPLOY / "alerts.yaml").read_text().count("- alert:")
    assert set(wanted) <= anchors


def anchor(heading: str) -> str:
    """GitHub's rule: lower case, punctuation away, spaces to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    for link in links:
        target, _, fragment = link.partition("#")
        assert not target or (document.parent / target).exists(), link
        assert target or fragment in anchors, link


def test_every_test_named_in_the_readme_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", README.read_text(encoding="utf-8"))
    assert len(named) > 8
    for path, function in named:
        assert f"def {function}" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{function}"


def test_every_clause_of_the_promise_names_its_test() -> None:
    promise = README.read_text(encoding="utf-8").split("## The promise")[1].split("\n## ")[0]
    clauses = re.findall(r"^\| (\d) \|.*\| (.+) \|$", promise, re.MULTILINE)
    assert [number for number, _ in clauses] == ["1", "2", "3", "4", "5", "6"]
    assert all("::test_" in proof for _, proof in clauses)


# --- generated and example files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire_type", schema.MODELS)
def test_the_schema_in_deploy_equals_the_model(wire_type: str) -> None:
    path = schema.FOLDER / f"{wire_type}.json"
    assert path.read_text(encoding="utf-8") == schema.rendered(wire_type), "run: python -m gateway.schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


def test_the_example_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}CONFIG", str(ROOT / "frontdesk.example.toml"))
    settings = load_settings()
    assert settings.public_url == "https://desk.example.org"
    assert "twitter" not in settings.inboxes
    for name, options in settings.inboxes.items():
        assert configure_inbox(name, options).name == name


def test_the_workers_scale_on_every_queue() -> None:
    scaling = (DEPLOY / "kubernetes" / "scaling.yaml").read_text()
    inbound = {queue.name for queue in compose_topology(DEFAULT_CHANNELS).queues if "inbound" in queue.name}
    assert set(re.findall(r"queueName: (\S+)", scaling)) == inbound


if __name__ == "__main__":
    write_tables()
