// What the page says of facts: `node page_words.mjs FOLDER` reads them as JSON and prints a line for each paragraph.
// Stored names are elements there; here they stand in ⟦brackets⟧.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const { told, refusedBecause } = await import(join(process.argv[2], "words.js"));
const { facts, status } = JSON.parse(readFileSync(0, "utf-8"));
const paragraphs = told(facts).map((said) => said.map((part) => (typeof part === "string" ? part : `⟦${part.name}⟧`)).join(""));
console.log([refusedBecause(status), ...paragraphs].filter(Boolean).join("\n"));
