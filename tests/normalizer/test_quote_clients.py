"""How mail programs announce the older message, by client and language; and what only looks like it."""

import pytest

from normalizer import quoting

CLIENTS = {
    "gmail en": "On Mon, Feb 3, 2025 at 10:12\u202fAM Support <help@desk.example> wrote:",
    "apple en": "On Feb 3, 2025, at 10:12 AM, Support <help@desk.example> wrote:",
    "apple old": "On Feb 3, 2025, at 10:12 AM, Support wrote:",
    "tb en": "On 2/3/25 10:12, Support wrote:",
    "gmail de": "Am Mo., 3. Feb. 2025 um 10:12\u202fUhr schrieb Support <help@desk.example>:",
    "apple de": "Am 03.02.2025 um 10:12 schrieb Support <help@desk.example>:",
    "gmail fr": "Le lun. 3 févr. 2025 à 10:12, Support <help@desk.example> a écrit :",
    "apple fr": "Le 3 févr. 2025 à 10:12, Support <help@desk.example> a écrit\u00a0:",
    "gmail es": "El lun, 3 feb 2025 a las 10:12, Support (<help@desk.example>) escribió:",
    "gmail it": "Il giorno lun 3 feb 2025 alle ore 10:12 Support <help@desk.example> ha scritto:",
    "gmail pt": "Em seg., 3 de fev. de 2025 às 10:12, Support <help@desk.example> escreveu:",
    "gmail pt-pt": "Support <help@desk.example> escreveu (segunda, 3/02/2025 à(s) 10:12):",
    "apple pt": "No dia 03/02/2025, às 10:12, Support <help@desk.example> escreveu:",
    "gmail nl": "Op ma 3 feb 2025 om 10:12 schreef Support <help@desk.example>:",
    "apple nl": "Op 3 feb 2025 om 10:12 heeft Support <help@desk.example> het volgende geschreven:",
    "gmail sv": "Den mån 3 feb. 2025 kl 10:12 skrev Support <help@desk.example>:",
    "apple sv": "3 feb. 2025 kl. 10:12 skrev Support <help@desk.example>:",
    "gmail da": "Den man. 3. feb. 2025 kl. 10.12 skrev Support <help@desk.example>:",
    "gmail no": "man. 3. feb. 2025 kl. 10:12 skrev Support <help@desk.example>:",
    "gmail fi": "ma 3. helmik. 2025 klo 10.12 Support (help@desk.example) kirjoitti:",
    "apple fi": "Support <help@desk.example> kirjoitti 3.2.2025 kello 10.12:",
    "gmail pl": "pon., 3 lut 2025 o 10:12 Support <help@desk.example> napisał(a):",
    "apple pl": "Wiadomość napisana przez Support <help@desk.example> w dniu 03.02.2025, o godz. 10:12:",
    "gmail cs": "po 3. 2. 2025 v 10:12 odesílatel Support <help@desk.example> napsal:",
    "apple cs": "3. 2. 2025 v 10:12, Support <help@desk.example>:",
    "gmail sk": "po 3. 2. 2025 o 10:12 Support <help@desk.example> napísal(a):",
    "gmail hu": "Support <help@desk.example> ezt írta (időpont: 2025. febr. 3., H, 10:12):",
    "apple hu": "2025. 02. 03. dátummal, 10:12 időpontban Support <help@desk.example> írta:",
    "gmail ro": "În lun., 3 feb. 2025 la 10:12, Support <help@desk.example> a scris:",
    "apple ro": "Pe 3 feb. 2025, la 10:12, Support <help@desk.example> a scris:",
    "gmail tr": "Support <help@desk.example>, 3 Şub 2025 Pzt, 10:12 tarihinde şunu yazdı:",
    "apple tr": "Support <help@desk.example> şunları yazdı (3 Şub 2025 10:12):",
    "gmail ru": "пн, 3 февр. 2025\u202fг. в 10:12, Support <help@desk.example>:",
    "apple ru": "3 февр. 2025 г., в 10:12, Support <help@desk.example> написал(а):",
    "mailru ru": "Понедельник, 3 февраля 2025, 10:12 +03:00 от Support <help@desk.example>:",
    "yandex ru": '03.02.2025, 10:12, "Support" <help@desk.example>:',
    "gmail uk": "пн, 3 лют. 2025\u202fр. о 10:12 Support <help@desk.example> пише:",
    "gmail bg": "На пн, 3.02.2025 г. в 10:12 Support <help@desk.example> написа:",
    "gmail el": "Στις Δευ 3 Φεβ 2025 στις 10:12\u202fπ.μ., ο/η Support <help@desk.example> έγραψε:",
    "gmail he": (
        "\u202b\u200fבתאריך יום ב׳, 3 בפבר׳ 2025 ב-10:12 מאת \u202aSupport\u202c\u200f "
        "<\u202ahelp@desk.example\u202c\u200f>:\u202c"
    ),
    "gmail ar": "في الاثنين، 3 فبراير 2025 في 10:12 ص تمت كتابة ما يلي بواسطة Support <help@desk.example>:",
    "gmail fa": "در تاریخ دوشنبه ۳ فوریهٔ ۲۰۲۵،\u200f ۱۰:۱۲ Support <help@desk.example> نوشت:",
    "gmail ja": "2025年2月3日(月) 10:12 Support <help@desk.example>:",
    "apple ja": "2025/02/03 10:12、Support <help@desk.example>のメール:",
    "apple ja2": "On 2025/02/03 10:12, Support <help@desk.example> のメッセージ:",
    "gmail ko": "2025년 2월 3일 (월) 오전 10:12, Support <help@desk.example>님이 작성:",
    "apple ko": "2025. 2. 3. 오전 10:12, Support <help@desk.example> 작성:",
    "gmail zh-cn": "Support <help@desk.example> 于2025年2月3日周一 10:12写道：",
    "gmail zh-tw": "Support <help@desk.example> 於 2025年2月3日 週一 上午10:12寫道：",
    "apple zh-cn": "2025年2月3日 上午10:12，Support <help@desk.example> 写道：",
    "apple zh-cn2": "在 2025年2月3日，10:12，Support <help@desk.example> 写道：",
    "apple zh-tw": "Support <help@desk.example> 於 2025年2月3日 上午10:12 寫道：",
    "gmail vi": "Vào Th 2, 3 thg 2, 2025 vào lúc 10:12 Support <help@desk.example> đã viết:",
    "gmail th": "ในวันที่ จ. 3 ก.พ. 2025 เวลา 10:12 Support <help@desk.example> เขียนว่า:",
    "gmail id": "Pada tanggal Sen, 3 Feb 2025 pukul 10.12 Support <help@desk.example> menulis:",
    "gmail ms": "Pada Isn, 3 Feb 2025 pada 10:12 PG Support <help@desk.example> menulis:",
    "gmail hi": "सोम, 3 फ़र॰ 2025 को 10:12 am बजे को Support <help@desk.example> ने लिखा:",
    "gmail ca": "Missatge de Support <help@desk.example> del dia dl., 3 de febr. 2025 a les 10:12:",
    "gmail hr": "pon, 3. velj 2025. u 10:12 Support <help@desk.example> napisao je:",
    "gmail sr": "пон, 3. феб 2025. у 10:12 Support <help@desk.example> је написао/ла:",
    "gmail sl": "V V pon., 3. feb. 2025 ob 10:12 je oseba Support <help@desk.example> napisala:",
    "gmail lt": "2025-02-03, pr, 10:12 Support <help@desk.example> rašė:",
    "gmail lv": "pirmd., 2025. g. 3. febr., plkst. 10:12 — lietotājs Support (<help@desk.example>) rakstīja:",
    "gmail et": "Kuupäev E, 3. veebruar 2025 kell 10:12 kirjutas Support <help@desk.example>:",
    "gmail is": "mán., 3. feb. 2025 kl. 10:12 skrifaði Support <help@desk.example>:",
    "gmail fil": "Noong Lun, Peb 3, 2025 nang 10:12 AM, sinulat ni Support <help@desk.example>:",
    "tb pl": "W dniu 03.02.2025 o 10:12, Support pisze:",
    "tb ru": "03.02.2025 10:12, Support пишет:",
    "tb fr": "Le 03/02/2025 à 10:12, Support a écrit :",
    "tb it": "Il 03/02/2025 10:12, Support ha scritto:",
    "tb es": "El 3/2/25 a las 10:12, Support escribió:",
    "tb cs": "Dne 03. 02. 25 v 10:12 Support napsal(a):",
    "tb hu": "2025. 02. 03. 10:12 keltezéssel, Support írta:",
    "tb tr": "3.02.2025 10:12 tarihinde Support yazdı:",
    "tb sv": "Den 2025-02-03 kl. 10:12, skrev Support:",
    "tb fi": "Support kirjoitti 3.2.2025 klo 10.12:",
    "tb el": "Στις 3/2/25 10:12, ο Support έγραψε:",
    "tb zh": "在 2025/2/3 10:12, Support 写道:",
    "tb zh-tw": "Support 於 2025/2/3 上午 10:12 寫道：",
    "tb ko": "2025-02-03 오전 10:12에 Support 이(가) 쓴 글:",
    "yahoo": "On Monday, February 3, 2025 at 10:12:33 AM GMT+1, Support <help@desk.example> wrote: ",
    "yahoo de": ("Am Montag, 3. Februar 2025 um 10:12:33 MEZ hat Support <help@desk.example> Folgendes geschrieben: "),
    "yahoo es": "En lunes, 3 de febrero de 2025, 10:12:33 CET, Support <help@desk.example> escribió: ",
    "yahoo it": "Il lunedì 3 febbraio 2025 alle ore 10:12:33 CET, Support <help@desk.example> ha scritto: ",
    "yahoo fr": "Le lundi 3 février 2025 à 10:12:33 UTC+1, Support <help@desk.example> a écrit : ",
    "proton": "On Monday, February 3rd, 2025 at 10:12 AM, Support <help@desk.example> wrote:",
    "proton2": (
        "------- Original Message -------\n"
        "On Monday, February 3rd, 2025 at 10:12 AM, Support <help@desk.example> wrote:"
    ),
    "proton3": (
        "‐‐‐‐‐‐‐ Original Message ‐‐‐‐‐‐‐\nOn Monday, February 3, 2025 10:12 AM, Support <help@desk.example> wrote:"
    ),
    "tutanota": "Feb 3, 2025, 10:12 by help@desk.example:",
    "tutanota de": "3. Feb. 2025, 10:12 von help@desk.example:",
    "zoho": "---- On Mon, 03 Feb 2025 10:12:33 +0100 Support <help@desk.example> wrote ----",
    "zoho2": " ---- On Mon, 03 Feb 2025 10:12:33 +0100 help@desk.example wrote ---",
    "fastmail": "On Mon, Feb 3, 2025, at 10:12 AM, Support wrote:",
    "samsung": (
        "-------- Original message --------\n"
        "From: Support <help@desk.example> \n"
        "Date: 2/3/25  10:12 AM  (GMT+01:00) \n"
        "To: erik@y.org \n"
        "Subject: Re: order "
    ),
    "samsung de": (
        "-------- Ursprüngliche Nachricht --------\n"
        "Von: Support <help@desk.example> \n"
        "Datum: 03.02.25  10:12  (GMT+01:00) \n"
        "An: erik@y.org \n"
        "Betreff: Re: order "
    ),
    "samsung pl": (
        "-------- Oryginalna wiadomość --------\n"
        "Od: Support <help@desk.example> \n"
        "Data: 03.02.2025 10:12 (GMT+01:00) \n"
        "Do: erik@y.org \n"
        "Temat: Re: order "
    ),
    "notes": "Support ---03.02.2025 10:12:33---Sehr geehrte Damen und Herren,",
    "groupwise": ">>> Support <help@desk.example> 03.02.2025 10:12 >>>",
    "groupwise2": (
        ">>> On 2/3/2025 at 10:12 AM, in message\n<67A0.1234.001@x.org>, Support <help@desk.example>\nwrote:"
    ),
    "qq": (
        "------------------ 原始邮件 ------------------\n"
        '发件人: "Anna" <help@desk.example>;\n'
        "发送时间: 2025年2月3日(星期一) 上午10:12\n"
        '收件人: "erik" <erik@y.org>;\n'
        "主题: Re: order"
    ),
    "qq2": "------------------&nbsp;原始邮件&nbsp;------------------",
    "netease": 'At 2025-02-03 10:12:33, "Support" <help@desk.example> wrote:',
    "netease zh": '在 2025-02-03 10:12:33，"Support" <help@desk.example> 写道：',
    "foxmail": "发件人： Support\n发送时间： 2025-02-03 10:12\n收件人： erik\n主题： Re: order",
    "outlook en": (
        "From: Support <help@desk.example>\n"
        "Sent: Monday, February 3, 2025 10:12 AM\n"
        "To: Erik <erik@y.org>\n"
        "Subject: Re: order"
    ),
    "outlook nosep de": (
        "Von: Support <help@desk.example>\n"
        "Gesendet: Montag, 3. Februar 2025 10:12\n"
        "An: Erik <erik@y.org>\n"
        "Betreff: AW: order"
    ),
    "outlook mobile": (
        "Get Outlook for iOS<https://aka.ms/o0ukef>\n"
        "________________________________\n"
        "From: Support <help@desk.example>\n"
        "Sent: Monday, February 3, 2025 10:12:33 AM\n"
        "To: Erik <erik@y.org>\n"
        "Subject: Re: order"
    ),
    "outlook old": (
        "-----Original Message-----\n"
        "From: Support [mailto:help@desk.example]\n"
        "Sent: Monday, February 3, 2025 10:12 AM\n"
        "To: Erik\n"
        "Subject: Re: order"
    ),
    "outlook ja": (
        "差出人: Support <help@desk.example>\n送信日時: 2025年2月3日 10:12\n宛先: Erik <erik@y.org>\n件名: Re: order"
    ),
    "outlook ko": (
        "보낸 사람: Support <help@desk.example>\n"
        "보낸 날짜: 2025년 2월 3일 월요일 오전 10:12\n"
        "받는 사람: Erik <erik@y.org>\n"
        "제목: Re: order"
    ),
    "outlook he": (
        "מאת: Support <help@desk.example>\nנשלח: יום שני 3 פברואר 2025 10:12\nאל: Erik <erik@y.org>\nנושא: Re: order"
    ),
    "outlook ar": (
        "من: Support <help@desk.example>\n"
        "تاريخ الإرسال: 3 فبراير, 2025 10:12 ص\n"
        "إلى: Erik <erik@y.org>\n"
        "الموضوع: Re: order"
    ),
    "outlook ar2": (
        "من: Support <help@desk.example>\n"
        "تم الإرسال: 3 فبراير, 2025 10:12 ص\n"
        "إلى: Erik <erik@y.org>\n"
        "الموضوع: Re: order"
    ),
    "outlook th": (
        "จาก: Support <help@desk.example>\nส่ง: 3 กุมภาพันธ์ 2568 10:12\nถึง: Erik <erik@y.org>\nเรื่อง: Re: order"
    ),
    "outlook vi": (
        "Từ: Support <help@desk.example>\n"
        "Đã gửi: Thứ Hai, 3 tháng 2, 2025 10:12\n"
        "Đến: Erik <erik@y.org>\n"
        "Chủ đề: Re: order"
    ),
    "outlook tr": (
        "Kimden: Support <help@desk.example>\n"
        "Gönderildi: 3 Şubat 2025 Pazartesi 10:12\n"
        "Kime: Erik <erik@y.org>\n"
        "Konu: Re: order"
    ),
    "outlook hu": (
        "Feladó: Support <help@desk.example>\n"
        "Elküldve: 2025. február 3., hétfő 10:12\n"
        "Címzett: Erik <erik@y.org>\n"
        "Tárgy: Re: order"
    ),
    "outlook uk": (
        "Від: Support <help@desk.example>\nНадіслано: 3 лютого 2025 р. 10:12\nКому: Erik <erik@y.org>\nТема: Re: order"
    ),
    "outlook el": (
        "Από: Support <help@desk.example>\n"
        "Στάλθηκε: Δευτέρα, 3 Φεβρουαρίου 2025 10:12\n"
        "Προς: Erik <erik@y.org>\n"
        "Θέμα: Re: order"
    ),
    "outlook fi": (
        "Lähettäjä: Support <help@desk.example>\n"
        "Lähetetty: maanantai 3. helmikuuta 2025 10:12\n"
        "Vastaanottaja: Erik <erik@y.org>\n"
        "Aihe: Re: order"
    ),
    "outlook hr": (
        "Šalje: Support <help@desk.example>\n"
        "Poslano: 3. veljače 2025. 10:12\n"
        "Prima: Erik <erik@y.org>\n"
        "Predmet: Re: order"
    ),
    "outlook bg": (
        "От: Support <help@desk.example>\nИзпратено: 3 февруари 2025 г. 10:12\nДо: Erik <erik@y.org>\nТема: Re: order"
    ),
    "outlook ro": (
        "De la: Support <help@desk.example>\n"
        "Trimis: luni, 3 februarie 2025 10:12\n"
        "Către: Erik <erik@y.org>\n"
        "Subiect: Re: order"
    ),
    "outlook sl": (
        "Od: Support <help@desk.example>\n"
        "Poslano: ponedeljek, 3. februar 2025 10:12\n"
        "Za: Erik <erik@y.org>\n"
        "Zadeva: Re: order"
    ),
    "outlook lt": (
        "Nuo: Support <help@desk.example>\n"
        "Išsiųsta: 2025 m. vasario 3 d. 10:12\n"
        "Kam: Erik <erik@y.org>\n"
        "Tema: Re: order"
    ),
    "outlook et": (
        "Saatja: Support <help@desk.example>\n"
        "Saadetud: esmaspäev, 3. veebruar 2025 10:12\n"
        "Adressaat: Erik <erik@y.org>\n"
        "Teema: Re: order"
    ),
    "outlook ca": (
        "De: Support <help@desk.example>\n"
        "Enviat: dilluns, 3 de febrer de 2025 10:12\n"
        "Per a: Erik <erik@y.org>\n"
        "Tema: Re: order"
    ),
    "outlook id": (
        "Dari: Support <help@desk.example>\n"
        "Dikirim: Senin, 3 Februari 2025 10:12\n"
        "Kepada: Erik <erik@y.org>\n"
        "Subjek: Re: order"
    ),
    "outlook hi": (
        "प्रेषक: Support <help@desk.example>\nभेजा गया: 3 फ़रवरी 2025 10:12\nप्रति: Erik <erik@y.org>\nविषय: Re: order"
    ),
    "outlook fa": (
        "از: Support <help@desk.example>\n"
        "ارسال شده: دوشنبه, فوریه 3, 2025 10:12\n"
        "به: Erik <erik@y.org>\n"
        "موضوع: Re: order"
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("old", ["Where is it?\nSupport", "> Where is it?\n>\n> Support"], ids=["bare", "cited"])
def test_the_older_message_is_cut(client: str, old: str) -> None:
    parts = quoting.split(f"New words.\n\nKind regards\n\n{CLIENTS[client]}\n\n{old}\n")
    assert parts.reply == "New words.\n\nKind regards"
    assert "Where is it?" in parts.quoted


@pytest.mark.parametrize("client", CLIENTS)
def test_an_older_message_alone_is_not_thrown_away(client: str) -> None:
    assert "Where is it?" in quoting.split(f"{CLIENTS[client]}\n\nWhere is it?").reply


@pytest.mark.parametrize(
    "text",
    [
        "Where is my parcel?\n\nSent by DHL on Monday, tracking number 123.",
        "Where is it?\nSent from your warehouse on 3 May.",
        "Wo ist mein Paket?\n\nGesendet mit DHL am Montag, Nummer 123.",
        "¿Dónde está?\n\nEnviado de Madrid el lunes.",
        "Bonjour,\n\nEnvoyé par la poste lundi.",
        "Two things.\n---\nFirst: the lamp is broken.\n---\nSecond: may I send it back?",
        f"Part one.\n\n\u2014\n\nPart two is {'very ' * 20}long.",
        "Please book:\n\nFrom: Berlin\nTo: Paris\nDate: 3 May 2025\n\nTwo adults, one child.",
        "Bitte buchen:\nVon: Berlin\nDatum: 3. Mai\n\nZwei Erwachsene.",
        "Delivered -- 03.02.2025 10:12 -- to a neighbour who says no.\nWhat now?",
        "My shell says:\n>>> 1 + 1\n3",
        "On 3 Feb 2025 I called you, and Anna wrote\nthat all is well. It is not.",
        "No: 4711\nDate: 3.2.2025\nPlease cancel it.",
    ],
)
def test_what_customers_write_themselves_stays(text: str) -> None:
    whole = " ".join(line for line in text.split("\n") if not line.startswith(">"))
    assert " ".join(quoting.split(text).reply.split()) == " ".join(whole.split())


@pytest.mark.parametrize(
    "marker",
    [
        "##- Please type your reply above this line -##",
        "-- Bitte antworten Sie oberhalb dieser Zeile --",
        "=== Répondez au-dessus de cette ligne ===",
        "--- Write above this line ---",
    ],
)
def test_the_line_that_desks_ask_customers_to_write_above(marker: str) -> None:
    assert quoting.split(f"New words.\n\n{marker}\n\nOld words.").reply == "New words."


def test_a_forward_from_a_phone_without_a_word_is_shown_whole() -> None:
    text = f"{CLIENTS['outlook mobile']}\n\nWhere is it?"
    assert quoting.split(text).reply == text


INDENTED = (
    '<blockquote style="margin: 0 0 0 40px; border: none; padding: 0px;"><div>one</div><div>two</div></blockquote>'
)
BESIDE = '<blockquote style="border-left: 2px solid #ccc; margin: 0">Old words.</blockquote>'


@pytest.mark.parametrize(
    ("html", "reply"),
    [
        (f"<div>My list:</div>{INDENTED}<div>Thanks</div>", "My list:\n\none\ntwo\n\nThanks"),
        (f"<div>New words.</div>{BESIDE}", "New words."),
        (f"<div>New words.</div>{BESIDE}{INDENTED}", "New words.\n\none\ntwo"),
        (f"<div>New words.</div><blockquote type=cite>{INDENTED}</blockquote>", "New words."),
        ("<div>New words.</div><blockquote style>Old words.</blockquote>", "New words."),
    ],
)
def test_a_paragraph_that_an_editor_indents_is_no_quote(html: str, reply: str) -> None:
    assert [line for line in quoting.split("", html).reply.split("\n") if line] == [
        line for line in reply.split("\n") if line
    ]
