// A host for the explorer's page: the official AppBridge, the official client, a real Chromium, the real server.
//
// The bridge runs here and not in the host's web page; the page only passes messages on. Nothing is fetched: what the
// browser asks for is answered from memory, and what it asks for besides is an error that `problems` holds.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const modules = process.env.NODE_MODULES;
const require_ = createRequire(`${modules}/anything.js`);
const load = (name) => import(pathToFileURL(require_.resolve(name)).href);
const resolveFile = (path) => import(pathToFileURL(`${modules}/${path}`).href);

const { chromium } = require_("playwright-core");
const { Client } = await resolveFile("@modelcontextprotocol/client/dist/index.mjs");
const { StdioClientTransport } = await resolveFile("@modelcontextprotocol/client/dist/stdio.mjs");
const { AppBridge } = await resolveFile("@modelcontextprotocol/ext-apps/dist/src/app-bridge.js");

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
];

/** However busy the machine is: it costs time only where a test fails. */
export const PATIENCE_MS = 90_000;

const HOST_URL = "http://host.test/";
// Another origin of the same site: without a site in common the browser would keep storage from it.
const VIEW_URL = "http://view.host.test/";

// The frame has the policy that the specification sets where a page asks for no domain, beside the page's own.
const POLICY = [
  "default-src 'none'", "script-src 'self' 'unsafe-inline'", "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:", "media-src 'self' data:", "connect-src 'none'",
].join("; ");

const HOST_PAGE = `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Host</title>
<style>html,body{margin:0;height:100%}iframe{border:0;display:block;width:100%;height:100%}</style>
<iframe id="view" title="View" sandbox="allow-scripts allow-same-origin allow-forms"></iframe>
<script>
  const view = document.getElementById("view");
  addEventListener("message", (event) => {
    if (event.source === view.contentWindow) fromView(JSON.stringify(event.data));
  });
  window.toView = (text) => view.contentWindow.postMessage(JSON.parse(text), "*");
</script>`;

/** What ends a server or a command that a scenario started. */
const running = new Set();

/** The servers of stores that scenarios only look at, by their settings: a start costs more than most scenarios. */
const kept = new Map();

export const browse = () => chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, args: FLAGS });

/** End what a scenario left open because it failed. */
export async function leaveNothing(browser, failed) {
  if (failed) kept.clear();
  for (const context of browser.contexts()) await context.close();
  for (const end of running) await end();
  running.clear();
}

/** Connect the official client to a server of its own. */
export async function connect({ env = {}, forms, extensions = true } = {}) {
  const settings = process.env.ONLY_LOOKED_AT && JSON.stringify({ env, extensions });
  if (kept.has(settings)) return kept.get(settings);
  const client = new Client(
    { name: "explorer-host", version: "1" },
    {
      capabilities: {
        ...(forms ? { elicitation: { form: {} } } : {}),
        ...(extensions ? { extensions: { "io.modelcontextprotocol/ui": { mimeTypes: ["text/html;profile=mcp-app"] } } } : {}),
      },
    },
  );
  if (forms) client.setRequestHandler("elicitation/create", async (request) => forms(request.params));
  const [command, ...args] = JSON.parse(process.env.SERVER);
  const transport = new StdioClientTransport({ command, args, env: { ...process.env, ...env }, stderr: "ignore" });
  if (!settings) running.add(() => client.close());
  await client.connect(transport);
  if (settings) {
    kept.set(settings, client);
    client.close = async () => {};
  }
  return client;
}

class Relay {
  constructor(page) {
    this.page = page;
    this.sent = [];
    this.findings = new Set();
    // Of all that the page asks for of itself, findings are the last.
    this.looked = Promise.withResolvers();
  }
  async start() {}
  async send(message) {
    this.sent.push(message);
    await this.page.evaluate((text) => window.toView(text), JSON.stringify(message));
    if (this.findings.has(message.id) && "result" in message && !message.result.structuredContent?.cursor) this.looked.resolve();
  }
  receive(message) {
    if (message.params?.arguments?.view === "findings") this.findings.add(message.id);
    this.onmessage?.(message);
  }
  async close() {
    this.onclose?.();
  }
}

/**
 * Show the explorer as a host does: call the tool, read its page, hand over input and result.
 * With `ownClock`, its time goes on as ever, and can be sent forward.
 * Returns what a test needs: `view` (the frame), `page`, `bridge`, `messages` to the model, `calls`, `problems`.
 */
export async function explore(browser, client, {
  input = {}, width = 1280, height = 720, theme = "light", context = {}, intercept, media = {}, ownClock = false,
} = {}) {
  const { tools } = await client.listTools();
  const tool = tools.find((one) => one.name === "explore_traffic");
  const uri = tool._meta.ui.resourceUri;
  const { contents: [resource] } = await client.readResource({ uri });
  const made = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: "reduce", ...media });
  const problems = [];
  await made.route("**/*", (route) => {
    const url = route.request().url();
    if (url === HOST_URL) return route.fulfill({ contentType: "text/html", body: HOST_PAGE });
    if (url === VIEW_URL)
      return route.fulfill({ contentType: "text/html", body: resource.text, headers: { "content-security-policy": POLICY } });
    if (!url.endsWith("favicon.ico")) problems.push(`asked for ${url}`);
    return route.abort();
  });
  made.setDefaultTimeout(PATIENCE_MS);
  if (ownClock) await made.clock.install();
  const page = await made.newPage();
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !message.text().includes("can escape its sandboxing")) problems.push(`${message.type()}: ${message.text()}`);
  });
  page.on("dialog", (dialog) => { problems.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });

  const calls = [];
  const messages = [];
  const sizes = [];
  const bridge = new AppBridge(
    null, { name: "explorer-host", version: "1" },
    { serverTools: {}, message: { text: {} }, updateModelContext: { text: {} } },
    {
      hostContext: {
        theme, displayMode: "inline", availableDisplayModes: ["inline", "fullscreen"], timeZone: "UTC",
        containerDimensions: { width, height }, ...context,
      },
    },
  );
  bridge.oncalltool = async (params) => {
    calls.push(params);
    const forward = () => client.callTool(params, { timeout: 4 * PATIENCE_MS });
    const answered = intercept && await intercept(params, forward);
    return answered ?? await forward();
  };
  /** Wait until the page has looked for everything that it looks for of itself, and has drawn what was found. */
  const looked = async () => {
    await relay.looked.promise;
    // A message of its own comes after the answer.
    await page.frame({ url: VIEW_URL }).evaluate(() => new Promise((resolve) => {
      addEventListener("message", (event) => event.data === "looked" && resolve());
      postMessage("looked");
    }));
  };
  bridge.onmessage = async () => { problems.push("the page spoke for the person"); return {}; };
  bridge.onupdatemodelcontext = async ({ content }) => { messages.push(content[0].text); return {}; };
  bridge.onrequestdisplaymode = async ({ mode }) => { bridge.sendHostContextChange({ displayMode: mode }); return { mode }; };
  bridge.onsizechange = (size) => sizes.push(size);
  const relay = new Relay(page);
  await page.exposeFunction("fromView", (text) => relay.receive(JSON.parse(text)));
  await page.goto(HOST_URL);
  const ready = new Promise((resolve, reject) => {
    bridge.oninitialized = resolve;
    page.on("pageerror", reject);
  });
  await bridge.connect(relay);
  await page.evaluate((url) => { document.getElementById("view").src = url; }, VIEW_URL);
  await ready;
  await bridge.sendToolInput({ arguments: input });
  const told = await client.callTool({ name: "explore_traffic", arguments: input });
  await bridge.sendToolResult(told);
  const view = page.frame({ url: VIEW_URL });
  return { page, view, bridge, relay, calls, messages, sizes, problems, result: told, resource, tool, looked, context: made };
}

/** Wait until the page has read everything. */
export async function settled(view) {
  await view.waitForFunction(() => {
    const text = document.getElementById("summary")?.textContent ?? "";
    return (text || document.querySelector(".blank .big")) && !/^Reading|reading on|searching|Searching/.test(text);
  });
}

/** What axe finds, of any grade. */
export async function axe(view) {
  const source = require_("node:fs").readFileSync(`${modules}/axe-core/axe.min.js`, "utf8");
  await view.evaluate(source);
  // Colours count once the page is at rest; a sheet fades in.
  await view.waitForFunction(() => document.getAnimations().every((one) => one.playState !== "running"));
  const { violations } = await view.evaluate(() => window.axe.run(document, {
    resultTypes: ["violations"], rules: { "target-size": { enabled: true } },
  }));
  return violations.map((one) => `${one.impact} ${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary ?? ""}`).slice(0, 3).join(" | ")}`);
}

/** Run `reflexio-mcp explore` and open what it says in the browser. `ended` resolves to its exit code. */
export async function command(browser, ...flags) {
  const [program, ...args] = JSON.parse(process.env.SERVER);
  // A browser of its own is not opened: the program of this name does nothing.
  const child = require_("node:child_process").spawn(program, [...args, "explore", ...flags], {
    env: { ...process.env, BROWSER: "true" }, stdio: ["ignore", "pipe", "inherit"],
  });
  running.add(() => child.kill());
  const ended = new Promise((resolve) => child.on("exit", resolve));
  let said = "";
  const address = await new Promise((resolve, reject) => {
    child.on("exit", () => reject(new Error(`it ended: ${said}`)));
    child.stdout.on("data", (text) => {
      said += text;
      const found = /http:\S+/.exec(said);
      if (found) resolve(found[0]);
    });
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 720 } });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(`${message.type()}: ${message.text()}`);
  });
  await page.goto(address);
  await page.waitForSelector("#view:not([hidden])");
  const view = page.frame({ url: /\/page$/ }) ?? await page.waitForEvent("framenavigated").then((frame) => frame);
  await settled(view);
  return { view, page, context, address, ended, problems, pid: child.pid };
}
