"""Language of a short text, by script and by the small words every language is full of. Pure, no model, no dependency.

A support sentence of five words usually carries two or three of its language's commonest words. Scripts that belong to
one language decide alone; Latin and Cyrillic texts are scored by words, then by letters only some of them use.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Final

_SAMPLE: Final = 400  # characters that are looked at
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_PLAIN_WORD: Final = re.compile(r"[a-z]+(?:'[a-z]+)?")  # the same in ASCII, in half the time
_NOISE: Final = re.compile(r"https?://\S{1,500}|\S{1,64}@\S{1,255}|<[^<>]{0,200}>")

_WORDS: Final[dict[str, str]] = {
    "en": "the and is are was i my you your to of in it this that have has not with for on be can cannot can't "
    "please help how "
    "what when but from we do does don't an at if me would could will hi hello thanks thank order account password "
    "login "
    "error working doesn't am get there still why where need want any been since",
    "de": "der die das und ist ich nicht ein eine mein meine sie mit zu den dem auf für von es wie kann bitte haben "
    "habe hat "
    "wir aber auch noch sind im bei nach was wird mir mich ihr ihre danke hallo bestellung passwort konto seit "
    "keine kein "
    "einen wurde funktioniert guten tag",
    "fr": "le la les et est je ne pas un une mon ma mes vous avec pour de des du en que qui il elle ce cette sur "
    "dans au aux "
    "votre nous comment bonjour merci s'il plaît j'ai n'ai ai été mot passe commande compte plus suis c'est depuis "
    "toujours "
    "pouvez d'un ça pourquoi quand",
    "es": "el la los las y es no un una mi mis que con para por de del en se me su como cómo está estoy puedo tengo "
    "hola "
    "gracias favor pedido cuenta contraseña ha he pero si qué cuando cuándo necesito mucho funciona desde quiero al lo",
    "it": "il lo la gli le e è non un una mio mia che con per di del della in si mi come ho ha sono posso grazie "
    "ciao buongiorno "
    "ordine account password perché questo questa nel al alla ma ancora quando vorrei salve dei delle funziona anche",
    "pt": "o a os as e é não um uma meu minha que com para por de do da em se me como está estou posso tenho olá "
    "obrigado "
    "obrigada favor pedido conta senha foi mas você vocês meus ainda quando preciso no na ao consigo gostaria bom dia",
    "nl": "de het een en is ik niet mijn je u met voor van op dat te in er zijn heb heeft hoe wat kan maar ook nog "
    "graag "
    "bestelling wachtwoord bedankt hallo geen wordt deze dit bij naar aan jullie wij ze me waarom werkt goedemorgen "
    "alvast",
    "pl": "nie i w na jest się że do z to mój moje mam jak czy co proszę dziękuję dzień dobry zamówienie hasło "
    "konto mogę od "
    "przez dla po ale już tylko był było są ma mi za o ze kiedy nadal działa witam",
    "sv": "och är det jag inte en ett att min mitt mina på för med som har kan hur vad när ni du till av från tack hej "
    "beställning lösenord konto den mig vi men också ingen kunde få fungerar",
    "da": "og er det jeg ikke en et at min mit mine på for med som har kan hvordan hvad når i du til af fra tak hej "
    "ordre "
    "adgangskode konto den mig vi men også ingen kunne få virker bestilling blev endnu",
    "no": "og er det jeg ikke en et å min mitt mine på for med som har kan hvordan hva når dere du til av fra takk hei "
    "bestilling passord konto den meg vi men også ingen kunne få fungerer ble ennå",
    "fi": "ja on ei en se että minun olen mutta kuin kun miten voi voin mitä tämä oli hei kiitos tilaus tilaukseni "
    "tili "
    "salasana tilini salasanani ole ovat myös vielä jos niin mikä missä milloin toimi minulla teidän saanut voisitteko",
    "cs": "a je se na v že to jsem není mi můj moje jak co prosím děkuji dobrý den objednávka objednávku heslo účet "
    "mám ale by "
    "do s z ze pro už jen jsou byl bylo můžete mohu nefunguje kdy ještě nemohu",
    "sk": "a je sa na v že to som nie mi môj moja ako čo prosím ďakujem dobrý deň objednávka heslo účet mám ale by "
    "do s z zo "
    "pre už len sú bol bolo môžete môžem nefunguje kedy ešte",
    "tr": "ve bir bu için ne nasıl değil mı mi mu ben benim var yok ama çok daha ile lütfen teşekkürler merhaba "
    "sipariş "
    "siparişim şifre şifremi hesap hesabım hesabıma olarak neden ne zaman gibi kadar sonra henüz çalışmıyor istiyorum",
    "ro": "și este nu un o mea meu că cu pentru de la în am ai ce cum vă rog mulțumesc bună ziua comanda contul "
    "parola sunt "
    "dar mai fost când pot nu-mi să",
    "hu": "a az és nem egy hogy van a meg ez volt de is én mit hogyan kérem köszönöm jó napot rendelés rendelésem "
    "jelszó "
    "fiókom fiók nincs miért mikor még már csak kell tudok működik",
    "id": "yang dan di ini itu saya tidak untuk dengan dari ke bisa ada akan apa bagaimana mohon terima kasih "
    "pesanan akun "
    "kata sandi belum sudah kami anda mengapa",
    "vi": "tôi không của và là cho được có với này khi như thế nào cảm ơn xin chào đơn hàng mật khẩu tài khoản vẫn "
    "chưa",
    "ca": "el la els les i és no un una el meu que amb per de en com està puc tinc hola gràcies comanda compte si "
    "us plau",
}  # fmt: skip
_CYRILLIC: Final[dict[str, str]] = {
    "ru": "и в не на я что с как это мой мне у вы по но за от для до здравствуйте спасибо пожалуйста заказ пароль "
    "могу нет "
    "был есть почему когда уже ещё еще меня так или мы он она добрый день работает",
    "uk": "і в не на я що з як це мій мені у ви по але за від для до вітаю дякую будь ласка замовлення пароль можу "
    "немає був "
    "є чому коли вже ще мене та або ми він вона добрий день працює не",
    "bg": "и в не на аз че с как това моят ми вие по но за от до здравейте благодаря моля поръчка парола мога няма "
    "е съм "
    "защо кога вече още да се си",
    "sr": "и у не на ја да са како ово мој ми ви по али за од до поздрав хвала молим поруџбина лозинка могу нема је "
    "сам "
    "зашто када већ још се",
}  # fmt: skip
# Letters that only some of the candidates use: a nudge for texts with few small words.
_LETTERS: Final[dict[str, str]] = {
    "de": "ßäöü", "fr": "çœêèùàâîôûé", "es": "ñ¿¡áéíóú", "pt": "ãõçáéíóúâê", "pl": "łąęśżźćńó", "sv": "åäö",
    "da": "åæø", "no": "åæø",
    "fi": "äö", "cs": "ěščřžýůúáíéťďň", "sk": "ľščťžýáíéôŕĺď", "tr": "ğışçöü", "ro": "șțăâîşţ", "hu": "őűáéíóöúü",
    "it": "àèìòù",
    "vi": "ơưđạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ", "ca": "çàèéíòóúï·", "nl": "ëï",
    "uk": "іїєґ", "ru": "ыэъё", "bg": "ъщ", "sr": "ђјљњћџ",
}  # fmt: skip
_RARE: Final = frozenset("ßñ¿¡ãõłąężźěřůğışőűæøđľșțїєґыэђљњћџơư")
_RARE_LETTERS: Final = frozenset(filter(str.isalpha, _RARE))
_LETTER_SETS: Final = {language: frozenset(letters) for language, letters in _LETTERS.items()}
_TELLING: Final = _RARE.union(*_LETTER_SETS.values())

_RANGES: Final[tuple[tuple[int, int, str], ...]] = (
    (0x3040, 0x30FF, "ja"), (0xAC00, 0xD7AF, "ko"), (0x1100, 0x11FF, "ko"), (0x4E00, 0x9FFF, "han"),
    (0x3400, 0x4DBF, "han"),
    (0x0590, 0x05FF, "he"), (0x0600, 0x06FF, "arabic"), (0x0E00, 0x0E7F, "th"), (0x0370, 0x03FF, "el"),
    (0x0900, 0x097F, "hi"),
    (0x0980, 0x09FF, "bn"), (0x0B80, 0x0BFF, "ta"), (0x10A0, 0x10FF, "ka"), (0x0530, 0x058F, "hy"),
    (0x0400, 0x052F, "cyrillic"),
)  # fmt: skip


# Every range begins and ends with a block of sixteen.
_SCRIPT_OF: Final = {block: script for low, high, script in _RANGES for block in range(low >> 4, (high >> 4) + 1)}
_BEYOND_LATIN: Final = re.compile(r"[^\x00-\u036f]")


def _index(profiles: dict[str, str]) -> dict[str, tuple[tuple[str, float], ...]]:
    """word -> languages that use it, each with a weight that falls the more languages share the word."""
    users: dict[str, list[str]] = {}
    for language, words in profiles.items():
        for word in set(words.split()):
            users.setdefault(word, []).append(language)
    return {
        word: tuple((language, 1.0 / len(languages) ** 0.7) for language in languages)
        for word, languages in users.items()
    }


_LATIN_INDEX: Final = _index(_WORDS)
_CYRILLIC_INDEX: Final = _index(_CYRILLIC)


def detect(text: str, hint: str = "") -> str:
    """ISO 639-1 code of the text's language, or "" when it is too short or unclear. `hint`: a Content-Language header.

    Looks at the first 400 characters without links and addresses.
    """
    sample = text[:_SAMPLE]
    if "@" in sample or "://" in sample:
        sample = _NOISE.sub(" ", sample)
    if not sample.isascii() and (script := _by_script(sample)) is not None:
        if script != "cyrillic":
            return script
        return _by_words(sample.lower(), _CYRILLIC_INDEX, _CYRILLIC, floor=0.0) or "ru"
    found = _by_words(sample.lower(), _LATIN_INDEX, _WORDS, floor=0.9)
    return found or _hinted(hint)


def _hinted(hint: str) -> str:
    code = hint.strip()[:2].lower()
    return code if code in _WORDS or code in _CYRILLIC else ""


def _by_script(sample: str) -> str | None:
    blocks = [ord(char) >> 4 for char in _BEYOND_LATIN.findall(sample)]
    counts = Counter([_SCRIPT_OF[block] for block in blocks if block in _SCRIPT_OF]) if blocks else None
    if not counts:
        return None
    script = max(counts, key=lambda item: counts[item])
    # A Japanese text has more Han characters than kana; one name in another script is not the language.
    if script == "han":
        return "ja" if counts.get("ja", 0) * 8 >= counts["han"] else "zh"
    if counts[script] * 3 < sum(map(str.isalpha, _BEYOND_LATIN.sub("", sample))):
        return None
    if script == "arabic":
        return "fa" if any(char in "پچژگ" for char in sample) else "ar"
    return script


def _by_words(
    sample: str, index: dict[str, tuple[tuple[str, float], ...]], profiles: dict[str, str], *, floor: float
) -> str:
    scores: defaultdict[str, float] = defaultdict(float)
    words = _PLAIN_WORD.findall(sample) if sample.isascii() else _WORD.findall(sample.replace("’", "'"))
    for word in words:
        for language, weight in index.get(word, ()):
            scores[language] += weight
    if not sample.isascii() and (special := _TELLING.intersection(sample)):
        rare = special & _RARE_LETTERS
        for language, letters in _LETTER_SETS.items():
            if language in profiles:
                hits = sum(1.0 if char in _RARE else 0.3 for char in special & letters)
                misses = len(rare - letters)
                if hits or misses:
                    scores[language] = scores[language] + 0.8 * hits - 0.8 * misses
    if not scores:
        return ""
    best = max(scores, key=lambda item: scores[item])
    return best if scores[best] >= floor else ""
