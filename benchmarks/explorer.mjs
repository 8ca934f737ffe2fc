// Times of the explorer's page in a real Chromium, printed as JSON: `node explorer.mjs`, as `explorer.py` runs it.

import { browse, connect, explore, settled } from "../tests/explorer/host.mjs";

const ROUNDS = 3;
const STEPS = 120;
// As high as the table of 10,000 requests, and nothing in it.
const EMPTY = `<!doctype html><title>Empty</title>
<div id="grid" style="height:100vh;overflow:auto"><div style="height:72000px">Nothing</div></div>
<script type="module">for (const name of ["ready", "data", "usable"]) performance.mark("explorer-" + name);</script>`;

/** From the last byte to the first paint, and until the first rows can be used, without the server's time for them. */
function times() {
  const at = (name) => performance.getEntriesByName(name)[0].startTime;
  const loaded = performance.getEntriesByType("navigation")[0].responseEnd;
  return {
    paint: at("first-contentful-paint") - loaded,
    usable: at("explorer-ready") - loaded + at("explorer-usable") - at("explorer-data"),
  };
}

/** Scroll the table from top to bottom; the longest time between two frames. */
async function scroll(steps) {
  const grid = document.getElementById("grid");
  const whole = grid.scrollHeight - grid.clientHeight;
  let longest = 0;
  let last = 0;
  for (let step = 0; step <= steps; step += 1) {
    grid.scrollTop = (whole * step) / steps;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    if (step > 1) longest = Math.max(longest, now - last);
    last = now;
  }
  return longest;
}

/** What the page's thread worked at the most from one frame to the next, in its own time, which others do not slow. */
function mostWork(events) {
  const drawn = events.filter((one) => one.name === "FireAnimationFrame").sort((a, b) => a.ts - b.ts);
  const tasks = events.filter((one) => one.name === "RunTask" && one.pid === drawn[0].pid && one.tid === drawn[0].tid);
  const frames = drawn.slice(1).map((frame, index) => tasks
    .filter((task) => task.ts >= drawn[index].ts && task.ts < frame.ts)
    .reduce((work, task) => work + (task.tdur ?? 0), 0));
  return Math.max(...frames) / 1_000;
}

async function measured(view) {
  await view.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length);
  const events = [];
  const take = ({ value }) => events.push(...value);
  tracing.on("Tracing.dataCollected", take);
  await tracing.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: { includedCategories: ["devtools.timeline", "disabled-by-default-devtools.timeline"] },
  });
  const frame = await view.evaluate(scroll, STEPS);
  const complete = new Promise((resolve) => tracing.once("Tracing.tracingComplete", resolve));
  await tracing.send("Tracing.end");
  await complete;
  tracing.off("Tracing.dataCollected", take);
  return { ...(await view.evaluate(times)), frame, work: mostWork(events) };
}

/** The best of all rounds: what else this machine does only ever makes a page slower. */
const best = (those) => Object.fromEntries(
  Object.keys(those[0]).map((name) => [name, Math.min(...those.map((one) => one[name]))]),
);

const browser = await browse();
const tracing = await browser.newBrowserCDPSession();
const client = await connect();
const [ours, empty] = [[], []];
for (let round = 0; round < ROUNDS; round += 1) {
  const it = await explore(browser, client);
  await settled(it.view);
  await it.looked();
  ours.push(await measured(it.view));
  const page = await it.context.newPage();
  await page.route("http://empty.test/", (route) => route.fulfill({ contentType: "text/html", body: EMPTY }));
  await page.goto("http://empty.test/");
  empty.push(await measured(page));
  await it.context.close();
}
console.log(JSON.stringify({ ours: best(ours), empty: best(empty) }));
await browser.close();
process.exit(0);
