// Play scenarios in one browser: each line of the input is `{name, env}` as JSON, each line of the output says what
// failed in it, and is empty if nothing did.

import { createInterface } from "node:readline";

import { browse, leaveNothing } from "./host.mjs";
import * as scenarios from "./scenarios.mjs";

const own = process.env;
const browser = await browse();
for await (const line of createInterface({ input: process.stdin })) {
  const { name, env } = JSON.parse(line);
  process.env = { ...own, ...env };
  const failure = await scenarios[name](browser).then(() => "", (error) => error.stack);
  await leaveNothing(browser, failure);
  console.log(JSON.stringify(failure));
}
await browser.close();
process.exit(0);
