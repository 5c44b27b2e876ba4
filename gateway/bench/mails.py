"""The figures of mail as tables: what it costs to read one, and what hostile ones cost the customers of the form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateway.bench.flood import Flood
from gateway.bench.reading import Figure
from gateway.bench.report import Table

_MIB: Final = 1 << 20
_SHOWN: Final = 6  # of the hostile mails; all of them are in the JSON


@dataclass(frozen=True, slots=True)
class Mail:
    """What was measured about mail; neither has to be."""

    read: Sequence[Figure]
    flood: Flood | None

    @property
    def balanced(self) -> bool:
        """Whether everything the flood brought is accounted for."""
        return self.flood is None or self.flood.balanced

    def tables(self) -> list[Table]:
        """For people."""
        return ([reading(self.read)] if self.read else []) + (list(flooded(self.flood)) if self.flood else [])

    def audits(self) -> list[tuple[str, str]]:
        """Of which desk, and what it said."""
        return [("embedded, hostile mail", self.flood.audit)] if self.flood else []

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {"reading": [asdict(figure) for figure in self.read], "flood": self.flood and self.flood.as_dict()}


def reading(figures: Sequence[Figure]) -> Table:
    """Each beside what is wanted, and beside the standard library in the same run."""
    head = ("reading a mail", "measured", "wanted", "standard library, parts only")
    return Table(
        head,
        [
            (
                figure.name,
                f"{figure.value:,.2f} {figure.unit}",
                f"< {figure.limit:g} {figure.unit}",
                "" if figure.bare is None else f"{figure.bare:,.2f} {figure.unit}",
            )
            for figure in figures
        ],
    )


def flooded(flood: Flood) -> Iterator[Table]:
    """The slowest hostile mails by themselves, and the form without and with the flood."""
    slowest = sorted(flood.mails, key=lambda mail: mail.outcome_s, reverse=True)[:_SHOWN]
    hungriest = max(flood.mails, key=lambda mail: mail.extra_bytes)
    yield Table(
        ("slowest and hungriest hostile mails", "accepted", "outcome (< 2,000 ms)", "extra (< 150 MiB)", ""),
        [
            (
                mail.name,
                f"{mail.accept_s * 1000:,.0f} ms",
                f"{mail.outcome_s * 1000:,.0f} ms",
                f"{mail.extra_bytes / _MIB:,.1f} MiB",
                mail.outcome,
            )
            for mail in dict.fromkeys((*slowest, hungriest))
        ],
    )
    rows = [
        (name, f"{ms['p50']:.1f} ms", f"{ms['p99']:.1f} ms", ratio)
        for name, ms, ratio in (
            ("alone", flood.quiet_ms, ""),
            (f"with {flood.hostile_per_s:.0f} hostile mails/s", flood.flooded_ms, f"{flood.ratio:.1f}"),
            ("(a bare door beside it: a line, fdatasync, an answer)", flood.bare_quiet_ms, ""),
            ("(the bare door, with the hostile mails)", flood.bare_flooded_ms, f"({flood.bare_ratio:.1f})"),
        )
    ]
    yield Table(
        (f"form posts, {flood.forms_per_s:.0f}/s", "accept p50", "p99, median turn", "p99 to p99 alone (< 2)"), rows
    )
