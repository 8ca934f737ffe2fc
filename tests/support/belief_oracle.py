"""What a learning quotes, what replaced it, and what a deletion does with it: an oracle that works on the API's rows.

evidence(row, turns)            turns: {interaction_id: interaction} of the user, from get_requests
successors(row, rows)           rows: all profiles, or all user playbooks, of the user in all seven statuses
case(row, rows, turns, inside)  inside: interaction ids of the requests to be deleted
                                -> (case, predecessors that become current again)

It was checked against the lineage table of Reflexio 0.2.32. The package has code of its own for this.
"""

import json
import re
import unicodedata

PREFIX = "Original source evidence values (separate excerpts):"
SEPARATOR = re.compile(r"\s*--- Separate source evidence value ---\s*")
PLAIN = str.maketrans(
    dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‘’‚‛`´", "'") | dict.fromkeys("‐‑‒–—", "-")  # noqa: RUF001
)


def norm(text):
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).translate(PLAIN).casefold()).strip()


def texts(turn):
    tools = [
        f"[used tool: {t.get('tool_name')}({json.dumps(t.get('tool_data'))})]"
        for t in turn.get("tools_used") or []
    ]
    said = [
        turn.get(k) or "" for k in ("content", "expert_content", "user_action_description", "shadow_content")
    ]
    action = turn.get("user_action", "none")
    return [
        *tools,
        *filter(None, said),
        *([] if action == "none" else [f"{action} {turn.get('user_action_description') or ''}".strip()]),
    ]


def blocks(span):
    """Top-level values of a source_span; a merged one nests the prefix."""
    parts = (
        re.sub(r"^(?:\s*" + re.escape(PREFIX) + r"\s*)+", "", part).strip()
        for part in SEPARATOR.split(span or "")
    )
    return [part for part in parts if part]


def passages(span, said):
    """Longest runs of paragraphs that one turn contains: [(text, [ids that contain it])].

    said: {id: normalized text}.
    """
    out = []
    for block in blocks(span):
        paragraphs, i = [p for p in re.split(r"\n\s*\n", block) if p.strip()], 0
        while i < len(paragraphs):
            for j in range(len(paragraphs), i, -1):
                text = "\n\n".join(paragraphs[i:j])
                hits = [key for key, words in said.items() if norm(text) and norm(text) in words]
                if hits or j == i + 1:
                    out.append((text, hits))
                    i = j
                    break
    return out


def evidence(row, turns):
    listed = list(dict.fromkeys(row.get("source_interaction_ids") or []))
    said = {i: norm("\n".join(texts(turns[i]))) for i in listed if i in turns}
    found = passages(row.get("source_span"), said)
    quoted = sorted({i for _, hits in found for i in hits})
    return {
        "passages": found,
        "evidence": quoted,
        "window_only": [i for i in said if i not in quoted],
        "gone": [i for i in listed if i not in turns],
        "unresolved": [text for text, hits in found if not hits],
    }


def key(row):
    return row.get("profile_id") or row["user_playbook_id"]


def _born(row):
    return row["user_playbook_id"] if "user_playbook_id" in row else row["last_modified_timestamp"]


def _quotes(row):
    return {
        norm(x)
        for b in blocks(row.get("source_span"))
        for x in (b.split("\n\n") if "user_playbook_id" in row else [b])
        if norm(x)
    }


def successors(old, rows):
    ids, quotes = set(old.get("source_interaction_ids") or []), _quotes(old)
    later = (
        (lambda r: _born(r) > _born(old))
        if "user_playbook_id" in old
        else (
            lambda r: (
                _born(r) >= _born(old) and r["generated_from_request_id"] != old["generated_from_request_id"]
            )
        )
    )
    return [
        r
        for r in rows
        if key(r) != key(old)
        and ids
        and ids <= set(r.get("source_interaction_ids") or [])
        and quotes <= _quotes(r)
        and later(r)
    ]


def case(row, rows, turns, inside):
    seen = evidence(row, turns)
    within, outside = set(seen["evidence"]) & inside, set(seen["evidence"]) - inside
    if outside and not within and not seen["unresolved"]:
        return "window", []
    if not within:
        return "unknown", []
    if not row.get("status"):
        replaced = [
            p
            for p in rows
            if p.get("status") in ("superseded", "merged")
            and any(key(s) == key(row) for s in successors(p, rows))
        ]
        kept = [p for p in replaced if (e := evidence(p, turns)["evidence"]) and not set(e) & inside]
        newest = [p for p in kept if not any(key(s) in {key(k) for k in kept} for s in successors(p, rows))]
        if newest:
            return "replace", newest
    return ("partly" if outside or seen["unresolved"] else "only"), []
