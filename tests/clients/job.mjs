// The main job with the official TypeScript clients: `job.mjs sdk|client http|sse URL TOKEN`.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [generation, way, url, token] = process.argv.slice(2);
// The modules stand in NODE_MODULES, where an import from this file would not look.
const require = createRequire(`${process.env.NODE_MODULES}/x.js`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));

const info = { name: "job", version: "1" };
const options = { requestInit: { headers: { Authorization: `Bearer ${token}` } } };
let client, transport;
if (generation === "sdk") {
  const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
  const { SSEClientTransport } = await load("@modelcontextprotocol/sdk/client/sse.js");
  const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");
  client = new Client(info);
  transport = new (way === "sse" ? SSEClientTransport : StreamableHTTPClientTransport)(new URL(url), options);
} else {
  const { Client, SSEClientTransport, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
  client = new Client(info);
  transport = new (way === "sse" ? SSEClientTransport : StreamableHTTPClientTransport)(new URL(url), options);
}

await client.connect(transport);
const call = async (name, args) => {
  const result = await client.callTool({ name, arguments: args });
  assert.ok(!result.isError, JSON.stringify(result));
  return result.structuredContent;
};
const names = (await client.listTools()).tools.map((tool) => tool.name);
assert.ok(names.includes("publish_interaction"), names.join());
const session_id = `${generation}-${way}`;
const interactions = [{ role: "User", content: "hello" }];
const stored = await call("publish_interaction", { user_id: "u", session_id, interactions });
const listed = await call("list_requests", { session_id });
assert.ok(JSON.stringify(listed).includes(stored.request_id));
assert.ok(JSON.stringify(await call("get_request", { request_id: stored.request_id })).includes("hello"));
const plan = await call("delete_session", { session_id });
const done = await call("delete_session", { session_id, confirm: plan.plan.confirm });
assert.equal(done.receipt.deleted.requests, 1);
await client.close();
console.log("job done");
