"""What the customer newly wrote, the older messages below it, and the signature.

One pass over the lines, each looked at once and no more than three joined for an attribution that was wrapped. The
sender's own markup speaks first: cited blocks arrive here as `> ` lines and client markers as a `markup.HISTORY` line.
A text never becomes an empty reply: when all of it looks quoted, all of it is the reply.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from normalizer import markup, quote_words

MAX_LINES: Final = 20_000  # beyond, lines are kept as they are
_MAX_LINE: Final = 1_000  # characters of a line that are looked at
_MAX_LOOKS: Final = 2_000  # at what may introduce an older message: real mail has a few of them, a bomb has one a line


class Parts(NamedTuple):
    """The three parts of a text. `reply` is never empty when the text was not."""

    reply: str
    quoted: str = ""
    signature: str = ""


def split(text: str, html: str = "") -> Parts:
    """Split a mail's text; with `html` (and no text of its own) the client's markup is used. Linear, never raises."""
    marked = markup.to_marked_text(html) if html and not text.strip() else text
    return split_marked(marked)


def split_marked(text: str) -> Parts:
    """Split text that may contain a `markup.HISTORY` line."""
    lines = [line.rstrip() for line in text.split("\n", MAX_LINES)]
    kinds = _Scan(lines).classify()
    reply, quoted = _separate(lines, kinds)
    reply, signature = _cut_signature(reply)
    body = "\n".join(reply).strip()
    if not body:
        whole = text.replace(markup.HISTORY, "").strip()
        unsigned = "\n".join(line for line in signature if line).strip()
        if unsigned and not _is_delimiter(unsigned):
            return Parts(unsigned, "\n".join(quoted).strip("\n"))
        return Parts(whole)
    return Parts(body, "\n".join(quoted).strip("\n"), "\n".join(signature).strip("\n"))


# What a line is. Text is kept; the others are older messages or introduce them.
_TEXT, _QUOTED, _INTRO, _REST = range(4)


class _Scan:
    """The pass over the lines of one text. What was found out about a line is kept: no line is judged twice."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.total = min(len(lines), MAX_LINES)
        self.kinds = [_TEXT] * len(lines)
        self.announcements = _announcements(lines)
        self.roles: dict[int, str | None] = {}
        self.looks = _MAX_LOOKS
        self.said = False  # the customer said something above the line that is looked at

    def classify(self) -> list[int]:
        lines, kinds = self.lines, self.kinds
        fence = False
        number = 0
        while number < self.total:
            line = lines[number]
            if line[:1] == ">" and line[-1:] != ">" and not fence and len(line) <= _MAX_LINE:
                kinds[number] = _QUOTED
                number += 1
                continue
            bare = line[:_MAX_LINE].strip()
            if not bare:
                number += 1
                continue
            if bare.startswith("```"):
                fence = not fence
            elif bare[0] == ">" and not fence and not (bare.endswith(" >>>") and quote_words.separates(bare)):
                kinds[number] = _QUOTED
                number += 1
                continue
            elif markup.HISTORY in bare:
                kinds[number] = _REST
                return kinds
            elif not fence and (length := self.introduces(number, bare)):
                for offset in range(length):
                    kinds[number + offset] = _INTRO
                if not self.cites_follow(number + length):
                    if self.said:
                        kinds[number] = _REST
                        return kinds
                    if self.header_block(number) or _is_forward(bare):
                        # Nothing above it: the older message is what the customer sends us, with who wrote it.
                        return [_TEXT] * len(lines)
                number += length
                continue
            self.said = self.said or not (_is_delimiter(bare) or _is_title(bare) or quote_words.is_sent_from(bare))
            number += 1
        return kinds

    def introduces(self, number: int, bare: str) -> int:
        """How many lines from `number` on introduce an older message: 0 when none do."""
        # Cheap tests first: most lines are prose, and the patterns are long.
        if (bare[0] in _RULES or bare[-1] in _ENDS or "--" in bare) and quote_words.separates(bare):
            return 1 if not quote_words.is_rule(bare) or self.mail_follows(number + 1) else 0
        if self.looks <= 0:
            return 0
        if number in self.announcements and (length := self.attribution(number, bare)) > 0:
            return length
        if ":" in bare[:40] or "：" in bare[:40]:
            return self.header_block(number)
        return 0

    def attribution(self, number: int, bare: str) -> int:
        """`On ... Anna <a@b> wrote:` on one line or wrapped over up to four."""
        if quote_words.DIGIT.search(bare) is None:  # the date or the address stands on the first line
            return 0
        if not quote_words.MAY_ATTRIBUTE.match(quote_words.without_direction(bare)):
            return 0
        self.looks -= 1
        joined = ""
        for offset in range(6):
            if number + offset >= self.total:
                break
            piece = quote_words.without_direction(self.lines[number + offset][:_MAX_LINE]).strip().lstrip("> ")
            if not piece:
                following = self.lines[number + offset + 1].strip() if number + offset + 1 < self.total else ""
                if not following.startswith("<"):  # a client wraps `Name` and `<address>` with a blank line between
                    break
                continue
            if joined and quote_words.starts_attribution(piece):
                break  # the announcement begins here; what was above it is the customer's sentence
            joined = f"{joined} {piece}" if joined else piece
            if len(joined) > 600:
                break
            if quote_words.is_attribution(joined):
                return offset + 1
            if offset == 0 and not quote_words.may_continue(joined):
                break  # the date or the address stands on the first line, or this is a sentence like any other
        return 0

    def role(self, number: int) -> str | None:
        """What header field the line looks like."""
        if number not in self.roles:
            self.roles[number] = quote_words.header_role(self.lines[number][:_MAX_LINE].strip())
        return self.roles[number]

    def header_block(self, number: int) -> int:
        """`From: ... Sent: ... To: ... Subject: ...` in any of the languages: From and others of them, in a run."""
        first = self.role(number)
        if first is None:
            return 0
        self.looks -= 1
        roles = {first}
        blanks = 0
        last = number
        position = number + 1
        while position < min(self.total, number + 14):
            line = self.lines[position]  # white space at its end is gone: a blank line is empty
            if not line:
                blanks += 1
                if blanks > 4 or (blanks > 1 and len(roles) > 2):
                    break
            elif (role := self.role(position)) is not None:
                roles.add(role)
                last = position
            elif blanks or len(line) > 300 or position - last > 2:
                break
            position += 1
        if "from" not in roles or not roles & {"date", "to"}:
            return 0
        # `From: Berlin, To: Paris, Date: 3 May` is a journey: a mail has a subject, or a sender with an address.
        mail = ("subject" in roles and len(roles) >= 3) or any("@" in line for line in self.lines[number : last + 1])
        return last - number + 1 if mail else 0

    def mail_follows(self, number: int) -> bool:
        """Whether an older message or a list's footer begins here: people draw lines too, around what they copied."""
        for position in range(number, min(self.total, number + 4)):
            bare = self.lines[position].strip()[:_MAX_LINE]
            if not bare:
                continue
            old = bare[0] == ">" or markup.HISTORY in bare
            if not old and not quote_words.is_rule(bare):
                old = self.introduces(position, bare) > 0
            return old or _is_footer(self.lines[position : position + _MAX_FOOTER + 1])
        return True

    def cites_follow(self, number: int) -> bool:
        """Whether the next line that says anything is a `>` line."""
        for position in range(number, min(self.total, number + 4)):
            bare = self.lines[position].strip()
            if bare:
                return bare[0] == ">"
        return False


def _announcements(lines: list[str]) -> frozenset[int]:
    """The lines at which `On 3 Feb Anna wrote:` may begin: up to five above one that ends as such a line does.

    Most texts have none, and then nobody looks for dates and names in every line of a newsletter.
    """
    found: set[int] = set()
    for number, line in enumerate(lines):
        plain = line[-1:] not in quote_words.MAY_END and line[:1].isalpha()
        if not plain and quote_words.may_end_attribution(line):
            found.update(range(max(0, number - 5), number + 1))
    return frozenset(found)


_MAX_FOOTER: Final = 8  # lines


def _is_footer(lines: list[str]) -> bool:
    """Whether these last lines are what a mailing list writes below every mail."""
    text = "\n".join(lines).lower()
    return len(lines) <= _MAX_FOOTER and any(word in text for word in ("mailing list", "unsubscribe", "/listinfo/"))


_ENDS: Final = frozenset(":：-#=_*~")
_RULES: Final = frozenset("-_=*—–─‐>")


def _says_something(line: str) -> bool:
    bare = line.strip()
    return bool(bare) and not _is_delimiter(bare)


# Rules and ornaments; U+1427 is what a mail tracker leaves behind.
_ORNAMENTS: Final = frozenset("-_=*#~+\u2010\u2014\u2013\u2500\u1427 \t.>")


def _is_delimiter(bare: str) -> bool:
    return len(bare) <= 200 and all(char in _ORNAMENTS for char in bare)


def _is_title(bare: str) -> bool:
    """The line above an attached mail that is shown as text."""
    return bare.startswith("---------- ") and bare.endswith(" ----------")


def _is_forward(bare: str) -> bool:
    return quote_words.FORWARD.match(bare) is not None


def _separate(lines: list[str], kinds: list[int]) -> tuple[list[str], list[str]]:
    reply: list[str] = []
    quoted: list[str] = []
    for number, line in enumerate(lines):
        kind = kinds[number]
        if kind == _REST:
            quoted.extend(line for line in lines[number:] if markup.HISTORY not in line)
            break
        if kind == _TEXT:
            reply.append(line)
        else:
            if reply and reply[-1]:
                reply.append("")
            quoted.append(line)
    while reply and not _says_something(reply[-1]):
        tail = reply.pop()
        if tail:
            quoted.insert(0, tail)
    return reply, quoted


def _cut_signature(lines: list[str]) -> tuple[list[str], list[str]]:
    """From the `-- ` line on, or the lines that phones and programs add; only near the end."""
    end = len(lines)
    for number in range(max(0, end - 40), end):
        bare = lines[number].strip()
        if bare == "--":  # `-- `, RFC 3676 section 4.3
            end = number
            break
        ruled = bare in _RULES_ABOVE_NAMES or (bare[:2] == "--" and quote_words.DELIMITED_NAME.match(bare) is not None)
        if ruled and _is_signature(lines[number + 1 :]):
            end = number
            break
    end = _cut_sent_from(lines, end)
    if end > 1 and quote_words.DASHED_NAME.match(lines[end - 1].strip()) and not lines[end - 2].strip():
        end -= 1
    return lines[:end], lines[end:]


# Some write these above their name, and others between two paragraphs.
_RULES_ABOVE_NAMES: Final = frozenset({"__", "\u2014", "\u2013\u2013", "\u2014\u2014", "- -", "---"})


def _is_signature(lines: list[str]) -> bool:
    """Whether these last lines look like a name and how to reach it: few, short, and no questions."""
    said = [line.strip() for line in lines if line.strip()]
    return len(said) <= 8 and all(len(line) <= 90 and line[-1] not in "?？;؟" for line in said)


def _is_sentence(bare: str) -> bool:
    """What customers add below the line of their phone; a name and how to reach it is none."""
    words = len(bare.split())
    return (words > 3 and bare[-1] in ".?!") or words > 7 or bare[:4].lower().startswith(("p.s.", "ps ", "ps:"))


def _cut_sent_from(lines: list[str], end: int) -> int:
    """Where the text ends when `Sent from my ...` lines, and at most three lines after each, are cut."""
    start = end
    below = 0
    for number in range(end - 1, max(-1, end - 60), -1):
        bare = lines[number].strip()
        if not bare:
            continue
        if quote_words.is_sent_from(bare):
            start, below = number, 0
        elif below >= 3 or start < end or _is_sentence(bare):
            break
        else:
            below += 1
    while start > 0 and not lines[start - 1].strip():
        start -= 1
    return start
