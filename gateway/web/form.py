"""The hosted web form: the page, what a POST hears, and the thank-you page with the reference. Needs no JavaScript."""

from __future__ import annotations

import secrets
from typing import Any, Final, cast
from urllib.parse import urlencode
from uuid import UUID

from aiohttp import web

from adapters.base import Raw, Refused
from adapters.webform import LENGTHS, TOKEN_MIN_AGE, FormInvalidError, Submission, WebForm, read_submission
from gateway.ids import uuid7
from gateway.intake import Inbox, NotDurableError, Receipt
from gateway.web.errors import CSP, is_json, prefix, retry_after, wants_html
from gateway.web.inbound import accept, find_inbox, inbound, now
from gateway.web.keys import RUNTIME
from gateway.web.limits import limits_of, read_body
from gateway.web.origins import check_origin, origin_of, preflight
from gateway.web.pages import page
from gateway.web.texts import NATIVE, pick_language, texts
from normalizer.message import MessageDraft

_PREFILLED: Final = ("name", "email", "subject", "message", "page_url")


async def show(request: web.Request) -> web.Response:
    """GET /form/<inbox>: an empty form, or one filled in from the query (`?subject=...&page_url=...`)."""
    inbox, adapter = _form(request)
    values = {name: request.query.get(name, "")[: LENGTHS[name]] for name in _PREFILLED}
    referer = request.headers.get("Referer", "")[: LENGTHS["page_url"]]
    if not values["page_url"] and origin_of(referer) not in ("", _base_origin(request)):
        values["page_url"] = referer
    return _render(request, inbox, adapter, Submission(values=values), _token(adapter, now(request)))


async def submit(request: web.Request) -> web.Response:
    """POST /form/<inbox>: 303 to the thank-you page for browsers, 201 with the receipt for programs."""
    inbox, adapter = _form(request)
    options = adapter.options
    programmatic = is_json(request) or not _from_browser(request)
    cors = check_origin(request, options.allowed_origins) if programmatic else {}
    try:
        limits_of(request).check_rate(request, f"form:{inbox.name}", options.rate_per_minute, options.rate_per_minute)
        answer = await _take(request, inbox, adapter, programmatic)
    except Refused as refusal:
        refusal.headers.update(cors)
        raise
    answer.headers.update(cors)
    return answer


async def allow(request: web.Request) -> web.Response:
    """OPTIONS /form/<inbox>: a page elsewhere asks whether its script may post."""
    return preflight(request, _form(request)[1].options.allowed_origins)


async def thank(request: web.Request) -> web.Response:
    """GET /form/<inbox>/thanks?ref=<receipt id>: shows nothing but a well-formed reference."""
    inbox, adapter = _form(request)
    language = _language(request, adapter)
    try:
        reference = UUID(request.query.get("ref", ""))
    except ValueError:
        reference = None
    values = {
        "t": texts(language),
        "language": language,
        "form_url": f"{prefix(request)}/form/{inbox.name}?{urlencode({'lang': language})}",
        "css_url": f"{prefix(request)}/assets/page.css",
        "title": adapter.options.title,
        "reference": str(reference) if reference else "",
        "short": short_reference(reference) if reference else "",
    }
    return page("thanks.html", values)


def short_reference(receipt_id: UUID) -> str:
    """Eight characters a person can read out: the random end of the id, `1a2b-3c4d`."""
    tail = receipt_id.hex[-8:].upper()
    return f"{tail[:4]}-{tail[4:]}"


async def _take(request: web.Request, inbox: Inbox, adapter: WebForm, programmatic: bool) -> web.Response:
    runtime = request.app[RUNTIME]
    body = await read_body(request, adapter.options.max_bytes)
    arrived = inbound(request, runtime, "", body)
    facts = {"received_at": now(request), "submission_id": str(uuid7()), "remote": arrived.remote}
    raw = Raw(body, request.headers.get("Content-Type", ""), facts, request=arrived)
    try:
        receipts = await accept(runtime, inbox, raw)
    except FormInvalidError as invalid:
        return _answer_invalid(request, inbox, adapter, invalid, programmatic)
    except NotDurableError as error:
        if programmatic:
            raise
        answer = _answer_unavailable(request, inbox, adapter, raw)
        answer.headers.update(retry_after(error))
        return answer
    return _answer_accepted(request, inbox, adapter, receipts[0], programmatic)


def _answer_accepted(
    request: web.Request, inbox: Inbox, adapter: WebForm, receipt: Receipt, programmatic: bool
) -> web.Response:
    if programmatic:
        reference = short_reference(receipt.receipt_id)
        body = {"receipt_id": str(receipt.receipt_id), "reference": reference, "status": "accepted"}
        return web.json_response(body, status=201)
    facts = receipt.draft.fields if isinstance(receipt.draft, MessageDraft) else {}
    redirect = str(facts.get("redirect", ""))  # kept by the adapter only when it is on the list
    asked, accepted = str(facts.get("lang", "")), request.headers.get("Accept-Language", "")
    language = pick_language(asked, accepted, adapter.options.languages)
    query = urlencode({"ref": str(receipt.receipt_id), "lang": language})
    location = redirect or f"{prefix(request)}/form/{inbox.name}/thanks?{query}"
    return web.Response(status=303, headers={"Location": location})


def _answer_invalid(
    request: web.Request, inbox: Inbox, adapter: WebForm, invalid: FormInvalidError, programmatic: bool
) -> web.Response:
    submission = invalid.submission
    if programmatic:
        words = texts(_language(request, adapter, submission))
        fields = {name: words[code] for name, code in submission.errors.items()}
        codes = dict(submission.errors)
        return web.json_response({"error": str(invalid), "fields": fields, "codes": codes}, status=422)
    # The person reads one line and presses the button: a new token must not call that too fast for a person.
    token = submission.control.get("form_token", "")
    if not token or "form" in submission.errors:
        token = _token(adapter, now(request) - TOKEN_MIN_AGE)
    return _render(request, inbox, adapter, submission, token, status=422)


def _answer_unavailable(request: web.Request, inbox: Inbox, adapter: WebForm, raw: Raw) -> web.Response:
    submission = read_submission(raw, adapter.options)
    token = submission.control.get("form_token", "") or _token(adapter, now(request) - TOKEN_MIN_AGE)
    return _render(request, inbox, adapter, submission, token, status=503, summary="unavailable")


def _render(
    request: web.Request,
    inbox: Inbox,
    adapter: WebForm,
    submission: Submission,
    token: str,
    *,
    status: int = 200,
    summary: str = "",
) -> web.Response:
    options, language = adapter.options, _language(request, adapter, submission)
    words = texts(language)
    values: dict[str, Any] = {
        "t": words,
        "language": language,
        "languages": [(tag, NATIVE[tag]) for tag in options.languages if tag in NATIVE],
        "action": f"{prefix(request)}/form/{inbox.name}",
        "css_url": f"{prefix(request)}/assets/page.css",
        "title": options.title or words["title"],
        "intro": options.intro,
        "values": {name: submission.values.get(name, "") for name in LENGTHS},
        "lengths": LENGTHS,
        "extra": _texts_only(submission.extra),
        "redirect": submission.control.get("redirect", ""),
        "errors": {name: words[code] for name, code in submission.errors.items()},
        "summary": words[summary] if summary else "",
        "had_files": bool(submission.files),
        "accept": ",".join(options.accept),
        "max_files": options.max_files,
        "files_hint": words["attachments_hint"].format(files=options.max_files, size=_size(options.max_bytes)),
        "token": token,
    }
    answer = page("form.html", values, status)
    answer.headers["Content-Security-Policy"] = form_policy(options.allowed_origins, options.redirects)
    return answer


def form_policy(framed_by: tuple[str, ...], redirects: tuple[str, ...]) -> str:
    """The page's CSP: no script; listed sites may frame it; browsers apply form-action to the redirect as well."""
    frames = " ".join(["'self'", *filter(None, map(origin_of, framed_by))])
    targets = " ".join(dict.fromkeys(["'self'", *filter(None, map(origin_of, redirects))]))
    return (
        CSP.replace("script-src 'self'", "script-src 'none'")
        .replace("frame-ancestors 'none'", f"frame-ancestors {frames}")
        .replace("form-action 'self'", f"form-action {targets}")
    )


def _form(request: web.Request) -> tuple[Inbox, WebForm]:
    inbox = find_inbox(request.app[RUNTIME], request.match_info["inbox"], "form")
    return inbox, cast(WebForm, inbox.adapter)


def _from_browser(request: web.Request) -> bool:
    """Whether to answer with pages: browsers say they take HTML; a bare client (`*/*`) posts a form like one."""
    accept = request.headers.get("Accept", "*/*")
    return wants_html(request) or "application/json" not in accept.lower()


def _token(adapter: WebForm, moment: float) -> str:
    return adapter.issue_token(moment, secrets.token_urlsafe(12))


def _language(request: web.Request, adapter: WebForm, submission: Submission | None = None) -> str:
    asked = request.query.get("lang", "") or (submission.values.get("lang", "") if submission else "")
    return pick_language(asked, request.headers.get("Accept-Language", ""), adapter.options.languages)


def _texts_only(extra: dict[str, Any]) -> list[tuple[str, str]]:
    """Fields of a customer's own form, to be carried through a second try."""
    return [
        (name, text)
        for name, value in extra.items()
        for text in (value if isinstance(value, list) else [value])
        if isinstance(text, str)
    ]


def _base_origin(request: web.Request) -> str:
    return origin_of(request.app[RUNTIME].settings.base_url)


def _size(count: int) -> str:
    return f"{count / 1048576:.0f} MB" if count >= 1048576 else f"{count // 1024} KB"
