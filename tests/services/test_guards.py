"""The guards of `tests/conftest.py` guard: skips become failures in the CI, and no test leaves loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.loopback import find_host, is_local
from tests.services.process import Child, wait_until

SUITE = """
import socket
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="no such program")
def test_skips(): pass

@pytest.mark.xfail(strict=True)
def test_fails_as_expected(): assert False

def test_leaves_loopback_and_hides_it():
    with socket.socket() as stranger:
        try:
            stranger.connect(("192.0.2.1", 9))
        except OSError:
            pass
"""


SKIPPED = "import pytest; pytest.skip('no such library', allow_module_level=True)"


def run_suite(folder: Path, *arguments: str, suite: str = SUITE, forbid: bool) -> str:
    """The last line of a pytest run of it under our conftest."""
    (folder / "test_suite.py").write_text(suite)
    environment = os.environ | {"FRONTDESK_TESTS_FORBID_SKIPS": "1" if forbid else "0"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.conftest",
        f"--rootdir={folder}",
        "-c",
        os.devnull,
        *arguments,
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, str(folder)], env=environment, capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode
    return done.stdout.strip().splitlines()[-1]


def test_a_skip_is_a_skip_at_home(tmp_path: Path) -> None:
    summary = run_suite(tmp_path, forbid=False)
    assert "1 skipped" in summary
    assert "1 xfailed" in summary
    assert "1 error" in summary  # left loopback
    assert "failed" not in summary.replace("xfailed", "")


@pytest.mark.parametrize("processes", [0, 1])
def test_a_skip_is_a_failure_in_the_ci(tmp_path: Path, processes: int) -> None:
    summary = run_suite(tmp_path, f"-n{processes}", forbid=True)
    assert "2 errors" in summary  # the skip, which happens before the test's call, and the one that left loopback
    assert "skipped" not in summary
    assert "1 xfailed" in summary


@pytest.mark.parametrize("processes", [0, 1])
def test_so_is_a_module_that_skips_itself(tmp_path: Path, processes: int) -> None:
    summary = run_suite(tmp_path, f"-n{processes}", suite=SKIPPED, forbid=True)
    assert "1 error" in summary
    assert "skipped" not in summary


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("192.0.2.7", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_local_is_loopback_only(host: str, expected: bool) -> None:
    assert is_local(host) is expected


@pytest.mark.parametrize(
    ("event", "arguments", "expected"),
    [
        ("socket.connect", (None, ("10.0.0.1", 80)), "10.0.0.1"),
        ("socket.connect", (None, "/run/a.socket"), None),
        ("socket.bind", (None, ("", 0)), None),
        ("socket.getaddrinfo", (b"example.com", 80, 0, 0, 0), "example.com"),
        ("socket.getaddrinfo", (None, 80, 0, 0, 0), None),
    ],
)
def test_the_host_of_an_event(event: str, arguments: tuple[object, ...], expected: str | None) -> None:
    assert find_host(event, arguments) == expected


def test_sockets_on_loopback_are_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_a_service_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    """Even when that one is killed and can clean up nothing."""
    folder = tmp_path / "service"
    folder.mkdir()
    script = (
        "import sys; from pathlib import Path; from tests.services.process import Child\n"
        "folder = Path(sys.argv[1])\n"
        "print(Child(['sleep', '600'], log=folder / 'log', folder=folder).pid, flush=True)\n"
        "sys.stdin.read()"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert parent.stdout is not None
    service = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()

    wait_until(lambda: not _is_running(service), timeout=20, what="the end of the orphaned service")
    wait_until(lambda: not folder.exists(), timeout=20, what="the removal of its folder")


def test_a_killed_child_is_gone_when_kill_returns(tmp_path: Path) -> None:
    child = Child(["sleep", "600"], log=tmp_path / "log")
    child.freeze()
    child.kill()
    assert not child.running


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
