/** The words of facts for the person at the page. Stored names become elements, never part of a sentence. */

import { stored } from "./dom.js";
import { counted } from "./format.js";

/** @typedef {import("./dom.js").Child} Child */
/** @typedef {{code: string, number?: number, names?: string[], until?: string}} Fact as in `results/facts.py` */

const lastDay = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeZone: "UTC" });

/** What the page says of each fact; `null` where it has a control or a sentence of its own. @type {Record<string, ((fact: Fact) => Child[]) | null>} */
const FACTS = {
  on_hold: (fact) => [
    `${counted(fact.number ?? 0, "item")} ${fact.number === 1 ? "is" : "are"} on hold and ${fact.number === 1 ? "stays" : "stay"}: `, ...names(fact), fact.until ? `, through ${lastDay.format(Date.parse(fact.until))} UTC.` : ".",
  ],
  hold_file: (fact) => ["The operator sets holds in the file ", ...names(fact), "."],
  hold_contact: (fact) => ["About the hold, ask ", ...names(fact), "."],
  unreadable: (fact) => [`${counted(fact.number ?? 0, "request")} cannot be read, so no copy can contain ${fact.number === 1 ? "it" : "them"}. Without a copy, ${fact.number === 1 ? "it" : "they"} can be deleted.`],
  copy_has_secrets: null,
  only_in_copies: (fact) => [`Earlier copies still contain ${counted(fact.number ?? 0, "item")} that ${fact.number === 1 ? "is" : "are"} not stored any more.`],
  copies_of_request_go: () => ["All earlier copies of this request are erased, also of interactions that stay."],
  exports_stay: () => ["Earlier exports are not deleted."],
  copies_sealed: (fact) => [`${counted(fact.number ?? 0, "item")} in recovery copies cannot be read with the key of this server, and stay there.`],
  // The page shows lists, and what is learned from a request, in its own way.
  no_rule: null,
  part_left_out: null,
  rule_off: null,
  few_compared: null,
  newest_asked: null,
  service_silent: null,
  not_answered: null,
  no_learning_here: null,
  only_stored_users: null,
  rest_not_audited: null,
  parts_not_audited: null,
  findings_left_out: null,
  other_filter: null,
  show_findings: null,
  asks_or_plans: null,
  asks: null,
  plans: null,
  acts_at_once: null,
  can_undo: null,
  cannot_undo: null,
  deletes_itself: null,
  holds_set: null,
  ask_about_hold: null,
  no_holds: null,
  records_unreadable: null,
  find_session: null,
  find_request: null,
  erase_unreadable: null,
  list_learnings: null,
  nothing_stored: null,
  nothing_found_yet: null,
  all_words_needed: null,
  whole_names_needed: null,
  case_matters: null,
  part_counted: null,
  longest_of: null,
  more_sessions: null,
  parts_unreadable: null,
  secrets_covered: null,
  formats_not_known: null,
  no_page_shown: null,
  kinds_not_listed: null,
  learnings_not_listed: null,
  users_not_read: null,
  learned_not_known: null,
  learning_waits: null,
  learning_not_begun: null,
  learning_runs: null,
  learning_done: null,
  learning_covered: null,
  learning_failed: null,
  learning_excluded: null,
  learning_pointless: null,
  learning_input_gone: null,
  learning_not_tracked: null,
  learning_unknown: null,
  store_does_not_learn: null,
  deleted_in_page: null,
  restored_in_page: null,
  learnings_deleted_in_page: null,
  learnings_restored_in_page: null,
  stored_secrets: null,
  replaced_secrets: null,
  images_not_compared: null,
  session_finished: null,
};

/** Paragraphs about facts, without those that the page shows in another way. A fact that is given twice is said once.
 * @param {Fact[]} facts @returns {Child[][]} */
export function told(facts) {
  const once = new Map(facts.map((fact) => [JSON.stringify(fact), fact]));
  return [...once.values()].flatMap((fact) => {
    const say = FACTS[fact.code];
    return say ? [say(fact)] : [];
  });
}

/** The names of a fact, separated by commas. @param {Fact} fact @returns {Child[]} */
function names({ names: all = [] }) {
  return all.flatMap((name, at) => [at > 0 && ", ", stored(name)]);
}
