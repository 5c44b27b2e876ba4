"""The words of the public pages in six languages, and which language a visitor reads (RFC 9110 section 12.5.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

# Order of the columns in every row below.
LANGUAGES: Final = ("en", "nl", "it", "es", "ru", "zh-TW")
NATIVE: Final = dict(
    zip(LANGUAGES, ("English", "Nederlands", "Italiano", "Español", "Русский", "繁體中文"), strict=True)
)

_ROWS: Final[dict[str, tuple[str, str, str, str, str, str]]] = {
    "title": ("Contact us", "Neem contact op", "Contattaci", "Contáctanos", "Свяжитесь с нами", "聯絡我們"),
    "name": ("Your name", "Je naam", "Il tuo nome", "Tu nombre", "Ваше имя", "您的姓名"),
    "email": (
        "Email address", "E-mailadres", "Indirizzo email", "Correo electrónico", "Адрес эл. почты", "電子郵件地址",
    ),
    "email_hint": (
        "We answer to this address.",
        "We antwoorden naar dit adres.",
        "Risponderemo a questo indirizzo.",
        "Responderemos a esta dirección.",
        "Мы ответим на этот адрес.",
        "我們會回覆到這個地址。",
    ),
    "subject": ("Subject", "Onderwerp", "Oggetto", "Asunto", "Тема", "主旨"),
    "message": ("Your message", "Je bericht", "Il tuo messaggio", "Tu mensaje", "Ваше сообщение", "您的訊息"),
    "attachments": ("Files", "Bestanden", "File", "Archivos", "Файлы", "檔案"),
    "attachments_hint": (
        "At most {files} files, {size} in all.",
        "Maximaal {files} bestanden, samen {size}.",
        "Al massimo {files} file, {size} in tutto.",
        "Como máximo {files} archivos, {size} en total.",
        "Не больше файлов: {files}, всего {size}.",
        "最多 {files} 個檔案，總計 {size}。",
    ),
    "attach_again": (
        "Please choose your files again.",
        "Kies je bestanden opnieuw.",
        "Scegli di nuovo i file.",
        "Vuelve a elegir tus archivos.",
        "Пожалуйста, выберите файлы ещё раз.",
        "請重新選擇檔案。",
    ),
    "optional": ("optional", "optioneel", "facoltativo", "opcional", "необязательно", "選填"),
    "leave_empty": (
        "Leave this empty", "Laat dit leeg", "Lascia vuoto", "Deja esto vacío", "Оставьте пустым", "請留空",
    ),
    "send": ("Send", "Versturen", "Invia", "Enviar", "Отправить", "送出"),
    "language": ("Language", "Taal", "Lingua", "Idioma", "Язык", "語言"),
    "problem": (
        "Not sent yet: please check the form",
        "Nog niet verstuurd: controleer het formulier",
        "Non ancora inviato: controlla il modulo",
        "Aún no se ha enviado: revisa el formulario",
        "Ещё не отправлено: проверьте форму",
        "尚未送出：請檢查表單",
    ),
    "thanks_title": ("Thank you", "Bedankt", "Grazie", "Gracias", "Спасибо", "謝謝您"),
    "thanks": (
        "We have received your message.",
        "We hebben je bericht ontvangen.",
        "Abbiamo ricevuto il tuo messaggio.",
        "Hemos recibido tu mensaje.",
        "Мы получили ваше сообщение.",
        "我們已收到您的訊息。",
    ),
    "reference": ("Reference", "Kenmerk", "Riferimento", "Referencia", "Номер обращения", "參考編號"),
    "reference_hint": (
        "Keep it if you want to ask about this message. In full:",
        "Bewaar het als je later naar dit bericht wilt vragen. Voluit:",
        "Conservalo se vuoi chiedere di questo messaggio. Per intero:",
        "Guárdala si quieres preguntar por este mensaje. Completa:",
        "Сохраните его, чтобы спросить об этом сообщении. Полностью:",
        "若要詢問此訊息，請保留此編號。完整編號：",
    ),
    "another": (
        "Send another message",
        "Nog een bericht sturen",
        "Invia un altro messaggio",
        "Enviar otro mensaje",
        "Отправить ещё одно сообщение",
        "再送出一則訊息",
    ),
    "chat_title": ("Chat with us", "Chat met ons", "Chatta con noi", "Chatea con nosotros", "Чат с нами", "與我們聊天"),
    "chat_intro": (
        "The button in the corner opens the chat. This is how it looks on a page of yours.",
        "De knop in de hoek opent de chat. Zo ziet hij eruit op je eigen pagina.",
        "Il pulsante nell'angolo apre la chat. Ecco come appare su una tua pagina.",
        "El botón de la esquina abre el chat. Así se ve en una página tuya.",
        "Кнопка в углу открывает чат. Так он выглядит на вашей странице.",
        "角落的按鈕會開啟聊天。在您的網頁上看起來就像這樣。",
    ),
    "chat_embed": (
        "To have it on your own page, add this line to it:",
        "Voeg deze regel toe aan je eigen pagina:",
        "Per averla su una tua pagina, aggiungi questa riga:",
        "Para tenerlo en tu propia página, añade esta línea:",
        "Чтобы добавить чат на свою страницу, вставьте в неё эту строку:",
        "若要放在您自己的網頁上，請加入這一行：",
    ),
    "chat_noscript": (
        "The chat needs JavaScript.",
        "De chat heeft JavaScript nodig.",
        "La chat richiede JavaScript.",
        "El chat necesita JavaScript.",
        "Для чата нужен JavaScript.",
        "聊天需要 JavaScript。",
    ),
    # What is wrong with a field, by the adapter's error codes.
    "required": (
        "Please fill this in.",
        "Vul dit in.",
        "Compila questo campo.",
        "Rellena este campo.",
        "Пожалуйста, заполните это поле.",
        "請填寫此欄位。",
    ),
    "message_required": (
        "Please write a message, or at least a subject.",
        "Schrijf een bericht, of in elk geval een onderwerp.",
        "Scrivi un messaggio, o almeno un oggetto.",
        "Escribe un mensaje, o al menos un asunto.",
        "Напишите сообщение или хотя бы тему.",
        "請填寫訊息，或至少填寫主旨。",
    ),
    "invalid_email": (
        "This is not an email address we can answer to, for example name@example.com.",
        "Dit is geen e-mailadres waarheen we kunnen antwoorden, zoals naam@example.com.",
        "Non è un indirizzo email a cui possiamo rispondere, per esempio nome@example.com.",
        "No es una dirección de correo a la que podamos responder, por ejemplo nombre@example.com.",
        "На этот адрес мы не сможем ответить. Пример: name@example.com.",
        "我們無法回覆到這個電子郵件地址。範例：name@example.com。",
    ),
    "too_long": (
        "This is too long.", "Dit is te lang.", "È troppo lungo.", "Es demasiado largo.", "Слишком длинно.", "太長了。",
    ),
    "not_text": (
        "This must be text.",
        "Dit moet tekst zijn.",
        "Deve essere un testo.",
        "Debe ser texto.",
        "Здесь должен быть текст.",
        "此處必須是文字。",
    ),
    "token_expired": (
        "This page was open for more than a day. Nothing is lost: please send it once more.",
        "Deze pagina stond langer dan een dag open. Er is niets verloren: verstuur nog een keer.",
        "Questa pagina è rimasta aperta più di un giorno. Nulla è perso: invia ancora una volta.",
        "Esta página estuvo abierta más de un día. No se ha perdido nada: envíala otra vez.",
        "Страница была открыта больше суток. Ничего не потеряно: отправьте ещё раз.",
        "此頁面已開啟超過一天。內容沒有遺失：請再送出一次。",
    ),
    "token_invalid": (
        "This page could not be recognised as ours. Nothing is lost: please send it once more.",
        "Deze pagina werd niet herkend. Er is niets verloren: verstuur nog een keer.",
        "Questa pagina non è stata riconosciuta. Nulla è perso: invia ancora una volta.",
        "No hemos reconocido esta página. No se ha perdido nada: envíala otra vez.",
        "Страница не распознана. Ничего не потеряно: отправьте ещё раз.",
        "無法辨識此頁面。內容沒有遺失：請再送出一次。",
    ),
    "file_type": (
        "Files of this type cannot be sent here.",
        "Bestanden van dit type kunnen hier niet worden verstuurd.",
        "File di questo tipo non possono essere inviati qui.",
        "Aquí no se pueden enviar archivos de este tipo.",
        "Файлы этого типа здесь отправить нельзя.",
        "此處無法傳送這種類型的檔案。",
    ),
    "file_invalid": (
        "This file could not be read.",
        "Dit bestand kon niet worden gelezen.",
        "Questo file non è leggibile.",
        "No se pudo leer este archivo.",
        "Не удалось прочитать файл.",
        "無法讀取此檔案。",
    ),
    "too_many_files": (
        "These are too many files.",
        "Dit zijn te veel bestanden.",
        "Sono troppi file.",
        "Son demasiados archivos.",
        "Слишком много файлов.",
        "檔案過多。",
    ),
    "unavailable": (
        "We cannot take your message right now. Please try again in a moment; nothing you wrote is lost.",
        "We kunnen je bericht nu niet aannemen. Probeer het zo meteen opnieuw; je tekst is niet verloren.",
        "Al momento non possiamo ricevere il messaggio. Riprova fra poco; nulla di ciò che hai scritto è perso.",
        "Ahora mismo no podemos recibir tu mensaje. Inténtalo de nuevo en un momento; no has perdido nada.",
        "Сейчас мы не можем принять сообщение. Попробуйте чуть позже: ваш текст сохранён.",
        "目前無法接收您的訊息。請稍後再試，您輸入的內容不會遺失。",
    ),
}  # fmt: skip

TEXTS: Final[dict[str, dict[str, str]]] = {
    language: {name: row[column] for name, row in _ROWS.items()} for column, language in enumerate(LANGUAGES)
}


def texts(language: str) -> Mapping[str, str]:
    """The words in one language; English for one we do not have."""
    return TEXTS.get(language, TEXTS["en"])


def pick_language(asked: str, accept: str, offered: Sequence[str] = LANGUAGES) -> str:
    """The language asked for by name, else the best of Accept-Language that is offered, else the first offered."""
    offered = [language for language in offered if language in TEXTS] or ["en"]
    for wanted in [asked, *_preferences(accept)]:
        found = _offered(wanted, offered)
        if found:
            return found
    return offered[0]


def _preferences(accept: str) -> list[str]:
    """Language ranges, best first. At most 20 are read, and nonsense is passed over."""
    ranked = []
    for position, item in enumerate(accept[:1000].split(",")[:20]):
        tag, _, weight = item.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0:
            ranked.append((-quality, position, tag.strip()))
    return [tag for _, _, tag in sorted(ranked)]


def _offered(wanted: str, offered: Sequence[str]) -> str | None:
    wanted = wanted.lower()
    if not wanted:
        return None
    if wanted.split("-")[0] == "zh":  # readers of any Chinese are better served by Chinese than by English
        wanted = "zh-tw"
    return next((tag for tag in offered if tag.lower() in (wanted, wanted.split("-")[0])), None)
