"""The link that opens the console, for whom it was made."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.settings import load_settings
from gateway.web.auth import Logins
from tests.cli.conftest import Frontdesk


@pytest.mark.parametrize(("arguments", "name"), [((), ""), (("--name", "Ada Lovelace"), "Ada Lovelace")])
def test_the_running_process_knows_for_whom_it_is(frontdesk: Frontdesk, arguments: tuple[str, ...], name: str) -> None:
    said = frontdesk("console-link", *arguments, "--json")
    assert said.code == 0, said.err
    [token] = parse_qs(urlsplit(said.lines[0]["url"]).query)["token"]
    secret = (Path(load_settings().data_dir) / "secrets" / "logins").read_text().strip()
    running = Logins(secret.encode())
    assert running.name_of(running.consume(token) or "") == name


def test_what_is_no_name_is_said_in_a_sentence(frontdesk: Frontdesk) -> None:
    said = frontdesk("console-link", "--name", "frontdesk")
    assert said.code == 2
    assert "a name has 1 to 80 printable characters" in said.err
