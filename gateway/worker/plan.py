"""What a batch of deliveries means, decided without touching anything: outcomes, comments, tickets, merges.

`make_plan` gets the deliveries and what the database knows about them, and returns a `Plan` that `store.record` writes
in one transaction. Planned tickets carry negative numbers until the record step gives them real ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from gateway.worker.clues import Clues, read_clues
from gateway.worker.evidence import Row, World
from gateway.worker.folds import Story, tell
from gateway.worker.matching import Placement, place
from normalizer.message import Message, MessageDraft, Update, stamp

Outcome = Literal["ticketed", "appended", "duplicate", "updated", "suspended", "dead", "ignored"]
Item = Message | Update


@dataclass(frozen=True, slots=True)
class Seen:
    """A delivery key that was recorded before, and by which receipt."""

    receipt_id: UUID
    inbox: str
    ticket: int | None = None
    comment: int | None = None


@dataclass(slots=True)
class Known:
    """What the database knows about a batch."""

    world: World
    clues: Mapping[UUID, Clues] = field(default_factory=dict)  # by receipt; read where they are missing
    recorded: dict[UUID, Outcome] = field(default_factory=dict)  # receipts with a final outcome
    dead: list[UUID] = field(default_factory=list)  # receipts of dead letters: what comes again is replayed
    seen: dict[str, Seen] = field(default_factory=dict)  # by delivery key
    cited_tickets: list[Row] = field(default_factory=list)  # first named by a reply token: to be kept
    facts: dict[str, list[Update]] = field(default_factory=dict)  # earlier updates, by what they are about
    told: dict[str, int] = field(default_factory=dict)  # the comment that tells an `about`'s story

    def clues_of(self, message: Message) -> Clues:
        """What a message of the batch, or a story that its facts make, tells by itself."""
        clues = self.clues.get(message.receipt_id)
        return clues if clues is not None and clues.message is message else read_clues(message)


@dataclass(slots=True)
class Verdict:
    """The outcome of one delivery. `ticket` may be planned."""

    item: Item
    outcome: Outcome
    reason: str = ""
    ticket: int | None = None
    comment: int | None = None
    duplicate_of: UUID | None = None


@dataclass(slots=True)
class Comment:
    """A new comment: the message as it stands on a ticket, and why it is there."""

    message: Message
    placement: Placement
    people: frozenset[str]  # who takes part through it
    about: str = ""


@dataclass(slots=True)
class Retelling:
    """An existing comment whose story has changed because another fact arrived."""

    about: str
    comment: int
    message: Message


@dataclass(slots=True)
class Plan:
    """Everything to write for one batch."""

    verdicts: list[Verdict] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    retellings: list[Retelling] = field(default_factory=list)
    suspended: list[Message] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)  # facts to keep


def make_plan(items: Sequence[Item], known: Known) -> Plan:
    """Decide a whole batch, in its order; equal deliveries inside it are duplicates of each other."""
    plan = Plan()
    pending: dict[str, list[Update]] = {}
    for item in items:
        if item.receipt_id in known.recorded:
            continue  # the broker delivered it again after we had recorded it: nothing to do but acknowledge
        known.recorded[item.receipt_id] = "duplicate"
        if (earlier := known.seen.get(item.delivery_key)) is not None:
            plan.verdicts.append(_duplicate(item, earlier))
            continue
        known.seen[item.delivery_key] = Seen(item.receipt_id, item.inbox)
        if isinstance(item, Message):
            _decide_message(plan, known, item)
        elif item.kind == "ignored":
            plan.verdicts.append(Verdict(item, "ignored", item.reason))
        else:
            plan.updates.append(item)
            pending.setdefault(item.about, []).append(item)
    for about, updates in pending.items():
        _decide_story(plan, known, about, updates)
    _settle(plan, known.world)
    return plan


def _duplicate(item: Item, earlier: Seen) -> Verdict:
    reason = "the same delivery again"
    if earlier.inbox != item.inbox:
        reason = f"the same message was delivered to inbox {earlier.inbox} too"
    return Verdict(item, "duplicate", reason, earlier.ticket, earlier.comment, earlier.receipt_id)


def _decide_message(plan: Plan, known: Known, message: Message) -> None:
    if message.suspend:
        plan.suspended.append(message)
        plan.verdicts.append(Verdict(message, "suspended", message.suspend))
        return
    _comment_on(plan, known, message)


def _comment_on(plan: Plan, known: Known, message: Message, about: str = "") -> None:
    clues = known.clues_of(message)
    placement = place(known.world, clues)
    plan.comments.append(Comment(message, placement, clues.people, about))
    plan.verdicts.append(Verdict(message, "appended", placement.rule, placement.ticket))


def _decide_story(plan: Plan, known: Known, about: str, updates: list[Update]) -> None:
    """Fold the facts of one thing that is reported in pieces; the first that is reason enough opens its ticket."""
    story = tell(about, [*known.facts.get(about, ()), *updates])
    told = known.told.get(about)
    opener = None if told is not None else next((update for update in updates if update.opens), None)
    for update in updates:
        if update is not opener:
            plan.verdicts.append(Verdict(update, "updated", str(update.facts.get("event", "")), comment=told))
    if told is not None:
        plan.retellings.append(Retelling(about, told, _as_message(updates[-1], story)))
    elif opener is not None:
        _comment_on(plan, known, _as_message(opener, story), about)


def _as_message(update: Update, story: Story) -> Message:
    """The comment a story makes, under the receipt of one of its facts."""
    draft = MessageDraft(
        author=story.author,
        delivery_key=update.delivery_key,
        external_id=update.external_id,
        sent_at=story.at,
        subject=story.subject,
        text=story.text,
        attachments=story.attachments,
        thread_keys=story.thread_keys,
        fields=dict(story.fields),
        original=update.original,
    )
    return stamp(
        draft,
        receipt_id=update.receipt_id,
        gateway=update.gateway,
        sequence=update.sequence,
        channel=update.channel,
        inbox=update.inbox,
        join=update.join,
        one_case=update.one_case,
        received_at=update.received_at,
    )


def _settle(plan: Plan, world: World) -> None:
    """Once every merge is known: which message opened which new ticket."""
    opened: set[int] = set()
    verdicts = {verdict.item.receipt_id: verdict for verdict in plan.verdicts}
    for comment in plan.comments:
        ticket = world.find(comment.placement.ticket)
        comment.placement.ticket = ticket
        verdict = verdicts[comment.message.receipt_id]
        verdict.ticket = ticket
        if ticket < 0 and ticket not in opened:
            opened.add(ticket)
            verdict.outcome = "ticketed"
    for verdict in plan.verdicts:
        if verdict.ticket is None and verdict.duplicate_of in verdicts:
            verdict.ticket = verdicts[verdict.duplicate_of].ticket
        elif verdict.ticket is not None:  # of what was there before: the batch may have merged it
            verdict.ticket = world.find(verdict.ticket)
