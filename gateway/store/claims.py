"""Claims: somebody known by one identity says that another is theirs too (DESIGN 8).

Signed by the site that knows them, a claim is proof and acts at once; everything else waits on the ticket as a
suggestion. An identity is never taken from a customer: where somebody else holds it, both sides have to be proven, or a
person decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, func, or_, select, tuple_, update

from gateway.store import tables as t
from gateway.store.corrections import MACHINE
from gateway.store.joining import join
from gateway.store.journal import CorrectionError, Done, Hand, by_hand, conflict, invalid, missing
from gateway.store.paging import MAX_ID, Row
from gateway.store.people import Ours, Take, find_holders, prove, somebody
from gateway.store.values import one_of
from gateway.store.writing import Rows, insert_all, next_ids
from normalizer.addresses import canonical_email, email_shaped
from normalizer.message import LONGEST_ADDRESS, Message
from normalizer.phone_numbers import canonical_phone

_MOST_SUGGESTED: Final = 400
_PHONE_FIELDS: Final = ("phone", "telephone", "tel", "mobile")
_LONGEST_NUMBER: Final = 40  # characters of a phone number in a form


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody known as `author` says that `claimed` is theirs too."""

    author: str
    claimed: str
    proven: bool
    reason: str
    receipt: UUID = field(compare=False)


def claims_of(message: Message, ours: Ours) -> Iterator[Claim]:
    """What a message's facts say about other addresses of its author (`email` with `email_trust`, a phone number)."""
    claims = list(_claims_in(message))
    if claims and somebody(message, ours) is not None:
        yield from (claim for claim in claims if claim.claimed.startswith("phone:") or not ours.holds(claim.claimed))


def _claims_in(message: Message) -> Iterator[Claim]:
    author = message.author
    if author.identity is None:
        return
    email = message.fields.get("email")
    if author.kind != "email" and isinstance(email, str) and email_shaped(email) and len(email) < LONGEST_ADDRESS - 8:
        claimed = f"email:{canonical_email(email)}"
        proven = message.fields.get("email_trust") == "verified" and author.trust == "verified"
        reason = author.evidence if proven else f"gave this address on {message.channel}, unproven"
        yield Claim(author.identity, claimed, proven, reason, message.receipt_id)
    for name in _PHONE_FIELDS:
        said = message.fields.get(name)
        number = canonical_phone(said) if isinstance(said, str) and len(said) < _LONGEST_NUMBER else None
        if author.kind != "phone" and number:
            reason = f"gave this number on {message.channel}, unproven"
            yield Claim(author.identity, f"phone:{number}", False, reason, message.receipt_id)
            return


def join_proven(
    conn: Connection,
    messages: Sequence[Message],
    customers: Mapping[UUID, int | None],
    waiting: Waiting,
    now: datetime,
    take: Take,
    ours: Ours | None = None,
) -> None:
    """Keep what the messages claim, and act on what is proven. Last in the transaction that records them, when their
    comments and tickets are written: a join moves those too. Nothing to do when nobody claims anything."""
    ours = ours or Ours()
    made = {
        (claim.author, claim.claimed): claim
        for message in messages
        if customers.get(message.receipt_id) is not None
        for claim in sorted(claims_of(message, ours), key=lambda claim: claim.proven)
    }
    hand = Hand(conn, MACHINE, now, take)
    ready = _keep_claims(hand, list(made.values())) if made else []
    verified = {message.author.identity or "" for message in messages if message.author.trust == "verified"}
    for claim in {row["id"]: row for row in [*ready, *waiting.of(conn, verified)]}.values():
        _act_on(hand, claim)


WAITING: Final = (
    select(t.claims)
    .where(one_of(t.claims.c.claimed, "claimed"))
    .where((t.claims.c.state == "open") & t.claims.c.proven)
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Proven claims that could not act while an identity was unproven: the order of arrival must not matter.

    `asked`: identities (`kind:value`) that were asked about. `found`: what `WAITING` answered.
    """

    asked: Collection[str]
    found: Sequence[Any]

    def of(self, conn: Connection, identities: set[str]) -> list[Row]:
        """Those of these identities."""
        missing = identities.difference(self.asked)
        found = [*self.found, *(conn.execute(WAITING, {"claimed": sorted(missing)}) if missing else ())]
        return [row._asdict() for row in found if row.claimed in identities]


def _keep_claims(hand: Hand, made: Sequence[Claim]) -> list[Row]:
    """Write claims that are new or newly proven; answers the proven ones that are still open."""
    conn, columns = hand.conn, t.claims.c
    pairs = tuple_(columns.author, columns.claimed).in_([(claim.author, claim.claimed) for claim in made])
    known = {
        (row["author"], row["claimed"]): dict(row) for row in conn.execute(select(t.claims).where(pairs)).mappings()
    }
    tickets = _tickets_of(conn, [claim.receipt for claim in made])
    number = next_ids(conn, [t.claims])[t.claims.name]
    fresh: Rows = []
    for claim in made:
        row = known.get((claim.author, claim.claimed))
        if row is None:
            row = {
                "id": number,
                "author": claim.author,
                "claimed": claim.claimed,
                "proven": claim.proven,
                "reason": claim.reason,
                "ticket_id": tickets.get(claim.receipt),
                "state": "open",
                "decided_by": "",
                "decided_at": None,
                "created_at": hand.now,
            }
            number += 1
            fresh.append(row)
            known[claim.author, claim.claimed] = row
        elif claim.proven and not row["proven"]:
            row |= {"proven": True, "reason": claim.reason}
            conn.execute(update(t.claims).where(columns.id == row["id"]).values(proven=True, reason=claim.reason))
    insert_all(conn, t.claims, fresh)
    return [row for row in known.values() if row["proven"] and row["state"] == "open"]


def _tickets_of(conn: Connection, receipts: Sequence[UUID]) -> dict[UUID, int]:
    return dict(conn.execute(_TICKETS_OF, {"receipts": receipts}).all())


_SAID: Final = t.comments.c
_TICKETS_OF: Final = select(_SAID.receipt_id, _SAID.ticket_id).where(one_of(_SAID.receipt_id, "receipts"))


def _act_on(hand: Hand, claim: Row) -> None:
    """A proven claim: the identity is theirs, or whoever holds it is the same person, unless that takes it away."""
    conn = hand.conn
    mine, theirs = split_identity(claim["author"]), split_identity(claim["claimed"])
    held = find_holders(conn, [mine, theirs])
    me, holder = held.get(mine), held.get(theirs)
    if me is None:
        return
    if holder is None:
        row = {"id": hand.take(t.identities), "customer_id": me, "kind": theirs[0], "value": theirs[1]}
        insert_all(conn, t.identities, [row | {"trust": "verified", "source": claim["reason"], "created_at": hand.now}])
    elif holder != me:
        if not _may_join(conn, holder, theirs):
            return
        try:
            join(hand, me, holder, claim["reason"], ticket_id=claim["ticket_id"])
        except CorrectionError:
            return  # the company's own systems say they are two people: it stays a suggestion
    prove(conn, *theirs, claim["reason"])
    settle_claim(hand, claim["id"], "joined")


def _may_join(conn: Connection, holder: int, identity: tuple[str, str]) -> bool:
    """Does the holder lose nothing that was proven to be somebody else's? Its identity is proven too, or is all that
    is known of it: then it never was more than somebody who said this was their address."""
    columns = t.identities.c
    trust = conn.scalar(select(columns.trust).where(columns.kind == identity[0], columns.value == identity[1]))
    others = conn.scalar(select(func.count()).select_from(t.identities).where(columns.customer_id == holder)) or 0
    return trust == "verified" or others == 1


def settle_claim(hand: Hand, claim_id: int, state: str) -> None:
    """Note what became of a claim: `joined` or `declined`."""
    decided = {"state": state, "decided_by": hand.actor, "decided_at": hand.now}
    hand.conn.execute(update(t.claims).where(t.claims.c.id == claim_id).values(decided))


def suggestions(conn: Connection, customer_id: int) -> list[Row]:
    """Open claims that tie this customer to another, whose number is `other_id`; the rest is the claim's row."""
    identities, claims = t.identities.c, t.claims.c
    names = [
        f"{row.kind}:{row.value}"
        for row in conn.execute(select(identities.kind, identities.value).where(identities.customer_id == customer_id))
    ]
    if not names:
        return []
    either = or_(claims.author.in_(names), claims.claimed.in_(names))
    query = select(t.claims).where(claims.state == "open", either).order_by(claims.id).limit(_MOST_SUGGESTED)
    rows = [dict(row) for row in conn.execute(query).mappings()]
    ends = find_holders(conn, [split_identity(row[end]) for row in rows for end in ("author", "claimed")])
    found = []
    for row in rows:
        pair = {ends.get(split_identity(row["author"])), ends.get(split_identity(row["claimed"]))}
        others = pair - {customer_id, None}
        if customer_id in pair and others:
            found.append({**row, "other_id": others.pop()})
    return found


def decide(conn: Connection, claim_id: int, *, same: bool, actor: str, now: datetime) -> Done | None:
    """A person says whether a suggestion is right: the two customers are joined, or it is not shown again.

    Raises `CorrectionError`. None: declined, there is nothing to undo.
    """
    hand = by_hand(conn, actor, now)
    row = None
    if 0 < claim_id <= MAX_ID:
        row = conn.execute(select(t.claims).where(t.claims.c.id == claim_id)).mappings().first()
    if row is None:
        raise missing(f"there is no suggestion {claim_id}")
    if row["state"] != "open":
        raise conflict(f"suggestion {claim_id} was {row['state']} by {row['decided_by']}")
    done = None
    if same:
        held = find_holders(conn, [split_identity(row["author"]), split_identity(row["claimed"])])
        me, holder = held.get(split_identity(row["author"])), held.get(split_identity(row["claimed"]))
        if me is None or holder is None or me == holder:
            raise invalid("id", "this suggestion does not tie two users any more")
        because = f"{actor} says that {row['claimed'].partition(':')[2]} is theirs"
        done = join(hand, me, holder, because, ticket_id=row["ticket_id"])
    settle_claim(hand, claim_id, "joined" if same else "declined")
    return done


def split_identity(identity: str) -> tuple[str, str]:
    kind, _, value = identity.partition(":")
    return kind, value
