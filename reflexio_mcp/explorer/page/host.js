/**
 * The messages between this page and the host that shows it: JSON-RPC 2.0 over `postMessage`, as the MCP Apps
 * specification (revision 2026-01-26, extension `io.modelcontextprotocol/ui`) defines them. No other file knows them.
 */

import { plain, told } from "./words.js";

/**
 * @typedef {{content?: {type: string, text?: string}[], structuredContent?: any, isError?: boolean,
 *   _meta?: Record<string, any>}} ToolResult
 * @typedef {{theme?: "light" | "dark", styles?: {variables?: Record<string, string | undefined>},
 *   displayMode?: string, availableDisplayModes?: string[], timeZone?: string,
 *   containerDimensions?: {height?: number, maxHeight?: number, width?: number, maxWidth?: number},
 *   safeAreaInsets?: {top: number, right: number, bottom: number, left: number}, place?: string}} HostContext
 *   `place` is the part of the host's address that names a view of the page
 * @typedef {{serverTools?: object, updateModelContext?: object, experimental?: Record<string, object>}} Capabilities
 * @typedef {{resolve: (value: any) => void, reject: (error: Error) => void}} Waiting
 * @typedef {{step: string, done?: number, total?: number}} Progress as in `results/progress.py`
 * @typedef {(progress: Progress) => void} OnProgress
 * @typedef {{dressed: (context: HostContext) => void, moved: (place: string) => void}} Listener
 */

const PROTOCOL = "2026-01-26";

/** Key of `_meta` under which a call says that this page made it. */
const PAGE_KEY = "reflexio-mcp/page";

/** Key of `_meta` under which a failure has its facts. */
const FACTS_KEY = "reflexio-mcp/facts";

/** Key of `_meta` under which progress has its step and numbers. */
const PROGRESS_KEY = "reflexio-mcp/progress";

/** A host that has not answered the first message by now shows no apps. */
const ANSWER_MS = 10_000;

/** Key with which a host offers to keep the page's view in its address. */
const PLACE_KEY = "reflexio-mcp/place";

/** @param {ToolResult} result */
function textOf(result) {
  return (result.content ?? []).map((part) => part.text ?? "").join("\n").trim();
}

/** A failed call of a tool. Its facts are in `_meta`, since the result of a failure has no structured content. */
export class Failure extends Error {
  /** @param {ToolResult} result */
  constructor(result) {
    super(textOf(result) || "The server could not answer.");
    /** @type {import("./words.js").Fact[]} */
    this.facts = result._meta?.[FACTS_KEY] ?? [];
  }
}

/** What happened, for a person: the words of a failure's facts, or the message. @param {unknown} error */
export function messageOf(error) {
  const said = error instanceof Failure ? told(error.facts).map(plain).join(" ") : "";
  return said || (error instanceof Error ? error.message : String(error));
}

class Host {
  constructor() {
    /** @type {Window | null} */
    this.target = null;
    /** @type {Listener} */
    this.listener = { dressed: () => {}, moved: () => {} };
    /** @type {Map<number, Waiting>} */
    this.waiting = new Map();
    /** @type {Map<number, OnProgress>} */
    this.progress = new Map();
    this.last = 0;
    /** @type {Capabilities} */
    this.capabilities = {};
    /** @type {HostContext} */
    this.context = {};
    /** Proof that the server gave this page its data. Every call returns it. */
    this.pass = "";
    /** @type {(input: Record<string, any>) => void} */
    this.oninput = () => {};
    /** The arguments of the tool that opened the page. @type {Promise<Record<string, any>>} */
    this.input = new Promise((resolve) => {
      this.oninput = resolve;
    });
  }

  /** Introduce this page. Rejects if the host does not answer. @param {Listener} listener */
  async connect(listener) {
    this.listener = listener;
    this.target = window.parent;
    window.addEventListener("message", (event) => this.receive(event));
    const asked = this.request("ui/initialize", {
      protocolVersion: PROTOCOL,
      appInfo: { name: "reflexio-mcp-explorer", version: "1" },
      appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    });
    const late = new Promise((_, reject) => {
      setTimeout(() => reject(new Error("No host answers this page.")), ANSWER_MS);
    });
    const answer = await Promise.race([asked, late]);
    this.capabilities = answer.hostCapabilities ?? {};
    this.notify("ui/notifications/initialized", {});
    this.merge(answer.hostContext ?? {});
  }

  /** Call a tool. @param {string} name @param {Record<string, any>} given @param {OnProgress} [onprogress] @returns {Promise<ToolResult>} */
  async call(name, given, onprogress) {
    const id = this.last + 1;
    if (onprogress) this.progress.set(id, onprogress);
    /** @type {Record<string, any>} */
    const meta = onprogress ? { progressToken: id } : {};
    if (this.pass) meta[PAGE_KEY] = this.pass;
    try {
      const result = await this.request("tools/call", { name, arguments: given, _meta: meta });
      this.pass = result._meta?.[PAGE_KEY] ?? this.pass;
      return result;
    } finally {
      this.progress.delete(id);
    }
  }

  /** Call a tool and return its structured content. Throws its text if it fails. @param {string} name @param {Record<string, any>} given */
  async ask(name, given) {
    const result = await this.call(name, given);
    if (result.isError) throw new Failure(result);
    return result.structuredContent ?? {};
  }

  /** Tell the model something, without speaking for the person. Hosts may drop the message. @param {string} text */
  tell(text) {
    const update = { content: [{ type: "text", text }] };
    // The server repeats the message with the next tool result.
    if (this.capabilities.updateModelContext) this.request("ui/update-model-context", update).catch(() => {});
  }

  /** Let the host keep the page's view in its address. @param {string} place */
  remember(place) {
    if (this.keepsPlaces()) this.notify(PLACE_KEY, { place });
  }

  /** Go back to the view before, which the host names then. */
  goBack() {
    this.notify(PLACE_KEY, { back: true });
  }

  keepsPlaces() {
    return Boolean(this.capabilities.experimental?.[PLACE_KEY]);
  }

  /** @param {"inline" | "fullscreen"} mode */
  async show(mode) {
    const answer = await this.request("ui/request-display-mode", { mode });
    this.merge({ displayMode: answer.mode });
  }

  /** @param {string} method @param {object} params @returns {Promise<any>} */
  request(method, params) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.target?.postMessage({ jsonrpc: "2.0", id, method, params }, "*");
    });
  }

  /** @param {string} method @param {object} params */
  notify(method, params) {
    this.target?.postMessage({ jsonrpc: "2.0", method, params }, "*");
  }

  /** @param {HostContext} part */
  merge(part) {
    this.context = { ...this.context, ...part };
    this.listener.dressed(this.context);
  }

  /** @param {MessageEvent} event */
  receive(event) {
    const message = event.data;
    // Only the frame's parent is the host, but other windows can send messages too.
    if (event.source !== this.target || !this.target || message?.jsonrpc !== "2.0") return;
    if (message.method === undefined) {
      const waiting = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (message.error) waiting?.reject(new Error(String(message.error.message ?? "refused")));
      else waiting?.resolve(message.result ?? {});
      return;
    }
    const params = message.params ?? {};
    switch (message.method) {
      case "ui/notifications/tool-input":
        this.oninput(params.arguments ?? {});
        return;
      case "ui/notifications/tool-result":
        this.pass = params._meta?.[PAGE_KEY] ?? this.pass;
        return;
      case "ui/notifications/host-context-changed":
        this.merge(params);
        return;
      case PLACE_KEY:
        this.listener.moved(String(params.place ?? ""));
        return;
      case "notifications/progress": {
        const progress = params._meta?.[PROGRESS_KEY];
        if (progress) this.progress.get(params.progressToken)?.(progress);
        return;
      }
    }
    if (message.id === undefined) return;
    const known = ["ui/resource-teardown", "ping"].includes(message.method);
    const answer = known ? { result: {} } : { error: { code: -32601, message: "This page has no such method." } };
    this.target?.postMessage({ jsonrpc: "2.0", id: message.id, ...answer }, "*");
  }
}

export const host = new Host();
