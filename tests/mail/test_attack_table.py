"""Which test stands for which attack on mail, A01 to A71, and what is left out, with the reason.

Most tests carry the number in their name or in the key of their mail; for the others this table says which they are.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from gateway.bench import hostile
from tests.mail import test_hostile_end_to_end

TESTS = Path(__file__).parents[1]
READER, DESK, THREADS = (
    "normalizer/test_hostile_mail.py",
    "mail/test_hostile_end_to_end.py",
    "api/test_threading_attacks.py",
)
PORT, HARD, TALK = "mail/test_attacks.py", "mail/test_hardening.py", "mail/test_conversation.py"

# Beside the tests that are named after an attack: those that show it end to end, or from another side.
ALSO: dict[str, tuple[tuple[str, str], ...]] = {
    "A12": ((READER, "test_a12_a_long_message_id_is_hashed"),),
    "A32": (("browser/test_console.py", "test_nothing_a_stranger_wrote_runs_or_calls_out"),),
    "A35": (("browser/test_console.py", "test_nothing_a_stranger_wrote_runs_or_calls_out"),),
    "A41": (("api/test_console.py", "test_what_strangers_sent_is_inert"),),
    "A57": (("test_telemetry.py", "test_an_event_is_one_line_of_json"),),
    "A60": (
        ("mail/test_data.py", "test_a_smuggled_end_stays_inside_one_message"),
        (PORT, "test_only_one_sequence_ends_a_message"),
    ),
    "A61": (
        (PORT, "test_an_endless_message_costs_no_more_than_the_limit"),
        (PORT, "test_an_endless_command_costs_nothing"),
    ),
    "A62": (
        (HARD, "test_an_endless_message_is_cut_off_with_552"),
        ("mail/test_data.py", "test_what_never_ends_is_given_up_at_twice_the_limit"),
    ),
    "A63": ((PORT, "test_ten_thousand_recipients_are_a_hundred"),),
    "A64": ((TALK, "test_only_addresses_of_an_inbox_are_taken"),),
    "A65": (
        ("mail/test_tls.py", "test_commands_sent_ahead_of_the_handshake_are_not_obeyed"),
        ("mail/test_tls.py", "test_what_was_said_before_is_forgotten"),
    ),
    "A66": (
        (HARD, "test_a_browser_is_sent_away_before_its_body_is_read"),
        (HARD, "test_five_unknown_commands_end_the_conversation"),
        (HARD, "test_a_long_command_line_is_refused"),
    ),
    "A67": ((HARD, "test_slow_data_is_cut_off"),),
    "A68": (
        (PORT, "test_five_hundred_idle_connections_of_one_peer_are_fifty"),
        (HARD, "test_sixty_connections_from_one_peer"),
        (HARD, "test_the_total_is_limited_too"),
    ),
    "A69": (
        (HARD, "test_hanging_up_before_the_dot_stores_nothing"),
        (HARD, "test_hanging_up_after_the_dot_does_not_stop_the_delivery"),
        (HARD, "test_a_reset_after_the_dot_does_not_stop_the_delivery"),
        (HARD, "test_a_half_closed_client_still_hears_its_answers"),
    ),
    "A70": (
        (PORT, "test_what_counts_is_what_is_sent"),
        (PORT, "test_odd_sizes_are_no_error_of_ours"),
        (PORT, "test_passwords_are_not_taken_and_guessing_ends_the_connection"),
    ),
    "A71": (
        (TALK, "test_lmtp_answers_each_accepted_recipient"),
        (TALK, "test_if_one_inbox_fails_smtp_fails_and_lmtp_tells_them_apart"),
    ),
}

# Parts of a safe outcome that nothing here can show yet.
LEFT_OUT = {
    "A27": "no automatic answer exists: the tests show an empty outbox; the rule is for whoever switches one on",
    "A30": "the same: no answer at all is fewer than one a day",
    "A58": "nothing exports cells yet: the tests show that a formula stays the words it is",
}


def functions(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def named() -> set[str]:
    """The attacks in names of tests (`test_a08_a16_...`) and of the mails that go through reader and desk."""
    found = {key[:3] for key in (*hostile.mails(), *test_hostile_end_to_end.MAILS) if re.match(r"A\d\d", key)}
    for path in (READER, DESK, THREADS):
        for name in functions(path):
            found |= {f"A{number}" for number in re.findall(r"_a(\d\d)(?=_)", name)}
    return found


def test_every_attack_on_mail_has_a_test() -> None:
    wanted = {f"A{number:02}" for number in range(1, 72)}
    assert wanted - named() - set(ALSO) == set()
    assert set(LEFT_OUT) <= wanted


def test_the_table_names_tests_that_exist() -> None:
    missing = [
        (attack, path, name) for attack, places in ALSO.items() for path, name in places if name not in functions(path)
    ]
    assert missing == []


def test_what_a_single_mail_can_show_goes_through_the_whole_desk() -> None:
    """A11 and A20 to A25 need a conversation; the rest of A01 to A59 is one mail."""
    conversations = {"A11", *(f"A{number}" for number in range(20, 26))}
    mails = {key[:3] for key in test_hostile_end_to_end.MAILS}
    assert {f"A{number:02}" for number in range(1, 60)} - mails - conversations == set()
