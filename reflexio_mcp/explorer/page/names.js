/** What things are called on this page, for people who have never heard of a request. */

import { counted, shortened } from "./format.js";

/**
 * @typedef {{name: string, title: string, outside: string, certain: boolean}} RuleWords `name` for badges and lists; `title` as a heading;
 *   `outside` says what to do besides deleting; `certain` is false if a person has to judge
 */

/** Findings to judge. @type {Record<string, RuleWords>} */
const RULES = {
  "probable-secret": {
    name: "Key or password", title: "A key or password, most likely", certain: true,
    outside: "Anybody who can read this memory may have it. Get a new one where you got it: deleting it here does not make the old one useless.",
  },
  "possible-secret": {
    name: "Perhaps a key", title: "This may be a key or password", certain: false,
    outside: "If it is one, get a new one where you got it: deleting it here does not make the old one useless.",
  },
  "prompt-injection": {
    name: "Suspicious text", title: "This text tries to instruct your assistant, most likely", certain: true,
    outside: "Find out where it comes from: a page or a file that the assistant read, perhaps.",
  },
  "possible-prompt-injection": {
    name: "Suspicious text", title: "This text may be trying to instruct your assistant", certain: false,
    outside: "Somebody may have quoted it on purpose. Read it and judge.",
  },
  "personal-data": {
    name: "Personal data", title: "This may identify a person", certain: false,
    outside: "Whether it may be kept depends on what was agreed with that person.",
  },
  duplicate: {
    name: "Duplicate", title: "The same words are stored twice", certain: false,
    outside: "One of the two is enough. Deleting the second loses nothing that was said.",
  },
  expired: {
    name: "Past its date", title: "This should have been deleted by now", certain: true,
    outside: "The operator's policy says how long it may be kept.",
  },
  "test-traffic": {
    name: "Looks like tests", title: "Looks like tests, not like people", certain: false,
    outside: "Let the tests write to a memory of their own.",
  },
  "temporary-session": {
    name: "Meant to be temporary", title: "This was meant to be temporary", certain: false,
    outside: "The program that kept it may have forgotten to delete it.",
  },
};

/** Names of findings that nobody judges. @type {Record<string, string>} */
const OTHERS = { "shared-session": "Several people", "unclear-metadata": "Unclear app", "learning-waiting": "Waiting" };

/** @param {string} rule @returns {RuleWords} */
export function ruleWords(rule) {
  const known = RULES[rule];
  if (known) return known;
  const words = OTHERS[rule] ?? rule.replaceAll("-", " ");
  const name = words.charAt(0).toUpperCase() + words.slice(1);
  return { name, title: name, outside: "", certain: false };
}

/** Findings that a copy would keep. */
export const SECRETS = ["probable-secret", "possible-secret"];

/** Findings to judge. The others are about how conversations are kept, not about what was said. */
export const TO_REVIEW = [
  "probable-secret", "prompt-injection", "possible-secret", "possible-prompt-injection", "personal-data", "expired", "temporary-session", "test-traffic", "duplicate",
];

/** @param {string[]} users */
export function peopleWords(users) {
  const first = users.slice(0, 3).map((user) => shortened(user)).join(", ");
  return users.length > 3 ? `${first} and ${users.length - 3} more` : first;
}

/** @typedef {"fact" | "help" | "rule"} Kind */

/** What one learned thing is, as a label. @param {Kind} kind @param {string} who */
export function kindWords(kind, who) {
  if (kind === "rule") return "Shared rule, used for everyone";
  const about = who || "you";
  return kind === "fact" ? `Fact about ${about}` : `How to help ${about}`;
}

/** @type {Record<Kind, string>} */
export const KIND_NAMES = { fact: "Fact", help: "How to help", rule: "Shared rule" };

/** What becomes of learning from a request; nothing if it was learned from. @param {string} fact the fact's code */
export function learningWords(fact) {
  switch (fact) {
    case "learning_waits":
    case "learning_not_begun":
    case "learning_runs": return "Waiting to be learned.";
    case "learning_failed": return "Learning from this failed.";
    default: return "";
  }
}

/** `14 messages and 2 learned things`, leaving out what is none. @param {number} messages @param {number} learned */
export function goingWords(messages, learned) {
  const parts = [messages > 0 && counted(messages, "message"), learned > 0 && counted(learned, "learned thing")].filter(Boolean);
  return parts.join(" and ") || "nothing";
}
