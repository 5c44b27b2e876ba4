"""The words by which mail programs announce an older message, in the languages customers write in.

Kept as data beside `quoting`, so that a language is a line. Every pattern is anchored at the line's start and has no
nested repetition; lines are cut at 1,000 characters before they come here.
"""

from __future__ import annotations

import re
from typing import Final

# "wrote" at the end (most languages) or before the name (German "schrieb Anna:", Polish "napisał(a)").
_WROTE: Final = (
    "wrote", "writes", "said", "schrieb", "schreef", "schreven", "heeft geschreven", "het volgende geschreven",
    "geschreven",
    "a écrit", "ecrit", "écrit", "a ecrit", "escribió", "escribio", "ha scritto", "scrive", "scritto", "escreveu",
    "skrev", "skrev følgende", "följande", "kirjoitti", "napisał", "napisała", "napisał(a)", "napisał/a", "pisze",
    "napsal",
    "napsala", "napsal(a)", "napísal", "napísala", "napísal(a)", "a scris", "scrie", "írta", "ezt írta", "yazdı",
    "yazmış",
    "şunu yazdı", "wrote:", "έγραψε", "έγραψες", "пишет", "писал", "писала", "писал(а)", "написал", "написала",
    "написал(а)", "пише", "написав", "написала", "написав(ла)", "писав", "写道", "寫道", "寫道：", "写道：",
    "のメッセージ",
    "は書きました", "書きました", "wrote on", "님이 작성", "작성", "كتب", "كتبت", "כתב", "כתבה", "כתב/ה", "đã viết",
    "menulis", "เขียน", "је написао", "је написала", "napisao", "napisala", "je napisao", "je napisala", "написа",
    "rašė",
    "kirjutas", "va escriure", "skrifaði", "idatzi du", "escribiu", "şunları yazdı", "rakstīja", "sinulat", "ने लिखा",
    "نوشت", "เขียนว่า", "쓴 글", "のメール", "hat folgendes geschrieben",
)  # fmt: skip

# How such a line begins: the preposition before the date. Lower case.
_OPENERS: Final = (
    "on", "at", "am", "le", "el", "il", "em", "op", "den", "w dniu", "dnia", "dne", "dňa", "în data de", "la data",
    "pe",
    "ke", "kl", "på", "em", "no dia", "a", "в", "у", "на", "στις", "vào", "pada", "ב", "ב-", "בתאריך", "في", "fra",
    "from",
    "vom", "von", "de", "da", "date", "datum", "van", "od", "от", "від", "missatge de", "wiadomość napisana przez",
)  # fmt: skip

_wrote = "|".join(sorted((re.escape(word) for word in set(_WROTE)), key=len, reverse=True))
_openers = "|".join(sorted((re.escape(word) for word in set(_OPENERS)), key=len, reverse=True))

MAY_ATTRIBUTE: Final = re.compile(
    rf"(?:[>\-–—*_\s]{{0,8}})(?:(?:{_openers})[\s,:.]|\S*\d|[^\s]{{1,60}}@|[\"'<\[(]|[^\W\d_]\S{{0,30}}\s)",
    re.IGNORECASE,
)
# Each word with its bounds; scripts without spaces have none. Looking for the plain words first is ten times faster
# than one pattern of them all, which is tried at every letter.
_WROTE_WORDS: Final = tuple(
    (word.lower(), re.compile(rf"(?<!\w){re.escape(word.lower())}(?!\w)"))
    for word in sorted(_WROTE, key=lambda word: (word != "wrote", word))
)
_UNBOUND: Final = frozenset(
    {"写道", "寫道", "書きました", "작성", "のメッセージ", "のメール", "เขียน", "เขียนว่า", "쓴 글", "ने लिखा"}
)
DIGIT: Final = re.compile(r"[\d@<]")
# Gmail's old forms have neither verb nor colon: `2016-03-03 17:21 GMT+01:00 Anna`, `2013/7/20 Anna <anna@x>`.
_OLD_GMAIL: Final = re.compile(
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2} (?:\d{1,2}:\d{2} GMT[+-]\d{1,2}:\d{2} .{1,120}|"
    r".{1,120}<[^\s<>@]{1,64}@[^\s<>]{1,200}>:?)\Z"
)
# Without a verb: a date with its year, a time, and whose address it is, as the last thing before the colon.
_DATED_ADDRESS: Final = re.compile(
    r"(?=.{0,80}\b(?:19|20)\d\d(?!\d))(?=.{0,80}\d[:.]\d\d).{0,120}"
    r"(?:<[^\s<>@]{1,64}@[^\s<>]{1,200}>|\s(?:by|von|par|por|da|door|av|af|przez|от)\s[^\s<>@]{1,64}@[^\s<>]{1,200}):\Z"
)
_OPENS: Final = re.compile(rf"(?:{_openers})[\s,:.\d]", re.IGNORECASE)
# Its first digit stands before the choice: so it is looked for at digits only, and prose has few.
_DATE: Final = re.compile(
    r"\d(?:\d{0,3}[./\-年]\s?\d{1,2}|\d?[:.h]\d{2}|(?<=\b1)9\d\d\b|(?<=\b2)0\d\d\b|\d?\s?(?:月|日)|"
    r"\d?\.? \w{3,12},? \d{2,4})"
)
_ADDRESS: Final = re.compile(r"[^\s<>@]{1,64}@[^\s<>@]{2,255}")


def _says_wrote(line: str) -> bool:
    low = line.lower()
    return any(word in low and (word in _UNBOUND or form.search(low)) for word, form in _WROTE_WORDS)


_CLOSERS: Final = frozenset(":：道>*_")
# What mail programs put around names in lines that run from right to left.
DIRECTION_MARKS: Final = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_DIRECTION: Final = frozenset(DIRECTION_MARKS)
MAY_END: Final = _CLOSERS | _DIRECTION | {"e"}  # what a line that announces ends with, unless it begins with a date
_NO_DIRECTION: Final = dict.fromkeys(map(ord, DIRECTION_MARKS))


def without_direction(line: str) -> str:
    """The line without the invisible marks that say in which direction it runs."""
    return line if line.isascii() else line.translate(_NO_DIRECTION)


def may_end_attribution(line: str) -> bool:
    """Whether an announcement can end with this line: by its last character, or by the date of Gmail's old forms."""
    last = line[-1:]
    if last in _CLOSERS and line.rstrip(">*_ \t")[-1:] in (":", "：", "道"):
        return True
    if last == "e" and line.endswith(" wrote"):
        return True
    if last in _DIRECTION:
        return line.rstrip(DIRECTION_MARKS)[-1:] in (":", "：")
    start = line.lstrip("> \t")[:5]
    return start[4:] in ("-", "/") and start[:4].isdigit()


def _has_address(line: str) -> bool:
    return "@" in line and _ADDRESS.search(line) is not None


def starts_attribution(line: str) -> bool:
    """Whether a line begins like `On 3 Feb 2025`."""
    return _OPENS.match(line) is not None and _DATE.search(line) is not None


def may_continue(line: str) -> bool:
    """Whether an announcement that begins with this line may go on in the next one."""
    if _OPENS.match(line):
        return DIGIT.search(line) is not None
    return _DATE.search(line) is not None or _has_address(line)


def is_attribution(line: str) -> bool:
    """`On Mon, 3 Feb 2025 at 10:12, Anna <anna@x> wrote:` and its likes: a date or an address, then "wrote", then "
    "a colon."""
    if _OLD_GMAIL.match(line):
        return True
    bare = line.rstrip(">*_ \t")
    ends = bare[-1:] in (":", "：")
    if not ends:
        if bare.endswith(" wrote"):
            return _OPENS.match(line) is not None and _DATE.search(line) is not None and _has_address(line)
        if not bare.endswith(("写道", "寫道")):
            return False
    dated = _DATE.search(line) is not None
    addressed = _has_address(line)
    if not (dated or addressed):
        return False
    if _says_wrote(line):
        return ends and (dated or addressed)
    # Clients without a verb: `2025-02-03 10:12 GMT+01:00 Anna <anna@x>:`, `Am 3.2.2025 um 10:12 Anna <anna@x>:`
    if not (ends and dated and addressed):
        return False
    return _OPENS.match(line) is not None or line[:1].isdigit() or _DATED_ADDRESS.match(bare) is not None


_ORIGINAL: Final = (
    "original message", "original-nachricht", "originalnachricht", "ursprüngliche nachricht", "ursprungliche nachricht",
    "message d'origine", "message d’origine", "message original", "message initial", "mensaje original",
    "mensagem original",
    "messaggio originale", "messaggio inoltrato", "oorspronkelijk bericht", "oorspronkelijke bericht",
    "originele bericht",
    "ursprungligt meddelande", "originalmeddelande", "original meddelelse", "oprindelig meddelelse",
    "opprinnelig melding", "oprindelig besked", "originalmelding",
    "alkuperäinen viesti", "wiadomość oryginalna", "oryginalna wiadomość", "původní zpráva", "původní e-mail",
    "pôvodná správa", "eredeti üzenet", "mesaj original", "mesajul original", "orijinal ileti", "özgün ileti",
    "orijinal mesaj", "исходное сообщение", "оригинальное сообщение", "пересланное сообщение", "вихідне повідомлення",
    "оригінальне повідомлення", "αρχικό μήνυμα", "原始邮件", "原邮件", "原始郵件", "原始訊息", "元のメッセージ",
    "원본 메시지",
    "원본 메일", "الرسالة الأصلية", "הודעה מקורית", "tin nhắn gốc", "ข้อความต้นฉบับ", "reply message",
    "antwort nachricht",
    "original appointment", "ursprünglicher termin", "izvorna poruka", "originalna poruka", "оригинално съобщение",
)  # fmt: skip
_FORWARDED: Final = (
    "forwarded message", "begin forwarded message", "weitergeleitete nachricht",
    "anfang der weitergeleiteten nachricht",
    "message transféré", "message transfere", "début du message transféré", "début du message réexpédié",
    "mensaje reenviado",
    "inicio del mensaje reenviado", "mensagem encaminhada", "mensagem reencaminhada",
    "início da mensagem reencaminhada",
    "messaggio inoltrato", "inizio messaggio inoltrato", "doorgestuurd bericht", "begin doorgestuurd bericht",
    "vidarebefordrat meddelande", "vidarebefordrat brev", "videresendt meddelelse", "videresendt melding",
    "start på videresendt besked", "edelleenlähetetty viesti", "välitetty viesti", "wiadomość przekazana",
    "przekazana wiadomość", "przeposlaná zpráva", "přeposlaná zpráva", "továbbított üzenet", "mesaj redirecționat",
    "iletilen mesaj", "yönlendirilen ileti", "пересылаемое сообщение", "пересланное сообщение",
    "начало переадресованного сообщения",
    "переслане повідомлення", "προωθημένο μήνυμα", "转发邮件", "轉寄郵件", "转发的邮件", "転送されたメッセージ",
    "전달된 메시지",
    "رسالة معاد توجيهها", "הודעה שהועברה", "tin nhắn đã chuyển tiếp",
)  # fmt: skip

_marks = "|".join(re.escape(word) for word in sorted(set(_ORIGINAL + _FORWARDED), key=len, reverse=True))
_forwards = "|".join(re.escape(word) for word in sorted(set(_FORWARDED), key=len, reverse=True))
_above = (
    "above this line|oberhalb dieser (?:zeile|linie)|über dieser (?:zeile|linie)|(?:au-)?dessus de cette ligne|"
    "encima de esta línea|acima desta linha|sopra (?:a )?questa (?:riga|linea)|boven deze (?:regel|lijn)"
)
# `-----Original Message-----`, `---- Forwarded message ----`, `Begin forwarded message:`, a long rule of underscores.
_SEPARATOR: Final = re.compile(
    rf"(?:[-_=*—–─‐>\s]{{2,40}}(?:&nbsp;)?)(?:{_marks})[\s:]{{0,3}}(?:&nbsp;)?[-_=*—–─‐\s]{{0,60}}\Z|"
    rf"(?:[-_=*—–─‐>\s]{{2,40}}(?:&nbsp;)?)(?:{_marks})\b.{{0,200}}[-_=*—–─]{{2,60}}\Z|"
    rf"-{{2,10}}\s(?:{_openers})\s.{{5,300}}(?:{_wrote})\s?-{{2,10}}\Z|"  # Zoho
    rf"(?:{_forwards}|original message|ursprüngliche nachricht|原始邮件|reply message)\s?[:：]\s*\Z|_{{20,}}\Z|"
    rf"-{{40,}}\Z|"
    rf">>> .{{1,200}} >>>\Z",  # GroupWise
    re.IGNORECASE,
)
_NOTES: Final = re.compile(
    r"\S.{0,100}?\s---\d{1,4}[./-]\d{1,2}[./-]\d{2,4} \d{1,2}[:.]\d{2}.{0,12}---.{0,300}\Z", re.IGNORECASE
)
_ABOVE: Final = re.compile(rf"\W{{0,9}}.{{0,60}}(?:{_above})\W{{0,9}}\Z", re.IGNORECASE)  # what desks ask for
_ABOVE_WORDS: Final = ("line", "zeile", "linie", "ligne", "linha", "riga", "regel", "lijn")


def is_rule(line: str) -> bool:
    """Whether nothing but a long rule stands in the line."""
    return len(line) >= 20 and (not line.strip("_") or not line.strip("-"))


def separates(line: str) -> bool:
    """Whether the line stands between a letter and an older message."""
    if _SEPARATOR.match(line):
        return True
    # These two try every letter of the line, so that something of theirs has to be in it first.
    if "---" in line and _NOTES.match(line):
        return True
    low = line.lower()
    return (not line.isascii() or any(word in low for word in _ABOVE_WORDS)) and _ABOVE.match(line) is not None


FORWARD: Final = re.compile(rf"(?:[-_=*—–─>\s]{{0,40}})(?:{_forwards})", re.IGNORECASE)

_HEADERS: Final[dict[str, str]] = {
    "from": "from|von|de|da|van|från|fra|lähettäjä|od|odesílatel|feladó|kimden|gönderen|от|от кого|від|від кого|από|"
    "expéditeur|"
    "remitente|mittente|afzender|remetente|nadawca|发件人|發件人|寄件者|寄件人|差出人|送信者|보낸 사람|보낸사람|"
    "من|מאת|từ|จาก|expeditor|de la|šalje|saatja|nuo|dari|प्रेषक|از",
    "date": "sent|date|gesendet|datum|envoyé|envoyé le|date d'envoi|enviado|enviado el|enviada|enviada em|"
    "enviado em|fecha|data|"
    "inviato|verzonden|skickat|sendt|dato|lähetetty|päivämäärä|päiväys|wysłano|data|odesláno|poslané|dátum|elküldve|"
    "küldve|"
    "gönderme tarihi|gönderildi|tarih|отправлено|дата|надіслано|ημερομηνία|στάλθηκε|发送时间|發送時間|寄件日期|"
    "日期|时间|時間|"
    "送信日時|送信日|日付|日時|보낸 날짜|날짜|보낸날짜|التاريخ|תאריך|נשלח|đã gửi|ngày|วันที่|trimis|"
    "data trimiterii|enviat|poslano|изпратено|išsiųsta|nosūtīts|saadetud|dikirim|भेजा गया|ارسال شده|"
    "تاريخ الإرسال|تم الإرسال|message du",
    "to": "to|an|à|a|para|destinataire|aan|till|til|vastaanottaja|do|komu|címzett|kime|alıcı|кому|προς|收件人|"
    "收件者|宛先|"
    "받는 사람|"
    "받는사람|إلى|אל|đến|ถึง|către|pour|destinatario|prima|до|kam|adressaat|per a|kepada|प्रति|به|za",
    "subject": "subject|betreff|objet|asunto|oggetto|onderwerp|ämne|emne|aihe|temat|předmět|predmet|tárgy|konu|тема|"
    "θέμα|主题|主題|"
    "主旨|件名|제목|الموضوع|נושא|chủ đề|หัวเรื่อง|assunto|subiect|zadeva|tema|teema|tēma|subjek|विषय|موضوع|sujet",
    "cc": "cc|kopie|copie à|copia|kopia|cópia|kopio|dw|kopie|másolat|bilgi|копия|копія|抄送|副本|참조|reply-to|"
    "antwort an|"
    "répondre à|"
    "responder a|rispondi a|回复|importance|attachments|anlagen",
}  # fmt: skip
_ROLE_OF: Final = {word: role for role, words in reversed(_HEADERS.items()) for word in words.split("|")}
_LABEL: Final = re.compile(r"[>*_\s]{0,6}([^\d:：*<>@]{1,26}?)\s{0,3}[*_]{0,2}\s?[:：][*_]{0,2}(?:\s|\Z|\S)")


def header_role(line: str) -> str | None:
    """from, date, to, subject or cc when the line looks like that header in any of the languages, else None."""
    match = _LABEL.match(line)
    return _ROLE_OF.get(match.group(1).strip().lower()) if match else None


# The line a phone or a program adds itself. Lower case; anchored alternatives are cheap, those that float are apart.
_SENT_FROM: Final = re.compile(
    r"get outlook for|von meinem .{1,40} gesendet|diese nachricht wurde von mein|télécharge[zr] outlook|"
    r"obtener outlook|obter o outlook|scarica outlook|outlook voor|hämta outlook|hent outlook|hanki outlook|"
    r"pobierz outlook|发自我的|從我的|从我的|傳送自|發自我的|<<sent by |from my iphone\W*\Z|"
    r"yahoo mail (?:on|auf|sur|para) (?:android|ip(?:hone|ad)|ios)\W*\Z|"
    r"download outlook|this message was sent from my"
)
# These words also begin sentences of customers (`Sent by DHL on Monday`): a device or a mail program has to follow.
_MAYBE_SENT_FROM: Final = re.compile(
    r"sent (?:from|via|with|using)|gesendet (?:von|mit|via)|envoyé (?:de|depuis|à partir|avec|par)|"
    r"enviado (?:desde|do|a partir|de|com|con)|enviada? (?:do|desde)|inviato (?:da|dal|con)|"
    r"verzonden (?:vanaf|met|via|vanuit)|verstuurd vanaf|skickat från|skickades från|sendt fra|lähetetty|wysłane? z|"
    r"wysłano z|odesláno z|odoslané z|poslané z|poslano s|küldve|elküldve|отправлено (?:с|из)|надіслано (?:з|із)|"
    r"στάλθηκε από|trimis (?:de|din)|أرسل(?:ت)? من|נשלח מ|(?:được|đã) gửi từ|dikirim dari|enviat des (?:del|de)|ส่งจาก"
)
_MINE: Final = re.compile(
    r"\W{0,3}(?:my|meine[mr]?|mon|ma|mi|il mio|meu|minha|mijn|min|mojego|mého|môjho|моего|мого)"
    r"\s[^,.;!?]{1,40}[.!]?\s{0,9}\Z"
)
_DEVICES: Final = re.compile(
    r"iphon[eu]|ipad|ipod|ios|android|samsung|galaxy|huawei|xiaomi|redmi|blackberry|windows|outlook|yahoo|gmail|"
    r"mail(?:box|bird|spring)?\s*\Z|mail (?:for|on|app|für|pour|para|per)\b|(?:air|aqua|blue|web)mail|"
    r"proton|tuta|spark|k-9|thunderbird|mobil|m[oó]vil|mobiel|handy|smartphone|telefon|phone|t[eé]l[eé]phone|"
    r"tablet|\bcell\b|htc|nokia|motorola|pixel|oneplus|web\.de|gmx|missive|superhuman|aol|app\b|device|ger[aä]t|torch|kännykä|"
    r"puhelim|телефон|смартфон|הטלפון|הנייד|الهاتف|điện thoại",
)
_SENT_FROM_LATE: Final = (
    ("gönderildi", re.compile(r".{1,40}(?:['’]?(?:dan|den|tan|ten|mdan|mden|umdan|imden)) gönderildi")),
    ("から送信", re.compile(r".{1,30}から送信")),
    ("에서 보냄", re.compile(r".{1,20}에서 보냄")),
)


_MY: Final = re.compile(r"\W{0,3}(?:my|meine[mr]?|mon|ma|mi|il mio|meu|minha|mijn|min|mojego|mého|môjho|моего|мого)\s")


def _goes_on(rest: str) -> bool:
    """Whether a customer's sentence goes on behind the device: `Sent with the app on Monday, and never arrived.`"""
    if _MY.match(rest):
        return False
    end = max((match.end() for match in _DEVICES.finditer(rest)), default=0)
    return len(rest) - end > 20 or "?" in rest


_LINK: Final = re.compile(r"(?<=\S) ?<https?:[^<>\s]{0,200}>?")


def is_sent_from(line: str) -> bool:
    """`Sent from my phone` and its likes."""
    low = line[:200].lstrip("-_*([ \t").lower()
    if "<" in low:
        low = _LINK.sub("", low)
    if (maybe := _MAYBE_SENT_FROM.match(low)) is not None:
        rest = low[maybe.end() :]
        if _MINE.match(rest) or (_DEVICES.search(rest.partition(",")[0][:45]) and not _goes_on(rest)):
            return True
    if _SENT_FROM.match(low) is not None:
        return True
    return not low.isascii() and any(word in low and form.match(low) is not None for word, form in _SENT_FROM_LATE)


# `--Anna` and `-- Anna`: the delimiter and the name on one line.
DASHED_NAME: Final = re.compile(r"-\s?[A-ZÀ-Þ][\w.]{1,20}(?: [A-ZÀ-Þ][\w.]{0,20}){0,2}\Z")
DELIMITED_NAME: Final = re.compile(r"--\s?[A-ZÀ-ÞА-Я][^\s-].{0,40}\Z")
