"""The fault table: which test proves which row, or why a row cannot be proved. `test_table.py` checks that it is whole.

python -m tests.faults.table F13 F20     the tests of these rows, for pytest
python -m tests.faults.table             all of them
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HERE: Final = "tests/faults/"
_QUEUE: Final = "tests/contract/test_queue_embedded.py"
RANGE: Final = (*range(1, 50), 54, *range(57, 61))  # F50 to F53, F55 and F56 are proved with their channels


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `tests`: node ids, those without a folder below `tests/faults`. `reason`: what of it is not done."""

    name: str
    fault: str
    tests: tuple[str, ...] = ()
    reason: str = ""

    @property
    def nodes(self) -> list[str]:
        """Node ids as pytest takes them."""
        return [node if node.startswith("tests/") else _HERE + node for node in self.tests]


ROWS: Final = (
    Row(
        "F01",
        "gateway killed at random, twenty clients on all channels, 200 rounds",
        (
            "test_embedded.py::test_everything_in_one_process_is_killed_again_and_again",
            "test_kill_points.py::test_killed_two_hundred_times",
            "test_services.py::test_gateways_and_workers_are_killed_in_turn",
        ),
    ),
    Row("F02", "killed at every system call of accepting", ("test_kill_points.py::test_killed_at_a_chosen_call",)),
    Row(
        "F03",
        "acknowledged before it is durable?",
        ("test_kill_points.py::test_nothing_is_acknowledged_before_it_is_durable",),
    ),
    Row(
        "F04",
        "worker killed between COMMIT and ack",
        ("test_commit_and_ack.py::test_a_worker_is_killed_between_commit_and_ack",),
    ),
    Row(
        "F05",
        "worker killed inside its transaction",
        (
            "test_commit_and_ack.py::test_a_worker_is_killed_inside_its_transaction",
            "test_process.py::test_its_worker_is_killed",
        ),
    ),
    Row(
        "F06",
        "forwarder killed between confirm and removal from the spool",
        ("test_broker.py::test_a_gateway_dies_between_the_brokers_confirm_and_its_own_spool",),
    ),
    Row(
        "F07",
        "sender of replies killed after the peer's 250, before its commit",
        reason="there are no replies yet: nothing is sent to customers, so there is no outbox to kill",
    ),
    Row(
        "F08",
        "all processes killed together",
        ("test_services.py::test_everything_is_killed_at_once", "test_process.py::test_its_worker_dies_with_it"),
    ),
    Row(
        "F09",
        "crash loop: thirty restarts",
        (
            "test_broker.py::test_a_worker_that_crashes_again_and_again",
            "tests/worker/test_last_chance.py::test_the_innocent_are_recorded_and_the_guilty_stay_dead",
        ),
    ),
    Row(
        "F10",
        "broker killed under load, away for a minute",
        (
            "test_services.py::test_the_broker_is_killed_for_twenty_seconds",
            "test_broker.py::test_the_broker_is_away_for_a_minute",
            "tests/contract/test_queue_rabbitmq.py::test_a_queue_that_does_not_answer_a_consumer_is_asked_again",
        ),
    ),
    Row("F11", "broker not there at boot", ("test_broker.py::test_the_broker_comes_later_than_the_gateway",)),
    Row(
        "F12",
        "broker frozen for a minute",
        ("test_services.py::test_the_broker_is_frozen", "test_broker.py::test_the_broker_is_frozen_for_a_minute"),
    ),
    Row("F13", "disk alarm of the broker", ("test_broker.py::test_an_alarm_of_the_broker",)),
    Row("F14", "memory alarm of the broker", ("test_broker.py::test_an_alarm_of_the_broker",)),
    Row(
        "F15",
        "queue at its maximal length",
        (
            "test_broker.py::test_a_full_queue",
            "tests/contract/test_queue_rabbitmq.py::test_a_full_queue_refuses_and_leaves_other_channels_alone",
        ),
    ),
    Row(
        "F16",
        "queue deleted while it is used",
        (
            "test_broker.py::test_a_queue_is_deleted_while_it_is_used",
            "tests/contract/test_queue_rabbitmq.py::test_a_deleted_queue_is_declared_again",
        ),
        reason="what lay confirmed in a deleted queue is gone with it; the audit names it",
    ),
    Row(
        "F17",
        "permissions taken away, password changed",
        ("test_broker.py::test_the_user_may_do_nothing_any_more",),
    ),
    Row(
        "F18",
        "queue declared with other arguments",
        ("test_broker.py::test_queues_are_there_with_other_arguments",),
    ),
    Row("F19", "connection cut at any byte", ("test_broker.py::test_connections_break_at_any_byte",)),
    Row("F20", "half-open connections", ("test_broker.py::test_packets_vanish_without_a_word",)),
    Row("F21", "1 Mbit/s and 400 ms to the broker", ("test_broker.py::test_a_slow_line_to_the_broker",)),
    Row("F22", "consumer_timeout exceeded", ("test_broker.py::test_the_broker_thinks_a_worker_too_slow",)),
    Row(
        "F23",
        "broker restarted with a backlog",
        ("test_broker.py::test_the_broker_is_restarted_with_a_backlog",),
    ),
    Row("F24", "binding lost", ("test_broker.py::test_a_binding_is_lost",)),
    Row(
        "F25",
        "poison message",
        (
            "test_senders.py::test_a_message_that_no_worker_can_record",
            "tests/contract/test_queue.py::test_poison_ends_among_the_dead_and_delays_nobody",
        ),
    ),
    Row("F26", "queue of dead letters gone", ("test_broker.py::test_the_queue_of_dead_letters_is_gone",)),
    Row(
        "F27",
        "a thousand dead letters replayed twice",
        ("tests/api/test_dead_letters.py::test_a_thousand_replayed_twice",),
    ),
    Row(
        "F28",
        "PostgreSQL killed, postmaster and one backend",
        (
            "test_services.py::test_the_database_is_killed_and_frozen",
            "test_database.py::test_one_backend_is_killed",
        ),
    ),
    Row(
        "F29",
        "PostgreSQL frozen for ninety seconds",
        (
            "test_database.py::test_a_frozen_database_and_an_exhausted_pool",
            "test_database.py::test_the_database_is_frozen_for_ninety_seconds",
        ),
    ),
    Row(
        "F30",
        "database away with traffic",
        ("test_database.py::test_the_database_is_away_while_thousands_come",),
        reason="a minute and some thousands of messages instead of half an hour and 50 000",
    ),
    Row(
        "F31",
        "outcome of a COMMIT unknown",
        ("test_commit_and_ack.py::test_the_outcome_of_a_commit_stays_unknown",),
    ),
    Row(
        "F32", "deadlocks and serialisation failures", ("test_database.py::test_deadlocks_and_serialisation_failures",)
    ),
    Row("F33", "pool exhausted", ("test_database.py::test_a_frozen_database_and_an_exhausted_pool",)),
    Row("F34", "disk of the database full", ("test_database.py::test_the_disk_of_the_database_is_full",)),
    Row("F35", "long lock on the tables", ("test_database.py::test_a_long_lock_on_the_tables",)),
    Row(
        "F36",
        "database restored from an older backup",
        (
            "test_database.py::test_an_older_backup_is_restored",
            "tests/channels/test_poller.py::test_what_was_not_durable_is_read_again",
        ),
        reason="there is no archive of what was accepted: the audit names what came after the backup",
    ),
    Row(
        "F37",
        "spool disk full",
        (
            "test_disk.py::test_below_the_watermark_senders_are_asked_to_wait",
            "test_disk.py::test_the_last_byte_is_taken",
            f"{_QUEUE}::test_a_disk_that_refuses_is_a_temporary_error_and_keeps_what_was_accepted",
        ),
    ),
    Row("F38", "spool out of inodes", ("test_disk.py::test_inodes_run_out",)),
    Row(
        "F39",
        "spool read-only, fsync fails",
        ("test_disk.py::test_a_read_only_disk_is_said_at_start", "test_disk.py::test_fsync_fails"),
    ),
    Row("F40", "fsync takes two seconds", ("test_disk.py::test_fsync_is_slow",)),
    Row(
        "F41",
        "spool file damaged",
        (
            "test_embedded_files.py::test_a_damaged_queue_file_is_set_aside",
            "tests/contract/test_queue_damage.py::test_a_damaged_file_is_set_aside_and_read_back",
            "tests/contract/test_queue_damage.py::test_damage_while_the_file_is_in_use",
        ),
    ),
    Row("F42", "descriptors exhausted", ("test_process.py::test_descriptors_run_out",)),
    Row("F43", "memory limit", ("test_senders.py::test_hostile_mail_in_little_memory",)),
    Row("F44", "processor taken away", ("test_process.py::test_the_processor_is_taken_away",)),
    Row("F45", "clock jumps and stands still", ("test_process.py::test_the_clock_jumps",)),
    Row(
        "F46",
        "two gateways, two workers, two pollers",
        (
            "test_services.py::test_gateways_and_workers_are_killed_in_turn",
            "tests/channels/test_poller.py::test_one_of_two_processes_polls_and_the_other_takes_over",
            "tests/channels/test_poller.py::test_mentions_reach_the_real_queue_once_whichever_process_polls",
        ),
    ),
    Row("F47", "SIGTERM under load", ("test_process.py::test_told_to_stop_under_load",)),
    Row("F48", "old and new version together", ("test_versions.py::test_an_older_gateway_and_this_worker",)),
    Row(
        "F49",
        "mail server dies after the dot",
        ("test_senders.py::test_a_mail_server_dies_after_the_dot_and_sends_again",),
    ),
    Row(
        "F54",
        "chat resends a thousand at once",
        ("test_senders.py::test_a_chat_sends_a_thousand_unacknowledged_messages_at_once",),
    ),
    Row(
        "F57",
        "log full, standard output closed",
        ("test_process.py::test_nobody_reads_its_log", "test_process.py::test_its_log_is_full"),
    ),
    Row(
        "F58",
        "embedded: killed at each fsync, disk full, second process",
        (
            "test_kill_points.py::test_killed_at_a_chosen_call",
            "test_disk.py::test_the_last_byte_is_taken",
            "test_embedded_files.py::test_a_second_process_on_the_folder_is_refused",
        ),
    ),
    Row(
        "F59",
        "embedded: log deleted, database copied while it is used",
        (
            "test_embedded_files.py::test_logs_deleted_while_the_desk_runs",
            "test_embedded_files.py::test_a_backup_of_a_desk_at_work",
            "tests/contract/test_queue_damage.py::test_a_log_that_was_deleted_in_use_loses_nothing",
        ),
    ),
    Row(
        "F60",
        "soak with a random fault a minute",
        ("test_soak.py::test_a_short_soak",),
        reason="as long as asked: make chaos MINUTES=30",
    ),
)


def main() -> None:
    """Print the node ids of the rows named, or of all."""
    wanted = [name.upper() for name in sys.argv[1:]]
    known = {row.name for row in ROWS}
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"no such row: {', '.join(unknown)}")
    nodes = dict.fromkeys(node for row in ROWS if not wanted or row.name in wanted for node in row.nodes)
    print("\n".join(nodes))
    if not nodes:
        sys.exit("\n".join(f"{row.name}: {row.reason}" for row in ROWS if row.name in wanted))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
