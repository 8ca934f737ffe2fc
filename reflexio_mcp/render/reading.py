"""Pages of sessions, requests and learnings, one request, and an export, as text."""

from collections.abc import Iterator, Sequence
from typing import Final

from reflexio_mcp.render.blocks import (
    PAGE_FENCE_CHARS,
    Told,
    counted,
    hanging,
    indented,
    lines,
    moment,
    named,
    row,
    sentence,
)
from reflexio_mcp.render.publishing import learning_state
from reflexio_mcp.render.words import SHELL, Words, named_in_fence
from reflexio_mcp.results.deletion import RuleSourceRow, SharedRuleRow
from reflexio_mcp.results.reading import (
    ChangeRow,
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
    UnreadablePart,
    UsedLearning,
    VerdictRow,
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
        said=_heading(page, noun),
        stored=body,
        then=lines(
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
    nouns = f"{noun}s" if known or count != 1 else noun
    found = f"{count:,}{known} {nouns}" if count else f"No {noun} matches"
    selected = f" ({looked.filter})" if looked.filter else ""
    so_far = " so far" if count and not looked.complete and not known else ""
    searched = ""
    if looked.requests is not None:
        back = f", back to {moment(looked.back_to)}" if looked.back_to else ""
        searched = f"Looked through {counted(looked.requests, 'request')}{back}."
    cut = CUT_BY_SIZE if page.cut_by_size else ""
    return sentence(f"{found}{so_far}{cut}{selected}.", searched)


def _session(session: SessionRow) -> str:
    matching = counted(session.requests, "request")
    if session.not_matching:
        matching += f" of {session.requests + session.not_matching:,}"
    head = row(
        session.session_id,
        _named("user", _users(session), session.more_users),
        f"{matching}, {counted(session.interactions, 'interaction')}, {counted(session.characters, 'character')}",
        moment(session.first) + (f" to {moment(session.last)}" if session.last else ""),
        _named("source", session.sources),
        _named("agent", session.agent_versions),
        f"{session.evaluation_only:,} for evaluation only" if session.evaluation_only else "",
        *map(_held, session.held),
        *map(_outcome, session.outcomes),
        f"fingerprint {session.fingerprint}" if session.fingerprint else "",
    )
    return lines(head, f"  “{session.first_words}”" if session.first_words else "")


def _users(session: SessionRow) -> list[str]:
    if not session.requests_of_users:
        return session.users
    return [
        f"{user} ({count:,})" for user, count in zip(session.users, session.requests_of_users, strict=True)
    ]


def _outcome(outcome: OutcomeRow) -> str:
    details = ", ".join(
        part
        for part in (
            outcome.label,
            f"{outcome.value:g}" if outcome.value is not None else "",
            f"for user {outcome.user_id}" if outcome.user_id else "",
            "inferred by Reflexio" if outcome.inferred else "",
        )
        if part
    )
    return f"ended: {outcome.outcome}" + (f" ({details})" if details else "")


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


def request_row(request: RequestRow) -> str:
    head = row(
        request.request_id,
        f"user {request.user_id}" if request.user_id else "",
        moment(request.created_at),
        f"source {request.source}" if request.source else "",
        f"agent {request.agent_version}" if request.agent_version else "",
        "for evaluation only" if request.evaluation_only else "",
        _held(request.held) if request.held else "",
        f"experiment {request.retrieval_experiment_id}" if request.retrieval_experiment_id else "",
        f"arm {request.retrieval_experiment_arm}" if request.retrieval_experiment_arm else "",
        counted(request.interaction_count, "interaction") if request.interaction_count is not None else "",
        _named("roles", request.roles),
        counted(request.characters, "character") if request.characters is not None else "",
        f"fingerprint {request.fingerprint}" if request.fingerprint else "",
        f"“{request.first_words}”" if request.first_words else "",
        f"found “{request.found}”" if request.found else "",
        f"matched by its {request.matched}" if request.matched else "",
    )
    left = request.interactions_left_out
    return lines(
        head,
        [indented(_interaction(interaction)) for interaction in request.interactions],
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
        hanging(f"{head}: {content}".rstrip()),
        [f"  {hanging(f'{name}: {text}')}" for name, texts in other.items() for text in texts if text],
    )


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
            learning_state(found.learning, words),
            words.say(found.facts),
            f"{len(shown):,} of {counted(found.interaction_count, 'interaction')} are shown here."
            if found.cursor and found.interaction_count
            else "",
        ),
        cursor=found.cursor,
    )


def _learned_here(learning: LearnedHere) -> str:
    similar = " in similar words" if learning.near else ""
    return hanging(
        row(
            f"learned from interaction {learning.interaction_id}{similar}: {learning.learning_id}",
            learning.state,
            f"“{learning.content}”" if learning.content else "",
            f"quotes “{learning.quote}”" if learning.quote else "",
        )
    )


def _used(learning: UsedLearning) -> str:
    verdict = learning.verdict
    return lines(
        row(
            f"used for the answer in interaction {learning.interaction_id}: {learning.learning_id}",
            ""
            if learning.learning or learning.shared_rule
            else "not found among what is stored for this user",
            f"cited by {counted(learning.applied, 'answer')} in 30 days"
            if learning.applied is not None
            else "",
        ),
        _below(learning_lines(learning.learning) if learning.learning else ""),
        _below(f"shared rule {_other(learning.shared_rule)}" if learning.shared_rule else ""),
        _below(
            row(
                _judged(verdict),
                verdict.relevance_reason,
                f"impact {verdict.impact}" if verdict.impact else "",
                verdict.impact_reason,
            )
            if verdict
            else ""
        ),
    )


def _judged(verdict: VerdictRow) -> str:
    if verdict.is_relevant is None:
        return ""
    return "judged relevant" if verdict.is_relevant else "judged not relevant"


def unreadable_lines(parts: Sequence[UnreadablePart]) -> list[str]:
    return [f"Reflexio fails to return {_described(part)}." for part in parts]


def _described(part: UnreadablePart) -> str:
    what = "a session whose newest request arrived" if part.whole_session else "requests that arrived"
    times = sentence(
        f"from {moment(part.first)}" if part.first else "", f"until {moment(part.last)}" if part.last else ""
    )
    return f"{what} {times or 'at an unknown time'}"


_WORDS_OF_SOURCE = {
    "recorded": "",
    "reconstructed": "source inferred: probably the last request before the learning",
    "not_known": "source not known",
}


def learning_page(page: LearningPage, words: Words) -> Told:
    cut = CUT_BY_SIZE if page.cut_by_size else ""
    if page.changed_since:
        changes = (
            f"{counted(page.total, 'change')}, {page.returned:,} here" if page.total else "No change is known"
        )
        found = f"{changes}{cut}. Since {moment(page.changed_since)}."
    elif page.lists_rules:
        found = (
            f"{counted(page.total, 'shared rule')}, {page.returned:,} here{cut}."
            if page.total
            else "No shared rule."
        )
    elif page.total:
        found = f"{counted(page.total, 'learning')}, {page.returned:,} here{cut}."
    elif page.unreadable or page.unlinked or page.users_not_read:
        found = "No learning is known."
    else:
        found = "No learning."
    return Told(
        said=found,
        stored=[
            f"of {page.of}",
            ", ".join(f"{user.user_id} {user.learnings:,}" for user in page.by_user),
            *map(learning_lines, page.learnings),
            *map(shared_rule, page.shared_rules),
            *map(change_lines, page.changes),
        ],
        then=lines(
            learning_state(page.learning, words) if page.learning else "",
            words.say(page.facts),
            unreadable_lines(page.unreadable),
        ),
        cursor=page.cursor,
        chars=PAGE_FENCE_CHARS,
    )


def shared_rule(rule: SharedRuleRow) -> str:
    """Return a shared rule with what it rests on, a line for each source."""
    users = named(rule.users, len(rule.users) + rule.more_users) if rule.users else ""
    of = f" of {users}" if users else ""
    rests = (
        f"rests on {counted(rule.playbooks, 'playbook')}{of}"
        if rule.playbooks
        else "nothing that it rests on is stored"
    )
    more = rule.playbooks - len(rule.sources)
    return lines(
        row(
            rule.rule_id,
            rule.approval,
            moment(rule.made_at),
            "" if rule.applied is None else f"applied {counted(rule.applied, 'time')} in 30 days",
            rests if rule.traced else "Reflexio does not say what it rests on",
        ),
        _below(rule.content),
        _below(f"when: {rule.trigger}" if rule.trigger else ""),
        [_below(_rule_source(source)) for source in rule.sources],
        _below(f"and {counted(more, 'more playbook')}" if more > 0 else ""),
    )


def change_lines(change: ChangeRow) -> str:
    return lines(
        row(
            moment(change.at),
            change.change.replace("_", " "),
            change.learning_id,
            f"user {change.user_id}" if change.user_id else "",
            "not by this server" if change.elsewhere else "",
            # Continues the words "forgotten".
            "or what had taken its place was deleted" if change.maybe_deleted else "",
            f"record {change.job}" if change.job else "",
            # Only the row of an export has the next two.
            f"{change.selected}, {counted(change.exported, 'learning')}" if change.selected else "",
        ),
        [_below(f"old: {text}") for text in change.old],
        _below(f"{change.more_old:,} more old texts" if change.more_old else ""),
        _below(f"{'new: ' if change.old else ''}{change.content}" if change.content else ""),
        _below(f"when: {change.trigger}" if change.trigger else ""),
    )


def _rule_source(source: RuleSourceRow) -> str:
    said = (
        f"said in {', '.join(source.requests)}" if source.requests else "no request that it cites is stored"
    )
    return row(f"made from {source.learning_id}", f"user {source.user_id}" if source.user_id else "", said)


def learning_lines(learning: LearningRow) -> str:
    """Return a learning with the words that taught it, a line for each."""
    since = learning.known_since if learning.known_since != learning.changed_at else None
    return lines(
        row(
            learning.learning_id,
            learning.state,
            _held(learning.held) if learning.held else "",
            f"known since {moment(since)}" if since else "",
            f"changed {moment(learning.changed_at)}" if learning.changed_at else "",
            f"user {learning.user_id}" if learning.user_id else "",
            counted(learning.characters, "character") if learning.characters is not None else "",
        ),
        _below(learning.content),
        _below(f"when: {learning.trigger}" if learning.trigger else ""),
        map(_below, evidence(learning)),
        _below(f"replaced by {_other(learning.replaced_by)}" if learning.replaced_by else ""),
        [_below(f"replaced {_other(other)}") for other in learning.replaced],
        _below(f"replaced {learning.more_replaced:,} more" if learning.more_replaced else ""),
    )


def evidence(learning: LearningRow) -> Iterator[str]:
    """Yield the words that taught a learning, with the place of each, and what is not known of its origin."""
    for said in learning.evidence:
        words = f"“{said.quote}”" if said.quote else "words"
        similar = " in similar words" if said.near else ""
        yield f"{words} said{similar} by {said.role or 'somebody'} · {_place(said)} · {moment(said.said_at)}"
    if learning.more_evidence:
        yield f"said in {counted(learning.more_evidence, 'more interaction')}"
    for words in learning.quotes_not_found:
        yield f"quotes what no interaction says: “{words}”"
    if not learning.evidence and not learning.interactions_not_looked_up:
        yield "quotes nothing that is stored"
    sources = [
        f"{each.request_id} ({_interactions(each.interaction_ids)})" for each in learning.from_requests
    ]
    others = f" and {counted(learning.more_requests, 'more request')}" if learning.more_requests else ""
    gone, unread = learning.interactions_deleted, learning.interactions_not_looked_up
    yield row(
        _WORDS_OF_SOURCE[learning.source],
        f"may come from {'; '.join(sources)}{others}" if sources else "",
        f"read at the same time, not quoted: {counted(learning.window_only, 'interaction')}"
        if learning.window_only
        else "",
        "no other stored request has one of its longer words" if learning.words_nowhere_else else "",
        f"source interactions that are no longer stored: {gone:,}" if gone else "",
        f"{counted(unread, 'interaction')} not looked up" if unread else "",
        f"last request before it: {learning.last_request}" if learning.last_request else "",
    )


def _place(said: EvidenceRow) -> str:
    return f"{said.request_id} interaction {said.interaction_id}"


def _other(learning: OtherLearning) -> str:
    return row(
        learning.learning_id,
        learning.state,
        moment(learning.changed_at),
        f"“{learning.content}”" if learning.content else "",
    )


def _interactions(ids: list[int]) -> str:
    noun = "interaction" if len(ids) == 1 else "interactions"
    return f"{noun} {', '.join(map(str, ids))}"


def _below(text: str) -> str:
    return f"  {hanging(text)}" if text else ""


def exported(done: Exported, words: Words) -> Told:
    archive = done.archive
    return Told(
        stored=[f"filter: {archive.filter}", *named_in_fence(archive.facts)],
        values=lines(
            "In the archive:"
            if any(archive.counts.values())
            else "Nothing that matches is stored. In the archive:",
            row(*(f"{name}: {count:,}" for name, count in archive.counts.items())),
            _found_in(archive),
            f"The requests arrived from {moment(archive.period[0])} until {moment(archive.period[1])}."
            if archive.period
            else "",
            unreadable_lines(archive.unreadable),
            f"The archive is at {done.file}" if done.file else "",
            f"The archive is at {done.link}" if done.link else "",
        ),
        then=lines(words.say(archive.facts), words.say(done.facts)),
        confirm=done.confirm,
    )


def _found_in(archive: Manifest) -> str:
    """Say how many of the requests have a secret or personal data."""
    found = [f"{name} in {counted(count, 'request')}" for name, count in archive.findings.items()]
    return f"As stored, an audit finds: {row(*found)}" if found else ""


README: Final = """\
Export of the memory on {archive.made_at:%Y-%m-%d at %H:%M} UTC, made by reflexio-mcp.

requests.jsonl          requests with their interactions
learnings.jsonl         learned profiles and playbooks, with the ids of their source interactions
outcomes.jsonl          how sessions ended
evidence.jsonl          for each learning, the words that taught it, and where and by whom they were said
shared_rules.jsonl      rules that were made from these playbooks and others, and are served to everybody
verdicts.jsonl          how Reflexio judged the learnings that were used for answers
session_verdicts.jsonl  how Reflexio judged sessions
questions.jsonl         what Reflexio asked the person, and the answers
manifest.json           the source, filter, counts, period and missing parts of this export, and each file's SHA-256

Each line of a .jsonl file is one JSON object. A store that does not learn has the first three only.
{facts}

To put the requests back: reflexio-mcp import FILE
"""


def readme(archive: Manifest) -> str:
    """Return the text for a person who opens an archive."""
    return README.format(archive=archive, facts=SHELL.say(archive.facts))
