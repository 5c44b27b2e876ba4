"""Who writes, and about what: names from eleven languages joined with the scenes of `words.toml`, from one seed."""

from __future__ import annotations

import random
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

# First names, family names, the same in Latin letters for addresses, and a telephone prefix out of the ranges that the
# regulators keep free for fiction where there are such ranges.
_NAMES: dict[str, tuple[str, str, str]] = {
    "en": ("Amara Ruth Dylan Priya Owen Carol", "Okafor Bell Hughes Nair Doyle Whitaker", "+447700900"),
    "de": ("Erika Jonas Miriam Uwe Svenja", "Brandt Müller Özdemir Krause Weiß", "+493023125"),
    "fr": ("Camille Hugo Inès Benoît Zoé", "Lefèvre Garnier Diallo Brun Noël", "+3319900"),
    "es": ("Lucía Íñigo Carmen Joaquín Núria", "Ortega Peña Ruiz Ibáñez Soler", "+3491055"),
    "it": ("Chiara Matteo Giulia Niccolò Elena", "Ferri Conti Rinaldi D'Amico Greco", "+39065550"),
    "nl": ("Sanne Daan Fleur Joost Maartje", "Jansen Bakker Visser Smit Bos", "+312055501"),
    "pl": ("Agnieszka Paweł Zofia Łukasz Hanna", "Nowak Wójcik Zając Lis Mazur", "+48225550"),
    "ru": ("Анна Дмитрий Ольга Сергей Юлия", "Черных Бойко Седых Шульга Ткаченко", "+7495555"),
    "ja": ("結衣 健太 美咲 翔 陽子", "佐藤 鈴木 高橋 田中 渡辺", "+8135550"),
    "zh-TW": ("怡君 志明 雅婷 家豪 淑芬", "陳 林 黃 張 王", "+88622555"),
    "ar": ("ليلى عمر نور خالد سارة", "الخطيب حداد منصور العلي سالم", "+9714555"),
}
_LATIN: dict[str, tuple[str, str]] = {
    "ru": ("anna dmitry olga sergey yulia", "chernykh boyko sedykh shulga tkachenko"),
    "ja": ("yui kenta misaki sho yoko", "sato suzuki takahashi tanaka watanabe"),
    "zh-TW": ("yichun chihming yating chiahao shufen", "chen lin huang chang wang"),
    "ar": ("layla omar nour khaled sara", "alkhatib haddad mansour alali salem"),
}
_NOT_COMPOSED = str.maketrans("łß", "ls", "'")  # letters that are no base letter with a mark
_HOSTS = ("example.com", "example.org", "example.net", "post.example", "mail.example")


@dataclass(frozen=True, slots=True)
class Person:
    """One customer, with an address on every channel."""

    name: str
    email: str
    phone: str
    handle: str
    x_id: str
    language: str


@dataclass(frozen=True, slots=True)
class Matter:
    """One person's business with the shop: what they write first (`open`, or `brief` where short), then, at last."""

    person: Person
    subject: str
    open: str
    brief: str
    more: str
    thanks: str

    @property
    def language(self) -> str:
        """BCP 47."""
        return self.person.language


@cache
def words() -> dict[str, Any]:
    """The texts."""
    return tomllib.loads(resources.files("gateway.demo").joinpath("words.toml").read_text("utf-8"))


def people(language: str, rng: random.Random) -> Iterator[Person]:
    """Everyone of a language, in a random order, nobody twice."""
    firsts, lasts, prefix = (part.split() for part in _NAMES[language])
    latin = [part.split() for part in _LATIN.get(language, _NAMES[language][:2])]
    pairs = [(f, n) for f in range(len(firsts)) for n in range(len(lasts))]
    rng.shuffle(pairs)
    for number, (f, n) in enumerate(pairs):
        first, last = _plain(latin[0][f]), _plain(latin[1][n])
        together = language in ("ja", "zh-TW")
        yield Person(
            name=f"{lasts[n]}{firsts[f]}" if together else f"{firsts[f]} {lasts[n]}",
            email=f"{first}.{last}@{rng.choice(_HOSTS)}",
            phone=_phone(prefix[0], number, rng),
            handle=f"{first[:5]}_{last[:6]}{rng.randrange(10, 99)}",
            x_id=str(2_000_000_000_000_000_000 + rng.randrange(10**17)),
            language=language,
        )


def _phone(prefix: str, number: int, rng: random.Random) -> str:
    """Different for every number below 100; twelve or thirteen characters long."""
    rest = max(0, 10 - len(prefix))
    return f"{prefix}{number:0{3 - (rest > 0)}d}" + (f"{rng.randrange(10**rest):0{rest}d}" if rest else "")


def _plain(name: str) -> str:
    """A name as it stands in addresses: lower case, no accents."""
    decomposed = unicodedata.normalize("NFKD", name.lower().translate(_NOT_COMPOSED))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def matters(rng: random.Random, rounds: dict[str, int]) -> list[Matter]:
    """`rounds[language]` times every scene of that language, each time by somebody else, all in a random order."""
    found: list[Matter] = []
    for language, times in rounds.items():
        scenes = [scene for scene in words()["scene"] if scene["language"] == language]
        crowd = people(language, rng)
        for _ in range(times):
            found.extend(_matter(scene, next(crowd), rng) for scene in scenes)
    rng.shuffle(found)
    return found


def _matter(scene: dict[str, str], person: Person, rng: random.Random) -> Matter:
    numbers = {"order": str(rng.randrange(104_000, 998_000)), "amount": f"{rng.randrange(1200, 24900) / 100:.2f}"}
    said = {key: scene[key].format(**numbers) for key in ("subject", "open", "brief", "more", "thanks")}
    return Matter(person=person, **said)
