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
