"""The visible reply in many languages, and the promise that a text never becomes an empty comment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import quoting

CITED = "\n\n> Where is it?\n> Support\n"
ATTRIBUTIONS = {
    "en": "On Mon, Feb 3, 2025 at 10:12 AM Support <help@desk.example> wrote:",
    "de": "Am Mo., 3. Feb. 2025 um 10:12 Uhr schrieb Support <help@desk.example>:",
    "fr": "Le lun. 3 févr. 2025 à 10:12, Support <help@desk.example> a écrit :",
    "es": "El lun, 3 feb 2025 a las 10:12, Support (<help@desk.example>) escribió:",
    "it": "Il giorno lun 3 feb 2025 alle ore 10:12 Support <help@desk.example> ha scritto:",
    "pt": "Em seg., 3 de fev. de 2025 às 10:12, Support <help@desk.example> escreveu:",
    "nl": "Op ma 3 feb 2025 om 10:12 schreef Support <help@desk.example>:",
    "pl": "pon., 3 lut 2025 o 10:12 Support <help@desk.example> napisał(a):",
    "sv": "Den mån 3 feb. 2025 kl 10:12 skrev Support <help@desk.example>:",
    "da": "Den man. 3. feb. 2025 kl. 10.12 skrev Support <help@desk.example>:",
    "no": "man. 3. feb. 2025 kl. 10:12 skrev Support <help@desk.example>:",
    "fi": "ma 3. helmik. 2025 klo 10.12 Support <help@desk.example> kirjoitti:",
    "cs": "po 3. 2. 2025 v 10:12 odesílatel Support <help@desk.example> napsal:",
    "sk": "po 3. 2. 2025 o 10:12 Support <help@desk.example> napísal(a):",
    "hu": "Support <help@desk.example> ezt írta (időpont: 2025. febr. 3., H, 10:12):",
    "ro": "În lun., 3 feb. 2025 la 10:12, Support <help@desk.example> a scris:",
    "tr": "Support <help@desk.example>, 3 Şub 2025 Pzt, 10:12 tarihinde şunu yazdı:",
    "ru": "пн, 3 февр. 2025 г. в 10:12, Support <help@desk.example> написал:",
    "uk": "пн, 3 лют. 2025 р. о 10:12 Support <help@desk.example> пише:",
    "el": "Στις Δευ 3 Φεβ 2025 στις 10:12, Support <help@desk.example> έγραψε:",
    "zh": "Support <help@desk.example> 于2025年2月3日周一 10:12写道：",
    "zh-TW": "Support <help@desk.example> 於 2025年2月3日 週一 上午10:12寫道：",
    "ja": "2025年2月3日(月) 10:12 Support <help@desk.example>さんは書きました:",
    "ko": "2025년 2월 3일 (월) 오전 10:12, Support <help@desk.example>님이 작성:",
    "he": "בתאריך יום ב׳, 3 בפבר׳ 2025 ב-10:12 מאת Support <help@desk.example> כתב:",
    "ar": "في الاثنين، 3 فبراير 2025 في 10:12 ص كتب Support <help@desk.example>:",
    "vi": "Vào Th 2, 3 thg 2, 2025 vào lúc 10:12 Support <help@desk.example> đã viết:",
}


@pytest.mark.parametrize("language", ATTRIBUTIONS)
def test_attributions(language: str) -> None:
    cited = quoting.split(f"New words.\n\n{ATTRIBUTIONS[language]}{CITED}")
    assert cited.reply == "New words."
    assert "Where is it?" in cited.quoted


@pytest.mark.parametrize("language", ATTRIBUTIONS)
def test_attributions_without_quote_marks(language: str) -> None:
    assert quoting.split(f"New words.\n\n{ATTRIBUTIONS[language]}\nWhere is it?").reply == "New words."


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "ru", "nl"])
def test_attributions_that_were_wrapped(language: str) -> None:
    line = ATTRIBUTIONS[language].replace("<", "\n<")
    assert quoting.split(f"New words.\n{line}{CITED}").reply == "New words."


@pytest.mark.parametrize(
    "header",
    [
        "-----Original Message-----\nFrom: Support\nSent: Monday",
        "-----Ursprüngliche Nachricht-----\nVon: Support\nGesendet: Montag",
        "-------- Message d'origine --------\nDe : Support",
        "----- Mensaje original -----\nDe: Support",
        "-----Messaggio originale-----\nDa: Support",
        "-----Oorspronkelijk bericht-----\nVan: Support",
        "-----Исходное сообщение-----\nОт: Support",
        "------------------ 原始邮件 ------------------\n发件人: Support",
        "________________________________\nFrom: Support <help@desk.example>\nSent: Monday 10:12\nTo: Anna\nSubject: x",
        "From: Support <help@desk.example>\nSent: Monday, 3 February 2025 10:12\nTo: Anna\nSubject: x",
        "*From:* Support <help@desk.example>\n*Date:* Monday\n*To:* Anna\n*Subject:* x",
        "Von: Support <help@desk.example>\nGesendet: Montag, 3. Februar 2025 10:12\nAn: Anna\nBetreff: x",
        "De : Support <help@desk.example>\nEnvoyé : lundi 3 février 2025 10:12\nÀ : Anna\nObjet : x",
        "De: Support\nEnviado el: lunes, 3 de febrero de 2025\nPara: Anna\nAsunto: x",
        "Da: Support\nInviato: lunedì 3 febbraio 2025\nA: Anna\nOggetto: x",
        "Van: Support\nVerzonden: maandag 3 februari 2025\nAan: Anna\nOnderwerp: x",
        "Från: Support\nSkickat: den 3 februari 2025\nTill: Anna\nÄmne: x",
        "Lähettäjä: Support\nLähetetty: maanantai\nVastaanottaja: Anna\nAihe: x",
        "Od: Support\nWysłano: poniedziałek\nDo: Anna\nTemat: x",
        "Kimden: Support\nGönderildi: Pazartesi\nKime: Anna\nKonu: x",
        "От: Support\nОтправлено: понедельник\nКому: Anna\nТема: x",
        "发件人： Support\n发送时间： 2025年2月3日\n收件人： Anna\n主题： x",
        "差出人: Support\n送信日時: 2025年2月3日\n宛先: Anna\n件名: x",
        "보낸 사람: Support\n날짜: 2025년 2월 3일\n받는 사람: Anna\n제목: x",
        "מאת: Support\nנשלח: יום שני\nאל: Anna\nנושא: x",
    ],
)
def test_headers_of_older_messages(header: str) -> None:
    assert quoting.split(f"New words.\n\n{header}\n\nOld words.").reply == "New words."


def test_answers_between_the_quotes_stay() -> None:
    parts = quoting.split(f"Hi,\n\n{ATTRIBUTIONS['en']}\n> Which size?\n\nLarge.\n\n> Which colour?\n\nRed.\n")
    assert [line for line in parts.reply.split("\n") if line] == ["Hi,", "Large.", "Red."]
    assert "Which colour?" in parts.quoted


@pytest.mark.parametrize(
    "signature",
    [
        "-- \nAnna\n+31 20 123",
        "--\nAnna",
        "Sent from my iPhone",
        "Von meinem iPhone gesendet",
        "Envoyé de mon iPhone",
        "Enviado desde mi iPhone",
        "Inviato da iPhone",
        "Verzonden vanaf mijn iPhone",
        "Skickat från min iPhone",
        "Wysłane z iPhone'a",
        "Отправлено с iPhone",
        "iPhoneから送信",
        "发自我的iPhone",
        "나의 iPhone에서 보냄",
        "Get Outlook for Android<https://aka.ms/x>",
        "iPhone'umdan gönderildi",
    ],
)
def test_signatures(signature: str) -> None:
    parts = quoting.split(f"New words.\n\n{signature}\n")
    assert parts.reply == "New words."
    assert parts.signature.split() == signature.split()


@pytest.mark.parametrize(
    "text",
    [
        "On my 2 laptops I see this error: 404",
        "From: the beginning it never worked",
        "I wrote: please cancel. Nothing happened since 3 Feb 2025.",
        "On 3 Feb 2025 I ordered a lamp.\nIt has not arrived.",
        "The order:\n- lamp\n- table\n\nTo: be honest I am annoyed.",
        "Price: 10\nDate: tomorrow\nThanks",
        "```\n> not a quote\nOn 3 Feb 2025 at 10:12, a@b.c wrote:\n```\ndone",
        "It says ---------- and then -- stops",
    ],
)
def test_customers_sentences_are_not_quotes(text: str) -> None:
    assert quoting.split(text).reply == text


@pytest.mark.parametrize(
    "text",
    [
        "> only a quote",
        "-- \nonly a signature",
        "Sent from my iPhone",
        "-----Original Message-----\nFrom: x",
        "----",
        "On 3 Feb 2025, a@b.c wrote:",
    ],
)
def test_a_text_never_becomes_an_empty_reply(text: str) -> None:
    assert quoting.split(text).reply


def test_forwarded_mail_without_a_word_above_it_is_the_message() -> None:
    text = "---------- Forwarded message ---------\nFrom: Anna <anna@x.org>\nSubject: Broken\n\nIt is broken."
    assert quoting.split(text).reply == text


GMAIL = """<div>New words.</div><div class="gmail_quote"><div class="gmail_attr">On Mon, 3 Feb 2025 at 10:12,
S &lt;h@d.example&gt; wrote:<br></div><blockquote class="gmail_quote">Old words.</blockquote></div>"""
OUTLOOK = """<p>New words.</p><div style="border-top:solid #E1E1E1 1.0pt"><p><b>From:</b> S &lt;h@d.example&gt;<br>
<b>Sent:</b> Monday<br><b>To:</b> A<br><b>Subject:</b> x</p></div><p>Old words.</p>"""


@pytest.mark.parametrize(
    "html",
    [
        GMAIL,
        '<p>New words.</p><blockquote type="cite"><p>Old words.</p></blockquote>',
        '<p>New words.</p><div id="appendonsend"></div><div id="divRplyFwdMsg">From: S</div><p>Old words.</p>',
        '<p>New words.</p><div class="yahoo_quoted"><div>Old words.</div></div>',
        '<p>New words.</p><div class="protonmail_quote">Old words.</div>',
        '<p>New words.</p><span id="OLK_SRC_BODY_SECTION"><div>Old words.</div></span>',
        OUTLOOK,
    ],
    ids=["gmail", "apple", "outlook.com", "yahoo", "proton", "outlook mac", "outlook"],
)
def test_clients_markup(html: str) -> None:
    parts = quoting.split("", html)
    assert parts.reply.strip("- \n") == "New words."
    assert "Old words." in parts.quoted


@pytest.mark.parametrize(
    "text",
    [
        "On " * 40_000,
        "-" * 100_000,
        "From:\n" * 20_000,
        "\n" * 100_000,
        "> " * 50_000,
        "On Mon, Jan 1 2020\n" * 10_000,
        " " * 500_000,
        "On 1 Jan <a@b.c>\n" * 20_000,
        "-- \n" * 30_000,
        "Sent from my iPhone\n" * 20_000,
        "a wrote 1:1 " * 9_000 + ":",
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.timeout(20)
def test_crafted_texts_end(text: str) -> None:
    assert bool(quoting.split(text).reply) == bool(text.strip())


@given(st.text(max_size=400), st.sampled_from(sorted(ATTRIBUTIONS)))
def test_no_word_is_lost(text: str, language: str) -> None:
    whole = f"{text}\n{ATTRIBUTIONS[language]}\n> old\n{text}"
    kept = " ".join(quoting.split(whole))
    assert set(whole.replace("\x02", "").split()) <= set(kept.replace("\x02", "").split())
    assert quoting.split(text).reply or not text.replace("\x02", "").strip()


@pytest.mark.parametrize("rule", ["-" * 40, "-" * 72, "_" * 20, "_" * 32])
def test_lines_that_people_draw_hide_nothing(rule: str) -> None:
    text = f"My order:\n{rule}\nApples 3\nPears 4\n{rule}\nShip it to my new address."
    assert quoting.split(text) == (text, "", "")
    assert quoting.split(f"New words.\n{rule}\nFrom: a@x.org\nTo: b@y.org\n\nOld").reply == "New words."
    assert quoting.split(f"New words.\n\n{rule}\n\n> Old").reply == "New words."
    assert quoting.split(f"New words.\n{rule}\ndev mailing list\nTo unsubscribe: x@y.org").reply == "New words."
    assert quoting.split(f"{rule}\n" * 3_000).reply
