"""Which ids are evidence, and what a subject is without its prefixes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import thread_keys


@pytest.mark.parametrize(
    ("field", "ids"),
    [
        ("<a@b.c>", ["a@b.c"]),
        ("<a@b.c> <d@e.f>", ["a@b.c", "d@e.f"]),
        ("<[8a3f01$1@x.y]>", ["[8a3f01$1@x.y]"]),  # Outlook
        ("<a b@x.y>", ["ab@x.y"]),
        ("Your message of Monday, 3 Feb", []),
        ("<>", []),
        ("<@>", []),
        ("<...>", []),
        ("< >", []),
        ("", []),
        ("<x>", []),
    ],
)
def test_ids(field: str, ids: list[str]) -> None:
    assert thread_keys.message_ids(field) == ids


def test_an_id_without_brackets_is_an_id_only_where_it_is_the_mails_own() -> None:
    assert thread_keys.message_ids("a@b.c", loose=True) == ["a@b.c"]
    assert thread_keys.message_ids("anna@example.com wrote on Monday") == []


def test_keys_in_order_of_strength_without_repeats_and_newest_first() -> None:
    keys = thread_keys.thread_keys("<own@x>", "<parent@x>", "<root@x> <middle@x> <parent@x>")
    assert [(key.kind, key.value) for key in keys] == [
        ("message_id", "mid:own@x"),
        ("in_reply_to", "mid:parent@x"),
        ("references", "mid:middle@x"),
        ("references", "mid:root@x"),
    ]


def test_a_long_id_is_hashed_and_still_the_same_for_everybody() -> None:
    long = "x" * 8_000 + "@y"
    (own,) = thread_keys.thread_keys(f"<{long}>")
    (cited,) = thread_keys.thread_keys("", f"<{long}>")
    assert own.value == cited.value
    assert len(own.value) < 60


def test_only_the_newest_references_count() -> None:
    keys = thread_keys.thread_keys("", "", " ".join(f"<{number}@x>" for number in range(2_000)))
    assert len(keys) == 50
    assert keys[0].value == "mid:1999@x"


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Re: Hello", "hello"),
        ("RE: AW: Fwd: Hello", "hello"),
        ("Re[2]: Hello", "hello"),
        ("Re^3: Hello", "hello"),
        ("RE：你好", "你好"),
        ("回复：回复: 订单", "订单"),
        ("R: Ciao", "ciao"),
        ("I: Ciao", "ciao"),
        ("i: want", "i: want"),
        ("Return: x", "return: x"),
        ("SV: VS: Hei", "hei"),
        ("Odp: Pytanie", "pytanie"),
        ("YNT: Soru", "soru"),
        ("İLT: Soru", "soru"),
        ("[list] Re: [list] Hi", "hi"),
        ("Re: [Acme #123]", "[acme #123]"),
        ("Re:", ""),
        ("", ""),
        ("  Spaces\u00a0 here ", "spaces here"),
        ("Отв: Вопрос", "вопрос"),
        ("Trả lời: Câu hỏi", "câu hỏi"),
        ("返信: 質問", "質問"),
        ("Fwd: Re: Regarding: x", "regarding: x"),
    ],
)
def test_subject_base(subject: str, base: str) -> None:
    assert thread_keys.subject_base(subject) == base


@given(st.text(max_size=300))
def test_the_base_of_a_base_is_itself_and_a_reply_has_the_same(subject: str) -> None:
    base = thread_keys.subject_base(subject)
    assert thread_keys.subject_base(f"Re: {base}") == thread_keys.subject_base(base)
    thread_keys.thread_keys(subject, subject, subject)
