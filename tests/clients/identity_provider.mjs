// A certified authorization server on loopback: `identity_provider.mjs PORT AUDIENCE jwt|opaque [register]`.
// Whoever signs in is who they say; the access tokens are for AUDIENCE alone. With `register`, clients have to register:
// none is known by a document.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, audience, format, register] = process.argv.slice(2);
const require = createRequire(`${process.env.NODE_MODULES}/x.js`);
const { Provider, errors } = await import(pathToFileURL(require.resolve("oidc-provider")));
const jose = await import(pathToFileURL(require.resolve("jose")));

const { privateKey } = await jose.generateKeyPair("RS256", { extractable: true });
const key = { ...(await jose.exportJWK(privateKey)), kid: `key-${Date.now()}`, use: "sig", alg: "RS256" };

const resource = {
  scope: "memory:read memory:publish memory:delete memory:operator",
  audience,
  accessTokenFormat: format,
  accessTokenTTL: 600,
  jwt: { sign: { alg: "RS256" } },
};
// The document that a client id of this form leads to, in place of the web.
const documents = new Map();
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [key] },
  scopes: ["openid", "offline_access", ...resource.scope.split(" ")],
  cookies: { keys: ["a-key-of-these-tests"] },
  clients: [
    {
      client_id: "memory-server",
      client_secret: "a-secret-of-these-tests",
      grant_types: [],
      response_types: [],
      redirect_uris: [],
    },
  ],
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    clientIdMetadataDocument: { enabled: !register, ack: "draft-02" },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, asked) => {
        if (asked.replace(/\/$/, "") !== audience) throw new errors.InvalidTarget();
        return resource;
      },
    },
  },
  fetch: async (url, options) => {
    const document = documents.get(String(url));
    return document ? Response.json(document) : fetch(url, options);
  },
});
documents.set("https://client.example/reader.json", {
  client_id: "https://client.example/reader.json",
  client_name: "Reader",
  redirect_uris: ["http://127.0.0.1:9/callback"],
  token_endpoint_auth_method: "none",
  grant_types: ["authorization_code"],
  response_types: ["code"],
});
provider.listen(Number(port), "127.0.0.1", () => process.stdout.write("ready\n"));
