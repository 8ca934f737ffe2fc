"""Several processes at once, and a process that is killed between two statements."""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from reflexio_mcp.state import tables
from reflexio_mcp.state.records import CapReached, CodeUsed
from reflexio_mcp.state.tables import Transaction
from tests.state.conftest import (
    ALICE,
    OPERATOR,
    Place,
    copied,
    deleted,
    deletion,
    ended,
    learned,
    restoring,
)

_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")


def together(works: list[Callable[[], Any]]) -> list[Any]:
    """Run all at the same time, and return what each returned or raised."""
    ready = threading.Barrier(len(works))

    def one(work: Callable[[], Any]) -> Any:
        ready.wait(30)
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - what it raised is what it became
            return type(error)

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(one, works))


def test_processes_that_delete_at_once_stay_under_one_cap(place: Place) -> None:
    processes = [place.process(limit=10) for _ in range(6)]
    became = Counter(together([lambda one=one: one.begin(OPERATOR, deletion(4)) for one in processes]))
    assert became.pop(CapReached) == 4
    assert len(became) == 2
    assert processes[0].check_room(OPERATOR) == 2


def test_processes_that_bring_one_code_at_once_delete_once(place: Place) -> None:
    processes = [place.process() for _ in range(6)]
    became = Counter(
        together([lambda one=one: one.begin(OPERATOR, deletion(code="code")) for one in processes])
    )
    assert became.pop(CodeUsed) == 5
    assert len(became) == 1


def test_erasures_at_once_all_reach_the_copy_and_none_brings_back_what_another_erased(place: Place) -> None:
    state = place.process()
    deleted(state, ALICE, *(copied(f"r{number}") for number in range(60)))

    def erase(number: int) -> Callable[[], int]:
        process = place.process()
        return lambda: deleted(process, OPERATOR, erase=(f"r:r{number}",))

    numbers = together([erase(number) for number in range(8)])
    assert all(isinstance(number, int) for number in numbers)
    assert len(set(numbers)) == 8
    assert {one.id for one in state.copies.read(ALICE)} == {f"r{number}" for number in range(8, 60)}
    assert state.log.verify().wrong is None
    assert state.log.verify().lines == 18


def test_everything_that_removes_copies_runs_beside_everything_else_without_a_deadlock(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "WAIT_SECONDS", 60)  # however busy the machine is

    def rounds(number: int) -> Callable[[], None]:
        state = place.process(limit=0)

        def work() -> None:
            for turn in range(6):
                name = f"r{number}-{turn}"
                running = state.begin(OPERATOR, deletion())
                state.keep(OPERATOR, running, [copied(name), copied("same"), learned(name, source="same")])
                ended(state, OPERATOR, running, erase=["r:same", f"r:{name}", f"l:{name}"])
                state.prune()

        return work

    assert together([rounds(number) for number in range(6)]) == [None] * 6
    state = place.process()
    assert not state.copies.listed(OPERATOR)
    assert state.log.verify().wrong is None


def killed_after(statements: int, work: Callable[[], Any]) -> bool:
    """Do something in a process that is killed before the statement after so many; return whether it was killed."""
    child = os.fork()
    if child == 0:
        run, left = Transaction.execute, statements

        def counted(self: Transaction, *arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return run(self, *arguments)

        Transaction.execute = counted  # type: ignore[method-assign]
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] != 0


@_fork
def test_a_kill_while_a_deletion_begins_leaves_all_of_the_beginning_or_nothing(place: Place) -> None:
    state = place.process(limit=5)
    killed = 0
    for statements in range(30):
        process = place.process(limit=5)
        if not killed_after(statements, lambda process=process: process.begin(OPERATOR, deletion(1, "code"))):
            break
        killed += 1
        found = len(state.last(OPERATOR)), state.check_room(OPERATOR), state.log.verify().lines
        if found == (1, 4, 1):  # killed before the end of the log was noted
            break
        assert found == (0, 5, 0)
    assert killed > 3
    assert len(state.last(OPERATOR)) == 1
    assert state.check_room(OPERATOR) == 4
    assert state.log.verify().lines == 1
    with pytest.raises(CodeUsed):
        state.begin(OPERATOR, deletion(1, "code"))


@_fork
def test_a_kill_while_a_deletion_ends_leaves_what_the_same_call_finishes(place: Place) -> None:
    state = place.process()
    deleted(state, ALICE, copied("r1"), learned("p1", source="r1"))
    number = state.begin(OPERATOR, deletion())
    lines = state.log.verify().lines
    killed = 0
    for statements in range(40):
        process = place.process()
        if not killed_after(
            statements, lambda process=process: ended(process, OPERATOR, number, erase=["r:r1"])
        ):
            break
        killed += 1
        if not state.copies.listed(ALICE):  # killed before the end of the log was noted
            break
        assert state.last(OPERATOR)[0].finished is None
        assert [one.id for one in state.copies.read(ALICE)] == ["r1", "p1"], "all copies or none"
        assert state.log.verify().lines == lines
    assert killed > 3
    assert state.last(OPERATOR)[0].finished
    assert not state.copies.listed(ALICE)
    assert state.log.verify().lines == lines + 1


@_fork
def test_a_kill_between_copy_and_end_leaves_the_copy_and_the_record(place: Place) -> None:
    state = place.process()

    def begin_and_copy() -> None:
        number = process.begin(ALICE, deletion(2))
        process.keep(ALICE, number, [copied("r1")])
        os.kill(os.getpid(), signal.SIGKILL)

    process = place.process()
    assert killed_after(100, begin_and_copy)
    [record] = state.last(ALICE)
    assert record.finished is None
    assert [one.id for one in state.copies.read(ALICE, deletion=record.number)] == ["r1"]


def test_a_restore_begins_after_an_erasure_that_is_not_on_record_yet(place: Place) -> None:
    eraser, restorer = place.process(), place.process()
    deletion_of_copy = deleted(eraser, OPERATOR, copied())
    number = eraser.begin(OPERATOR, deletion())
    began: list[int] = []
    too_early: list[int] = []
    restore = threading.Thread(
        target=lambda: began.append(restorer.begin_restore(OPERATOR, restoring(deletion_of_copy)))
    )
    remove = eraser.copies.remove

    def removing(*arguments: Any) -> None:
        remove(*arguments)
        restore.start()
        restore.join(0.2)
        too_early.extend(began)  # it would read copies that are erased, and the erasure would not know of it

    eraser.copies.remove = removing  # type: ignore[method-assign]
    ended(eraser, OPERATOR, number, erase=["r:r1"])
    restore.join()
    assert not too_early
    assert began
