"""Ordinary talk: what people and assistants say about ordinary things, in many words and some languages."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    role: str
    content: str = ""
    user_action: str = "none"
    user_action_description: str = ""
    tools_used: tuple[str, ...] = ()
    interacted_image_url: str = ""
    image: bool = False


def _words(text: str, by: str | None = None) -> list[str]:
    return text.split(by)


NAMES = _words(
    "Anna Boris Chidi Dana Emre Farid Greta Hana Ivo Jun Kemal Lena Mateo Noor Olga Priya Quinn Rosa Sven Tariq "
    "Uma Viktor Wanda Ximena Yusuf Zoe"
)
CITIES = _words(
    "Lisbon Oslo Kyoto Nairobi Quito Gdansk Leeds Turin Perth Calgary Pune Accra Malmo Porto Graz"
)
THINGS = _words(
    "invoice,kettle,bicycle,tax return,router,greenhouse,violin,contract,dishwasher,passport,spreadsheet,tent,"
    "cookbook,thermostat,telescope,printer,mortgage,podcast,aquarium,staircase",
    ",",
)

_ASKS = (
    "How do I repair the {thing} that stopped after {n} days?",
    "Could you compare two offers for a {thing}, one at {n} euros and one at {m}?",
    "Please remember that my {thing} is with {name} in {city} until the {d}th.",
    "I fly from {city} to {city2} with {n} kilos; what should stay at home?",
    "Rewrite this for {name}: the {thing} arrives late because of the strike in {city}.",
    "{name} says the {thing} needs {n} screws, the manual says {m}. Who is right?",
    "Give me a plan for {n} weeks of practice on the {thing}, half an hour a day.",
    "What does clause {d} of the {thing} agreement mean when a tenant in {city} leaves early?",
    "My function returns None for row {n} although the {thing} table has {m} rows. Why?",
    "Wie lange muss ich die Unterlagen zum Thema {thing} in {city} aufbewahren?",
    "¿Puedes traducir la carta de {name} sobre {thing} y decirme qué falta?",
    "Which vegetables can I plant in {city} in week {d} next to the {thing}?",
    "Draft a short note to {name}, friendly, about the {thing} and the {n} euros that are open.",
    "{city} で {thing} を修理できる店を教えてください。予算は {n} ユーロです。",
)
_ANSWERS = (
    "Begin with the seal: after {n} days it is usually worn. Unplug it, wait, and look for marks near the base.",
    "The second offer is cheaper over {d} years, since delivery to {city} is included; the first has the better terms.",
    "Noted. I will mention {name} and {city} when it comes up again.",
    "Leave the heavy shoes and one of the books; {n} kilos leave room for presents from {city2}.",
    "Here is a version: Dear {name}, the delivery is delayed by the strike and will reach you in {d} days.",
    "The manual counts the spare ones, so both are right: {n} are used and the others stay in the bag.",
    "Week one is scales, week two adds rhythm, then {d} short pieces; rest on Sundays.",
    "It means the rent is owed until somebody else moves in, {m} days at the most; check the local rules.",
    "The filter drops rows with a missing key. Row {n} has one; fill it first, then join.",
    "In der Regel {d} Jahre, gerechnet ab dem Ende des Jahres, in dem sie entstanden sind.",
    "Falta la fecha y la firma; la traducción está abajo, con un comentario sobre el plazo de {d} días.",
    "Beans and spinach do well, tomatoes only under cover until week {d}.",
    "Dear {name}, I hope the week is kind to you. About the open {n} euros: would Friday suit you?",
    "駅の近くに二軒あります。{n} ユーロなら一軒目で足りるでしょう。",
)
_FOLLOW_UPS = (
    "And if {name} prefers Thursday?",
    "That worked, thank you. What about the {thing} from {city2}?",
    "Why {n} and not {m}?",
    "Shorter, please, and without the part about {city}.",
    "continue",
    "yes, go on",
    "Can you put the numbers into a table with {d} columns?",
    "Hm, it still shows the old value {m}.",
)


class Speaker:
    """Says ordinary things, never the same twice in a row; seeded."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._order: list[int] = []

    def fill(self, text: str) -> str:
        rng = self.rng
        return text.format(
            thing=rng.choice(THINGS),
            name=rng.choice(NAMES),
            city=rng.choice(CITIES),
            city2=rng.choice(CITIES),
            n=rng.randint(11, 980),
            m=rng.randint(11, 980),
            d=rng.randint(2, 29),
        )

    def exchange(self) -> list[Turn]:
        """A question with its answer, on a subject of its own."""
        if not self._order:
            self._order = list(range(len(_ASKS)))
            self.rng.shuffle(self._order)
        index = self._order.pop()
        return [Turn("User", self.fill(_ASKS[index])), Turn("Assistant", self.fill(_ANSWERS[index]))]

    def follow_up(self) -> list[Turn]:
        return [
            Turn("User", self.fill(self.rng.choice(_FOLLOW_UPS))),
            Turn("Assistant", self.fill(self.rng.choice(_ANSWERS))),
        ]

    def conversation(self, turns: int) -> list[list[Turn]]:
        """Requests of one conversation, one exchange each."""
        return [self.exchange()] + [
            self.follow_up() if self.rng.random() < 0.6 else self.exchange() for _ in range(turns - 1)
        ]

    def long_text(self, sentences: int) -> str:
        return " ".join(self.fill(self.rng.choice(_ANSWERS[:9])) for _ in range(sentences))
