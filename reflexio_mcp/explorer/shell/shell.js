/**
 * The host of the page in a browser of this machine. It passes the page's calls to the local server, with a key that it
 * got for the one-time token of the address. It draws no stored text.
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

/** Return the key and the first filter: for the token of the address, or from this tab after a reload. */
async function unlock() {
  const after = location.hash.slice(1);
  // The address of a view contains an equals sign; a token does not.
  const token = after.includes("=") ? "" : after;
  // The token is removed from the address and the history.
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
  // This call stays open as long as the page: its end stops the server.
  const alive = await post("/alive", {});
  const reader = alive.body?.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    const lines = (said + part.value).split("\n");
    said = lines.pop() ?? "";
    // Each line contains the progress of running calls.
    for (const params of lines.flatMap((line) => JSON.parse(line))) send({ method: "notifications/progress", params });
  }
  end("The server has ended. Run reflexio-mcp explore again.");
}

open().catch(() => end("The server has ended. Run reflexio-mcp explore again."));

export {};
