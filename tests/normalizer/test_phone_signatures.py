"""The line that phones put below a mail, in the languages they are sold in."""

from __future__ import annotations

import pytest

from normalizer import quoting

LINES = {
    "en": "Sent from my iPhone",
    "de": "Von meinem iPhone gesendet",
    "fr": "Envoyé de mon iPhone",
    "es": "Enviado desde mi iPhone",
    "it": "Inviato da iPhone",
    "pt": "Enviado do meu iPhone",
    "nl": "Verstuurd vanaf mijn iPhone",
    "sv": "Skickat från min iPhone",
    "da": "Sendt fra min iPhone",
    "fi": "Lähetetty iPhonesta",
    "pl": "Wysłane z iPhone'a",
    "cs": "Odesláno z iPhonu",
    "sk": "Odoslané z iPhonu",
    "hu": "Elküldve az iPhone-omról",
    "ro": "Trimis de pe iPhone-ul meu",
    "tr": "iPhone'umdan gönderildi",
    "ru": "Отправлено с iPhone",
    "uk": "Надіслано з iPhone",
    "el": "Στάλθηκε από το iPhone μου",
    "zh": "发自我的iPhone",
    "zh-TW": "從我的 iPhone 傳送",
    "ja": "iPhoneから送信",
    "ko": "나의 iPhone에서 보냄",
    "he": "נשלח מה-iPhone שלי",
    "vi": "Đã gửi từ iPhone của tôi",
    "id": "Dikirim dari iPhone saya",
    "ca": "Enviat des del meu iPhone",
    "th": "ส่งจาก iPhone ของฉัน",
    "hr": "Poslano s mog iPhonea",
}


def test_twenty_languages_at_least() -> None:
    assert len({language[:2] for language in LINES}) >= 20


@pytest.mark.parametrize("language", LINES)
def test_the_line_is_a_signature_below_words_and_stands_alone_without_any(language: str) -> None:
    line = LINES[language]
    below = quoting.split(f"New words.\n\n{line}\n")
    assert (below.reply, below.signature) == ("New words.", line)
    assert quoting.split(line).reply == line


@pytest.mark.parametrize(
    "line",
    [
        "From my iPhone I cannot log in at all, it says error 5.",
        "Yahoo mail on my phone does not show your messages.",
        "Sent from Outlook yesterday and never arrived, can you check order 55?",
        "Sent with the app on Monday, tracking number 123.",
        "Sent via gmail, did it arrive?",
    ],
)
def test_what_customers_say_of_their_phones_is_theirs(line: str) -> None:
    assert quoting.split(f"Hello\n\nIt is broken.\n{line}") == (f"Hello\n\nIt is broken.\n{line}", "", "")


@pytest.mark.parametrize("below", ["P.S. please also cancel order 55", "PS: two lamps", "Can you call me back today?"])
def test_what_customers_write_below_the_line_of_their_phone_is_theirs(below: str) -> None:
    assert below in quoting.split(f"It works.\n\nSent from my iPhone\n\n{below}\n").reply
    assert quoting.split("It works.\n\nSent from my iPhone\n\nAnna Muster\n+49 30 1234\n").reply == "It works."
