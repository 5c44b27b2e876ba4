"""Reports as mail systems write them: whom they could not reach, and about which mail."""

from __future__ import annotations

import pytest

from normalizer import automated, bounces, mime

OURS = "<ours-7@desk.example>"


def free(text: str, *, subject: str = "failure notice", sender: str = "MAILER-DAEMON@mx.x.org") -> mime.Mail:
    return mime.parse(
        f"Return-Path: <>\nFrom: {sender}\nTo: support@desk.example\nSubject: {subject}\n\n{text}".encode()
    )


COPY = f"""Return-Path: <support@desk.example>
Received: (qmail 12 invoked)
From: support@desk.example
Message-ID: {OURS}
"""
EXIM_DELAY = """This message was created automatically by mail delivery software.
A message that you sent has not yet been delivered to one or more of its recipients

  g@y.org
"""
GMAIL_DELAY = """Delivery to the following recipient has been delayed:

  g@y.org

Message will be retried for 2 more day(s)
"""
QMAIL = f"""Hi. This is the qmail-send program at mx.x.org.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<gone@customer.example>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 User unknown

--- Below this line is a copy of the message.

{COPY}
"""
EXIM = f"""This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  gone@customer.example
    host mx.customer.example [192.0.2.1]
    SMTP error from remote mail server after RCPT TO:<gone@customer.example>:
    550 5.1.1 unknown user

------ This is a copy of the message, including all the headers. ------

{COPY}
"""
SENDMAIL = f"""The original message was received at Mon, 3 Feb 2025 10:00:00 +0100
from desk.example [192.0.2.7]

   ----- The following addresses had permanent fatal errors -----
<gone@customer.example>
    (reason: 550 5.1.1 User unknown)

   ----- Transcript of session follows -----
... while talking to mx.customer.example.:

   ----- Original message follows -----

{COPY}
"""
EXCHANGE = """Your message

  To:      gone@customer.example
  Subject: Re: Order
  Sent:    Mon, 3 Feb 2025 10:00:00 +0100

did not reach the following recipient(s):

gone@customer.example on Mon, 3 Feb 2025 10:00:05 +0100
    The recipient name is not recognized
        The MTS-ID of the original message is: c=us;a= ;p=x;l=MX0
"""
MICROSOFT365 = f"""Delivery has failed to these recipients or groups:

Anna Müller (gone@customer.example)
The email address you entered couldn't be found.

Diagnostic information for administrators:

Original message headers:

{COPY}
"""
GMAIL = f"""Delivery to the following recipient failed permanently:

     gone@customer.example

Technical details of permanent failure:
Google tried to deliver your message, but it was rejected. 550 5.1.1 no such user

----- Original message -----

{COPY}
"""
POSTFIX = f"""This is the mail system at host mx.x.org.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

<gone@customer.example>: host mx.customer.example[192.0.2.1] said: 550 5.1.1
    <gone@customer.example>: User unknown (in reply to RCPT TO command)

{COPY}
"""


@pytest.mark.parametrize(
    ("text", "message_id"),
    [
        (QMAIL, OURS),
        (EXIM, OURS),
        (SENDMAIL, OURS),
        (EXCHANGE, ""),
        (MICROSOFT365, OURS),
        (GMAIL, OURS),
        (POSTFIX, OURS),
    ],
    ids=["qmail", "exim", "sendmail", "exchange", "microsoft365", "gmail", "postfix"],
)
def test_failures_written_for_people(text: str, message_id: str) -> None:
    report = automated.report_of(free(text))
    assert report is not None
    assert (report.kind, report.recipient, report.message_id) == ("bounce", "gone@customer.example", message_id)
    assert report.reason
    assert "bounce" in [hit.name for hit in automated.recognise(free(text), "mailer-daemon@mx.x.org")]


def test_the_id_is_found_in_an_attached_mail() -> None:
    read = mime.parse(
        b"Return-Path: <>\nFrom: postmaster@x.org\nSubject: Undeliverable: x\n"
        b"Content-Type: multipart/mixed; boundary=B\n\n--B\n\nYour message could not be delivered.\n\n<g@y.org>:\nno\n"
        b"--B\nContent-Type: message/rfc822\n\nSubject: x\nMessage-ID: " + OURS.encode() + b"\n\nHi\n--B--\n"
    )
    report = automated.report_of(read)
    assert report is not None
    assert (report.recipient, report.message_id) == ("g@y.org", OURS)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Warning: message 1tab delayed 24 hours", EXIM_DELAY),
        ("Warning: could not send message for past 4 hours", "<g@y.org>... Deferred: Connection refused\n<g@y.org>\n"),
        ("Delivery Status Notification (Delay)", GMAIL_DELAY),
    ],
)
def test_delays_are_no_failures(subject: str, text: str) -> None:
    report = automated.report_of(free(text, subject=subject))
    assert report is not None
    assert (report.kind, report.recipient) == ("delayed", "g@y.org")


def dsn(*groups: str, sender: str = "mailer-daemon@x.org", kind: str = "delivery-status", head: str = "") -> mime.Mail:
    part = f"message/{kind}"
    fields = "\n\n".join(("Reporting-MTA: dns; mx.x.org", *groups))
    return mime.parse(
        f"From: {sender}\n{head}Content-Type: multipart/report; report-type={kind}; boundary=B\n\n--B\n\nWords.\n--B\n"
        f"Content-Type: {part}\n\n{fields}\n--B\n"
        f"Content-Type: text/rfc822-headers\n\nMessage-ID: {OURS}\n--B--\n".encode()
    )


FAILED = "Final-Recipient: rfc822; Gone@Y.org\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 unknown"
GOOD = "Final-Recipient: rfc822; ok@y.org\nAction: relayed\nStatus: 2.0.0"


def test_among_several_recipients_the_one_that_failed_counts() -> None:
    assert automated.report_of(dsn(GOOD, FAILED)) == ("bounce", "gone@y.org", OURS, "5.1.1", "550 unknown")
    assert automated.report_of(dsn(GOOD)) == ("delivered", "ok@y.org", OURS, "2.0.0", "relayed")


def test_receipts_and_complaints() -> None:
    receipt = dsn(
        f"Final-Recipient: rfc822; anna@y.org\nOriginal-Message-ID: {OURS}\n"
        "Disposition: manual-action/MDN-sent-manually; displayed",
        kind="disposition-notification",
        sender="anna@y.org",
    )
    report = automated.report_of(receipt)
    assert report is not None
    assert (report.kind, report.recipient, report.message_id) == ("read_receipt", "anna@y.org", OURS)
    complaint = dsn("Feedback-Type: abuse\nOriginal-Rcpt-To: anna@y.org", kind="feedback-report")
    assert automated.report_of(complaint) == ("feedback_report", "anna@y.org", OURS, "", "abuse")


@pytest.mark.parametrize(
    ("sender", "subject", "text"),
    [
        ("anna@x.org", "failure notice", QMAIL),  # a customer who pastes a bounce asks us something
        ("anna@x.org", "Undeliverable: my order", "It could not be delivered to me."),
        ("postmaster@x.org", "Question about your invoice", "Which VAT number do you use?"),
    ],
)
def test_what_people_write_is_no_report(sender: str, subject: str, text: str) -> None:
    read = mime.parse(f"Return-Path: <{sender}>\nFrom: {sender}\nSubject: {subject}\n\n{text}".encode())
    assert automated.report_of(read) is None
    assert "bounce" not in [hit.name for hit in automated.recognise(read, sender)]


def test_a_bounce_without_any_clue_is_still_one() -> None:
    report = automated.report_of(free("?", subject="Undelivered Mail Returned to Sender"))
    assert report == bounces.Report("bounce")


@pytest.mark.parametrize(
    "line", ["@" * 100_000, "a@b " * 20_000, "<a@b" * 20_000, "(" * 50_000 + "a@b)", "To: " * 20_000]
)
def test_crafted_lines_are_read_as_far_as_a_line_goes(line: str) -> None:
    assert automated.report_of(free(f"Delivery has failed to these recipients\n{line}\n" * 5)) is not None
