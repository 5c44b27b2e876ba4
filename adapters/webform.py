"""The web form: a browser's plain POST (urlencoded, multipart with files) or a program's JSON -> one message.

    POST /form/contact                              Content-Type: application/x-www-form-urlencoded
    name=Erika&email=erika%40example.com&subject=Bestellung+1042&message=Wo+ist+sie%3F&website=

    POST /form/contact                              Content-Type: application/json
    {"email": "erika@example.com", "message": "Wo ist sie?", "order": 1042}

Known fields are `name`, `email`, `subject`, `message`, `lang`, `page_url` and files; any other field is kept as a fact
of the message. Whoever fills in a form is nobody we know: the address is what they typed, hence unverified.

Protections, none of which a plain POST needs:

- the field `website`, hidden from people, is filled: the message is suspended, the answer is the same;
- `form_token`, which the hosted page carries: `v1.<form>.<issued>.<nonce>.<hmac>`, hexadecimal HMAC-SHA256 over what
  stands before the last dot. Its age tells machines (sent within 3 s) from people and its nonce makes a double click
  one delivery. Expired or forged: 422 with everything kept, so that the person only presses the button again.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import filetype
from email_validator import EmailNotValidError, validate_email
from multipart import MultipartError, ParserLimitReached, PushMultipartParser  # type: ignore[import-untyped]
from pydantic import BeforeValidator, Field, SecretStr

from adapters.base import Adapter, Clients, InboxOptions, Raw, Refused
from normalizer import urlencoded
from normalizer.addresses import canonical_email
from normalizer.fingerprint import content_key, delivery_key, digest
from normalizer.headers import parameters
from normalizer.message import Attachment, Author, Hit, MessageDraft, clean_json, clean_text

LANGUAGES: Final = ("en", "nl", "it", "es", "ru", "zh-TW")

TOKEN_MIN_AGE: Final = 3  # seconds; people need longer to write a sentence
TOKEN_MAX_AGE: Final = 24 * 3600  # seconds
MAX_FIELDS: Final = 100
MAX_FIELD_BYTES: Final = 256 * 1024
MAX_KEY: Final = 255  # characters of an Idempotency-Key

# Longest values a person writes, in characters.
LENGTHS: Final = {"name": 200, "email": 254, "subject": 500, "message": 100_000, "lang": 35, "page_url": 2000}
CONTROL: Final = frozenset({"form_token", "form_id", "website", "redirect", "_charset_", "altcha"})

# Encodings that forms on old pages really use; everything else, `zlib` included, is not text.
_CHARSETS: Final = {
    "utf-8": "utf-8",
    "ascii": "utf-8",
    "iso8859-1": "cp1252",  # WHATWG: the label means windows-1252
    "cp1252": "cp1252",
    "iso8859-15": "iso8859-15",
    "cp1251": "cp1251",
    "koi8-r": "koi8-r",
    "big5": "big5",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "shift_jis": "cp932",
}

_SORTED: Final = json.JSONEncoder(sort_keys=True, default=str)

# What nearly everybody types: email-validator accepts all of it, and takes as long as the rest of a submission does.
# So short that no part of it can be too long.
_PLAIN_EMAIL: Final = re.compile(
    r"(?=.{6,64}\Z)[a-z0-9_+-]++(?:\.[a-z0-9_+-]++)*+@(?:[a-z0-9]++(?:-[a-z0-9]++)*+\.)++[a-z]{2,}",
    re.ASCII | re.IGNORECASE,
)

ErrorCode = Literal[
    "required",
    "message_required",
    "invalid_email",
    "too_long",
    "not_text",
    "token_expired",
    "token_invalid",
    "file_type",
    "file_invalid",
    "too_many_files",
]


def _listed(value: Any) -> Any:
    """`"a, b"` from the environment is the list ["a", "b"]."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class FormOptions(InboxOptions):
    """Options of a web form; all of them may be left out."""

    channel: str = Field(default="form", description="form")
    title: str = Field(default="", description="heading of the page (default: `Contact us` in the reader's language)")
    intro: str = Field(default="", description="one paragraph under the heading")
    languages: Listed = Field(default=LANGUAGES, description="languages offered, of en, nl, it, es, ru, zh-TW")
    token_key: SecretStr | None = Field(default=None, description="key that signs the hosted form (default: made once)")
    allowed_origins: Listed = Field(
        default=(),
        description="origins (https://shop.example) whose scripts may post and whose pages may frame it",
    )
    redirects: Listed = Field(
        default=(),
        description="pages to which the field `redirect` may lead; an entry ending in / allows all below it",
    )
    max_bytes: int = Field(default=20 * 1024 * 1024, ge=1024, description="largest submission in bytes, files included")
    max_files: int = Field(default=10, ge=0, description="files in one submission")
    accept: Listed = Field(default=(), description="file types taken, such as image/* or .pdf (default: any)")
    rate_per_minute: int = Field(default=120, ge=0, description="submissions a minute from one address; 0: no limit")


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file as it was sent; `filename` and `content_type` are the sender's words."""

    filename: str
    content_type: str
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Submission:
    """What was sent, before judging it: known fields as text, other fields as they came, control fields, files."""

    values: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    control: dict[str, str] = field(default_factory=dict)
    files: list[UploadedFile] = field(default_factory=list)
    errors: dict[str, ErrorCode] = field(default_factory=dict)


class FormInvalidError(Refused):
    """422: what is wrong, by field, with everything that was written, so that nothing has to be written again."""

    def __init__(self, submission: Submission) -> None:
        named = ", ".join(f"{name} ({code})" for name, code in submission.errors.items())
        super().__init__(422, f"The form needs another look: {named}.")
        self.submission = submission


class WebForm(Adapter[FormOptions]):
    """One form. The hosted page and the answers are `gateway/web/form.py`; here is what a submission means."""

    channel = "form"
    Options = FormOptions

    def __init__(self, inbox: str, options: FormOptions, clients: Clients | None = None) -> None:
        super().__init__(inbox, options, clients)
        self._key = options.token_key.get_secret_value().encode() if options.token_key else b""

    def normalize(self, raw: Raw) -> Sequence[MessageDraft]:
        """One message. Facts read: `received_at` (epoch seconds) and `submission_id` (unique to this POST).

        Raises `FormInvalidError` (422) or `Refused` (400, 413, 415).
        """
        submission = read_submission(raw, self.options)
        received_at = raw.facts.get("received_at")
        issued, nonce = self._check_token(submission, received_at)
        _check(submission, self.options)
        if submission.errors:
            raise FormInvalidError(submission)
        suspend = ""
        if submission.control.get("website", "").strip():
            suspend = "honeypot"
        elif issued is not None and received_at is not None and received_at - issued < TOKEN_MIN_AGE:
            suspend = f"submitted within {TOKEN_MIN_AGE} seconds"
        return [self._draft(raw, submission, nonce, suspend)]

    def issue_token(self, now: float, nonce: str) -> str:
        """A token for one rendering of the form, or empty when this inbox has no key. `nonce`: random, without dots."""
        if not self._key:
            return ""
        head = f"v1.{self.inbox}.{int(now)}.{nonce}"
        return f"{head}.{self._sign(head)}"

    def allows_redirect(self, url: str) -> bool:
        """Whether the customer may be sent there after a submission."""
        return any(
            url == entry or (entry.endswith("/") and url.startswith(entry) and "/../" not in url)
            for entry in self.options.redirects
        )

    def _sign(self, head: str) -> str:
        return hmac.new(self._key, head.encode(), hashlib.sha256).hexdigest()

    def _check_token(self, submission: Submission, now: float | None) -> tuple[int | None, str]:
        """(issued, nonce) of a good token, (None, "") without one; a bad one becomes an error of the submission."""
        token = submission.control.get("form_token", "")
        if not token or not self._key:
            return None, ""
        head, _, signature = token.rpartition(".")
        match = re.fullmatch(r"v1\.(.{1,100})\.(\d{1,12})\.([A-Za-z0-9_-]{1,64})", head)
        good = hmac.compare_digest(self._sign(head).encode(), signature.encode("utf-8", "replace"))
        if not match or not good or match[1] != self.inbox:
            submission.errors["form"] = "token_invalid"
            return None, ""
        issued = int(match[2])
        if now is not None and now - issued > TOKEN_MAX_AGE:
            submission.errors["form"] = "token_expired"
            return None, ""
        return issued, match[3]

    def _draft(self, raw: Raw, submission: Submission, nonce: str, suspend: str) -> MessageDraft:
        values = submission.values
        email = canonical_email(values["email"])
        author = Author(
            kind="email",
            value=email,
            display_name=values.get("name", ""),
            trust="unverified",
            evidence="typed into the form",
        )
        attachments = tuple(_attachment(file) for file in submission.files)
        words = values.get("message", "")
        said = content_key(author.identity or "", words or values.get("subject", ""), (a.sha256 for a in attachments))
        external_id, key = self._delivery(raw, submission, nonce)
        hits = [Hit(name="honeypot", reason="the field hidden from people was filled")] if suspend == "honeypot" else []
        return MessageDraft(
            external_id=external_id,
            author=author,
            subject=values.get("subject", ""),
            text=words,
            attachments=attachments,
            delivery_key=key,
            content_key=said,
            subject_base=values.get("subject", ""),
            automated=tuple(hits),
            suspend=suspend,
            fields=self._facts(raw, submission),
        )

    def _delivery(self, raw: Raw, submission: Submission, nonce: str) -> tuple[str, str]:
        """(external id, delivery key). Content is part of the key: the same id with other words is another message."""
        content = digest(
            [
                *(f"{name}={value}" for name, value in sorted(submission.values.items())),
                _SORTED.encode(submission.extra),
                *(hashlib.sha256(file.content).digest() for file in submission.files),
            ]
        )
        idempotency = _idempotency_key(raw)
        if nonce:
            return nonce, delivery_key("form", self.inbox, "nonce", nonce, content)
        if idempotency:
            return idempotency, delivery_key("form", self.inbox, "key", idempotency, content)
        unique = str(raw.facts.get("submission_id", ""))
        return unique, delivery_key("form", self.inbox, "post", unique, content)

    def _facts(self, raw: Raw, submission: Submission) -> dict[str, Any]:
        values, redirect = submission.values, submission.control.get("redirect", "")
        facts = dict(clean_json(submission.extra))
        for name in ("name", "lang", "page_url"):
            if values.get(name):
                facts[name] = values[name]
        if redirect and self.allows_redirect(redirect):
            facts["redirect"] = redirect
        if raw.request and (agent := raw.request.headers.get("User-Agent")):
            facts["user_agent"] = agent[:300]
        return facts


def read_submission(raw: Raw, options: FormOptions) -> Submission:
    """The fields and files of a body. Raises `Refused`: 400 malformed, 413 too much, 415 not a form."""
    media_type, params, _ = parameters(raw.content_type)
    if media_type == "application/json" or media_type.endswith("+json"):
        _charset(params.get("charset"), only_utf8=True)
        return _from_json(raw.body)
    if media_type == "multipart/form-data":
        return _from_multipart(raw.body, params.get("boundary", ""), params.get("charset"), options)
    if media_type == "application/x-www-form-urlencoded":
        return _from_urlencoded(raw.body, params.get("charset"))
    raise Refused(
        415,
        "Send the form as application/x-www-form-urlencoded, multipart/form-data or application/json.",
        headers={"Accept-Post": "application/x-www-form-urlencoded, multipart/form-data, application/json"},
    )


def _from_urlencoded(body: bytes, charset: str | None) -> Submission:
    try:
        pairs = urlencoded.pairs(body, MAX_FIELDS)
    except ValueError as error:
        raise Refused(413, f"A form may have {MAX_FIELDS} fields.") from error
    return _from_pairs(pairs, [], charset)


def _from_multipart(body: bytes, boundary: str, charset: str | None, options: FormOptions) -> Submission:
    """RFC 7578. The whole body is at hand and capped, so it is fed in one piece."""
    if not 0 < len(boundary) <= 200 or not boundary.isascii():
        raise Refused(400, "This multipart body does not name its boundary.")
    pairs: list[tuple[bytes, bytes]] = []
    files: list[UploadedFile] = []
    try:
        limit = MAX_FIELDS + options.max_files + 20  # a few files too many are told beside the field, not by 413
        with PushMultipartParser(boundary, max_segment_count=limit, max_segment_size=options.max_bytes) as parser:
            segment, content = None, bytearray()
            for event in parser.parse(body):
                if event is None and segment is not None:
                    _add_segment(segment, bytes(content), pairs, files)
                elif isinstance(event, bytearray):
                    content += event
                else:
                    segment, content = event, bytearray()
    except ParserLimitReached as error:
        raise Refused(413, f"This form is too large: {MAX_FIELDS} fields and {options.max_files} files fit.") from error
    except (MultipartError, AssertionError) as error:
        raise Refused(400, "This multipart body is cut short or malformed.") from error
    return _from_pairs(pairs, files, charset)


def _add_segment(segment: Any, content: bytes, pairs: list[tuple[bytes, bytes]], files: list[UploadedFile]) -> None:
    if segment.filename is None:
        pairs.append((segment.name.encode(), content))
    elif segment.filename or content:  # an empty file field is sent as a nameless, empty file
        files.append(UploadedFile(segment.filename, segment.content_type or "application/octet-stream", content))


def _from_pairs(pairs: list[tuple[bytes, bytes]], files: list[UploadedFile], charset: str | None) -> Submission:
    declared = next((value.decode("ascii", "replace") for name, value in pairs if name == b"_charset_" and value), None)
    codec = _charset(declared or charset)
    submission = Submission(files=files)
    if len(pairs) > MAX_FIELDS:
        raise Refused(413, f"A form may have {MAX_FIELDS} fields.")
    for raw_name, raw_value in pairs:
        if len(raw_value) > MAX_FIELD_BYTES:
            raise Refused(413, f"A field may hold {MAX_FIELD_BYTES // 1024} KiB; send longer texts as a file.")
        name, value = _decode(raw_name, codec).strip(), _decode(raw_value, codec)
        _add_field(submission, name, value.replace("\r\n", "\n"))
    return submission


def _add_field(submission: Submission, name: str, value: str) -> None:
    if name in CONTROL:
        submission.control[name] = value
    elif name in LENGTHS:
        # A name that comes twice: both are kept; two e-mail addresses are then seen to be none.
        earlier = submission.values.get(name)
        submission.values[name] = f"{earlier}\n{value}" if earlier else value
    else:
        _add_extra(submission, name, value)


def _add_extra(submission: Submission, name: str, value: Any) -> None:
    """A field of the customer's own; one that comes twice (a choice of several) becomes a list."""
    name = name.strip()[:200] or "unnamed"
    if name in submission.extra:
        earlier = submission.extra[name]
        submission.extra[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
    else:
        submission.extra[name] = value


def _from_json(body: bytes) -> Submission:
    submission = Submission()
    for name, value in read_json_object(body).items():
        if name == "attachments":
            _add_json_files(submission, value)
        elif name in LENGTHS or name in CONTROL:
            if value is not None and not isinstance(value, str):
                submission.errors[name] = "not_text"
            else:
                _add_field(submission, name, (value or "").replace("\r\n", "\n"))
        else:
            _add_extra(submission, name, value)
    if len(submission.extra) > MAX_FIELDS:
        raise Refused(413, f"A form may have {MAX_FIELDS} fields.")
    return submission


def _add_json_files(submission: Submission, value: Any) -> None:
    """`[{"filename", "content_type", "content": base64}]`."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        try:
            content = base64.b64decode(item["content"], validate=True)
            file = UploadedFile(str(item["filename"]), str(item.get("content_type") or ""), content)
        except (TypeError, KeyError, AttributeError, ValueError, binascii.Error):
            submission.errors["attachments"] = "file_invalid"
            return
        submission.files.append(file)


def read_json_object(body: bytes) -> dict[str, Any]:
    """A JSON object, read strictly: UTF-8, no NaN, no name twice (RFC 8259 sections 4 and 6). Raises `Refused` 400."""
    try:
        value = _STRICT.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused(400, "The JSON is not valid UTF-8.") from error
    except RecursionError as error:
        raise Refused(400, "The JSON is nested too deeply.") from error
    except ValueError as error:
        raise Refused(400, f"The body is not valid JSON: {str(error)[:120]}.") from error
    if not isinstance(value, dict):
        raise Refused(400, "Send a JSON object.")
    _check_depth(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e999 is valid JSON, and infinity once read
        raise ValueError("a number is too large")
    return value


_STRICT: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _check_depth(value: Any, limit: int = 20) -> None:
    """What we keep must survive every reader behind us, and theirs stop earlier than ours."""
    level = [value]
    for _ in range(limit):
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise Refused(400, f"The JSON is nested more than {limit} levels deep.")


def _charset(label: str | None, *, only_utf8: bool = False) -> str:
    try:
        codec = _CHARSETS[codecs.lookup(label or "utf-8").name]
    except (LookupError, UnicodeError, ValueError):
        codec = ""
    if not codec or (only_utf8 and codec != "utf-8"):
        raise Refused(415, "This character set is not taken; send UTF-8.")
    return codec


def _decode(data: bytes, codec: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise Refused(400, f"The text is not valid {codec}; send UTF-8, or name the character set.") from error


def _check(submission: Submission, options: FormOptions) -> None:
    """Tidy the known fields in place and note what is missing or wrong. An earlier error of a field stays."""
    values, errors = submission.values, submission.errors
    for name, longest in LENGTHS.items():
        value = clean_text(values.get(name, ""))
        values[name] = value.strip() if name in ("message", "email") else " ".join(value.split())
        if name in ("lang", "page_url"):  # the page's words and not the person's: nothing they could put right
            values[name] = values[name][:longest]
        elif len(values[name]) > longest:
            errors.setdefault(name, "too_long")
    if not values["email"]:
        errors.setdefault("email", "required")
    elif not is_email(values["email"]):
        errors.setdefault("email", "invalid_email")
    if not values["message"] and not values["subject"]:
        errors.setdefault("message", "message_required")
    if len(submission.files) > options.max_files:
        errors.setdefault("attachments", "too_many_files")
    elif not all(_accepts(file, options.accept) for file in submission.files):
        errors.setdefault("attachments", "file_type")


def is_email(value: str) -> bool:
    """Whether mail can be sent there, by shape alone (email-validator, without asking the DNS).

    Dots at odd places (`.john..doe@docomo.ne.jp`) are against RFC 5321 and belong to real people.
    """
    if _PLAIN_EMAIL.fullmatch(value):
        return True
    local, _, domain = value.rpartition("@")
    # One more label, because names of private networks (corp.local) are refused and are addresses inside a company.
    probe = f"{re.sub(r'[.]+', '.', local).strip('.')}@{domain}.com"
    try:
        validate_email(probe, check_deliverability=False)
    except (EmailNotValidError, ValueError):
        return False
    return "." in domain.strip(".")


def _accepts(file: UploadedFile, accept: Sequence[str]) -> bool:
    if not accept:
        return True
    declared = file.content_type.lower()
    suffix = "." + file.filename.rpartition(".")[2].lower()
    return any(
        rule.lower() in (declared, suffix) or (rule.endswith("/*") and declared.startswith(rule[:-1].lower()))
        for rule in accept
    )


def _attachment(file: UploadedFile) -> Attachment:
    kind = filetype.guess(file.content[:8192])
    return Attachment(
        size=len(file.content),
        sha256=hashlib.sha256(file.content).hexdigest(),
        content=file.content,
        filename=shown_filename(file.filename),
        content_type=file.content_type.lower()[:200] or "application/octet-stream",
        sniffed_type=kind.mime if kind else "",
    )


def shown_filename(name: str) -> str:
    """A file's name for display: last path component, no controls or invisible marks, at most 255 bytes.

    Invisible characters go first: `a<zero width space>/../.htaccess` must not become a path afterwards.
    """
    visible = "".join(char for char in clean_text(name)[:4096] if char.isprintable())
    last = re.split(r"[/\\]", visible)[-1].strip().lstrip(".").strip()
    if len(last.encode()) > 255:
        stem, dot, suffix = last.rpartition(".")
        tail = f".{suffix}" if dot and len(suffix.encode()) < 20 else ""
        last = (stem or last).encode()[: 255 - len(tail.encode())].decode(errors="ignore") + tail
    return last or "file"


def _idempotency_key(raw: Raw) -> str:
    headers: Mapping[str, str] = raw.request.headers if raw.request else {}
    key = headers.get("Idempotency-Key", "").strip()
    if key and (len(key) > MAX_KEY or not key.isascii() or not key.isprintable()):
        raise Refused(400, f"An Idempotency-Key is at most {MAX_KEY} printable ASCII characters.")
    return key
