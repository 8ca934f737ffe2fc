"""What is a copy, of what, and which of the two stays."""

import gc
import itertools
import math
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence

import pytest

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.rules import duplicates
from reflexio_mcp.traffic.rules.detector import SessionSeen
from reflexio_mcp.traffic.rules.duplicates import CopiedSessions, Duplicates
from reflexio_mcp.traffic.rules.found import Example

DIALOGUE = [
    (
        "Which tyres fit a 1998 city bike?",
        "Most take 28 inch tyres of 37 to 42 mm; look for 37-622 on the side.",
    ),
    ("yes", "Good. Then order two of them and two tubes with the long valve."),
    ("And how much air do they take?", "Between 3 and 4.5 bar; the side of the tyre says how much it bears."),
    ("ok thanks", "You are welcome."),
]


def request(
    number: int, *turns: str, at: int = 0, user: str = "ada", session: str = "s"
) -> RequestWithInteractions:
    roles = ("User", "Assistant")
    said = [
        StoredInteraction(interaction_id=index, role=roles[index % 2], content=text)
        for index, text in enumerate(turns)
    ]
    stored = StoredRequest(request_id=f"r{number}", user_id=user, session_id=session, created_at=at)
    return RequestWithInteractions(request=stored, interactions=said)


def copies(items: Iterable[RequestWithInteractions]) -> tuple[list[str], list[str]]:
    """What `duplicate` and `near-duplicate` find; items come oldest first."""
    found = Duplicates()
    found.session(SessionSeen("s", list(items)[::-1]))
    exact, near = found.founds
    return exact.subjects, near.subjects


def what_stays(items: Iterable[RequestWithInteractions]) -> Mapping[str, str]:
    """Each copy of a session with what has its words and stays."""
    found = Duplicates()
    found.session(SessionSeen("s", list(items)[::-1]))
    return found.originals["duplicate"]


def test_of_a_session_that_takes_too_long_what_was_compared_is_found_and_the_rest_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = "Please put the quarterly numbers for the north region into one table."
    items = [request(number, words, at=number * 30) for number in range(1, 7)]
    monkeypatch.setattr(duplicates.time, "monotonic", itertools.count().__next__)
    found = Duplicates()
    found.until = 4
    found.session(SessionSeen("s", items[::-1]))
    assert found.founds[0].subjects == ["r2", "r3", "r4"]
    assert found.originals["duplicate"] == dict.fromkeys(("r2", "r3", "r4"), "r1")
    assert found.left_out == "of a session with very much in it only the oldest part was compared"


@pytest.mark.parametrize("later", [1, 60, 2700, 86_400, 90 * 86_400])
def test_a_history_imported_twice_is_found_whenever_it_comes(later: int) -> None:
    once = [request(index, *pair, at=index) for index, pair in enumerate(DIALOGUE)]
    again = [request(10 + index, *pair, at=later + index) for index, pair in enumerate(DIALOGUE)]
    exact, near = copies(sorted(once + again, key=lambda item: item.request.created_at))
    assert set(exact) == {"r10", "r11", "r12", "r13"}
    assert near == []


def test_single_turns_of_an_imported_history_are_found_too() -> None:
    turns = [text for pair in DIALOGUE for text in pair]
    once = [request(index, text, at=index) for index, text in enumerate(turns)]
    between = [request(50, "Something new, said in between.", at=500)]
    again = [request(100 + index, text, at=9000 + index) for index, text in enumerate(turns)]
    exact, _ = copies([*once, *between, *again])
    assert set(exact) == {f"r{100 + index}" for index in range(len(turns))}


def test_an_import_that_runs_twice_in_the_same_second_is_found() -> None:
    turns = [text for pair in DIALOGUE for text in pair]
    mixed = [
        request(number * 100 + index, text, at=7) for index, text in enumerate(turns) for number in (0, 1)
    ]
    exact, _ = copies(mixed)
    assert len(exact) == len(turns)


TURNS = [text for pair in DIALOGUE for text in pair]


@pytest.mark.parametrize("later", [60, 86_400])
def test_a_history_imported_again_in_other_portions_is_found(later: int) -> None:
    pairs = [request(index, *pair, at=index) for index, pair in enumerate(DIALOGUE)]
    # each turn alone, with who says it
    single = [request(20 + index, text, at=later + index) for index, text in enumerate(TURNS)]
    for index, item in enumerate(single):
        item.interactions[0].role = ("User", "Assistant")[index % 2]
    whole = request(99, *TURNS, at=later + 50)
    assert copies([*pairs, *single])[0] == [f"r{20 + index}" for index in range(len(TURNS))]
    assert copies([*pairs, whole]) == (["r99"], [])
    # Its words stand in no single one of them, those of a part in one.
    assert what_stays([*pairs, whole]) == {"r99": "s"}
    assert what_stays([*pairs, *single])["r20"] == "r0"
    assert copies(
        [whole, *(request(200 + index, *pair, at=later + 90) for index, pair in enumerate(DIALOGUE))]
    ) == (
        ["r200", "r201", "r202", "r203"],
        [],
    )


@pytest.mark.parametrize("names", [("user", "assistant"), ("human", "AI"), ("USER", "model")])
def test_a_history_imported_again_with_other_names_of_the_roles_is_found(names: tuple[str, str]) -> None:
    once = [request(index, *pair, at=index) for index, pair in enumerate(DIALOGUE)]
    again = [request(10 + index, *pair, at=86_400 + index) for index, pair in enumerate(DIALOGUE)]
    for item in again:
        for turn, name in zip(item.interactions, names, strict=True):
            turn.role = name
    assert copies([*once, *again]) == (["r10", "r11", "r12", "r13"], [])
    for item in again:
        item.interactions[0].role = "Tool"
    assert copies([*once, *again]) == ([], [])


def window(size: int, exchanges: int) -> list[RequestWithInteractions]:
    """A conversation of which each request has the last few exchanges."""
    said = [
        text
        for number in range(exchanges + size - 1)
        for text in (
            f"What is question {number} of the long list about?",
            f"It is about the {number}th lighthouse.",
        )
    ]
    return [
        request(number, *said[2 * number : 2 * (number + size)], at=number * 90)
        for number in range(exchanges)
    ]


@pytest.mark.parametrize(
    ("size", "found"), [(2, ["r1", "r3"]), (3, ["r1", "r2", "r4"]), (4, ["r1", "r2", "r3"])]
)
def test_of_a_window_that_slides_over_a_conversation_every_turn_stays(size: int, found: list[str]) -> None:
    published = window(size, exchanges=5 if size < 3 else 6)
    assert copies(published) == (found, [])
    stay = [item for item in published if item.request.request_id not in found]
    texts = [{turn.content for item in items for turn in item.interactions} for items in (published, stay)]
    assert texts[0] == texts[1]


def test_both_requests_that_hold_what_a_window_repeats_are_named_at_each_example_only() -> None:
    found = Duplicates()
    found.session(SessionSeen("s", window(2, exchanges=5)[::-1]))
    exact = found.founds[0]
    assert [(one.request_id, one.copy_of, one.note) for one in exact.examples] == [
        # Neither of the two has all its words.
        ("r1", "s", "its first turns stay in r0, the others in r2"),
        ("r3", "s", "its first turns stay in r2, the others in r4"),
    ]
    assert not exact.notes


def test_what_is_named_has_all_the_words_also_where_a_chain_of_copies_leads_to_it() -> None:
    # The second is in the third, which goes too, since the first and the last one have its words.
    said = [f"Turn number {number} of a long talk about the lighthouses of the north." for number in range(8)]
    items = [
        request(1, *said[:4]),
        request(2, *said[2:4], at=60),
        request(3, *said[2:6], at=120),
        request(4, *said[4:8], at=180),
    ]
    found = Duplicates()
    found.session(SessionSeen("s", items[::-1]))
    assert found.originals["duplicate"] == {"r2": "s", "r3": "s"}
    assert {one.copy_of for one in found.founds[0].examples} == {"s"}


def test_what_has_a_turn_of_its_own_is_no_window() -> None:
    first, inner, last = window(2, exchanges=3)
    inner.interactions[2].content = "Which lighthouse is the oldest of them?"
    assert copies([first, inner, last]) == ([], [])
    assert copies(window(1, exchanges=6)) == ([], [])


def test_few_short_turns_that_are_said_again_are_no_window() -> None:
    assert copies(
        [
            request(1, "hi", "hello", "ok", "fine"),
            request(2, "ok", "fine", "yes", "good", at=90),
            request(3, "yes", "good", "bye", "bye", at=180),
        ]
    ) == ([], [])


def test_turns_that_come_again_in_another_order_are_no_import() -> None:
    pairs = [request(index, *pair, at=index) for index, pair in enumerate(DIALOGUE)]
    mixed = [
        request(20 + place, TURNS[place], at=9000 + at) for at, place in enumerate((6, 3, 4, 1, 2, 7, 0, 5))
    ]
    for item in mixed:
        item.interactions[0].role = ("User", "Assistant")[int(item.request.request_id[1:]) % 2]
    assert copies([*pairs, *mixed]) == ([], [])


def test_a_conversation_published_again_with_every_turn_may_take_days() -> None:
    growing = [request(number, *TURNS[: 2 * number + 2], at=number * 40_000) for number in range(4)]
    # One question with its answer is asked again in earnest on another day.
    assert copies(growing) == (["r1", "r2"], [])


def test_a_question_answered_after_an_hour_goes_and_one_asked_again_the_next_day_stays() -> None:
    question = "Which trains go from the old harbour to the northern suburbs on a Sunday morning?"
    for later, found in ((3600, ["r1"]), (86_400, [])):
        assert copies([request(1, question), request(2, question, "Two do.", at=later)]) == (found, [])


def test_a_long_answer_does_not_come_twice_within_hours_in_earnest() -> None:
    for said, later, found in (
        (ANSWERED, 2700, ["r3"]),
        (ANSWERED, 86_400, []),
        (DIALOGUE[0], 600, ["r3"]),
        (DIALOGUE[0], 2700, []),
    ):
        exact, _ = copies([request(1, *said), request(2, "A new one"), request(3, *said, at=later)])
        assert exact == found


EVERY_DAY = (
    ("Good morning, please switch on the lights in the kitchen and the hall.",
     "Done, the lights in the kitchen and the hall are on."),
    ("Please start the coffee machine with the usual programme.", "Started."),
    ("And play the news of the national radio in the bathroom.", "Playing."),
)  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("days", [3, 20])
def test_what_somebody_says_every_day_is_no_copy(count: int, days: int) -> None:
    said = [
        request(day * 10 + number, *pair, at=day * 86_400 + number * 60)
        for day in range(days)
        for number, pair in enumerate(EVERY_DAY[:count])
    ]
    assert copies(said) == ([], [])
    # And once with more behind it.
    more = request(999, *EVERY_DAY[0], *DIALOGUE[0], at=days * 86_400)
    assert copies([*said, more]) == ([], [])


def test_a_reading_that_comes_again_on_another_day_is_no_copy() -> None:
    asked = "How did you sleep last night, on a scale from one to ten, all in all?"
    said = [request(day, asked, "48"[day % 2], at=day * 86_400) for day in range(10)]
    assert copies(said) == ([], [])


def test_commands_that_come_again_in_another_order_are_no_import() -> None:
    commands = [
        (f"Switch on the lamp number {number} in the hall of the house", "Done.") for number in range(8)
    ]
    order = [*range(8), 3, 0, 6, 1, 7, 2, 5, 4]
    said = [request(at, *commands[number], at=at * 4000) for at, number in enumerate(order)]
    assert copies(said) == ([], [])


def test_an_import_every_night_is_found_by_its_long_answers() -> None:
    history = [(f"Question {number}?", f"{number}: {ANSWERED[1]}") for number in range(4)]
    said = [
        request(night * 10 + number, *pair, at=night * 86_400 + number)
        for night in range(5)
        for number, pair in enumerate(history)
    ]
    assert len(copies(said)[0]) == 16


def test_a_question_with_the_same_long_answer_every_hour_is_no_copy() -> None:
    said = [request(hour, *ANSWERED, at=hour * 3600) for hour in range(24)]
    assert copies(said) == ([], [])
    # One that was sent twice is, and so is an answer that took two hours to be stored again.
    said.insert(4, request(100, *ANSWERED, at=3 * 3600 + 60))
    assert copies(said) == (["r100"], [])
    assert copies([request(1, *ANSWERED), request(2, *ANSWERED, at=7200)]) == (["r2"], [])


def test_a_short_answer_in_a_longer_request_is_no_copy_of_what_was_said_before_it() -> None:
    said = [
        request(1, "yes", at=0),
        request(2, "And the blue ones, are they cheaper?", at=60),
        request(3, "yes", "Good, then two of them.", at=120),
    ]
    assert copies(said) == ([], [])
    assert copies([said[0], said[2]]) == (["r1"], [])


def test_a_copy_and_what_it_repeats_go_where_a_third_one_goes_on() -> None:
    found = Duplicates()
    items = [
        request(1, *DIALOGUE[0]),
        request(2, *DIALOGUE[0], at=5),
        request(3, *DIALOGUE[0], *DIALOGUE[1], at=60),
    ]
    found.session(SessionSeen("s", items[::-1]))
    exact, near = found.founds
    assert (sorted(exact.subjects), near.count) == (["r1", "r2"], 0)
    assert {one.copy_of for one in exact.examples} == {"r3"}
    assert found.originals == {"duplicate": {"r1": "r3", "r2": "r3"}}


def test_what_people_say_again_is_no_copy() -> None:
    said = ["yes", "And the red ones?", "yes", "ok", "And the blue ones?", "ok", "yes"]
    assert copies(request(index, text, at=index * 60) for index, text in enumerate(said)) == ([], [])


def test_a_question_alone_goes_when_it_comes_again_with_its_answer() -> None:
    question, answer = DIALOGUE[0]
    assert copies([request(1, question), request(2, question, answer, at=5)]) == (["r1"], [])


def test_of_a_conversation_published_again_with_every_turn_the_last_one_stays() -> None:
    turns = [text for pair in DIALOGUE for text in pair]
    items = [request(count, *turns[:count], at=count * 20) for count in range(2, 9, 2)]
    assert copies(items) == (["r2", "r4", "r6"], [])


def test_each_of_several_copies_names_the_one_that_stays() -> None:
    found = Duplicates()
    found.session(SessionSeen("s", [request(number, *DIALOGUE[0], at=number) for number in range(4)][::-1]))
    exact, _ = found.founds
    assert exact.subjects == ["r1", "r2", "r3"]
    assert {one.copy_of for one in exact.examples} == {"r0"}


def test_of_a_conversation_published_again_with_every_turn_each_names_the_last_one() -> None:
    turns = [text for pair in DIALOGUE for text in pair]
    growing = [request(number, *turns[: 2 * number + 2], at=number * 60) for number in range(3)]
    found = Duplicates()
    found.session(SessionSeen("s", growing[::-1]))
    exact, near = found.founds
    assert (exact.subjects, near.count) == (["r0", "r1"], 0)
    assert {one.copy_of for one in exact.examples} == {"r2"}


@pytest.mark.parametrize(
    "other",
    [
        "please book the usual table near the windwo for tonight",
        "please book the usual table near the window for tonihgt",
        "please book usual table near the window for tonight",
        "Please book the usual table, near the window, for tonight!",
    ],
)
def test_a_short_text_sent_again_misspelt_is_nearly_a_copy(other: str) -> None:
    text = "please book the usual table near the window for tonight"
    assert copies([request(1, text), request(2, other, at=30)]) == ([], ["r2"])


def test_a_short_text_is_named_with_the_one_it_repeats_and_not_with_one_that_both_nearly_repeat() -> None:
    short, full = (
        "please book usual table near window for us",
        "please book the usual table near window for us",
    )
    found = Duplicates()
    items = [request(1, short), request(2, "No."), request(3, short, at=30), request(4, full, at=60)]
    found.session(SessionSeen("s", items[::-1]))
    near = found.founds[1]
    assert {(one.request_id, one.copy_of, one.note) for one in near.examples} == {
        ("r3", "r1", duplicates.WORD_FOR_WORD),
        ("r1", "r4", ""),
    }


@pytest.mark.parametrize(
    "other",
    [
        "please book the usual table near the window for tomorrow",
        "please book the usual tables near the window for tonight",
        "please cancel the usual table near the window for tonight",
        "please book the table near the window for tonight",
        "please book the usual table not near the window for tonight",
        "please book the usual table near the window for tonight at 8",
    ],
)
def test_another_short_statement_is_none(other: str) -> None:
    text = "please book the usual table near the window for tonight"
    assert copies([request(1, text), request(2, other, at=30)]) == ([], [])


_LONG = (
    "I have spoken with the landlord this morning about the flat in the old town, and he says that the rent may "
    "include the heating, that the cellar can be used by both of us, and that the keys are with the neighbour on the "
    "second floor."
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I can't eat peanuts and eggs at breakfast", "I can eat peanuts and eggs at breakfast"),
        ("Я не могу есть орехи и яйца на завтрак", "Я могу есть орехи и яйца на завтрак"),
        ("Я не можу їсти горіхи та яйця на сніданок", "Я можу їсти горіхи та яйця на сніданок"),
        ("Jag kan inte äta nötter och ägg till frukost", "Jag kan äta nötter och ägg till frukost"),
        ("Reggelire nem ehetek diót és tojást a házban", "Reggelire ehetek diót és tojást a házban"),
        ("Es nedrīkstu ēst riekstus un olas katru rītu", "Es drīkstu ēst riekstus un olas katru rītu"),
        ("Ich kenne hier keiner Menschenseele Namen mehr", "Ich kenne hier einer Menschenseele Namen mehr"),
        ("There are few people who know the way there", "There are a few people who know the way there"),
        ("Send the parcel to the house in the village", "Send the parcel to the horse in the village"),
        ("Please send the three parcels to the old mill", "Please send the there parcels to the old mill"),
        ("The gate is locked in the evening by my sister", "The gate is locked in the evening my sister"),
        (_LONG, _LONG.replace("may", "must")),
        (_LONG, _LONG.replace("can be", "can't be")),
        (_LONG, _LONG.replace("with the neighbour", "with us").replace("us on", "them on")),
        (_LONG.replace("the neighbour", "us"), _LONG.replace("the neighbour", "them")),
        (_LONG, _LONG.replace("this morning", "this evening")),
    ],
)
def test_a_word_that_says_something_else_makes_no_near_copy(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        assert copies([request(1, first), request(2, second, at=30)]) == ([], [])
        answered = [request(1, first, "Noted."), request(2, second, "Noted.", at=30)]
        assert copies(answered) == ([], [])


def test_one_word_misspelt_or_dropped_in_a_long_text_makes_a_near_copy() -> None:
    text = (
        "When you write to the customers about the delay please mention that the replacement parts are already "
        "underway and that nobody has to send anything back before the new delivery really arrives at their address"
    )
    for other in (
        text.replace("replacement", "replacment"),
        text.replace("replacement", "replecement"),
        text.replace("customers", "customres"),
        text.replace("please ", ""),
        text.replace("already ", ""),
        text.replace("really ", ""),
    ):
        assert copies([request(1, text), request(2, other, at=30)]) == ([], ["r2"])
    for other in (text.replace("nobody", "everybody"), text.replace("before", "after")):
        assert copies([request(1, text), request(2, other, at=30)]) == ([], [])


def sessions(
    *seen: tuple[str, int, list[tuple[str, ...]]], user: str = "ada", until: float = math.inf
) -> CopiedSessions:
    """Sessions by name, beginning and requests; newest first, as an audit brings them."""
    found = CopiedSessions()
    found.until = until
    for name, at, pairs in sorted(seen, key=lambda one: -one[1]):
        items = [
            request(at + index, *pair, at=at + index, session=name, user=user)
            for index, pair in enumerate(pairs)
        ]
        found.session(SessionSeen(name, items[::-1]))
    found.finish()
    return found


def test_a_session_imported_under_another_id_is_named_with_the_one_that_stays() -> None:
    (found, _) = sessions(("old", 100, list(DIALOGUE)), ("new", 9000, list(DIALOGUE))).founds
    assert found.subjects == ["new"]
    assert found.examples[0].copy_of == "old"


def test_a_session_imported_in_other_portions_under_another_id_is_a_copy() -> None:
    for portions in ([tuple(TURNS)], [tuple(TURNS[:2]), tuple(TURNS[2:])]):
        seen = sessions(("old", 100, list(DIALOGUE)), ("new", 9000, portions))
        (found, _) = seen.founds
        assert found.subjects == ["new"]
        assert found.examples[0].copy_of == "old"
        # The words of the longer ones stand in no single request.
        assert seen.copies["r9000"] == ("old" if len(portions) == 1 else "r100")
        assert seen.copies.get("r9001", "old") == "old"


def test_a_copy_with_one_turn_changed_says_so() -> None:
    changed = [
        *DIALOGUE[:2],
        (DIALOGUE[2][0], "Look at the side of the tyre, and take a little more."),
        DIALOGUE[3],
    ]
    seen = sessions(("old", 100, list(DIALOGUE)), ("new", 9000, changed))
    (found, _) = seen.founds
    assert found.subjects == ["new"]
    assert found.examples[0].note == "all but 1 of its 8 turns are in old; 2 of its 4 requests stay"
    assert not found.examples[0].copy_of, "not all of its words are there"
    assert found.parts == {"new": (("r9001", "r9000"), False)}
    assert seen.copies == {"r9000": "r100", "r9001": "r101"}, "what follows on the other answer stays with it"


def test_a_session_whose_only_request_has_a_turn_of_its_own_is_named_by_nothing() -> None:
    turns = tuple(turn for pair in DIALOGUE for turn in pair)
    own = (*turns[:-1], "And mind the valve of the front one.")
    seen = sessions(("old", 100, [turns]), ("new", 9000, [own]))
    assert not [one.count for one in seen.founds if one.count]
    assert not seen.copies


QUESTIONS = (
    "Is it safe to delete the database of the northern region while the backup is running?",
    "May I restart the reporting server of the northern region while the backup is running?",
)
ANSWERS = ("No, never do that: the backup reads from it.", "Yes, go ahead: it is back within a minute.")


@pytest.mark.parametrize("portions", [1, 2, 4])
def test_answers_to_other_questions_are_no_copy_in_whatever_requests(portions: int) -> None:
    true: list[tuple[str, ...]] = list(zip(QUESTIONS, ANSWERS, strict=True))
    swapped = [turn for pair in zip(QUESTIONS, ANSWERS[::-1], strict=True) for turn in pair]
    size = len(swapped) // portions
    other = [tuple(swapped[at : at + size]) for at in range(0, len(swapped), size)]
    seen = sessions_by_turn(("true", 100, true), ("other", 9000, other))
    assert not seen.copies
    assert not seen.founds[0].count
    # The same in their order are one.
    said = [turn for pair in true for turn in pair]
    again = [tuple(said[at : at + size]) for at in range(0, len(said), size)]
    seen = sessions_by_turn(("true", 100, true), ("other", 9000, again))
    assert list(seen.copies) == [f"r{9000 + index}" for index in reversed(range(portions))]
    assert seen.founds[0].parts["other"] == (tuple(seen.copies), True)


def sessions_by_turn(*seen: tuple[str, int, list[tuple[str, ...]]]) -> CopiedSessions:
    """As `sessions`; each turn has the role of its place in the session, also where it is alone in its request."""
    found = CopiedSessions()
    for name, at, portions in sorted(seen, key=lambda one: -one[1]):
        items = [
            request(at + index, *turns, at=at + index, session=name) for index, turns in enumerate(portions)
        ]
        for place, turn in enumerate(turn for item in items for turn in item.interactions):
            turn.role = ("User", "Assistant")[place % 2]
        found.session(SessionSeen(name, items[::-1]))
    found.finish()
    return found


def test_the_exchanges_of_a_session_that_stand_in_the_other_go_and_one_with_another_answer_stays() -> None:
    mixed = [*DIALOGUE[:3], (DIALOGUE[3][0], DIALOGUE[1][1])]
    seen = sessions(("old", 100, list(DIALOGUE)), ("new", 9000, mixed))
    assert seen.copies == {"r9000": "r100", "r9001": "r101", "r9002": "r102"}
    (example,) = seen.founds[0].examples
    assert (example.copy_of, example.note) == ("", "all its 7 turns are in old; 1 of its 4 requests stays")
    assert seen.founds[0].parts == {"new": (("r9002", "r9001", "r9000"), False)}


def test_turns_with_others_between_them_in_the_session_that_stays_are_not_word_for_word_in_it() -> None:
    first, second, third, fourth = DIALOGUE
    seen = sessions(("old", 100, list(DIALOGUE)), ("new", 9000, [(*first, *third), second, fourth]))
    assert not seen.copies
    assert not [one.count for one in seen.founds if one.count]


ASKED = (
    (
        "Let us go through what is left of last week.",
        "Shall the backup of the northern region be removed tonight?",
    ),
    ("Yes.", "Noted: it will be removed tonight."),
    ("Next.", "Shall the reporting server of the northern region be restarted tonight?"),
    ("No.", "All right, I leave it as it is."),
)


def test_the_same_answer_to_another_question_is_no_copy() -> None:
    both_no = [ASKED[0], ASKED[3], ASKED[2], ASKED[3]]
    swapped = [ASKED[0], ASKED[3], ASKED[2], ASKED[1]]
    assert sessions(("old", 100, list(ASKED)), ("new", 80_000, both_no)).copies == {"r80003": "r103"}
    assert not sessions(("old", 100, list(ASKED)), ("new", 80_000, swapped)).copies
    assert len(sessions(("old", 100, list(ASKED)), ("new", 80_000, list(ASKED))).copies) == 4


def test_the_same_answer_to_another_question_of_one_session_is_no_duplicate() -> None:
    def stored(
        first: Iterable[tuple[str, str]], later: Iterable[tuple[str, str]]
    ) -> list[RequestWithInteractions]:
        pairs = [(100, one) for one in first] + [(90_000, one) for one in later]
        return [request(index, *pair, at=at + 10 * index) for index, (at, pair) in enumerate(pairs)]

    both_no = [ASKED[0], ASKED[3], ASKED[2], ASKED[3]]
    assert set(copies(stored(ASKED, both_no))[0]) <= {"r7"}
    assert len(copies(stored(ASKED, ASKED))[0]) == 4


def evaluated(*items: RequestWithInteractions) -> list[RequestWithInteractions]:
    for item in items:
        item.request.evaluation_only = True
    return list(items)


@pytest.mark.parametrize(
    ("kinds", "goes"),
    [
        ("er", {"r0": "r1"}),
        ("re", {"r1": "r0"}),
        ("ee", {"r1": "r0"}),
        ("eer", {"r0": "r2", "r1": "r2"}),
        ("eerr", {"r0": "r2", "r1": "r2", "r3": "r2"}),
        ("rer", {"r1": "r0", "r2": "r0"}),
    ],
)
def test_of_the_same_words_what_is_for_evaluation_only_goes(kinds: str, goes: dict[str, str]) -> None:
    items = [request(number, *DIALOGUE[0], at=number * 60) for number in range(len(kinds))]
    evaluated(*(item for item, kind in zip(items, kinds, strict=True) if kind == "e"))
    assert what_stays(items) == goes
    assert set(copies(items)[0]) == goes.keys()


def test_nothing_goes_for_what_is_for_evaluation_only_and_holds_more() -> None:
    question, answer = DIALOGUE[0]
    asked, answered = request(1, question), request(2, question, answer, at=5)
    assert copies([asked, *evaluated(answered)]) == ([], [])
    assert copies([*evaluated(request(1, question)), request(2, question, answer, at=5)]) == (["r1"], [])
    first, inner, last = window(2, exchanges=3)
    assert copies([first, inner, *evaluated(last)]) == ([], [])
    assert copies(evaluated(*window(2, exchanges=3)))[0] == ["r1"]
    text = "please book the usual table near the window for tonight"
    assert copies([*evaluated(request(1, text)), request(2, f"{text}!", at=30)]) == ([], [])
    assert copies([request(1, text), *evaluated(request(2, f"{text}!", at=30))]) == ([], ["r2"])


def test_a_history_goes_for_no_one_that_is_for_evaluation_only() -> None:
    pairs = [request(index, *pair, at=index) for index, pair in enumerate(DIALOGUE)]
    again = [request(10 + index, *pair, at=86_400 + index) for index, pair in enumerate(DIALOGUE)]
    whole = request(99, *TURNS, at=86_400)
    assert copies([*pairs, *evaluated(whole)]) == (["r99"], [])
    evaluated(*pairs)
    assert set(copies([*pairs, *again])[0]) == {"r0", "r1", "r2", "r3"}
    whole.request.evaluation_only = False
    assert copies([*pairs, whole]) == ([], [])


@pytest.mark.parametrize(
    ("old", "new", "goes"),
    [
        ((4, {0, 1, 2, 3}), (4, set[int]()), {"old": 4}),
        ((4, set[int]()), (4, {0, 1, 2, 3}), {"new": 4}),
        ((4, {0, 1, 2, 3}), (4, {0, 1, 2, 3}), {"new": 4}),
        # The one for evaluation only holds more.
        ((5, {0, 1, 2, 3, 4}), (4, set[int]()), {}),
        # One that stays has a request for evaluation only.
        ((5, {4}), (4, set[int]()), {}),
        ((5, {4}), (4, {0, 1, 2, 3}), {"new": 4}),
        ((5, set[int]()), (4, {0}), {"new": 4}),
    ],
)
def test_of_two_sessions_what_is_not_for_evaluation_only_goes_for_nothing_that_is(
    old: tuple[int, set[int]], new: tuple[int, set[int]], goes: dict[str, int]
) -> None:
    more = (
        "And the chain?",
        "Clean it first, then a drop of oil on every link, and wipe off what is too much.",
    )
    found = CopiedSessions()
    for name, at, (count, for_evaluation) in (("new", 9000, new), ("old", 100, old)):
        items = [
            request(at + index, *pair, at=at + index, session=name)
            for index, pair in enumerate([*DIALOGUE, more][:count])
        ]
        evaluated(*(items[index] for index in for_evaluation))
        found.session(SessionSeen(name, items[::-1]))
    found.finish()
    assert {name: len(ids) for name, (ids, _) in found.founds[0].parts.items()} == goes
    assert len(found.copies) == sum(goes.values())


@pytest.mark.parametrize("kinds", ["re", "er", "rr", "ee"])
def test_a_request_is_copied_from_its_like_and_any_other_twin_is_counted(kinds: str) -> None:
    found = CopiedSessions()
    for number, kind in enumerate(kinds):
        item = request(number, *ANSWERED, at=9000 - number, session=f"s{number}")
        item.request.evaluation_only = kind == "e"
        found.session(SessionSeen(f"s{number}", [item]))
    found.finish()
    mixed = len(set(kinds)) == 2
    assert (found.founds[1].count, found.other_twins) == ((0, 1) if mixed else (1, 0))


NO = "No, please leave it as it is for now, and ask me about it again on Monday."


def in_turns(*said: str, apart: int = 60) -> list[RequestWithInteractions]:
    """Each turn in a request of its own; `NO` is said by the assistant."""
    items = [request(number, text, at=number * apart) for number, text in enumerate(said)]
    for item in items:
        for turn in item.interactions:
            turn.role = "Assistant" if turn.content == NO else "User"
    return items


def test_an_answer_alone_that_comes_again_behind_another_question_is_no_duplicate() -> None:
    backup, server = "Shall the backup be removed?", "Shall the reporting server be restarted?"
    assert copies(in_turns(backup, NO, server, NO)) == ([], [])
    # A question and its answer go together or not at all.
    assert copies(in_turns(backup, NO, server, NO, backup, NO))[0] == []
    both = backup + " It is the one of the night before, and it takes all of the disk."
    assert copies(in_turns(both, NO, server, NO, both, NO))[0] == ["r4", "r5"]
    assert what_stays(in_turns(both, NO, server, NO, both, NO)) == {"r4": "r0", "r5": "r1"}
    otherwise = in_turns(both, NO, server, NO, both, "It is gone.")
    otherwise[-1].interactions[0].role = "Assistant"
    assert copies(otherwise)[0] == []
    # What was sent twice at once; later a question may have been left out between the two.
    assert copies(in_turns(backup, NO, NO, server, apart=4))[0] == ["r2"]
    # Nobody knows what it answers.
    assert copies(in_turns(NO, NO, apart=4))[0] == []
    assert copies(in_turns(backup, NO, NO, server))[0] == []
    # What a person says again is a copy, whatever came between.
    assert copies([request(1, NO), request(2, "Hm."), request(3, NO, at=60)])[0] == ["r3"]


LOOKS = "I will look that up in the database of the shop for you, one moment please."
ROWS = "search_orders: 0 rows were found in the table of orders, nothing matches the query."
NOTHING = "I could not find anything about that in our database, sorry; please ask at the counter."
ORDER = "Where is my order 4711, which should have come last week from the shop?"
BICYCLE = "And when does my bicycle come back from its repair, which is paid already?"


def spoken(*said: tuple[str, str], apart: int = 20, users: str = "") -> list[RequestWithInteractions]:
    """Each turn in a request of its own, as `(role, text)`; `users` has a letter for each."""
    names = {"a": "ada", "b": "bob"}
    items = [
        request(number, text, at=90_000 + number * apart, user=names[users[number]] if users else "ada")
        for number, (_, text) in enumerate(said)
    ]
    for item, (role, _) in zip(items, said, strict=True):
        item.interactions[0].role = role
    return items


def copied(*seen: list[RequestWithInteractions]) -> CopiedSessions:
    """Sessions, the newest first."""
    found = CopiedSessions()
    for items in seen:
        found.session(SessionSeen(items[0].request.session_id, items[::-1]))
    found.finish()
    return found


def test_an_answer_goes_with_all_that_it_answers() -> None:
    answer = [("Assistant", LOOKS), ("tool", ROWS), ("Assistant", NOTHING)]
    asked, another = ("User", ORDER), ("User", BICYCLE)
    assert copies(spoken(asked, *answer, another, *answer)) == ([], [])
    assert copies(spoken(asked, *answer, another, *answer, asked, *answer))[0] == ["r8", "r9", "r10", "r11"]
    # A question does not go where another answer to it stays.
    assert copies(spoken(asked, *answer, asked, *answer[:2], ("Assistant", "It comes on Monday.")))[0] == []
    # Nor does one whose answer was given anew.
    anew = request(9, ORDER, "It comes on Monday.", at=91_000)
    assert copies([*spoken(asked, ("Assistant", NOTHING)), anew])[0] == []
    # Nobody knows what an answer answers whose question a filter left out, or among others of one second.
    assert copies(spoken(*[("Assistant", NOTHING)] * 3, apart=60))[0] == []
    in_one_second = spoken(asked, another, ("Assistant", NOTHING), ("Assistant", NOTHING), apart=0)
    assert copies(in_one_second)[0] == []
    # Of two people in one session each has an answer of his own.
    assert copies(spoken(asked, answer[2], another, answer[2], users="abba"))[0] == []


def test_a_question_that_is_sent_twice_keeps_its_answer() -> None:
    asked, again, other = ("User", ORDER), ("Assistant", NOTHING), ("Assistant", "It comes on Monday.")
    assert copies(spoken(asked, again, asked, asked, other))[0] == ["r3"]
    assert copies(spoken(asked, again, asked, asked, again))[0] == ["r2", "r3", "r4"]
    late = spoken(asked, ("tool", ROWS), again, asked, asked, ("tool", ROWS), again, apart=4)
    for item in late[3:]:
        item.request.created_at += 7_200
    assert copies(late)[0] == ["r3", "r4", "r5", "r6"]


@pytest.mark.parametrize("roles", [("System", "Assistant"), ("planner", "coder"), ("User", "Assistant")])
def test_what_answers_nothing_needs_no_question(roles: tuple[str, str]) -> None:
    items = [request(number, ORDER, NOTHING, at=number * 60) for number in range(2)]
    for item in items:
        for turn, role in zip(item.interactions, roles, strict=True):
            turn.role = role
    assert copies(items)[0] == ["r1"]


@pytest.mark.parametrize(
    "roles", [("support",), ("gpt-4o",), ("System", "Assistant"), ("system", "tool", "bot")]
)
def test_whoever_answers_a_person_asks_nothing(roles: tuple[str, ...]) -> None:
    def said(number: int, text: str) -> RequestWithInteractions:
        item = request(number, *[LOOKS] * (len(roles) - 1), text, at=number * 60)
        for turn, role in zip(item.interactions, roles, strict=True):
            turn.role = role
        return item

    first, second = request(0, ORDER, at=0), request(2, BICYCLE, at=120)
    assert copies([first, said(1, NOTHING), second, said(3, NOTHING)])[0] == []
    again = request(4, ORDER, at=240)
    assert copies([first, said(1, NOTHING), second, said(3, LOOKS), again, said(5, "On Monday.")])[0] == []
    assert copies([first, said(1, NOTHING), second, said(3, LOOKS), again, said(5, NOTHING)])[0] == [
        "r4",
        "r5",
    ]


def test_where_a_filter_may_hide_a_question_or_an_answer_only_what_has_both_is_a_copy() -> None:
    asked, answer = ("User", ORDER), ("Assistant", NOTHING)
    items = spoken(asked, answer, asked, answer)
    both = [request(number, BICYCLE, LOOKS, at=100_000 + number) for number in range(8, 10)]
    for is_part, found in ((False, ["r2", "r3", "r9"]), (True, ["r9"])):
        seen = Duplicates()
        seen.session(SessionSeen("s", [*items, *both][::-1], is_part))
        assert seen.founds[0].subjects == found


def test_what_comes_again_begins_with_more_than_a_reply() -> None:
    price, cost, no = (
        ("User", "And with a case?"),
        ("Assistant", "129 euros, 99 without it."),
        ("Assistant", "No."),
    )
    asked = [
        ("User", "Does it have bluetooth?"),
        no,
        price,
        cost,
        ("User", "Is there a green one?"),
        no,
        price,
        cost,
    ]
    assert copies(spoken(*asked, apart=600))[0] == []
    booked = [
        ("User", "yes"),
        ("Assistant", "Booked: Da Nino, 20:00."),
        ("User", "Thanks. And the taxi home?"),
    ]
    first, other = (
        ("Assistant", "Shall I book the table?"),
        ("Assistant", "Shall I delete all of your bookings?"),
    )
    assert copies(spoken(first, *booked, other, *booked, apart=600))[0] == []
    assert copies(spoken(first, *booked, first, *booked, apart=600))[0] == ["r5", "r6", "r7"]


def test_a_copied_session_keeps_the_answer_to_its_own_question() -> None:
    exchanges = [
        (f"Question number {number} about the thing?", f"Answer {number}: {LOOKS}") for number in range(3)
    ]
    both = [turn for question, answer in exchanges for turn in (("User", question), ("Assistant", answer))]
    answer = [("tool", ROWS), ("Assistant", NOTHING)]
    longer = spoken(*both, ("User", ORDER), *answer, ("User", "Well then."))
    shorter = spoken(*both, ("User", BICYCLE), *answer)
    for number, item in enumerate(shorter):
        item.request.request_id, item.request.session_id = f"x{number}", "x"
    # The last that is the same is followed by another question there.
    assert set(copied(shorter, longer).copies) == {f"x{number}" for number in range(4)}


def test_in_a_copied_session_each_person_keeps_his_question_with_his_answer() -> None:
    once = [("User", ORDER), ("User", BICYCLE), ("Assistant", LOOKS), ("Assistant", NOTHING)]
    anew = [*once[:3], ("Assistant", "It comes on Monday, and it is blue.")]
    first, later = spoken(*once, users="abba"), spoken(*anew, users="abba")
    for number, item in enumerate(later):
        item.request.request_id, item.request.session_id = f"x{number}", "x"
    assert "x0" not in copied(later, first).copies


def test_a_session_that_nothing_may_go_for_hides_no_copy() -> None:
    once = [request(number, *pair, at=number) for number, pair in enumerate(DIALOGUE)]
    more = [request(20 + number, *pair, at=100 + number, session="b") for number, pair in enumerate(DIALOGUE)]
    more.append(request(30, ORDER, NOTHING, at=200, session="b"))
    more[-1].request.evaluation_only = True
    again = [
        request(10 + number, *pair, at=900 + number, session="c") for number, pair in enumerate(DIALOGUE)
    ]
    assert set(copied(again, more, once).copies) == {"r10", "r11", "r12", "r13"}


def test_an_answer_alone_is_no_beginning_of_one_to_another_question() -> None:
    first, answer, second, more = in_turns("The backup?", NO, "The server?", "")
    more.interactions = [*answer.interactions, *second.interactions]
    assert copies([first, answer, second, more]) == ([], [])
    assert copies([first, answer, more]) == (["r1"], [])


def test_an_answer_that_never_stood_with_its_question_is_no_duplicate() -> None:
    asked = [f"Which provider runs the service number {number} of ours at present?" for number in range(11)]
    named = [f"Provider {number}" for number in range(11)]
    # Each request has an answer and the next question.
    first = [(named[number], asked[number + 1]) for number in range(10)]
    later = [*first[:4], (named[8], asked[5]), *first[5:]]
    items = [request(index, *pair, at=100 + 10 * index) for index, pair in enumerate(first)]
    items += [request(100 + index, *pair, at=90_000 + 10 * index) for index, pair in enumerate(later)]
    assert "r104" not in copies(items)[0]
    assert {"r100", "r101", "r102"} <= set(copies(items)[0])


def test_what_sessions_stand_in_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    class Counted(duplicates._Said):  # pyright: ignore[reportPrivateUsage]
        def __init__(self, requests: Sequence[tuple[str, Sequence[bytes]]]) -> None:
            nonlocal made
            made += 1
            super().__init__(requests)

    monkeypatch.setattr(duplicates, "_Said", Counted)
    talks = [[(f"{question} ({number})", answer) for question, answer in DIALOGUE] for number in range(30)]
    everything = [exchange for talk in talks for exchange in talk]
    apart = [(f"s{number}", 9000 + 100 * number, talk) for number, talk in enumerate(talks)]
    seen = sessions(("all", 100, everything), *apart)
    assert len(seen.copies) == 30 * len(DIALOGUE)
    assert made == 1


def test_a_comparison_ends_with_its_time() -> None:
    seen = sessions(("old", 100, list(DIALOGUE)), ("new", 9000, list(DIALOGUE)), until=0.0)
    assert seen.left_out == "sessions that share turns were too many to compare"
    assert not seen.copies


def test_requests_that_are_too_many_to_compare_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "REQUESTS_KEPT", 2 * len(DIALOGUE))
    seen = sessions(*((name, at, list(DIALOGUE)) for name, at in (("a", 100), ("b", 5000), ("c", 9000))))
    assert seen.left_out == "4 requests were too many to compare"


def test_what_a_copy_of_a_copy_has_and_the_session_that_stays_has_not_stays_too() -> None:
    own = (DIALOGUE[2][0], "Look at the side of the tyre, and take a little more.")
    more = ("And the chain?", "Clean it first, then a drop of oil on every link.")
    seen = sessions(
        ("most", 100, [*DIALOGUE, more]),
        ("middle", 9000, [*DIALOGUE[:2], own, DIALOGUE[3]]),
        ("part", 20_000, [DIALOGUE[1], own, DIALOGUE[3]]),
    )
    assert set(seen.founds[0].subjects) == {"middle", "part"}
    assert {one.note for one in seen.founds[0].examples} == {
        "all but 1 of its 8 turns are in most; 2 of its 4 requests stay",
        "all but 1 of its 6 turns are in most; 2 of its 3 requests stay",
    }
    assert seen.copies.keys() == {"r9000", "r9001", "r20000"}


def test_turns_that_many_sessions_have_do_not_hide_a_copy() -> None:
    closing = ("ok thanks", "You are welcome.")
    others = [
        (
            f"s{number}",
            2000 + number * 100,
            [(f"What is open at {number}?", f"Shop number {number} is."), closing],
        )
        for number in range(9)
    ]
    (found, _) = sessions(("old", 100, list(DIALOGUE)), *others, ("new", 9000, list(DIALOGUE))).founds
    assert found.subjects == ["new"]
    assert found.examples[0].copy_of == "old"


def test_of_ten_copies_each_names_the_one_that_stays() -> None:
    (found, _) = sessions(
        *((f"s{number}", 100 + number * 5000, list(DIALOGUE)) for number in range(10))
    ).founds
    assert set(found.subjects) == {f"s{number}" for number in range(1, 10)}
    assert {one.copy_of for one in found.examples} == {"s0"}


def test_the_session_that_holds_more_stays() -> None:
    longer = [*DIALOGUE, ("And the chain?", "Clean it first, then a drop of oil on every link.")]
    (found, _) = sessions(("old", 100, list(DIALOGUE)), ("new", 9000, longer)).founds
    assert found.subjects == ["old"]
    assert found.examples[0].copy_of == "new"


def test_of_three_copies_two_go() -> None:
    (found, _) = sessions(
        *((name, at, list(DIALOGUE)) for name, at in (("a", 100), ("b", 5000), ("c", 9000)))
    ).founds
    assert set(found.subjects) == {"b", "c"}


def test_a_routine_in_a_session_of_its_own_every_day_is_no_copy() -> None:
    days = [(f"day{day}", day * 86_400, list(EVERY_DAY)) for day in range(4)]
    assert not sessions(*days).founds[0].count
    # An import that ran on two days is one, and one with long answers on any.
    assert sessions(*days[:2]).founds[0].subjects == ["day1"]
    long = [(name, at, [*pairs, ANSWERED]) for name, at, pairs in days]
    assert len(sessions(*long).founds[0].subjects) == 3


def test_sessions_that_share_a_beginning_are_no_copies() -> None:
    one = [DIALOGUE[0], ("Which colour?", "Black ones fit everything and are cheaper.")]
    other = [DIALOGUE[0], ("Which brand?", "Any with a reflective stripe and puncture protection.")]
    (found, _) = sessions(("a", 100, one), ("b", 900, other)).founds
    assert not found.count


def test_what_two_users_were_told_alike_is_no_copy() -> None:
    found = CopiedSessions()
    for user in ("ada", "bob"):
        items = [request(index, *pair, user=user, session=user) for index, pair in enumerate(DIALOGUE)]
        found.session(SessionSeen(user, items))
    found.finish()
    assert not found.founds[0].count


ANSWERED: tuple[str, ...] = (
    "Which tyres fit a 1998 city bike?",
    (
        "Most take 28 inch tyres of 37 to 42 mm. Look for 37-622 on the side of the old one; if it says 32-622 the "
        "mudguards may be too close for more, so measure the room above the wheel first."
    ),
)


def test_an_answered_question_that_comes_again_in_another_session_is_named_with_the_one_that_stays() -> None:
    other = ("And which tubes?", "Those with the long valve, of the same size.")
    for seen in (
        (("old", 100, [ANSWERED, other]), ("new", 9000, [ANSWERED])),
        (("old", 100, [ANSWERED]), ("new", 9000, [other, ANSWERED])),
    ):
        whole, found = sessions(*seen).founds
        assert not whole.count
        (copy,) = found.examples
        assert (copy.session_id, copy.note, found.count) == ("new", "the same as r100", 1)
        assert found.subjects == [copy.request_id]


@pytest.mark.parametrize(
    "said",
    [
        ("Which tyres fit?", "Most take 28 inch tyres of 37 to 42 mm."),
        (ANSWERED[0] * 10,),
        (ANSWERED[1], "Noted."),
    ],
)
def test_what_is_asked_again_in_earnest_is_no_copy(said: tuple[str, ...]) -> None:
    assert not sessions(("a", 100, [said]), ("b", 9000, [said])).founds[1].count


def test_an_answer_that_a_job_gets_in_every_session_is_no_copy() -> None:
    for count, found in ((4, 3), (5, 0)):
        seen = sessions(*((f"s{number}", 100 + number * 5000, [ANSWERED]) for number in range(count)))
        assert seen.founds[1].count == found
        assert {one.note for one in seen.founds[1].examples} <= {"the same as r100"}


def test_an_answer_that_comes_again_on_another_day_is_no_copy() -> None:
    day = 86_400
    daily = [(f"s{number}", number * day, [ANSWERED]) for number in range(30)]
    for some in (daily, daily[-3:], [daily[0], ("later", 60 * day, [ANSWERED])]):
        assert not sessions(*some).founds[1].count
    # What was stored twice that day is.
    found = sessions(*daily[:2], ("again", day + 600, [ANSWERED])).founds[1]
    assert [(one.session_id, one.note) for one in found.examples] == [("again", f"the same as r{day}")]


def test_what_no_rule_counts_and_stands_in_two_sessions_is_counted_with_the_older_one() -> None:
    hello = ("Hello!", "Hello Ada, what can I do for you?")
    seen = sessions(
        ("old", 100, [hello, ANSWERED, ("And the rims?", "Any of 28 inches.")]),
        ("new", 9000, [("And the tubes?", "Those with the long valve."), hello, ANSWERED]),
        ("last", 20_000, [hello, hello]),
    )
    assert [found.count for found in seen.founds] == [0, 1], "the long answer"
    assert seen.other_twins == 3
    assert [
        (one.request_id, one.session_id, one.older_request_id, one.older_session_id) for one in seen.twins
    ] == [
        ("r20001", "last", "r100", "old"),
        ("r20000", "last", "r100", "old"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        [("Which tyres fit?",)],  # no answer
        [("Which tyres fit?", "Those of 28 inches.")],  # another answer
        [("Which tyre fits?", "Most of 28 inches.")],
        [("Which tyres fit?", "Most of 28 inches.", "Thanks!")],
    ],
)
def test_what_differs_in_a_word_or_has_no_answer_stands_in_one_session(other: list[tuple[str, ...]]) -> None:
    seen = sessions(
        ("a", 100, [("Which tyres fit?",), ("Which tyres fit?", "Most of 28 inches.")]), ("b", 9000, other)
    )
    assert (seen.other_twins, seen.twins) == (0, [])
    seen = sessions(("a", 100, [("Which tyres fit?", "Most of 28 inches.")] * 2))
    assert seen.other_twins == 0, "one session"


def test_a_long_answer_that_comes_again_on_another_day_is_counted_and_what_a_rule_counts_is_not() -> None:
    assert sessions(*((f"s{day}", day * 86_400, [ANSWERED]) for day in range(30))).other_twins == 29
    assert sessions(("a", 100, [ANSWERED]), ("b", 200, [ANSWERED])).other_twins == 0
    assert sessions(("old", 100, list(DIALOGUE)), ("new", 9000, list(DIALOGUE))).other_twins == 0


def test_requests_of_a_copied_session_are_not_named_again() -> None:
    history = [ANSWERED, *DIALOGUE]
    whole, found = sessions(("old", 100, history), ("new", 9000, history)).founds
    assert whole.subjects == ["new"]
    assert not found.count


def test_what_two_users_were_answered_alike_is_no_copy() -> None:
    found = CopiedSessions()
    for user in ("ada", "bob"):
        found.session(SessionSeen(user, [request(1, *ANSWERED, user=user, session=user)]))
    found.finish()
    assert not found.founds[1].count


def test_the_same_words_about_another_image_or_with_another_action_are_no_copy() -> None:
    words = "Describe what is in this picture in three sentences, as you would to a child of eight years."
    for field, (one, other) in {
        "interacted_image_url": ("https://img.example/1.png", "https://img.example/2.png"),
        "user_action": ("click", "scroll"),
    }.items():
        items = [request(1, words), request(2, words, at=60)]
        for item, value in zip(items, (one, other), strict=True):
            setattr(item.interactions[0], field, value)
        assert copies(items)[0] == []
        setattr(items[1].interactions[0], field, one)
        assert copies(items) == (["r2"], [])
    # Its address signed anew is the same image, so that the two are worth comparing.
    items = [request(1, words), request(2, words, at=60)]
    for sign, item in enumerate(items):
        item.interactions[0].interacted_image_url = f"https://img.example/1.png?signature={sign}"
    assert copies(items) == ([], ["r2"])
    items[1].interactions[0].interacted_image_url = "https://img.example/2.png"
    assert copies(items) == ([], [])


def test_a_person_who_took_over_is_not_the_customer() -> None:
    words = "The parcel with the two lamps left the warehouse on Monday and comes tomorrow."
    items = [request(number, "Hello?", words, at=number * 60) for number in (1, 2)]
    roles = (("customer", "human"), ("human", "customer"))
    for item, names in zip(items, roles, strict=True):
        for turn, name in zip(item.interactions, names, strict=True):
            turn.role = name
    assert copies(items)[0] == []
    items[1].interactions[0].role, items[1].interactions[1].role = roles[0]
    assert copies(items)[0] == ["r2"]


def test_what_a_person_who_took_over_answers_at_length_is_an_answer() -> None:
    items = [request(number, *ANSWERED, at=number * 7200) for number in (1, 2)]
    for item in items:
        item.interactions[0].role, item.interactions[1].role = "customer", "human"
    assert copies(items)[0] == ["r2"]


def test_of_turns_that_are_too_many_to_compare_none_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "TURNS_KEPT", 10)
    found = CopiedSessions()

    def see(number: int) -> None:
        items = [request(turn, f"Turn {turn} of session {number}.") for turn in range(50)]
        found.session(SessionSeen(f"s{number}", items))

    see(0)
    tracemalloc.start()
    for number in range(1, 201):
        see(number)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 200 * 2_000
    found.finish()
    assert found.left_out == "10,040 turns were too many to compare"


def test_a_session_with_turns_that_were_not_compared_is_no_copy_for_those_that_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates, "TURNS_KEPT", len(TURNS))
    more = [(f"What about tyre {number}?", f"It has {number} holes.") for number in range(6)]
    seen = (("new", 9000, list(DIALOGUE)), ("old", 100, [*DIALOGUE, *more]))
    assert sessions(*seen).founds[0].subjects == ["new"]
    other = [(f"What about tube {number}?", f"It has {number} valves.") for number in range(6)]
    assert (
        not sessions(("first", 9000, other + DIALOGUE[:3]), ("old", 100, [*DIALOGUE, *more])).founds[0].count
    )


def test_of_an_answer_that_a_job_gets_in_every_session_few_are_remembered() -> None:
    found = CopiedSessions()
    gc.collect()
    before = sum(isinstance(one, Example) for one in gc.get_objects())
    for number in range(200):
        items = [request(number, *ANSWERED, at=number, session=f"s{number}")]
        found.session(SessionSeen(f"s{number}", items))
    # One for each session, and no second one for its answer.
    assert sum(isinstance(one, Example) for one in gc.get_objects()) - before <= 200
    found.finish()
    assert not found.founds[1].count
