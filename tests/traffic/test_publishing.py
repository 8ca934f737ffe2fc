"""Publishing a request: what has to be known before it is stored."""

from collections.abc import Collection, Sequence

import pytest

from reflexio_mcp.backend import open_scope
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestWithInteractions
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic.errors import InvalidInput, NotRecorded
from reflexio_mcp.traffic.publishing import NAMES, publish
from tests.audit.stored import GITHUB_TOKEN


async def nobody_knows(requests: Sequence[RequestWithInteractions]) -> Collection[str]:
    raise NotRecorded(Fact(code=FactCode.STATE_UNUSABLE))


@pytest.mark.anyio
async def test_a_request_whose_id_is_blank_gets_a_new_one_so_no_record_of_erasures_is_needed() -> None:
    draft = PublishBody(
        user_id="ada", session_id="trip", request_id="  ", interaction_data_list=[Interaction(content="Hi.")]
    )
    async with open_scope(Settings(store=":memory:")) as scope:
        done = await publish(scope, draft, policy="warn", wait_seconds=None, would_be_erased=nobody_knows)
    assert done.request_id.strip()


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_a_key_in_any_name_is_refused(name: str) -> None:
    draft = PublishBody(
        user_id="ada",
        session_id="trip",
        request_id="r1",
        interaction_data_list=[Interaction(content="Hi.")],
    ).model_copy(update={name: GITHUB_TOKEN})
    async with open_scope(Settings(store=":memory:")) as scope:
        with pytest.raises(InvalidInput) as refused:
            await publish(scope, draft, policy="refuse", wait_seconds=None, would_be_erased=nobody_knows)
    assert refused.value.field == name
