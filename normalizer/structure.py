"""The MIME tree of a mail: where each part lies in the bytes and what its header says, within stated budgets.

The tree is found in one pass over the lines that start with `--`, with a stack of the boundaries that are open (RFC
2046 section 5.1): no recursion, no copy of a body before it is wanted, every budget checked where it would be exceeded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from normalizer import charset, encodings, headers
from normalizer.message import Hit

MAX_HEADER_BYTES: Final = 524_288  # one header block, the top one or a part's
MAX_FIELDS: Final = 1_000
MAX_FIELD_BYTES: Final = 65_536
_LONG_FIELDS: Final = frozenset({"to", "cc", "references"})  # of these as much is read as others may have
MAX_PARTS: Final = 1_000
MAX_DEPTH: Final = 50
MAX_WORDS: Final = 2_000  # encoded words in one header block
MAX_PARAMETERS: Final = 200  # semicolons in one Content-* field
MAX_TEXT_BYTES: Final = 1_000_000  # of a text that is shown; all of a longer one is attached
MAX_HTML_BYTES: Final = 2_000_000
MAX_BOUNDARY: Final = 250  # RFC 2046 says 70; longer ones are seen


class OverBudgetError(Exception):
    """A mail asks for more work than any real mail does. `name` is the budget; `fields` what is safe to know."""

    def __init__(self, name: str, sentence: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.name = name
        self.sentence = sentence
        self.fields = fields or {}


_HTML: Final = re.compile(rb"\s{0,99}<(?:!doctype\s{1,9})?html[\s>]", re.IGNORECASE)


@dataclass(slots=True)
class Part:
    """A node of the MIME tree: where its body lies in the bytes, and what its header says."""

    fields: headers.Fields
    start: int
    end: int
    content_type: str = "text/plain"
    parameters: dict[str, str] = field(default_factory=dict)
    disposition: str = ""
    filename: str = ""
    encoding: str = ""
    content_id: str = ""
    children: list[Part] = field(default_factory=list)
    closed: bool = False
    contradicted: bool = False  # it has two different Content-Type fields
    default_type: str = "text/plain"

    @property
    def has_type(self) -> bool:
        """Whether its header says what it is."""
        return any(name == "content-type" for name, _ in self.fields)

    @property
    def multipart(self) -> bool:
        """Whether it is a container whose boundary is known."""
        return self.content_type.startswith("multipart/") and bool(self.parameters.get("boundary"))


def skip_preamble(data: bytes) -> int:
    """Past a byte order mark, blank lines and an mbox `From ` line."""
    start = 3 if data[:3] == b"\xef\xbb\xbf" else 0
    match = _LEADING.match(data, start)
    return match.end() if match else start


_LEADING: Final = re.compile(rb"[\r\n]{0,64}(?:>?From [^\r\n:]{0,200}[^\r\n]{0,800}\r?\n)?")
_DELIMITER: Final = re.compile(rb"--([^\r\n]{1,260})\r?(?:\n|\Z)")


class Tree:
    """The parts of one mail, and what was odd about them."""

    def __init__(self, data: bytes, outer: Tree | None = None) -> None:
        self.data = data
        self.problems: dict[str, Hit] = {}
        self.nested: int = outer.nested + 1 if outer else 0  # mails inside mails
        self.hint: str | None = None
        self.count: list[int] = outer.count if outer else [0]  # parts, of all mails inside each other together
        self.text_room = MAX_TEXT_BYTES  # octets of text parts that will still be shown
        self.html_room = MAX_HTML_BYTES
        self.sought = b"\n--"
        self.root = self.open_part(skip_preamble(data), len(data), "text/plain")
        self.hint = self.root.parameters.get("charset")
        if self.hint is None and _HTML.match(data, self.root.start) and not self.root.has_type:
            self.root.content_type = "text/html"  # what old form mailers send
        if self.root.multipart:
            self.grow(self.root)
        elif self.root.content_type.startswith("multipart/"):
            self.problem("mime_no_boundary", "a multipart without boundary was read as text")
            self.root.content_type = "text/plain"

    def inner(self, data: bytes) -> Tree:
        """The parts of a mail inside this one; what is odd about them is told of it alone. Raises `OverBudgetError`."""
        return Tree(data, self)

    def problem(self, name: str, reason: str) -> None:
        self.problems.setdefault(name, Hit(name=name, reason=reason))

    def open_part(self, start: int, end: int, default_type: str) -> Part:
        """The part whose header block begins at `start`."""
        self.count[0] += 1
        if self.count[0] > MAX_PARTS:
            raise OverBudgetError("parts", f"more than {MAX_PARTS} parts")
        fields, body, odd = headers.split_block(self.data, start, end, MAX_HEADER_BYTES + 1)
        self.check_block(fields, start, body)
        if odd:
            self.problem("header_malformed", "a line in the header is no header field")
        part = Part(fields, min(body, end), end, content_type=default_type, default_type=default_type)
        self.describe(part)
        return part

    def check_block(self, fields: headers.Fields, start: int, body: int) -> None:
        if body - start > MAX_HEADER_BYTES:
            raise OverBudgetError("header_bytes", f"a header of more than {MAX_HEADER_BYTES} octets")
        if len(fields) > MAX_FIELDS:
            raise OverBudgetError("header_fields", f"more than {MAX_FIELDS} header fields")
        if self.data.count(b"=?", start, body) > MAX_WORDS:
            raise OverBudgetError("encoded_words", f"more than {MAX_WORDS} encoded words in a header")
        if body - start > MAX_FIELD_BYTES and any(
            len(value) >= MAX_FIELD_BYTES and name not in _LONG_FIELDS for name, value in fields
        ):
            raise OverBudgetError("field_bytes", f"a header field of more than {MAX_FIELD_BYTES} octets")

    def describe(self, part: Part) -> None:
        """Type, disposition, encoding, names: from the first of each field; more than one is ambiguous (A48)."""
        seen: set[str] = set()
        for name, value in part.fields:
            if not name.startswith("content-"):
                continue
            if name in seen and name in ("content-type", "content-transfer-encoding", "content-disposition"):
                self.problem("mime_ambiguous", f"a part has more than one {name.title()}; the first is used")
                part.contradicted = part.contradicted or name == "content-type"
                continue
            seen.add(name)
            if value.count(b";") > MAX_PARAMETERS:
                raise OverBudgetError("parameters", f"more than {MAX_PARAMETERS} parameters in {name.title()}")
            self.describe_field(part, name, value)
        if "/" not in part.content_type:
            unknown = "application/octet-stream" if part.filename else part.default_type
            part.content_type = {"text": "text/plain"}.get(part.content_type, unknown)
        if part.multipart and part.encoding in ("base64", "quoted-printable"):
            self.problem(
                "mime_ambiguous", f"a multipart in {part.encoding}, which RFC 2045 forbids; it is read as it is"
            )

    def describe_field(self, part: Part, name: str, value: bytes) -> None:
        if name == "content-type":
            part.content_type, part.parameters, repeated = headers.parameters(headers.unfold(value, self.hint))
            part.filename = part.filename or part.parameters.get("name") or part.parameters.get("file", "")
            if repeated:
                self.problem("mime_ambiguous", "a parameter of Content-Type is given twice; the first is used")
        elif name == "content-disposition":
            part.disposition, parameters, repeated = headers.parameters(headers.unfold(value, self.hint))
            part.filename = parameters.get("filename") or part.filename
            if repeated:
                self.problem("mime_ambiguous", "a parameter of Content-Disposition is given twice; the first is used")
        elif name == "content-transfer-encoding":
            part.encoding = headers.drop_comments(headers.unfold(value)).strip(' ";').lower()
        elif name == "content-id":
            part.content_id = headers.unfold(value).strip("<> ")

    def grow(self, root: Part) -> None:
        """Find all parts below `root`: one pass over the delimiter lines, innermost open boundary first."""
        stack: list[tuple[bytes, Part]] = [(self.boundary(root), root)]
        self.seek(stack)
        leaf: Part | None = None  # the open part that is no container
        for line_start, line, after in self.delimiters(root.start):
            level, closes = self.level(stack, line)
            if level < 0:
                continue
            container = stack[level][1]
            content_end = self.before(line_start)
            if container.contradicted and not container.children:
                self.keep_preamble(container, content_end)
            for _, inner in stack[level + 1 :]:
                inner.end = content_end
            if leaf is not None:
                leaf.end = max(leaf.start, content_end)
                leaf = None
            if closes:
                container.closed, container.end = True, after
                del stack[level:]
                if not stack:
                    return
                self.seek(stack)
                continue
            del stack[level + 1 :]
            default = "message/rfc822" if container.content_type == "multipart/digest" else "text/plain"
            part = self.open_part(after, len(self.data), default)
            container.children.append(part)
            if part.multipart:
                stack.append((self.boundary(part), part))
                if len(stack) > MAX_DEPTH:
                    raise OverBudgetError("depth", f"parts nested more than {MAX_DEPTH} deep")
            else:
                leaf = part
            self.seek(stack)
        self.problem("mime_unclosed", "a multipart ends without its closing boundary")

    def seek(self, stack: list[tuple[bytes, Part]]) -> None:
        """Look from here on for lines that begin as every open boundary does: a text full of dashes has none."""
        boundaries = [boundary for boundary, _ in stack]
        first, last = min(boundaries), max(boundaries)
        same = next((at for at, octet in enumerate(first) if last[at : at + 1] != octet.to_bytes()), len(first))
        self.sought = b"\n--" + first[:same]

    def keep_preamble(self, container: Part, end: int) -> None:
        """What stands above the first part of a multipart that also says it is something else: others show it."""
        if self.data[container.start : end].strip():
            self.count[0] += 1
            container.children.append(Part([], container.start, end))

    def boundary(self, part: Part) -> bytes:
        found = part.parameters["boundary"].rstrip().encode("utf-8", "replace")[:MAX_BOUNDARY]
        if (
            found[:1] == b"'" == found[-1:]
            and self.data.find(b"--" + found, part.start, part.start + MAX_FIELD_BYTES) < 0
        ):
            return found.strip(b"'")  # the quotes of a program that took them for quotes
        return found

    def level(self, stack: list[tuple[bytes, Part]], line: bytes) -> tuple[int, bool]:
        """Which open container a delimiter line belongs to (-1: none), and whether it closes it."""
        for level in range(len(stack) - 1, -1, -1):
            boundary = stack[level][0]
            if line.startswith(boundary) and line[len(boundary) :] in (b"", b"--"):
                return level, len(line) > len(boundary)
        return -1, False

    def before(self, line_start: int) -> int:
        """The line end before a delimiter belongs to it."""
        if self.data[line_start - 2 : line_start] == b"\r\n":
            return line_start - 2
        return line_start - 1 if line_start else 0

    def delimiters(self, start: int) -> Iterator[tuple[int, bytes, int]]:
        """Lines that may be delimiters: (where, what follows the dashes, where the next line begins)."""
        data = self.data
        position = start if data[start : start + 2] == b"--" else data.find(b"\n--", start) + 1
        if not position and (start or data[:2] != b"--"):
            return  # nothing was found; a delimiter above `start` is none
        while True:
            match = _DELIMITER.match(data, position)
            after = position + 2
            if match is not None:
                after = match.end()
                yield position, match.group(1).rstrip(), after
            position = data.find(self.sought, max(after - 1, 0)) + 1
            if not position:
                return

    def content(self, part: Part) -> bytes:
        """The part's bytes, transfer encoding undone."""
        end = part.end
        if part.encoding == "base64" and part.content_type in ("text/plain", "text/html"):
            end = encodings.plain_tail(self.data, part.start, part.end)
        data = encodings.undo_encoding(self.data, part.start, end, part.encoding, self.problem)
        if end < part.end:
            self.problem("mime_ambiguous", "below its base64 a text goes on unencoded, as footers do; both are read")
            tail = self.data[end : part.end]
            if tail.isascii() and b"\x00" not in data:  # not below UTF-16
                data = data.rstrip(b"\r\n") + b"\n\n" + tail
        return data

    def text_of(self, part: Part, data: bytes) -> str:
        """Its characters, line ends as `\\n`, without control characters."""
        label = part.parameters.get("charset")
        if label is None and part.content_type == "text/html":
            label = encodings.meta_charset(data)
        text, damaged = charset.decode(data, label)
        if damaged:
            self.problem("charset_damaged", f"text declared as {(label or 'nothing')[:40]} was not readable as that")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        # Looking for control characters among the octets is a hundred times faster than among the characters.
        # And they are the same octets in UTF-8, whatever they were in the charset of the mail.
        if len(data.translate(None, _CONTROL_OCTETS)) == len(data):
            return text
        octets = text.encode("utf-8", "surrogatepass")
        return octets.translate(None, _CONTROL_OCTETS).decode("utf-8", "surrogatepass")


_CONTROL_OCTETS: Final = bytes((*range(9), 11, 12, *range(14, 32), 127))
