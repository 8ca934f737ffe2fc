// Run one scenario: `node drive.mjs NAME`. Ends with 0 where all of it held.

import { browse } from "./host.mjs";
import * as scenarios from "./scenarios.mjs";

const scenario = scenarios[process.argv[2]];
if (!scenario) throw new Error(`no scenario ${process.argv[2]}`);
const browser = await browse();
try {
  await scenario(browser);
} finally {
  await browser.close();
}
process.exit(0);
