"""Where we do not read a corpus mail as its source does: the expectations in question, and why we are content.

A test holds every entry to be a real miss, so that none can outlive its reason.
"""

from __future__ import annotations

UTF7 = "UTF-7 is never decoded: its plain bytes can hide markup; the text is shown as it came and marked damaged"
UU = "a uuencoded block in the text is a file to us and text to them"
ENCODED = "uuencoded files: we give the file, they the size and hash of its encoded lines"
SIGNATURE = "the detached signature is kept as a file; some desks must be able to show it"
LOST = "raw 8-bit letters: we read them, their golden file has U+FFFD in their place"
TWO_TEXTS = "several texts stand in a mixed multipart: RFC 8621 shows them one below the other, so do we"

DISAGREED: dict[str, tuple[str, str]] = {
    # id: (fields, reason)
    "enmime/mail/mime-alternative": (
        "text",
        "two different plain texts as alternatives: both are shown (RFC 8621 4.1.4), they keep the first",
    ),
    "mikel-mail/attachment_emails/attachment_message_rfc822.eml": (
        "attachments_count attachment_sizes_contain",
        "the file inside an attached mail stays inside it; they list it again beside the mail",
    ),
    "mikel-mail/attachment_emails/attachment_message_rfc822_inline_image.eml": (
        "attachment_sizes_contain",
        "an attached mail has the 1,851 octets that came; they count it after printing it anew",
    ),
    "mime4j/testmsgs/malformedHeaderStartsBody-nocrlfcrlf": (
        "text_contains",
        "a line between two fields that is none: for us a fold that lost its space, for them where the body begins",
    ),
    "mime4j/mimetools-testmsgs/sig-uu": ("text_contains", UU),
    "mime4j/mimetools-testmsgs/uu-junk": ("text_contains", UU),
    "mime4j/mimetools-testmsgs/uu-zeegee": ("text_contains", UU),
    "nodemailer/inline/021 Invalid Quoted-Printable": (
        "text",
        "`==C3==95` in quoted-printable: the signs stay for us, as in Python's codec; they make half a letter of it",
    ),
    "nodemailer/inline/023 Different Levels": (
        "html",
        "a plain text beside html is shown as it came; they turn its letters into entities and wrap it in a paragraph",
    ),
    "nodemailer/inline/024 Detect Content-Type by filename": (
        "text html",
        "the mail holds one file and no text; the expectation in their test belongs to the mail before it",
    ),
    "stalwart/legacy/001": ("subject text text_contains", UTF7),
    "stalwart/legacy/005": ("subject text text_contains", UTF7),
    **dict.fromkeys((f"stalwart/legacy/{number}" for number in ("010", "020", "022", "027")), ("subject", LOST)),
    "stalwart/legacy/016": (
        "attachments attachment_names",
        "we undo BinHex: 1,325 octets of PNG, the very file of legacy/035; and the name keeps the letter they lose",
    ),
    "stalwart/legacy/017": ("attachments", ENCODED),
    "stalwart/legacy/023": ("attachment_names", LOST),
    "stalwart/legacy/026": ("attachment_names", LOST),
    "stalwart/legacy/034": ("text text_contains", "UTF-7 that they decode to Chinese inside a German text"),
    "stalwart/legacy/035": ("attachment_names", "`C:\\TEMP\\x.png`: we show x.png, they C:TEMPx.png"),
    "stalwart/legacy/039": ("attachment_names", "`C:\\TEMP\\x.png`: we show x.png, they C:TEMPx.png"),
    "stalwart/legacy/048": ("attachments", ENCODED),
    "stalwart/legacy/049": ("text text_contains attachments attachments_count", UU),
    "stalwart/legacy/052": ("subject text text_contains", LOST),
    **dict.fromkeys(
        (f"stalwart/malformed/{number:03}" for number in (1, 2, 3, 6)),
        (
            "attachments attachments_count",
            "a multipart that never closes: its text is shown, they attach the piece that has no end",
        ),
    ),
    "stalwart/malformed/004": (
        "attachments attachments_count",
        "the lines are --ab and --ac, the boundary is a (RFC 2046 5.1.1), so all of it is text; they attach it",
    ),
    "stalwart/malformed/007": ("attachments attachments_count", "an empty part is nothing to us, a file to them"),
    **dict.fromkeys(
        (f"stalwart/malformed/{number:03}" for number in (8, 9, 11)),
        ("text attachments attachments_count", f"{TWO_TEXTS}; they attach all but the first"),
    ),
    "stalwart/malformed/012": (
        "attachments attachments_count",
        "three attached mails are three files; they stop counting at the one that has no end",
    ),
    "stalwart/malformed/016": (
        "text attachments attachments_count",
        "an outer boundary ends the inner parts (RFC 2046 5.1.2), what follows with the inner ones is text; they go on",
    ),
    "stalwart/malformed/019": (
        "text html",
        "a mail with pieces cut out at random: more of its text and html is shown here than there",
    ),
    **dict.fromkeys(
        ("stalwart/malformed/020", "stalwart/malformed/021"),
        (
            "text text_contains",
            "two Content-Types: the parts and the text above them are read, and flagged; they show the boundaries",
        ),
    ),
    "stalwart/rfc/000": (
        "text attachments attachments_count",
        "enriched text is read without its commands (RFC 1896) and shown; they attach it",
    ),
    "stalwart/rfc/001": ("attachment_names", "`/u/nsb/x.ps`: a path is cut to its last part"),
    "stalwart/rfc/007": ("html", "the plain pieces beside the html are in it too, as RFC 8621 4.1.4 has it"),
    "stalwart/thirdparty/000": ("text text_contains", "NUL, which no database takes, is left out of texts"),
    "stalwart/thirdparty/002": (
        "text attachments attachments_count",
        "a text in base64 of seven letters: five octets of noise either way; we show it as text, they attach it",
    ),
    "stalwart/thirdparty/005": ("text", "`invalid--1--`: a boundary has to begin a line (RFC 2046 5.1.1)"),
    "stalwart/thirdparty/007": (
        "from_addr from_name",
        "`Moderator-Address <moderator>`: a word without a domain is no address; all of it is the name",
    ),
    "stalwart/thirdparty/015": (
        "attachments attachments_count",
        "a letter that says itself it sends three mails: three files; they read two of them as text",
    ),
    "zbateson/m0006": ("subject text_ws_normalised text_contains", UTF7),
    "zbateson/m0007": ("subject to_name_first text_ws_normalised text_contains", UTF7),
    "zbateson/m1011": ("subject to_name_first text_ws_normalised text_contains", UTF7),
    "zbateson/m0020": ("html_text_ws_normalised", f"{TWO_TEXTS}; they leave the second html out"),
    "zbateson/m1009": ("attachments_count", "an inline text that has a file name is a file (RFC 8621 4.1.4)"),
    "zbateson/m4002": ("attachments_count", SIGNATURE),
    "zbateson/m4004": ("attachments_count", SIGNATURE),
    "stalwart/address/030": ("address", "a second line that is not folded: in a mail it never reaches this field"),
    "stalwart/content_type/034": ("content_type", "no space between encoded words, as RFC 2047 section 6.2 says"),
    "stalwart/content_type/061": ("content_type", "names made of asterisks: no two parsers agree on any of them"),
    "stalwart/content_type/059": ("content_type", "NUL in a parameter, which no database takes, is left out"),
    "stalwart/date/010": ("date", "`20 11 79`: a month by number"),
    "stalwart/date/012": ("date", "`4 8 15 16 23 42`: a row of numbers is no date"),
    "stalwart/date/028": ("date", "a Received field is no Date field"),
    "stalwart/date/030": ("date", "`EST5EDT` in July is -0400, they say -0500; an unknown zone is UTC (RFC 5322 4.3)"),
    "stalwart/id/010": ("id", "`m`: a letter without brackets or `@` is no Message-ID"),
    "stalwart/unstructured/003": ("unstructured", "a second field stands in the sample"),
    "stalwart/unstructured/011": ("unstructured", "a second field stands in the sample"),
}

CITED = "lines marked with `>` are folded away wherever they stand; they show the ones above an answer"
WRAPPED = "cited lines that a program wrapped have lost their mark: shown, since answers between quotes look the same"

# Replies that we show otherwise, each a miss in the figures.
REPLY_POLICY: dict[str, str] = {
    "discourse-trimmer/embedded_email_7": f"{CITED}; and `C>` is no mark of ours",
    "discourse-trimmer/embedded_email_16": CITED,
    "discourse-trimmer/embedded_email_17": CITED,
    "discourse-trimmer/quote_and_text": CITED,
    "discourse-trimmer/forwarded_message": "a forward without a word keeps the lines that say whose it was",
    "discourse-trimmer/signatures": "thirty signatures of phones one below the other are no mail",
    "github-erp/email_1_2": "an answer goes on below the quote and is shown whole; they assert only its first piece",
    "crisp-erp/email_2#test_reads_bottom_post": "the same mail, the same first piece",
    "crisp-erp/email_7#test_email_with_italian": WRAPPED,
    "crisp-erp/email_8#test_email_with_dutch": WRAPPED,
    "crisp-erp/email_15#test_email_sent_from_my": "sentences below the line of a phone are the customer's",
    "crisp-erp/email_with_regards#text_email_regards": "`Regards, John Doe` without any mark is the customer's own",
}

# Names under a dash that they count to the reply; here they stand in the signature.
SIGNED = frozenset(
    {
        "crisp-erp/email_1#test_reads_simple_body",
        "crisp-erp/email_1#test_parseReply_extracts_visible_text",
        "crisp-erp/email_3#test_reads_top_post",
        "crisp-erp/email_emoji#test_email_emoji",
    }
)
