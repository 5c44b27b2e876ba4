"""HTML mail as text a person can read, and as HTML a browser can show without harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import markup


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello <b>wor</b>ld</p><p>again</p>", "Hello world\n\nagain"),
        ("one<br>two<br><br>three", "one\ntwo\n\nthree"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("<ul><li>one</li><li>two<ol><li>deep</li></ol></li></ul>", "- one\n- two\n  1. deep"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a\tb\nc"),
        ('<a href="https://x.example/p">the page</a>', "the page <https://x.example/p>"),
        ('<a href="https://x.example/">https://x.example</a>', "https://x.example"),
        ('<a href="javascript:alert(1)">click</a>', "click"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<blockquote>old<br>older</blockquote>new", "> old\n> older\n\nnew"),
        ("<style>p{}</style><script>x()</script><title>t</title>seen", "seen"),
        ('<span style="display: none">secret <b>deep</b></span>seen', "seen"),
        ('<div style="font-size:0px">secret</div><div style="font-size:0.9em">seen</div>', "seen"),
        ("<p hidden>secret</p>seen", "seen"),
        ("1 &lt; 2 &amp;&nbsp;3 &euro;", "1 < 2 & 3 €"),
        ("<p>a</p>\n\n\n<p>b</p>", "a\n\nb"),
        ("<!-- comment -->seen<![CDATA[x]]>", "seen"),
        ("<x-unknown>kept</x-unknown>", "kept"),
        ("", ""),
    ],
)
def test_readable_text(html: str, text: str) -> None:
    assert markup.to_text(html) == text


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)></svg>",
        "<svg><script>alert(1)</script></svg>",
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "<a href='java&#115;cript:alert(1)'>x</a>",
        "<a href=' javascript:alert(1)'>x</a>",
        "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
        "<a href='//evil.example'>x</a>",
        "<iframe src='https://evil.example'></iframe>",
        "<form action='https://evil.example'><input name=q></form>",
        "<base href='https://evil.example'>",
        "<meta http-equiv=refresh content='0;url=https://evil.example'>",
        "<link rel=stylesheet href='https://evil.example/x.css'>",
        "<img src='https://evil.example/pixel.gif'>",
        "<div style='background:url(https://evil.example/x)'>x</div>",
        "<div style='position:fixed;top:0;left:0;width:100%'>x</div>",
        "<p style='margin-left:-9999px'>x</p>",
        "<a id=location name=cookie href='https://ok.example'>x</a>",
        "<object data=x></object>",
        "<embed src=x>",
        "<style>@import 'https://evil.example'</style>",
        "<table background='https://evil.example/x'><tr><td>x</table>",
        "<video src='https://evil.example/v'><source src=x></video>",
        "<p class=x onclick=alert(1)>x</p>",
    ],
)
def test_what_could_act_is_gone(html: str) -> None:
    safe = markup.sanitise(html).lower()
    for danger in (
        "<script",
        "onerror",
        "onload",
        "onclick",
        "javascript:",
        "data:",
        "evil.example",
        "<iframe",
        "<form",
        "<svg",
        "<math",
        "<base",
        "<meta",
        "<link",
        "<style",
        "position",
        " id=",
        " name=",
        " class=",
        "-9999",
    ):
        assert danger not in safe


def test_links_tell_nothing_and_pictures_are_parts_of_the_mail() -> None:
    safe = markup.sanitise(
        '<a href="https://x.example">x</a><img src="cid:logo" alt="logo"><a href="mailto:a@b.c">m</a>'
    )
    assert 'rel="noopener noreferrer nofollow"' in safe
    assert 'src="cid:logo"' in safe
    assert 'href="mailto:a@b.c"' in safe


def test_the_sanitiser_escapes_angle_brackets_as_the_renderer_relies_on() -> None:
    assert markup.to_text('<a title="a>b<c" href="https://x.example/?q=>">link</a> after') == (
        "link <https://x.example/?q=>> after"
    )


def test_clients_markers_say_where_history_begins() -> None:
    marked = markup.to_marked_text('<p>new</p><div id="appendonsend"></div><p>old</p>')
    assert marked.split(markup.HISTORY)[0].strip() == "new"
    assert markup.unmark(marked).split() == ["new", "old"]
    assert markup.HISTORY not in markup.to_text(f"a{markup.HISTORY}b")


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 60_000,
        "<p>" * 200_000,
        "<b>" * 60_000 + "x",
        "<" * 500_000,
        "&" * 500_000,
        "\u00a0 " * 500_000,
        '<a b="' * 100_000,
        "<table><tr><td>" * 30_000,
        "<!--" * 200_000,
        "<br>" * 300_000,
        "<blockquote>" * 5_000 + "x",
    ],
    ids=lambda html: html[:12],
)
@pytest.mark.timeout(20)
def test_floods_end(html: str) -> None:
    assert isinstance(markup.to_text(html), str)
    assert "<script" not in markup.sanitise(html)


@given(st.text(alphabet='<>/ab"=&;#x \n!-', max_size=200))
def test_any_markup_is_read(html: str) -> None:
    markup.to_text(html)
    markup.sanitise(html)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        # MJML: the cell has no letters of its own, the block in it has.
        ('<table><td style="font-size:0px"><div style="font-size:13px">seen</div></td></table>', "seen"),
        ('<div style="font-size:0">no<span style="font-size:1rem">A<i>b</i></span>no</div>end', "Ab\nend"),
        ('<table><td style="font-size:0"><b style="font:12px Arial">A</b></td><td>B</td></table>', "A\tB"),
        ('<p style="font-size:0">no <i style="font-size:1em">no</i> <b style="font-size:0.0pt">no</b></p>end', "end"),
        ('<p style="font-size:0">no <i style="display:none;font-size:9px">no</i>no</p>end', "end"),
        ('<a href="https://x.example" style="mso-hide:all">Pay</a><p style="mso-hide:all">no</p>', "Pay"),
    ],
)
def test_text_whose_size_is_given_further_in_is_seen(html: str, text: str) -> None:
    assert markup.to_text(html).replace(" <https://x.example>", "") == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="https://x.example/p"><div>Pay</div></a>end', "Pay <https://x.example/p>\nend"),
        ('<a href="https://x.example/p"><table><tr><td>Pay</td></tr></table></a>', "Pay <https://x.example/p>"),
        ('<a href="https://x.example/p"><p>Pay</p><p>now</p></a>', "Pay\n\nnow <https://x.example/p>"),
        ('one<a href="https://x.example/p"><div></div></a>', "one"),
        ('<a href="https://x.example/p"><div>x.example/p</div></a>', "x.example/p"),
        ('<blockquote><a href="https://x.example/p"><div>Pay</div></a></blockquote>', "> Pay <https://x.example/p>"),
    ],
)
def test_where_a_link_around_a_block_leads(html: str, text: str) -> None:
    assert markup.to_text(html) == text
