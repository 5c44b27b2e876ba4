"""Mail that machines send is named, and mail that people send is not."""

import pytest

from normalizer import automated, mime


def hits(
    *lines: str, author: str = "anna@x.org", mail_from: str | None = "anna@x.org", own: tuple[str, ...] = ()
) -> list[str]:
    read = mime.parse(("\n".join((f"From: {author}", *lines)) + "\n\nbody\n").encode())
    return [hit.name for hit in automated.recognise(read, author, mail_from=mail_from, own=own)]


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (["Auto-Submitted: auto-replied"], "auto_submitted"),
        (["Auto-Submitted: Auto-Generated (by vacation); x=y"], "auto_submitted"),
        (["Precedence: bulk"], "precedence_bulk"),
        (["Precedence: first-class", "Precedence: bulk"], "precedence_bulk"),
        (["X-Precedence: JUNK"], "precedence_bulk"),
        (["Precedence: list"], "list"),
        (["Precedence: auto_reply"], "auto_reply"),
        (["List-Id: <news.x.org>"], "list"),
        (["List-Unsubscribe: <mailto:u@x.org>"], "list"),
        (["Feedback-ID: 1:2:3"], "precedence_bulk"),
        (["X-Autoreply: yes"], "auto_reply"),
        (["X-FC-MachineGenerated: true"], "auto_reply"),
        (["X-Auto-Response-Suppress: DR, OOF, AutoReply"], "suppress_replies"),
        (["X-POST-MessageClass: 9; Autoresponder"], "auto_reply"),
        (["Delivered-To: Autoresponder"], "auto_reply"),
        (["Return-Path: <>"], "null_sender"),
        (["Subject: Automatische Antwort: Ihre Anfrage"], "vacation"),
        (["Subject: Automatic reply: Your request"], "vacation"),
        (["Subject: Réponse automatique : absent"], "vacation"),
        (["Subject: 自动回复: 你好"], "vacation"),
        (["Subject: Out of Office Re: Your request"], "vacation"),
        (["X-Failed-Recipients: gone@y.org"], "bounce"),
        (["X-Frontdesk-Loop: desk-1"], "loop"),
    ],
)
def test_rules(lines: list[str], name: str) -> None:
    assert name in hits(*lines)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Auto-Submitted: no"],
        ["Precedence: first-class"],
        ["X-Autoreply: no"],
        ["Subject: I was out of the office and my order is gone"],
        ["Subject: Re: Undelivered parcel"],
        ["X-Auto-Response-Suppress: none"],
    ],
)
def test_people_are_not_machines(lines: list[str]) -> None:
    assert hits(*lines) == []


@pytest.mark.parametrize(
    "author", ["noreply@x.org", "no-reply@x.org", "do-not-reply@x.org", "bounces+123@x.org", "mailer-daemon@x.org"]
)
def test_addresses_that_take_no_answers(author: str) -> None:
    assert "nobody" in hits(author=author)


def test_a_person_may_have_such_a_word_in_the_address() -> None:
    assert hits(author="anna.noreply-fan@x.org") == []


def test_the_free_form_bounce() -> None:
    names = hits("Subject: failure notice", author="mailer-daemon@x.org", mail_from="")
    assert {"bounce", "null_sender"} <= set(names)


def test_our_own_voice_is_a_loop() -> None:
    assert "loop" in hits(author="support@desk.example", own=("Support@desk.example",))


@pytest.mark.parametrize(
    ("action", "name"), [("failed", "bounce"), ("delayed", "delayed"), ("relayed", "delivered"), ("", "bounce")]
)
def test_reports(action: str, name: str) -> None:
    lines = (
        "From: mailer-daemon@x.org",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=B",
        "",
        "--B",
        "",
        "text",
        "--B",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; x",
        "",
        "Final-Recipient: rfc822;Gone@Y.org",
        f"Action: {action}",
        "Status: 5.1.1",
        "--B",
        "Content-Type: message/rfc822",
        "",
        "Message-ID: <ours@desk>",
        "Subject: s",
        "",
        "b",
        "--B--",
        "",
    )
    read = mime.parse("\n".join(lines).encode())
    assert name in [hit.name for hit in automated.recognise(read, "mailer-daemon@x.org")]
    assert automated.failed_recipient(read) == "gone@y.org"
    assert automated.failed_message_id(read) == "<ours@desk>"


@pytest.mark.parametrize(
    ("kind", "name"), [("disposition-notification", "read_receipt"), ("feedback-report", "feedback_report")]
)
def test_other_reports(kind: str, name: str) -> None:
    assert name in hits(f"Content-Type: multipart/report; report-type={kind}; boundary=B")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("List-Id: Support <support.desk.example>", "Precedence: list"), []),
        (("List-Id: <support.desk.example>", "List-Post: <mailto:support@desk.example>"), []),
        (("List-Id: <support.desk.example>", "Precedence: bulk"), ["precedence_bulk"]),
        (("List-Id: <news.x.org>", "Precedence: list"), ["list"]),
        (("Precedence: list",), ["list"]),
    ],
)
def test_a_group_that_is_our_own_address_is_no_list(lines: tuple[str, ...], found: list[str]) -> None:
    """A shared address made as a group: customers write to it, and wait for an answer."""
    assert hits(*lines, own=("support@desk.example",)) == found


@pytest.mark.parametrize(
    "subject",
    [
        "Abwesenheit von Frau Muster",
        "Abwesend beim Liefertermin",
        "Poissaoloni ja tilaus",
        "Afwezigheid doorgeven",
        "Frånvaro i systemet",
        "Question about out of office hours",
        "On vacation next week - please hold my order",
        "On vacation, please hold my order",
        "Away from my desk phone it does not ring",
        "Out of office message is not being sent",
        "Auto reply does not work",
        "Automatic response missing",
        "Abwesenheitsnotiz lässt sich nicht einschalten",
        "Autosvar virker ikke",
    ],
)
def test_absence_is_also_what_customers_write_about(subject: str) -> None:
    assert hits(f"Subject: {subject}") == []


@pytest.mark.parametrize(
    "subject",
    [
        "Abwesenheitsnotiz: Re: x",
        "Abwesend: Anna",
        "Poissa: Anna",
        "Afwezig: Anna",
        "Frånvaromeddelande",
        "Out of Office",
        "Out of office until 5 May",
        "Out of Office AutoReply: x",
        "Out of the office 5-9 May",
        "Automatic Reply (was: x)",
        "Auto response message",
        "[Auto-Reply] Re: x",
        "自動返信メール",
        "On vacation: Anna",
        "Frånvaro: x",
    ],
)
def test_absence_notices(subject: str) -> None:
    assert hits(f"Subject: {subject}") == ["vacation"]


def test_a_report_of_success_is_no_bounce() -> None:
    report = (
        "From: MAILER-DAEMON@x.org\nSubject: Delivery Status Notification (Success)\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=B\n\n--B\n\nok\n"
        "--B\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; b@y.org\nAction: delivered\n--B--"
    )
    found = automated.recognise(mime.parse(report.encode()), "mailer-daemon@x.org", mail_from="")
    assert {hit.name for hit in found} == {"delivered", "nobody", "null_sender"}
