"""The audit log."""

import json
from pathlib import Path

import pytest

from reflexio_mcp.logs import named_call
from reflexio_mcp.state.keys import KeyedDatabase, Keys
from reflexio_mcp.state.log import CUT, AuditLog, said_in
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import Database, SqliteDatabase, StateUnusable
from tests.state.conftest import (
    ALICE,
    KEY,
    OPERATOR,
    Place,
    copied,
    deleted,
    deletion,
    ended,
    restored,
    restoring,
)


def test_a_deletion_has_a_line_before_it_and_one_after_it(state: State) -> None:
    with named_call("somebody", "call 7"):
        number = state.begin(OPERATOR, deletion())
    ended(state, OPERATOR, number, facts={"counts": {"deleted": 1}})
    with state.database.transaction() as transaction:
        state.log.add(transaction, {"event": "refused", "request_ids": ["r\ud800\0"]})
    begin, end, refused = (json.loads(entry.line) for entry in state.log.entries())
    assert begin == begin | {
        "event": "begin",
        "deletion": number,
        "tool": "delete_requests",
        "target": deletion().target,
        "request_ids": ["r1"],
    }
    assert begin == begin | {"caller": "somebody", "call_id": "call 7"}
    assert end == end | {"event": "end", "deletion": number, "outcome": "complete", "counts": {"deleted": 1}}
    assert refused["request_ids"] == ["r\ud800\0"]
    assert all(line["time"].endswith("+00:00") for line in (begin, end, refused))


def test_a_refusal_of_a_user_is_found_behind_newer_ones_of_others(state: State) -> None:
    state.note_refusal(ALICE, "delete_request", "request r1", "declined", "host 1.0")
    for number in range(15):
        state.note_refusal(OPERATOR, "delete_request", f"request {number}", "declined", "host 1.0")
    [mine] = state.noted(ALICE, 2)
    assert "request r1" in mine.line
    assert ["request 14" in noted.line for noted in state.noted(OPERATOR, 2)] == [True, False]


def test_a_report_continues_the_last_one_of_the_same_user(state: State) -> None:
    state.note_report(OPERATOR, 100)
    state.note_report(ALICE, 200)
    assert [state.last_reported(owner) for owner in (OPERATOR, ALICE)] == [100, 200]
    assert state.last_reported(Owner("account", "bob")) is None


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE main.log SET line = replace(line, 'begin', 'begun') WHERE id = 3", 3),
        ("DELETE FROM main.log WHERE id = 2", 3),
        ("DELETE FROM main.log WHERE id = 1", 2),
        ("UPDATE main.log SET at = at + 0.001 WHERE id = 2", 3),
        ("UPDATE main.log SET chain = (SELECT chain FROM main.log WHERE id = 1) WHERE id = 2", 2),
    ],
)
def test_a_line_that_was_changed_or_taken_out_is_found(
    place: Place, state: State, statement: str, wrong: int
) -> None:
    for _ in range(3):
        ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    with_receipt = state.log.verify(state.last(OPERATOR)[0].chain)
    assert state.log.verify() == with_receipt._replace(asked_for=None)
    assert state.log.verify().wrong is None
    assert state.log.verify().lines == 6
    place.sql(statement)
    assert state.log.verify().wrong == wrong


def test_an_end_that_was_cut_off_is_found_by_what_a_receipt_noted(place: Place, state: State) -> None:
    noted, _ = ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    asked_for = state.log.verify(noted).asked_for
    assert asked_for
    assert (asked_for.number, said_in(asked_for.line)["event"]) == (2, "end")
    place.sql("DELETE FROM main.log WHERE id = 2")
    assert state.log.verify().missing == {noted}
    place.sql("DELETE FROM main.deletions")
    assert not state.log.verify().missing
    found = state.log.verify(noted)
    assert found.wrong is None
    assert found.missing == {noted}


def test_a_line_cannot_be_made_up_without_the_key(place: Place, state: State) -> None:
    state.begin(OPERATOR, deletion())
    made_up = Keys(lambda: [b"a key that somebody made up, long"])
    with state.database.transaction() as transaction:
        AuditLog(KeyedDatabase(place.database(), made_up), made_up).add(transaction, {"event": "end"})
    assert state.log.verify().wrong == 2


def test_a_long_log_is_read_to_its_end(state: State) -> None:
    numbers = [state.begin(OPERATOR, deletion()) for _ in range(7)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reflexio_mcp.state.log.LINES_AT_ONCE", 3)
        assert [json.loads(entry.line)["deletion"] for entry in state.log.entries()] == numbers


@pytest.mark.parametrize("rows", ["id > 2", "id > 0", "id = 4"])
def test_lines_that_are_cut_off_at_the_end_are_found_and_never_forgotten(place: Place, rows: str) -> None:
    state = place.process()
    for _ in range(2):
        ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    assert state.log.verify().end == "there"
    place.sql(f"DELETE FROM main.log WHERE {rows}")
    place.sql("DELETE FROM main.deletions")
    assert state.log.is_cut()
    assert (state.log.verify().end, state.log.verify().sound) == ("gone", False)
    # The next line says so in the log itself.
    place.process().begin(OPERATOR, deletion())
    found = state.log.verify()
    assert (found.end, found.wrong, len(found.cut), found.sound) == ("there", None, 1, False)
    cut = [json.loads(entry.line) for entry in state.log.entries() if entry.number in found.cut]
    assert (cut[0]["event"], cut[0]["last_line"]) == (CUT, 4)


@pytest.mark.parametrize("change", ["at = at + 0.001", "chain = 'x'", "line = '{}', chain = 'x'"])
def test_a_column_of_the_last_line_that_was_changed_is_found(place: Place, change: str) -> None:
    state = place.process()
    state.begin(OPERATOR, deletion())
    place.sql(f"UPDATE main.log SET {change}")
    assert not state.log.verify().sound
    assert state.log.is_cut()


@pytest.mark.parametrize("column", ["line", "chain"])
def test_bytes_in_a_column_of_texts_are_a_change_that_stops_no_deletion(tmp_path: Path, column: str) -> None:
    def file() -> Database:
        return SqliteDatabase(lambda: tmp_path / "state.db")

    place = Place(file, tmp_path, file)
    state = place.process()
    state.begin(OPERATOR, deletion())
    place.sql(f"UPDATE main.log SET {column} = x'00ff'")
    ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    assert (state.log.verify().wrong, state.log.verify().sound) == (1, False)


@pytest.mark.parametrize(
    "content", ["", "{}", '[1, 2, "x", "y"]', "[0]", pytest.param("[" * 100_000, id="deep")]
)
def test_a_noted_end_that_was_changed_is_named(place: Place, content: str) -> None:
    state = place.process()
    state.begin(OPERATOR, deletion())
    [file] = place.folder.glob("*.end")
    file.write_text(content)
    assert (state.log.verify().end, state.log.verify().sound) == ("damaged", False)


def test_a_machine_that_has_noted_nothing_says_so(place: Place) -> None:
    state = place.process()
    state.begin(OPERATOR, deletion())
    [file] = place.folder.glob("*.end")
    file.unlink()
    assert (state.log.verify().end, state.log.is_cut()) == ("none", False)


@pytest.mark.parametrize("goes_on", [False, True])
def test_lines_that_are_cut_off_are_found_without_a_note_by_the_numbers_that_were_given(
    tmp_path: Path, goes_on: bool
) -> None:
    def file() -> Database:
        return SqliteDatabase(lambda: tmp_path / "state.db")

    place = Place(file, tmp_path, file)
    state = place.process()
    for _ in range(2):
        ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    (tmp_path / "state.end").unlink()
    assert (state.log.verify().sound, state.log.is_cut()) == (True, False)
    place.sql("DELETE FROM main.log WHERE id > 2")
    place.sql("DELETE FROM main.deletions WHERE id = 2")
    if goes_on:
        state.begin(OPERATOR, deletion())
    found = state.log.verify()
    assert (found.end, found.wrong, found.lost) == ("there" if goes_on else "none", None, True)
    assert (found.sound, state.log.is_cut()) == (False, True)


def test_lines_that_are_cut_off_are_found_without_a_note_by_the_records_that_name_them(place: Place) -> None:
    state = place.process()
    ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    state.begin(OPERATOR, deletion())
    [file] = place.folder.glob("*.end")
    file.unlink()
    assert state.log.verify().sound
    place.sql("DELETE FROM main.log WHERE id = 3")
    found = state.log.verify()
    assert (found.end, found.wrong, found.missing, found.lost, found.sound) == (
        "none",
        None,
        set(),
        True,
        False,
    )


NEW = b"a new key, which is just as long"


def test_a_note_that_another_server_has_sealed_with_its_newer_key_is_no_sign_of_a_cut(place: Place) -> None:
    running = place.process()
    number = deleted(running, OPERATOR, copied())
    moved = place.process(keys=(NEW, KEY))
    deleted(moved, OPERATOR, copied("r2"))
    assert running.log.verify().end == "sealed"
    assert not running.log.is_cut()
    assert restored(running, OPERATOR, running.begin_restore(OPERATOR, restoring(number)))
    found = moved.log.verify()
    assert (found.end, found.cut, found.sound) == ("there", [], True)


def test_a_server_without_the_key_of_a_note_leaves_the_proof_that_its_line_was_cut_off(place: Place) -> None:
    running = place.process()
    number = deleted(running, OPERATOR, copied())
    moved = place.process(keys=(NEW, KEY))
    other = moved.begin(OPERATOR, deletion())
    place.sql("DELETE FROM main.log WHERE id = (SELECT max(id) FROM main.log)")
    place.sql(f"DELETE FROM main.deletions WHERE id = {other}")
    running.note_export(OPERATOR, "everything", {"requests": 1})
    with pytest.raises(StateUnusable, match="lacks lines"):
        running.begin_restore(OPERATOR, restoring(number))
    assert running.log.is_cut()
    assert moved.log.verify().end == "gone"


def test_an_end_that_cannot_be_noted_stops_no_deletion(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    state = place.process()
    place.folder = place.folder / "file"
    place.folder.touch()
    ended(place.process(), OPERATOR, state.begin(OPERATOR, deletion()))
    assert state.log.verify().lines == 2
    assert "the end of the audit log cannot be noted" in caplog.text


def test_lines_of_version_12_are_verified_and_counted(place: Place) -> None:
    state, keys = place.process(), Keys(lambda: [KEY])
    state.check()
    last = ""
    for line in ("one", "two"):
        chain = keys.tag("log", last, line)
        place.sql(f"INSERT INTO main.log (line, chain) VALUES ('{line}', '{chain}')")
        last = chain
    state.begin(OPERATOR, deletion())
    found = state.log.verify()
    assert (found.lines, found.older, found.sound) == (3, 2, True)
    place.sql("UPDATE main.log SET line = 'changed' WHERE id = 2")
    assert state.log.verify().wrong == 2
