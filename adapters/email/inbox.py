"""Mail: RFC 822 bytes, however they came (SMTP, LMTP, pipe, file), into one canonical message.

    From: Anna <anna@customer.example>          -> author, trusted as far as our own mail server proved it
    To: support+84.1.k2lq...@desk.example       -> the signed ticket number is the strongest thread evidence
    In-Reply-To / References                    -> thread keys, known or not yet seen
    text, or html rendered to text              -> `text` without quoted history and signature; `full_text` with both

The original bytes always travel with the message. A mail that asks for more work than real mail does is not parsed but
held for a person, with what its header safely says.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from adapters.base import Adapter, Answer, Clients, InboundRequest, InboxOptions, Page, Raw, Refused
from adapters.email.arrival import MAIL, Arrival, Provider, UnreadableError
from adapters.email.imap import Mailbox
from adapters.email.mailgun import Mailgun
from adapters.email.options import EmailOptions
from adapters.email.postmark import Postmark
from adapters.email.sendgrid import SendGrid
from adapters.email.ses import Ses
from adapters.email.tokens import token_of
from normalizer import (
    addresses,
    authentication,
    automated,
    fingerprint,
    forwarding,
    headers,
    language,
    mime,
    rewritten,
    thread_keys,
    weak_keys,
    wordless,
)
from normalizer.bounces import Report
from normalizer.message import Author, Draft, Hit, MessageDraft, Original, Recipient, ThreadKey, clean_json, clean_text
from normalizer.structure import OverBudgetError

if TYPE_CHECKING:
    from adapters.email.sender_check import SenderCheck

MAX_RECIPIENTS: Final = 100
PROVIDERS: Final[tuple[type[Provider], ...]] = (SendGrid, Mailgun, Postmark, Ses)
_NEVER_LOCAL: Final = frozenset(" \t\r\n\x00<>,;%!@")
_KEPT_FIELDS: Final = frozenset({
    "to", "cc", "reply-to", "sender", "date", "list-id", "return-path", "delivered-to", "x-original-to", "x-mailer",
    "user-agent", "thread-index", "thread-topic", "importance", "content-language",
    "x-original-from",
})  # fmt: skip


class Email(Adapter[EmailOptions]):
    """One mail inbox."""

    channel: ClassVar[str] = "email"
    Options: ClassVar[type[InboxOptions]] = EmailOptions
    tails: ClassVar[frozenset[str]] = frozenset().union(*(each.tails | each.own_tails for each in PROVIDERS))
    max_request: ClassVar[int] = 37_748_736  # Postmark's 25 MiB of attachments are 35 MB of JSON; SendGrid takes 30 MB

    def __init__(self, inbox: str, options: EmailOptions, clients: Clients | None = None) -> None:
        super().__init__(inbox, options, clients)
        self._providers = {provider.name: provider(inbox, options, self.clients) for provider in PROVIDERS}
        self._mailbox = Mailbox(options.imap, options.max_bytes) if options.imap is not None else None
        self.polls = self._mailbox is not None
        self._senders = _senders(options, self.clients)
        self._own = frozenset(addresses.canonical_email(item) for item in options.addresses if "*" not in item)
        patterns = [item.strip() for item in options.addresses if "*" in item]
        if not options.addresses:
            patterns = [f"*@{domain}" for domain in options.domains]
        self._domains = frozenset(addresses.canonical_domain(item.rpartition("@")[2]) for item in patterns)
        self._agents = frozenset(item.strip().lower() for item in options.agents)
        self._keys = {key_id.lower(): key.get_secret_value().encode() for key_id, key in options.reply_keys.items()}

    def accepts(self, recipient: str) -> bool:
        """Whether mail for this address is this inbox's. A `+tag` or a `-tag` behind an own address does not matter."""
        address = addresses.canonical_email(recipient.strip().strip("<>"))
        local, at, domain = address.rpartition("@")
        if not (at and local and domain) or len(address) > 320 or not _NEVER_LOCAL.isdisjoint(local):
            return False
        if domain in self._domains or "*" in self._domains:
            return True
        return address in self._own or f"{local.partition('+')[0]}@{domain}" in self._own

    def missing(self) -> Sequence[str]:
        """What the inbox's own provider needs; mail that comes by itself needs nothing."""
        chosen = self._providers.get(self.options.provider)
        return chosen.missing() if chosen is not None else ()

    def hooks(self) -> Sequence[str]:
        """The paths of the providers whose posts can be checked."""
        ready = [name for name, provider in self._providers.items() if not provider.missing()]
        return ["" if name == self.options.provider else name for name in ready]

    async def prepare(self, request: InboundRequest) -> Answer | None:
        """What the provider needs to be asked first."""
        return await self._provider_at(request.tail).prepare(request)

    def authenticate(self, raw: Raw) -> None:
        """A provider's post has to be proven. Mail that no webhook carried is anybody's, as mail is."""
        if raw.request is not None:
            self._provider_at(raw.request.tail).authenticate(raw, raw.request)

    def acknowledge(self, request: InboundRequest, receipt_ids: Sequence[str]) -> Answer:
        """200, which all of them want, and the receipts."""
        return Answer(200, " ".join(receipt_ids).encode())

    async def examine(self, raw: Raw) -> Raw:
        """Who signed the mail, where that is checked here."""
        return raw if self._senders is None else await self._senders.examine(raw, self._provider_of(raw))

    def normalize(self, raw: Raw) -> Sequence[Draft]:
        """One mail, one message."""
        provider = self._provider_of(raw)
        if provider is None:
            if len(raw.body) > self.options.max_bytes:
                raise Refused(413, f"the mail is larger than {self.options.max_bytes} octets")
            return [self._read(raw)]
        try:
            arrival = provider.unwrap(raw)
        except UnreadableError as error:
            return [_unreadable(raw, provider, error)]
        if not isinstance(arrival, Arrival):
            return [arrival]
        draft = self._read(Raw(arrival.mail, MAIL, {**raw.facts, **arrival.facts}))
        return [_with_what_was_said(draft, arrival, raw)]

    def _read(self, raw: Raw) -> MessageDraft:
        try:
            mail = mime.parse(raw.body)
        except OverBudgetError as error:
            return self._held(raw, error)
        draft = self._message(raw, mail)
        return _in_part(draft, raw) if raw.facts.get("held") else draft

    # -- the mailbox ----------------------------------------------------------------------------------------------

    @property
    def poll_seconds(self) -> float:
        """Seconds between two polls of the mailbox."""
        return self.options.imap.poll_seconds if self.options.imap is not None else super().poll_seconds

    def poll(self, cursor: str) -> AsyncIterator[Page]:
        """Mail of the mailbox after a cursor."""
        return self._mailbox.poll(cursor) if self._mailbox is not None else super().poll(cursor)

    async def idle(self, seconds: float) -> None:
        """Wait for new mail in the mailbox."""
        await (self._mailbox.idle(seconds) if self._mailbox is not None else super().idle(seconds))

    async def reach(self) -> str:
        """Log in to the mailbox, and ask the name server where senders are checked."""
        reached = [await side.reach() for side in (self._mailbox, self._senders) if side is not None]
        return "; ".join(sentence for sentence in reached if sentence)

    async def close(self) -> None:
        """Log out of the mailbox."""
        if self._mailbox is not None:
            await self._mailbox.close()

    # -- whose post it is -----------------------------------------------------------------------------------------

    def _provider_at(self, tail: str) -> Provider:
        """Whose path this is. Raises `Refused` 404 for the inbox's own path when no provider was chosen for it."""
        for provider in self._providers.values():
            if tail in provider.tails or (provider.name == self.options.provider and tail in provider.own_tails):
                return provider
        raise Refused(404, "No mail provider posts here; its name goes behind the address, as in /sendgrid.")

    def _provider_of(self, raw: Raw) -> Provider | None:
        """By the path it came to, else (a stored post read again) by the type it was kept under."""
        if raw.request is not None:
            return self._provider_at(raw.request.tail)
        if "provider=" not in raw.content_type:
            return None
        return self._providers.get(headers.parameters(raw.content_type)[1].get("provider", ""))

    # -- the message ----------------------------------------------------------------------------------------------

    def _message(self, raw: Raw, mail: mime.Mail) -> MessageDraft:
        problems = list(mail.problems)
        author = self._author(raw, mail, problems)
        parts = mail.visible
        full_text = mail.text.strip("\n")
        hashes = [item.sha256 for item in mail.attachments]
        own_ids = thread_keys.message_ids(mail.raw("message-id"), loose=True)
        external_id = thread_keys.key_value(own_ids[0])[4:] if own_ids else ""
        envelope = raw.facts.get("mail_from")
        subject = mail.subject
        base = thread_keys.subject_base(subject)
        report = automated.report_of(mail, author.value or "", mail_from=envelope)
        keys, until = self._thread_keys(raw, mail, report)
        message = MessageDraft(
            external_id=external_id,
            sent_at=mail.date,
            author=author,
            recipients=self._recipients(raw, mail),
            subject=subject[:2_000],
            text=parts.reply or clean_text(wordless.describe(mail)),
            full_text="" if full_text == parts.reply else full_text,
            html=mail.html,
            language=language.detect(parts.reply, mail.raw("content-language")),
            attachments=mail.attachments,
            delivery_key=_delivery_key(mail, external_id, author, full_text, hashes),
            content_key=fingerprint.content_key(author.identity or "", parts.reply, hashes),
            thread_keys=(*keys, *_weak_keys(mail, base, quotes=bool(parts.quoted))),
            subject_base=base,
            automated=automated.recognise(mail, author.value or "", mail_from=envelope, own=self._own),
            problems=tuple(problems),
            suspend="" if mail.fields else "the mail has no header: nobody knows who sent it",
            fields=_facts(raw, mail, report) | ({"reply_token_until": until} if until else {}),
            original=_original(raw.body),
        )
        return self._as_forwarded(mail, message) if self._is_agent(author) else message

    def _is_agent(self, author: Author) -> bool:
        """One of our own people, unless the mail failed authentication: then it only says so."""
        address = author.value or ""
        domain = f"*@{address.rpartition('@')[2]}"
        return author.trust != "failed" and any(item in (address, domain) for item in self._agents)

    def _as_forwarded(self, mail: mime.Mail, message: MessageDraft) -> MessageDraft:
        """What an agent passes on is its original sender's; who passed it on, and the note above it, are kept."""
        found = forwarding.original(mail)
        if found is None:
            return message
        agent = message.author.value or ""
        keys = message.thread_keys
        if found.message_id:
            keys = (*keys, ThreadKey(kind="references", value=thread_keys.key_value(found.message_id)))
        author = Author(
            kind="email", value=found.value, display_name=found.display_name, evidence=f"as forwarded by {agent}"
        )
        hashes = [item.sha256 for item in message.attachments]
        fields = {**message.fields, "forwarded_by": agent}
        if found.note:
            fields["note"] = found.note
        return message.model_copy(
            update={
                "author": author,
                "subject": clean_text(found.subject)[:2_000] or message.subject,
                "subject_base": thread_keys.subject_base(found.subject or message.subject),
                "sent_at": found.sent_at or message.sent_at,
                "text": clean_text(found.text) or message.text,
                "full_text": message.full_text or message.text,
                "language": language.detect(found.text),
                "content_key": fingerprint.content_key(author.identity or "", found.text, hashes),
                "thread_keys": keys,
                "fields": clean_json(fields),
            }
        )

    def _author(self, raw: Raw, mail: mime.Mail, problems: list[Hit]) -> Author:
        """Who wrote, by From. Where it does not name one person, the envelope sender stands in, unverified (A15)."""
        lines = mail.raw_all("from")
        claimed = [item for line in lines[:5] for item in addresses.parse_addresses(line, 10)]
        if len(lines) == 1 and len(claimed) == 1 and addresses.email_shaped(claimed[0].value):
            value, name = claimed[0]
            if "@" in name and addresses.first_email_in(name) not in ("", value):
                problems.append(
                    Hit(name="display_name_address", reason=f"the name shown is another address: {name[:200]}")
                )
            trust, evidence = self._judge(raw, mail, value)
            author = Author(kind="email", value=value, display_name=name, trust=trust, evidence=evidence)
            return self._behind_list(raw, mail, author) if rewritten.is_rewritten(mail, name) else author
        what = "no usable From address" if not claimed else f"{len(claimed)} From addresses in {len(lines)} fields"
        problems.append(Hit(name="from_missing" if not claimed else "from_ambiguous", reason=what))
        sender = _envelope_sender(raw, mail)
        if sender:
            return Author(kind="email", value=sender, evidence=f"{what}; this is the envelope sender, unproven")
        if claimed:
            value, name = claimed[0]
            return Author(kind="email", value=value, display_name=name, evidence=f"{what}; this is the first, unproven")
        name = headers.decode_words(lines[0])[:200] if lines else ""
        return Author(kind="email", value=None, display_name=name, evidence=what)

    def _behind_list(self, raw: Raw, mail: mime.Mail, author: Author) -> Author:
        """Who wrote what a list or group sent in its own name. Believed of our own groups, and where senders are
        checked only when it was proven that they sent it; of others nobody knows, and the list is no customer."""
        value = author.value or ""
        found = rewritten.original_author(mail, value, author.display_name)
        checked = self.options.authserv_ids or raw.facts.get("auth") or raw.facts.get(authentication.CHECKED)
        said = f"{value} is a list or group, which speaks for somebody else"
        if (
            found is None
            or not self.accepts(value)
            or author.trust == "failed"
            or (checked and author.trust != "verified")
        ):
            kept = "failed" if author.trust == "failed" else "unverified"
            return author.model_copy(update={"value": None, "trust": kept, "evidence": clean_text(said)})
        name = clean_text(found.display_name)[:200]
        return Author(
            kind="email", value=found.value, display_name=name, evidence=f"as {value} says, which passed it on"
        )

    def _judge(self, raw: Raw, mail: mime.Mail, author: str) -> authentication.Verdict:
        """By what the provider checked, under its own signature; else by what a server of ours wrote in the header;
        else by our own check."""
        checked = str(raw.facts.get("auth") or "")
        server = checked.partition(";")[0].strip()
        if server:
            verdict = authentication.judge([("authentication-results", checked)], author, [server])
            if verdict.trust != "unverified":
                return verdict
        trusted, beneath = self.options.authserv_ids, self.options.authserv_beneath
        verdict = authentication.judge(mail.fields, author, trusted, beneath=beneath)
        return authentication.weigh(verdict, raw.facts.get(authentication.CHECKED), author)

    def _recipients(self, raw: Raw, mail: mime.Mail) -> tuple[Recipient, ...]:
        found = _envelope(raw)
        roles: tuple[Literal["to", "cc"], ...] = ("to", "cc")
        for role in roles:
            for line in mail.raw_all(role):
                found.extend(
                    Recipient(role=role, kind="email", value=value, display_name=name)
                    for value, name in addresses.parse_addresses(line, MAX_RECIPIENTS)
                )
                if len(found) >= MAX_RECIPIENTS:
                    return tuple(found[:MAX_RECIPIENTS])
        return tuple(found)

    def _thread_keys(self, raw: Raw, mail: mime.Mail, report: Report | None) -> tuple[tuple[ThreadKey, ...], str]:
        """What it answers, and until when (ISO date) its reply token counts; empty: for ever, or there is none."""
        keys = thread_keys.thread_keys(mail.raw("message-id"), mail.raw("in-reply-to"), mail.raw("references"))
        for message_id in thread_keys.message_ids(report.message_id, loose=True)[:1] if report else ():
            about = ThreadKey(kind="references", value=thread_keys.key_value(message_id))
            keys = keys if any(key.value == about.value for key in keys) else (*keys, about)
        token = token_of(mail, _rcpt_tos(raw)[:MAX_RECIPIENTS], keys, report, self._keys)
        if token is None:
            return keys, ""
        until = token.made + timedelta(days=self.options.reply_days) if token.made and self.options.reply_days else ""
        return (ThreadKey(kind="reply_token", value=token.ticket), *keys), str(until)

    # -- what is held ---------------------------------------------------------------------------------------------

    def _held(self, raw: Raw, error: OverBudgetError) -> MessageDraft:
        """A mail that was not parsed: only what a glance at its first lines tells."""
        found = addresses.parse_addresses(error.fields.get("from", ""), 2)
        sender = addresses.canonical_email(str(raw.facts.get("mail_from") or ""))
        value = found[0].value if len(found) == 1 and addresses.email_shaped(found[0].value) else sender
        ids = thread_keys.message_ids(error.fields.get("message-id", ""), loose=True)
        external_id = thread_keys.key_value(ids[0])[4:] if ids else ""
        original = _original(raw.body)
        return MessageDraft(
            external_id=external_id,
            author=Author(kind="email", value=value or None, evidence="the mail was not parsed"),
            recipients=tuple(_envelope(raw)),
            subject=headers.decode_words(error.fields.get("subject", ""))[:500],
            delivery_key=fingerprint.delivery_key("email", external_id, original.sha256),
            problems=(
                Hit(name="unparsed", reason=error.sentence),
                Hit(name=f"over_budget_{error.name}", reason=error.sentence),
            ),
            suspend=f"over budget: {error.sentence}",
            fields={"mail_from": sender},
            original=original,
        )


def _senders(options: EmailOptions, clients: Clients) -> SenderCheck | None:
    if not options.check_authentication:
        return None
    from adapters.email.sender_check import SenderCheck  # noqa: PLC0415  an extra

    return SenderCheck(options, clients.names)


def _delivery_key(mail: mime.Mail, external_id: str, author: Author, text: str, hashes: list[str]) -> str:
    """Equal for the same mail relayed twice: made of what was said, never of Received lines or transfer encodings."""
    words = " ".join(text.split())
    said = [author.value or "", mail.subject, words, *sorted(hashes)]
    if not external_id:
        said += [mail.raw("date"), mail.raw("to"), "" if words else mail.html]
    return fingerprint.delivery_key("email", external_id, fingerprint.digest(said))


def _with_what_was_said(draft: MessageDraft, arrival: Arrival, raw: Raw) -> MessageDraft:
    """The message with what its provider adds, and with the post itself where that is all we have of the mail."""
    changes: dict[str, Any] = {"fields": {**draft.fields, **clean_json(arrival.fields)}}
    if arrival.problems:
        changes["problems"] = (*draft.problems, *arrival.problems)
    if arrival.suspend and not draft.suspend:
        changes["suspend"] = arrival.suspend
    if (draft.suspend or arrival.suspend) and not arrival.original_type:
        # What is kept is the mail alone: here is the rest of what reading it again takes.
        changes["arrival"] = clean_json({"facts": {**raw.facts, **arrival.facts}, "cause": arrival.suspend})
    if arrival.original_type:
        changes["original"] = _original(raw.body, arrival.original_type)
    return draft.model_copy(update=changes)


def _unreadable(raw: Raw, provider: Provider, error: UnreadableError) -> MessageDraft:
    """A proven post that is no mail we can see: kept for a person, with every byte."""
    original = _original(raw.body, provider.kept_as(raw.content_type))
    return MessageDraft(
        author=Author(kind="email"),
        subject="(unreadable)",
        delivery_key=fingerprint.delivery_key("email", provider.name, original.sha256),
        problems=(Hit(name="unparsed", reason=str(error)),),
        suspend=f"could not be read: {error}",
        original=original,
    )


def _weak_keys(mail: mime.Mail, base: str, *, quotes: bool) -> tuple[ThreadKey, ...]:
    """Evidence that counts for proven or participating senders only; a mail with reply headers is no stripped one."""
    subject = mail.subject
    answers = bool(mail.raw("in-reply-to") or mail.raw("references"))
    stripped = not answers and (quotes or thread_keys.looks_like_reply(subject))
    return weak_keys.weak_keys(mail.raw("thread-index"), subject, base, stripped=stripped)


def _envelope_sender(raw: Raw, mail: mime.Mail) -> str:
    for candidate in (str(raw.facts.get("mail_from") or ""), mail.raw("return-path")):
        value = rewritten.behind_envelope(addresses.canonical_email(candidate.strip().strip("<>")))
        if addresses.email_shaped(value) and len(value) <= 320:
            return value
    return ""


def _rcpt_tos(raw: Raw) -> list[str]:
    return [str(item) for item in raw.facts.get("rcpt_tos") or ()]


def _envelope(raw: Raw) -> list[Recipient]:
    return [
        Recipient(role="envelope", kind="email", value=addresses.canonical_email(item))
        for item in _rcpt_tos(raw)[:MAX_RECIPIENTS]
    ]


def _in_part(draft: MessageDraft, raw: Raw) -> MessageDraft:
    """A mail of which only the header was fetched, or not even that: a person sees why, and where the rest is."""
    cause = str(raw.facts["held"])
    key = draft.delivery_key
    if not raw.body:  # nothing in it tells it from another one
        key = fingerprint.delivery_key("email", "", fingerprint.digest([str(raw.facts.get("mailbox"))]))
    hit = Hit(name="truncated", reason=cause)
    return draft.model_copy(update={"suspend": cause, "delivery_key": key, "problems": (*draft.problems, hit)})


def _facts(raw: Raw, mail: mime.Mail, report: Report | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, value in mail.fields:
        if name in _KEPT_FIELDS and name not in facts:
            facts[name] = headers.decode_words(value[:2_000])
    for name in ("mail_from", "remote", "mailbox", "internal_date"):
        if raw.facts.get(name) is not None:
            facts[name] = str(raw.facts[name])
    if report is not None:
        facts["report"] = {
            "type": report.kind,
            "failed_recipient": report.recipient[:320],
            "message_id": report.message_id[:998],
            "status": report.status,
            "reason": report.reason[:500],
        }
    return facts


def _original(body: bytes, content_type: str = MAIL) -> Original:
    return Original(size=len(body), sha256=hashlib.sha256(body).hexdigest(), content=body, content_type=content_type)
