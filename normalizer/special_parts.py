"""Parts that are more than a file: TNEF, BinHex, invitations, attached mails, signed and encrypted content.

Each is opened within the budgets of the mail it came in; what cannot be opened stays the file it is.
"""

from __future__ import annotations

from typing import Final

from normalizer import addresses, binhex, calendar_text, files, headers, sealed, tags, tnef
from normalizer.findings import Bodies
from normalizer.structure import OverBudgetError, Part, Tree

MAX_ATTACHED_TEXT: Final = 200_000  # characters of attached mails that are shown
MAX_ATTACHED_MAILS: Final = 20

_TNEF: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_CALENDAR: Final = frozenset({"text/calendar", "application/ics"})
_CMS: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_SIGNATURES: Final = {
    "application/pkcs7-signature": "S/MIME",
    "application/x-pkcs7-signature": "S/MIME",
    "application/pgp-signature": "PGP",
}
_ELSEWHERE: Final = frozenset({"message/external-body", "message/partial"})


def is_wrapping(part: Part, container: Part | None, found: Bodies) -> bool:
    """Parts that carry nothing for a reader: PGP's version part, a Macintosh resource fork."""
    if container is None:
        return False
    kind, outer = part.content_type, container.content_type
    if outer == "multipart/signed" and kind in _SIGNATURES:
        found.signed = _SIGNATURES[kind]  # the signature stays a file: some desks have to keep it
    if outer == "multipart/encrypted" and kind == "application/pgp-encrypted":
        return len(container.children) > 1
    return outer == "multipart/appledouble" and kind == "application/applefile" and len(container.children) > 1


def unwrap(tree: Tree, part: Part, data: bytes, found: Bodies) -> Tree | None:
    """The mail inside an opaque signature, to be read in its place; None for anything else."""
    if part.content_type not in _CMS or part.parameters.get("smime-type", "").lower() == "enveloped-data":
        return None
    inside = sealed.signed_content(data)
    if inside is None or tree.nested >= 3:
        return None
    found.signed = "S/MIME"
    inner = tree.inner(inside)
    inner.problems = tree.problems  # it is this mail's own content
    return inner


def replace_by_content(tree: Tree, part: Part, data: bytes, found: Bodies) -> bool:
    """Files that are only a wrapper: attach what is in them. False when the part has to be attached as it is."""
    kind = part.content_type
    if kind in _TNEF or (data[:4] == tnef.SIGNATURE and part.filename.lower() == "winmail.dat"):
        return _open_tnef(tree, data, found)
    if kind in ("application/mac-binhex40", "application/mac-binhex"):
        inside = binhex.read(data)
        if inside is not None:
            name = part.filename.removesuffix(".hqx") or inside.name
            found.attach(name, "application/octet-stream", inside.content, part.content_id)
            return True
    return False


def _open_tnef(tree: Tree, data: bytes, found: Bodies) -> bool:
    inside = tnef.read(data)
    for item in inside.files:
        kind = item.content_type.lower() if "/" in item.content_type else "application/octet-stream"
        found.attach(item.name, kind, item.content, item.content_id, inline=bool(item.content_id))
    found.spare_text = found.spare_text or inside.text.translate(tags.CONTROLS)
    found.spare_html = found.spare_html or inside.html
    if inside.damaged:
        tree.problem("tnef_damaged", "an Outlook attachment (winmail.dat) could not be read to its end")
    return not inside.damaged


def look_inside(tree: Tree, part: Part, data: bytes, found: Bodies) -> None:
    """What a part says besides being a file: an invitation, an attached mail, or that it cannot be read here."""
    kind = part.content_type
    if kind in _CALENDAR:
        for event in calendar_text.read(tree.text_of(part, data[: calendar_text.MAX_CALENDAR])):
            if event not in found.events and len(found.events) < calendar_text.MAX_EVENTS:
                found.events.append(event)
    elif files.is_mail(kind, part.filename, data):
        _attached_mail(tree, part, data, found)
    elif kind == "application/pgp-encrypted" or (kind in _CMS and _is_enveloped(part, data)):
        say_encrypted(tree, found)
    elif kind in _ELSEWHERE:
        tree.problem("not_fetched", f"a part of type {kind} points elsewhere; nothing is fetched or joined")


def _is_enveloped(part: Part, data: bytes) -> bool:
    return "enveloped" in part.parameters.get("smime-type", "").lower() or sealed.is_enveloped(data)


def say_encrypted(tree: Tree, found: Bodies) -> None:
    """Note that there is content which nobody here can read."""
    found.encrypted = True
    tree.problem("encrypted", "the content is encrypted; only the person who holds the key can read it")


def look_for_armour(tree: Tree, text: str, found: Bodies) -> str:
    """Text with the armour of a PGP signature taken off; PGP encryption inside a text is named."""
    if "-----BEGIN PGP" not in text:
        return text
    if f"\n{sealed.PGP_MESSAGE}" in f"\n{text}":
        tree.problem("encrypted", "the text is encrypted with PGP; only the person who holds the key can read it")
    plain = sealed.take_off_armour(text)
    if plain is None:
        return text
    found.signed = "PGP"
    return plain


def _attached_mail(tree: Tree, part: Part, data: bytes, found: Bodies) -> None:
    """Remember an attached mail to be shown below the letter. It stays a file with everything that is in it."""
    if tree.nested >= 2 or len(found.attached) >= MAX_ATTACHED_MAILS or not data.strip():
        return
    try:
        found.attached.append((files.safe_filename(part.filename), tree.inner(data)))
    except OverBudgetError as error:
        tree.problem("attached_mail_unread", f"an attached mail was not read: {error.sentence}")


def head_of(tree: Tree) -> str:
    """Who wrote an attached mail, when, to whom and about what, as lines."""
    lines = []
    for name in ("from", "to", "date", "subject"):
        value = next((value for key, value in tree.root.fields if key == name), None)
        if value is not None:
            text = headers.decode_words(headers.unfold(value[:2_000], tree.hint))
            if name in ("from", "to"):
                people = addresses.parse_addresses(headers.unfold(value[:2_000], tree.hint), 5)
                text = ", ".join(_shown(item) for item in people) or text
            lines.append(f"{name.title()}: {text}")
    return "\n".join(lines)


def _shown(item: addresses.Address) -> str:
    return f"{item.display_name} <{item.value}>" if item.display_name else item.value
