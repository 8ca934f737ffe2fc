"""What replaced a learning, and what a deletion of interactions means for it."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexio_mcp.traffic.learnings.cases import Case, Only, Partly, Replace, Unknown, Window, goes, judge
from reflexio_mcp.traffic.learnings.lineage import Lineage
from tests.learnings.rows import Row, interactions, learned, merged, playbook, profile, turns_of
from tests.support import belief_oracle

SAID = interactions(
    "I cannot eat peanuts",
    "My favourite colour is test-blue",
    "It has a cat in it",
    "I love peanut butter, says the test",
    "And hazelnuts, says the second test",
)


def judged(row: Row, rows: list[Row], inside: set[int], said: dict[int, Row] = SAID) -> Case:
    return judge(learned(row), Lineage(map(learned, rows)), turns_of(said), inside)


OLD = profile("old", [1, 2, 3], "I cannot eat peanuts", status="superseded", at=10)
NEW = profile(
    "new", [1, 2, 3, 4], merged("I love peanut butter, says the test", "I cannot eat peanuts"), at=10
)
NEWEST = profile(
    "newest",
    [1, 2, 3, 4, 5],
    merged("And hazelnuts, says the second test", NEW["source_span"]),
    at=20,
)


def test_what_was_only_learned_at_the_same_time_stays() -> None:
    row = profile("p", [1, 2, 3], "I cannot eat peanuts")
    case = judged(row, [row], {2})
    assert isinstance(case, Window)
    assert not goes(learned(row), case)


def test_what_was_said_only_in_what_is_deleted_goes() -> None:
    row = profile("p", [1, 2, 3], "My favourite colour is test-blue")
    case = judged(row, [row], {2})
    assert isinstance(case, Only)
    assert goes(learned(row), case)


@pytest.mark.parametrize("quote", [None, "I like swimming", merged("It has a cat in it", "I like swimming")])
@pytest.mark.parametrize("inside", [{1, 3}, {3}])
def test_what_has_no_other_interaction_left_goes_whatever_it_quotes(quote: str, inside: set[int]) -> None:
    row = profile("p", [1, 3, 9] if 1 in inside else [3, 9], quote)
    case = judged(row, [row], inside)
    assert isinstance(case, Only)
    assert goes(learned(row), case)


@pytest.mark.parametrize(
    "quote",
    [merged("It has a cat in it", "I cannot eat peanuts"), merged("It has a cat in it", "I like swimming")],
    ids=["in another interaction", "nowhere"],
)
def test_what_was_also_said_elsewhere_stays_and_can_be_taken(quote: str) -> None:
    row = profile("p", [1, 2, 3], quote)
    case = judged(row, [row], {3})
    assert isinstance(case, Partly)
    assert not goes(learned(row), case)


@pytest.mark.parametrize(
    "row", [profile("p", [1, 2], None), profile("p", [1, 2], "Moved"), profile("p", [], "Moved")]
)
def test_what_quotes_nothing_that_is_stored_stays_and_is_asked_about(row: Row) -> None:
    case = judged(row, [row], {2})
    assert isinstance(case, Unknown)
    assert not goes(learned(row), case)


def test_a_quote_beside_the_selection_that_is_found_nowhere_is_not_called_a_window() -> None:
    row = profile("p", [1, 2, 3], merged("I cannot eat peanuts", "I like swimming"))
    assert isinstance(judged(row, [row], {2}), Unknown)


def test_an_interaction_that_was_not_reached_keeps_a_learning() -> None:
    row = profile("p", [2, 8], "My favourite colour is test-blue")
    case = judge(learned(row), Lineage([learned(row)]), turns_of(SAID, missing_are_gone=False), {2})
    assert isinstance(case, Partly)


@pytest.mark.parametrize("quote", [None, "I like swimming"])
def test_a_merged_learning_does_not_give_way_to_one_of_which_nothing_shows_that_it_was_said_in_what_stays(
    quote: str | None,
) -> None:
    old = profile("old", [1, 2, 3], quote, status="superseded", at=10)
    quotes = ["I love peanut butter, says the test", "I cannot eat peanuts", *([quote] if quote else [])]
    new = profile("new", [1, 2, 3, 4], merged(*quotes), at=10)
    assert isinstance(judged(new, [old, new], {4}), Partly)


def test_a_merged_learning_gives_way_to_the_one_that_it_replaced() -> None:
    case = judged(NEW, [OLD, NEW], {4})
    assert isinstance(case, Replace)
    assert [one.number for one in case.earlier] == ["old"]
    way_back = judged(OLD, [OLD, NEW], {4})
    assert not goes(learned(OLD), way_back)


@pytest.mark.parametrize(
    ("inside", "earlier"), [({5}, ["new"]), ({4}, ["old"]), ({4, 5}, ["old"]), ({1}, []), ({2}, None)]
)
def test_of_a_chain_of_three_the_newest_that_quotes_only_what_stays_is_current_again(
    inside: set[int], earlier: list[str] | None
) -> None:
    middle = NEW | {"status": "superseded", "last_modified_timestamp": 20}
    case = judged(NEWEST, [OLD, middle, NEWEST], inside)
    if earlier is None:
        assert isinstance(case, Window)
    elif earlier:
        assert isinstance(case, Replace)
        assert [one.number for one in case.earlier] == earlier
    else:
        assert isinstance(case, Partly)


def test_a_replaced_learning_that_quotes_what_is_deleted_goes_though_it_also_quotes_what_stays() -> None:
    middle = NEW | {"status": "superseded", "last_modified_timestamp": 20}
    case = judged(middle, [OLD, middle, NEWEST], {4})
    assert isinstance(case, Partly)
    assert goes(learned(middle), case)


def test_a_profile_that_got_its_time_a_second_after_its_successor_is_followed() -> None:
    middle = NEW | {"status": "superseded", "last_modified_timestamp": 21}
    lineage = Lineage(map(learned, [NEWEST, middle, OLD]))
    assert [one.number for one in lineage.successors(learned(OLD))] == ["new", "newest"]
    assert [one.number for one in lineage.current_successors(learned(middle))] == ["newest"]


def test_an_older_profile_that_has_more_is_no_successor() -> None:
    older = NEW | {"last_modified_timestamp": 10}
    younger = OLD | {"last_modified_timestamp": 1_000}
    assert not Lineage(map(learned, [older, younger])).successors(learned(younger))


def test_two_chains_that_were_merged_both_come_back() -> None:
    cat = profile("cat", [3], "It has a cat in it", status="superseded", at=10)
    both = profile(
        "both",
        [1, 2, 3, 4],
        merged("I love peanut butter, says the test", "I cannot eat peanuts", "It has a cat in it"),
        at=10,
    )
    case = judged(both, [OLD, cat, both], {4})
    assert isinstance(case, Replace)
    assert {one.number for one in case.earlier} == {"old", "cat"}


def test_a_playbook_is_followed_through_its_ids() -> None:
    rows = [
        playbook(15, [1], "I cannot eat peanuts", status="merged"),
        playbook(16, [1], "I cannot eat peanuts", status="merged"),
        playbook(18, [1, 3], "I cannot eat peanuts\n\nIt has a cat in it", status=None),
        playbook(17, [2], "My favourite colour is test-blue", status=None),
    ]
    lineage = Lineage(map(learned, rows))
    assert [one.number for one in lineage.current_successors(learned(rows[0]))] == ["18"]
    assert [one.number for one in lineage.successors(learned(rows[0]))] == ["16", "18"]
    assert [one.number for one in lineage.predecessors(learned(rows[2]))] == ["16", "15"]


def test_profiles_and_playbooks_do_not_replace_each_other() -> None:
    rows = [
        playbook(1, [1], "I cannot eat peanuts", status="merged"),
        profile("p", [1], "I cannot eat peanuts", at=9),
    ]
    assert not Lineage(map(learned, rows)).successors(learned(rows[0]))


PARTS = ("I cannot eat peanuts", "Everything in metric", "It has a cat in it", "Test-blue", "Two words")


@st.composite
def families(draw: st.DrawFn) -> list[Row]:
    """Rows of one kind, of which later ones often have what earlier ones have."""
    kind = draw(st.sampled_from(["profile", "playbook"]))
    rows: list[Row] = []
    time = 0
    for number in range(1, draw(st.integers(1, 6)) + 1):
        before = draw(st.lists(st.sampled_from(rows), max_size=2)) if rows else []
        ids = set(draw(st.sets(st.integers(1, 6), max_size=3))).union(
            *(one["source_interaction_ids"] for one in before)
        )
        status = draw(st.sampled_from([None, "superseded", "merged", "archived"]))
        own = draw(st.sampled_from(["", *PARTS]))
        quotes = [one for one in [own, *(row["source_span"] for row in before)] if one]
        if kind == "playbook":
            rows.append(
                playbook(number, sorted(ids), "\n\n".join(dict.fromkeys(quotes)) or None, status=status)
            )
        else:
            time += draw(st.sampled_from([0, 100]))
            run = draw(st.sampled_from(["", "run"]))
            rows.append(
                profile(
                    f"p{number}",
                    sorted(ids),
                    merged(*quotes) if quotes else None,
                    status=status,
                    at=time,
                    run=run,
                )
            )
    return draw(st.permutations(rows))


def keys(rows: list[Row]) -> set[str]:
    return {str(belief_oracle.key(row)) for row in rows}


def replace_each_other(rows: list[Row]) -> bool:
    """Whether two rows have the same and are equally old: the oracle gives up both then."""
    return any(
        one in belief_oracle.successors(other, rows) and other in belief_oracle.successors(one, rows)
        for one, other in itertools.combinations(rows, 2)
    )


@settings(deadline=None)
@given(families())
def test_successors_are_those_of_the_oracle(rows: list[Row]) -> None:
    lineage = Lineage(map(learned, rows))
    for row in rows:
        found = {one.number for one in lineage.successors(learned(row))}
        assert found == keys(belief_oracle.successors(row, rows))
        replaced = [one for one in rows if one["status"] in ("superseded", "merged")]
        wanted = [one for one in replaced if row in belief_oracle.successors(one, rows)]
        assert {one.number for one in lineage.predecessors(learned(row))} == keys(wanted)


NAMES = {Only: "only", Replace: "replace", Partly: "partly", Window: "window", Unknown: "unknown"}


@settings(max_examples=300, deadline=None)
@given(
    families(),
    st.lists(st.sampled_from(PARTS), min_size=6, max_size=6),
    st.sets(st.integers(1, 6)),
    st.sets(st.integers(1, 6)),
)
def test_cases_are_those_of_the_oracle_unless_nothing_else_is_left_of_the_window(
    rows: list[Row], said: list[str], deleted: set[int], inside: set[int]
) -> None:
    if replace_each_other(rows):
        return
    stored = {number: row for number, row in interactions(*said).items() if number not in deleted}
    for row in rows:
        case = judged(row, rows, inside, stored)
        listed = set(row["source_interaction_ids"])
        if listed & inside and listed <= inside | deleted:
            assert isinstance(case, Only)
            continue
        wanted, earlier = belief_oracle.case(row, rows, stored, inside)
        assert NAMES[type(case)] == wanted
        if isinstance(case, Replace):
            assert {one.number for one in case.earlier} == keys(earlier)
