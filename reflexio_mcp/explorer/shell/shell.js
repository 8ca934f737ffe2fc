/**
 * The host of the page in a browser of this machine. It hands the page's calls to the server next to it, which it proves
 * with a key that the one-time token of the address was exchanged for. Stored text goes through it and is never drawn by it.
 */

const view = /** @type {HTMLIFrameElement} */ (document.getElementById("view"));
let key = "";

/** @param {string} text */
function end(text) {
  view.hidden = true;
  /** @type {HTMLElement} */ (document.getElementById("over")).hidden = false;
  /** @type {HTMLElement} */ (document.getElementById("said")).textContent = text;
}

/** @param {string} path @param {object} body */
function post(path, body) {
  const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body), cache: "no-store" });
}

/** @param {object} message */
function send(message) {
  view.contentWindow?.postMessage({ jsonrpc: "2.0", ...message }, "*");
}

/** @param {any} params */
async function call(params) {
  const answer = await post("/call", params);
  if (!answer.ok) throw new Error(`The server refused the call (${answer.status}).`);
  const { result, error } = await answer.json();
  if (error) throw new Error(error);
  return result;
}

/** @param {any} input */
function serve(input) {
  addEventListener("message", async (event) => {
    const { id, method, params = {} } = event.data ?? {};
    if (event.source !== view.contentWindow || event.data?.jsonrpc !== "2.0") return;
    try {
      switch (method) {
        case "ui/initialize":
          send({ id, result: {
            protocolVersion: params.protocolVersion,
            hostInfo: { name: "reflexio-mcp explore", version: "1" },
            hostCapabilities: { serverTools: {}, experimental: { "reflexio-mcp/place": {} } },
            hostContext: { displayMode: "fullscreen", availableDisplayModes: ["fullscreen"], place: location.hash.slice(1) },
          } });
          return;
        case "ui/notifications/initialized":
          send({ method: "ui/notifications/tool-input", params: { arguments: input } });
          return;
        case "reflexio-mcp/place":
          if (location.hash.slice(1) !== params.place) history.pushState(null, "", params.place ? `#${params.place}` : "/");
          return;
        case "tools/call":
          send({ id, result: await call(params) });
          return;
      }
      if (id !== undefined && method) send({ id, error: { code: -32601, message: "Not here." } });
    } catch (error) {
      send({ id, error: { code: -32000, message: error instanceof Error ? error.message : String(error) } });
    }
  });
}

addEventListener("popstate", () => send({ method: "reflexio-mcp/place", params: { place: location.hash.slice(1) } }));

/** The key and the first filter: for the token of the address, or from this tab when the page is reloaded. */
async function unlock() {
  const after = location.hash.slice(1);
  // A place in the page names what it says; a token does not.
  const token = after.includes("=") ? "" : after;
  // The token has done its work once it is read: it stays neither in the address nor in the history.
  if (token) history.replaceState(null, "", "/");
  const opened = token ? await post("/open", { token }) : null;
  if (opened?.ok) sessionStorage.setItem("opened", await opened.text());
  return JSON.parse(sessionStorage.getItem("opened") ?? "null");
}

async function open() {
  const opened = await unlock();
  if (!opened) {
    end("This address works once, in one tab. Run reflexio-mcp explore again.");
    return;
  }
  key = opened.key;
  serve(opened.input);
  view.hidden = false;
  view.src = "/page";
  // Held open for as long as this page is: the server ends with it.
  const alive = await post("/alive", {});
  const reader = alive.body?.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    const lines = (said + part.value).split("\n");
    said = lines.pop() ?? "";
    // Each line says how far the calls that are under way have come.
    for (const [token, message] of lines.flatMap((line) => Object.entries(JSON.parse(line))))
      send({ method: "notifications/progress", params: { progressToken: Number(token), message } });
  }
  end("The server has ended. Run reflexio-mcp explore again.");
}

open().catch(() => end("The server has ended. Run reflexio-mcp explore again."));

export {};
