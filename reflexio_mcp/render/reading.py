"""Pages of sessions, requests and learnings, one request, and an export, as text."""

from collections.abc import Iterator, Sequence
from typing import Final

from reflexio_mcp.render.blocks import (
    PAGE_FENCE_CHARS,
    Told,
    counted,
    indented,
    lines,
    moment,
    named,
    row,
    sentence,
)
from reflexio_mcp.render.publishing import learning
from reflexio_mcp.render.words import SHELL, Words, named_in_fence
from reflexio_mcp.results.reading import (
    EvidenceRow,
    Exported,
    Held,
    InteractionRow,
    LearnedHere,
    LearningPage,
    LearningRow,
    Manifest,
    OneRequest,
    OtherLearning,
    OutcomeRow,
    RequestPage,
    RequestRow,
    SessionPage,
    SessionRow,
    SharedRuleRow,
    UnreadablePart,
    UsedLearning,
)

__all__ = ["exported", "learning_page", "one_request", "readme", "request_page", "session_page"]


CUT_BY_SIZE: Final = ", cut by size"


def session_page(page: SessionPage, words: Words) -> Told:
    return _page(page, "session", map(_session, page.sessions), words)


def request_page(page: RequestPage, words: Words) -> Told:
    return _page(page, "request", _grouped(page), words)


def _page(page: SessionPage | RequestPage, noun: str, body: Iterator[str], words: Words) -> Told:
    all_shown = page.looked_at.complete and page.returned
    return Told(
        _heading(page, noun),
        body,
        lines(
            words.say(page.facts),
            unreadable_lines(page.unreadable),
            "That is all." if all_shown and not page.cursor else "",
        ),
        cursor=page.cursor,
        chars=PAGE_FENCE_CHARS,
    )


def _heading(page: SessionPage | RequestPage, noun: str) -> str:
    looked, count, total = page.looked_at, page.returned, page.total
    known = f" of {total:,}" if total is not None and total > count else ""
    found = (
        f"{count:,}{known} {noun}{'' if count == 1 and not known else 's'}" if count else f"No {noun} matches"
    )
    selected = f" ({looked.filter})" if looked.filter else ""
    first = "" if looked.complete or known or not count else " so far"
    searched = ""
    if looked.requests is not None:
        back = f", back to {moment(looked.back_to)}" if looked.back_to else ""
        searched = f"Looked through {counted(looked.requests, 'request')}{back}."
    cut = CUT_BY_SIZE if page.cut_by_size else ""
    return sentence(f"{found}{first}{cut}{selected}.", searched)


def _session(one: SessionRow) -> str:
    matching = counted(one.requests, "request")
    if one.not_matching:
        matching += f" of {one.requests + one.not_matching:,}"
    head = row(
        one.session_id,
        _named("user", _users(one), one.more_users),
        f"{matching}, {counted(one.interactions, 'interaction')}, {counted(one.characters, 'character')}",
        moment(one.first) + (f" to {moment(one.last)}" if one.last else ""),
        _named("source", one.sources),
        _named("agent", one.agent_versions),
        f"{one.evaluation_only:,} for evaluation only" if one.evaluation_only else "",
        *map(_held, one.held),
        *map(_outcome, one.outcomes),
        f"fingerprint {one.fingerprint}" if one.fingerprint else "",
    )
    return lines(head, f"  “{one.first_words}”" if one.first_words else "")


def _users(session: SessionRow) -> list[str]:
    if not session.requests_of_users:
        return session.users
    return [
        f"{user} ({count:,})" for user, count in zip(session.users, session.requests_of_users, strict=True)
    ]


def _outcome(one: OutcomeRow) -> str:
    details = ", ".join(
        part
        for part in (
            one.label,
            f"{one.value:g}" if one.value is not None else "",
            f"for user {one.user_id}" if one.user_id else "",
            "inferred by Reflexio" if one.inferred else "",
        )
        if part
    )
    return f"ended: {one.outcome}" + (f" ({details})" if details else "")


def _held(hold: Held) -> str:
    return f"on hold: {hold.reason}" + (f", through {hold.until:%Y-%m-%d} UTC" if hold.until else "")


def _named(noun: str, names: Sequence[str], more_names: int = 0) -> str:
    rest = f" and {more_names:,} more" if more_names else ""
    return f"{noun} {', '.join(names)}{rest}" if names else ""


def _grouped(page: RequestPage) -> Iterator[str]:
    for session in page.sessions:
        others = session.not_matching
        yield f"session {session.session_id}" + (
            f" ({counted(others, 'request')} not matching)" if others else ""
        )
        for request in session.requests:
            yield indented(request_row(request))


def request_row(one: RequestRow) -> str:
    head = row(
        one.request_id,
        f"user {one.user_id}" if one.user_id else "",
        moment(one.created_at),
        f"source {one.source}" if one.source else "",
        f"agent {one.agent_version}" if one.agent_version else "",
        "for evaluation only" if one.evaluation_only else "",
        _held(one.held) if one.held else "",
        f"experiment {one.retrieval_experiment_id}" if one.retrieval_experiment_id else "",
        f"arm {one.retrieval_experiment_arm}" if one.retrieval_experiment_arm else "",
        counted(one.interaction_count, "interaction") if one.interaction_count is not None else "",
        _named("roles", one.roles),
        counted(one.characters, "character") if one.characters is not None else "",
        f"fingerprint {one.fingerprint}" if one.fingerprint else "",
        f"“{one.first_words}”" if one.first_words else "",
        f"found “{one.found}”" if one.found else "",
        f"matched by its {one.matched}" if one.matched else "",
    )
    left = one.interactions_left_out
    return lines(
        head,
        [indented(_interaction(interaction)) for interaction in one.interactions],
        f"  … {counted(left, 'more interaction')}: see get_request" if left else "",
    )


def _interaction(interaction: InteractionRow) -> str:
    content = interaction.content
    if interaction.characters is not None:
        begins = f", from {interaction.content_from:,}" if interaction.content_from else ""
        content += f"{'… ' if content else ''}[{interaction.characters:,} characters{begins}]"
    head = row(f"{interaction.interaction_id} {interaction.role}", moment(interaction.created_at))
    other = {
        "user_action": [interaction.user_action],
        "user_action_description": [interaction.user_action_description],
        "interacted_image_url": [interaction.interacted_image_url],
        "shadow_content": [interaction.shadow_content],
        "expert_content": [interaction.expert_content],
        "tools_used": interaction.tools_used,
        "retrieved_learnings": interaction.retrieved_learnings,
    }
    return lines(
        _hanging(f"{head}: {content}".rstrip()),
        [f"  {_hanging(f'{name}: {text}')}" for name, texts in other.items() for text in texts if text],
    )


def _hanging(text: str) -> str:
    """Indent further lines deeper than our own lines."""
    return text.replace("\n", "\n      ")


def one_request(found: OneRequest, words: Words) -> Told:
    shown = found.interactions
    return Told(
        stored=lines(
            row(f"session {found.session_id}", *map(_outcome, found.outcomes)),
            request_row(found),
            map(_learned_here, found.learned),
            map(_used, found.used),
        ),
        then=lines(
            learning(found.learning, words),
            words.say(found.facts),
            f"{len(shown):,} of {counted(found.interaction_count, 'interaction')} are shown here."
            if found.cursor and found.interaction_count
            else "",
        ),
        cursor=found.cursor,
    )


def _learned_here(one: LearnedHere) -> str:
    like = " in similar words" if one.near else ""
    return row(
        f"learned from interaction {one.interaction_id}{like}: {one.learning_id}",
        one.state,
        f"“{one.content}”" if one.content else "",
        f"quotes “{one.quote}”" if one.quote else "",
    )


def _used(one: UsedLearning) -> str:
    verdict = one.verdict
    judged = {None: "", True: "judged relevant", False: "judged not relevant"}
    return lines(
        row(
            f"used for the answer in interaction {one.interaction_id}: {one.learning_id}",
            "" if one.learning or one.shared_rule else "not found among what is stored for this user",
            f"cited by {counted(one.applied, 'answer')} in 30 days" if one.applied is not None else "",
        ),
        _below(_learning(one.learning) if one.learning else ""),
        _below(f"shared rule {_other(one.shared_rule)}" if one.shared_rule else ""),
        _below(
            row(
                judged[verdict.is_relevant],
                verdict.relevance_reason,
                f"impact {verdict.impact}" if verdict.impact else "",
                verdict.impact_reason,
            )
            if verdict
            else ""
        ),
    )


def unreadable_lines(parts: Sequence[UnreadablePart]) -> list[str]:
    return [f"Reflexio fails to return {_described(part)}." for part in parts]


def _described(part: UnreadablePart) -> str:
    what = "a session whose newest request arrived" if part.whole_session else "requests that arrived"
    times = row(
        f"from {moment(part.first)}" if part.first else "", f"until {moment(part.last)}" if part.last else ""
    )
    return f"{what} {times.replace(' · ', ' ') or 'at an unknown time'}"


_SOURCES = {
    "recorded": "",
    "reconstructed": "source inferred: probably the last request before the learning",
    "not_known": "source not known",
}


def learning_page(page: LearningPage, words: Words) -> Told:
    cut = CUT_BY_SIZE if page.cut_by_size else ""
    if page.shared_rules:
        found = f"{counted(page.total, 'shared rule')}, {page.returned:,} here."
    elif page.total:
        found = f"{counted(page.total, 'learning')}, {page.returned:,} here{cut}."
    elif page.unreadable or page.unlinked or page.users_not_read:
        found = "No learning is known."
    else:
        found = "No learning."
    return Told(
        found,
        [f"of {page.of}", *map(_learning, page.learnings), *map(_shared_rule, page.shared_rules)],
        lines(
            learning(page.learning, words) if page.learning else "",
            words.say(page.facts),
            unreadable_lines(page.unreadable),
        ),
        cursor=page.cursor,
        chars=PAGE_FENCE_CHARS,
    )


def _shared_rule(one: SharedRuleRow) -> str:
    users = named(one.users, len(one.users) + one.more_users) if one.users else ""
    rests = f"rests on {counted(one.playbooks, 'playbook')} of {users}" if users else ""
    return lines(
        row(
            one.rule_id,
            one.approval,
            moment(one.made_at),
            "" if one.applied is None else f"applied {counted(one.applied, 'time')} in 30 days",
            rests if one.traced else "Reflexio does not say what it rests on",
        ),
        f"  {one.content}" if one.content else "",
        f"  when: {one.trigger}" if one.trigger else "",
    )


def _learning(one: LearningRow) -> str:
    since = one.known_since if one.known_since != one.changed_at else None
    return lines(
        row(
            one.learning_id,
            one.state,
            _held(one.held) if one.held else "",
            f"known since {moment(since)}" if since else "",
            f"changed {moment(one.changed_at)}" if one.changed_at else "",
            f"user {one.user_id}" if one.user_id else "",
            counted(one.characters, "character") if one.characters is not None else "",
        ),
        _below(one.content),
        _below(f"when: {one.trigger}" if one.trigger else ""),
        map(_below, evidence(one)),
        _below(f"replaced by {_other(one.replaced_by)}" if one.replaced_by else ""),
        [_below(f"replaced {_other(other)}") for other in one.replaced],
        _below(f"replaced {one.more_replaced:,} more" if one.more_replaced else ""),
    )


def evidence(one: LearningRow) -> Iterator[str]:
    """Yield the words that taught a learning, with the place of each, and what is not known of its origin."""
    for said in one.evidence:
        words = f"“{said.quote}”" if said.quote else "words"
        like = " in similar words" if said.near else ""
        yield f"{words} said{like} by {said.role or 'somebody'} · {_place(said)} · {moment(said.said_at)}"
    if one.more_evidence:
        yield f"said in {counted(one.more_evidence, 'more interaction')}"
    for words in one.quotes_not_found:
        yield f"quotes what no interaction says: “{words}”"
    if not one.evidence and not one.interactions_not_looked_up:
        yield "quotes nothing that is stored"
    sources = [f"{each.request_id} ({_interactions(each.interaction_ids)})" for each in one.from_requests]
    others = f" and {counted(one.more_requests, 'more request')}" if one.more_requests else ""
    gone, unread = one.interactions_deleted, one.interactions_not_looked_up
    yield row(
        _SOURCES[one.source],
        f"may come from {'; '.join(sources)}{others}" if sources else "",
        f"read at the same time, not quoted: {counted(one.window_only, 'interaction')}"
        if one.window_only
        else "",
        f"source interactions that are no longer stored: {gone:,}" if gone else "",
        f"{counted(unread, 'interaction')} not looked up" if unread else "",
        f"last request before it: {one.last_request}" if one.last_request else "",
    )


def _place(said: EvidenceRow) -> str:
    return f"{said.request_id} interaction {said.interaction_id}"


def _other(one: OtherLearning) -> str:
    return row(one.learning_id, one.state, moment(one.changed_at), f"“{one.content}”" if one.content else "")


def _interactions(ids: list[int]) -> str:
    noun = "interaction" if len(ids) == 1 else "interactions"
    return f"{noun} {', '.join(map(str, ids))}"


def _below(text: str) -> str:
    return "  " + text.replace("\n", "\n      ") if text else ""


def exported(done: Exported, words: Words) -> Told:
    one = done.archive
    return Told(
        stored=[f"filter: {one.filter}", *named_in_fence(one.facts)],
        values=lines(
            "In the archive:",
            row(*(f"{name}: {count:,}" for name, count in one.counts.items())),
            _found_in(one),
            f"The requests arrived from {moment(one.period[0])} until {moment(one.period[1])}."
            if one.period
            else "",
            unreadable_lines(one.unreadable),
            f"The archive is at {done.file}" if done.file else "",
            f"The archive is at {done.link}" if done.link else "",
        ),
        then=lines(words.say(one.facts), words.say(done.facts)),
        confirm=done.confirm,
    )


def _found_in(archive: Manifest) -> str:
    """Say how many of the requests have a secret or personal data."""
    found = [f"{name} in {counted(count, 'request')}" for name, count in archive.findings.items()]
    return f"As stored, an audit finds: {row(*found)}" if found else ""


README: Final = """\
Export of the memory on {one.made_at:%Y-%m-%d at %H:%M} UTC, made by reflexio-mcp.

requests.jsonl   requests with their interactions
learnings.jsonl  learned profiles and playbooks, with the ids of their source interactions
outcomes.jsonl   how sessions ended
manifest.json    the source, filter, counts, period and missing parts of this export, and the SHA-256 of each file

Each line of the first three files is one JSON object.
{facts}

To put the requests back: reflexio-mcp import FILE
"""


def readme(archive: Manifest) -> str:
    """Return the text for a person who opens an archive."""
    return README.format(one=archive, facts=SHELL.say(archive.facts))
