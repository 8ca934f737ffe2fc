// Signs in and works with the official TypeScript client: `sign_in.mjs URL`. It prints the address at which the person
// signs in and reads from standard input where the browser was sent back to.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const url = new URL(process.argv[2]);
const require = createRequire(`${process.env.NODE_MODULES}/x.js`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { UnauthorizedError } = await load("@modelcontextprotocol/sdk/client/auth.js");

let information, tokens, verifier, address;
const authProvider = {
  redirectUrl: "http://127.0.0.1:9/callback",
  clientMetadata: {
    client_name: "job",
    redirect_uris: ["http://127.0.0.1:9/callback"],
    token_endpoint_auth_method: "none",
    grant_types: ["authorization_code"],
    response_types: ["code"],
  },
  clientInformation: () => information,
  saveClientInformation: (given) => void (information = given),
  tokens: () => tokens,
  saveTokens: (given) => void (tokens = given),
  redirectToAuthorization: (given) => void (address = given),
  saveCodeVerifier: (given) => void (verifier = given),
  codeVerifier: () => verifier,
};

const first = new StreamableHTTPClientTransport(url, { authProvider });
await assert.rejects(new Client({ name: "job", version: "1" }).connect(first), UnauthorizedError);
process.stdout.write(`${address}\n`);
const [line] = await new Promise((resolve) => createInterface(process.stdin).once("line", (...all) => resolve(all)));
await first.finishAuth(new URL(line).searchParams.get("code"));

const client = new Client({ name: "job", version: "1" });
await client.connect(new StreamableHTTPClientTransport(url, { authProvider }));
const call = async (name, args) => {
  const result = await client.callTool({ name, arguments: args });
  assert.ok(!result.isError, JSON.stringify(result));
  return result.structuredContent;
};
const stored = await call("publish_interaction", {
  user_id: "ann",
  session_id: "by-typescript",
  interactions: [{ role: "User", content: "hello" }],
});
assert.equal(stored.user_id, "ann");
const plan = await call("delete_session", { session_id: "by-typescript" });
const receipt = await call("delete_session", { session_id: "by-typescript", confirm: plan.plan.confirm });
assert.equal(receipt.receipt.deleted.requests, 1);
await client.close();
process.stdout.write("done\n");
process.exit(0);
