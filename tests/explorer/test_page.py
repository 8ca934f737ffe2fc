"""The page in a real Chromium, shown by the official bridge, against the real server on the embedded store."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from reflexio_mcp.explorer import document as explorer
from reflexio_mcp.explorer.document import LIBRARIES, MODULES, document, uri
from tests.explorer.conftest import NodeTools, Play
from tests.explorer.stocking import Request, many, team, write
from tests.support.store_app import StoreApp
from tests.support.tenants import tenant_backend

pytestmark = pytest.mark.ci

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "reflexio_mcp" / "explorer" / "page"

WITH_COPIES = {"REFLEXIO_MCP_RECOVERY_DAYS": "7"}

SCENARIOS: list[tuple[str, str, dict[str, str]]] = [
    ("looksDeletesAndUndoes", "team", WITH_COPIES),
    ("putsAMessageBackWhereItWasSaid", "team", WITH_COPIES),
    ("reportsAnUndoBeforeItReadsAgain", "team", WITH_COPIES),
    ("readsOneSecondInItsOrder", "one second", {}),
    ("reachesEveryHit", "harbours", {}),
    ("findsWhatIsNotLoaded", "twelve thousand", {}),
    ("keepsTheSelectionAndTheWayBackInSight", "team", WITH_COPIES),
    ("filtersAndBrushes", "the team", {}),
    ("sortsAndStepsThroughConversations", "the team", {}),
    ("saysWhatTheTextSays", "the team", {}),
    ("showsOneUserWhereOneIsAskedFor", "the team", {}),
    ("coversSecrets", "the team", WITH_COPIES),
    ("reviewsOneFindingAtATime", "team", WITH_COPIES),
    ("remembersWhatIsNoProblem", "team", {}),
    ("saysHowFarItLooked", "the team", {}),
    ("noticesWhatAnotherWindowDeletes", "team", {}),
    ("hidesEverythingUnderTheMask", "the team", {}),
    ("offersNoDeletionWhereNoneIsOffered", "the team", {}),
    ("readsMoreOnceTheFilterLetsMoreThrough", "the team", {}),
    ("findsTheWordsItIsOpenedWith", "the team", {}),
    ("leavesInPlaceWhatIsInUseWhenMoreArrives", "the team", {}),
    ("showsRowsBeforeTheirWords", "the team", {}),
    ("saysWhatCameOfItWhoeverListens", "team", {}),
    ("forgetsAndCorrectsWhatWasLearned", "team", WITH_COPIES),
    ("exportsWhatTheFilterShows", "the team", {}),
    ("deletesTwelveThousandInParts", "twelve thousand", WITH_COPIES),
    ("drawsOnlyTheRowsInSight", "ten thousand", {}),
    ("isQuickWithManyRequests", "ten thousand", {}),
    ("worksByKeyboardAlone", "team", {}),
    ("asksTheHostsFormToo", "team", {}),
    ("saysWhenTheSetHasChanged", "team", {}),
    ("leavesWhatAHoldKeeps", "team", {}),
    ("saysWhenTheHostRefuses", "team", {}),
    ("takesOnTheHostsLooks", "the team", {}),
    ("fitsEveryWidth", "the team", {}),
    ("satisfiesAxe", "the team", {}),
    ("holdsInForcedColours", "the team", {}),
    ("worksByTouch", "the team", {}),
    ("keepsStillUnderReducedMotion", "the team", {}),
    ("readsFromRightToLeft", "scripts", {}),
    ("showsHostileTextAsText", "hostile", {}),
    ("readsAVeryLongInteraction", "long", {}),
    ("saysThatNothingIsStored", "empty", {}),
    ("holdsAConversationOfManyRequests", "empty", {}),
]


@pytest.mark.parametrize(("name", "kind", "variables"), SCENARIOS, ids=[one[0] for one in SCENARIOS])
def test_a_person_can_rely_on_it(play: Play, name: str, kind: str, variables: dict[str, str]) -> None:
    play(name, kind, **variables)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("livesThroughABackendThatGoesAway", team()),
        ("saysHowFarItCameWhenItIsCutOff", many(1_200)),
        ("goesOnWithAnUndoThatWasCutOff", many(300)),
    ],
    ids=["while it is read", "in the middle of a deletion", "in the middle of an undo"],
)
async def test_a_backend_that_goes_away_is_told_of(
    play: Play, tmp_path: Path, name: str, stored: list[Request]
) -> None:
    async with tenant_backend() as backend:
        write(tmp_path / "backend.db", stored)
        backend.stores["its-key"] = StoreApp(str(tmp_path / "backend.db"))
        given = {"BACKEND": backend.url, "REFLEXIO_API_KEY": "its-key", **WITH_COPIES}
        await anyio.to_thread.run_sync(partial(play, name, "", **given))


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["looksDeletesAndUndoes", "putsAMessageBackWhereItWasSaid"])
async def test_an_undo_gives_a_conversation_back_on_a_service_that_tells_the_time_itself(
    play: Play, tmp_path: Path, name: str
) -> None:
    async with tenant_backend() as backend:
        write(tmp_path / "backend.db", team())
        backend.stores["its-key"] = StoreApp(str(tmp_path / "backend.db"))
        given = {"REFLEXIO_URL": backend.url, "REFLEXIO_API_KEY": "its-key", **WITH_COPIES}
        await anyio.to_thread.run_sync(partial(play, name, "", **given))


def test_its_types_hold(node_tools: NodeTools, tmp_path: Path) -> None:
    options = {
        "allowJs": True,
        "checkJs": True,
        "noEmit": True,
        "strict": True,
        "noUnusedLocals": True,
        "target": "es2023",
        "module": "es2022",
        "moduleResolution": "bundler",
        "lib": ["es2023", "dom", "dom.iterable"],
        "types": [],
    }
    project = tmp_path / "tsconfig.json"
    project.write_text(
        json.dumps({"compilerOptions": options, "include": [str(PAGE / "*.js")]}), encoding="utf-8"
    )
    tsc = node_tools.modules / "typescript" / "bin" / "tsc"
    done = subprocess.run([node_tools.node, tsc, "-p", project], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_module_is_in_the_document_and_after_those_it_imports() -> None:
    assert {path.stem for path in PAGE.glob("*.js")} == set(MODULES)
    for index, name in enumerate(MODULES):
        needed = re.findall(r'from "\./(\w+)\.js";', (PAGE / f"{name}.js").read_text(encoding="utf-8"))
        assert set(needed) <= set(MODULES[:index]), name


def test_every_scenario_is_played() -> None:
    written = re.findall(
        r"^export async function (\w+)", (HERE / "scenarios.mjs").read_text(encoding="utf-8"), re.MULTILINE
    )
    elsewhere = {
        "pictures",
        "measuresFiftyThousand",
        "doesTheWholeJobWithFiftyThousand",
        "worksWithoutAnAssistant",
        "doesTheWholeJobOnARealServer",
        "forgetsBoth",
        "doesTheWholeJobWithoutAnAssistant",
        "livesThroughABackendThatGoesAway",
        "saysHowFarItCameWhenItIsCutOff",
        "goesOnWithAnUndoThatWasCutOff",
    }
    assert set(written) - elsewhere == {name for name, _, _ in SCENARIOS}


def test_no_two_modules_share_a_name() -> None:
    # They become one script.
    names = re.findall(
        r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)",
        "\n".join((PAGE / f"{name}.js").read_text(encoding="utf-8") for name in MODULES),
        re.MULTILINE,
    )
    assert len(names) > 50
    assert sorted(names) == sorted(set(names))


def test_the_document_is_small_and_reaches_nothing() -> None:
    made = document()
    assert len(made.encode()) < 225_000
    assert not re.search(r"\{\{(script|style|policy)\}\}", made)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made)
    assert policy
    assert policy[1].startswith("default-src 'none'; ")
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        found = re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", made, re.DOTALL)
        assert found
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy[1]
    urls = set(re.findall(r"\b(?:https?|wss?):[^\s\"'`)]+", made))
    assert {urlsplit(one).netloc for one in urls} == {"www.w3.org"}, "names of XML, which nobody asks for"
    unsafe = ("outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function")
    for one in unsafe:
        assert one not in made
    ours = "".join((PAGE / f"{name}.js").read_text(encoding="utf-8") for name in MODULES)
    for one in ("innerHTML", "InnerHTML"):
        # The library sets it for a property that the page never gives.
        assert one not in ours


def test_the_libraries_are_as_their_licences_say() -> None:
    for name in LIBRARIES:
        assert (PAGE / "vendor" / f"{name}.LICENSE").read_text(encoding="utf-8").strip()


def test_the_address_follows_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = shutil.copytree(explorer.HERE / "page", tmp_path / "page")
    monkeypatch.setattr(explorer, "HERE", tmp_path)
    assert uri.__wrapped__() == uri()
    (page / "main.js").write_text("// another page", encoding="utf-8")
    assert uri.__wrapped__() != uri()
