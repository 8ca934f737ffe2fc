/** The page: everything is drawn here from the state, and drawn again when it changes. */

import { changeLearned, closeConversation, lookQuietly, moveTo, openFinding, openPage, showKeys, toHit } from "./actions.js";
import { Conversation } from "./conversation.js";
import { Clock } from "./format.js";
import { host, messageOf } from "./host.js";
import { Learned, LearnedSelection } from "./learned.js";
import { Blank, List, Selection } from "./list.js";
import { Review } from "./review.js";
import { Sheet } from "./sheets.js";
import { can, drawWith, state, update } from "./state.js";
import { Toast } from "./toast.js";
import { ToolBand, TopBand } from "./toolbar.js";
import { Component, render } from "./vendor/preact.js";
import { html } from "./view.js";

const INLINE_HEIGHT = 680;
/** How often the page looks whether something has changed. */
const LOOK_MS = 60_000;

class App extends Component {
  componentDidMount() {
    document.addEventListener("focusin", (event) => {
      this.focused = /** @type {HTMLElement} */ (event.target);
    });
  }

  componentDidUpdate() {
    // The focus would fall to the body if what had it is gone, such as a row after a deletion.
    if (!this.focused || this.focused.isConnected || state.sheet) return;
    this.focused = null;
    /** @type {HTMLElement | null} */ (document.querySelector('.list .title[tabindex="0"], .list .title, .tab[aria-current]'))?.focus({ preventScroll: true });
  }

  render() {
    const { part, opened, index, matched, sheet, spoken } = state;
    const empty = part === "conversations" && matched.sessions.length === 0 && !opened;
    const deep = part === "conversations" ? opened : part === "learned" ? state.learned.open : state.review.open;
    return html`<div class=${`page ${part} ${deep ? "deep" : ""} ${can("list_learnings") ? "" : "unlearned"}`}>
      <${TopBand} />
      ${(index.rows.size > 0 || state.filter.words || part === "learned") && html`<${ToolBand} />`}
      ${part === "review" ? html`<${Review} />` : part === "learned" ? html`<${Learned} />`
        : empty ? html`<main class="main"><${Blank} /></main>`
          : html`<main class=${`main ${opened ? "split open" : ""}`}>${matched.sessions.length ? html`<${List} open=${Boolean(opened)} />` : html`<${Blank} />`}${opened && html`<${Conversation} />`}</main>`}
    </div>
    <aside class="dock" aria-label="Notices"><${Toast} /><${Selection} /><${LearnedSelection} /></aside>
    <p class="spoken" role="status" aria-live="polite">${spoken}</p>
    ${sheet && html`<${Sheet} key="sheet" />`}`;
  }
}

/** @param {KeyboardEvent} event */
function key(event) {
  const { target } = event;
  const typing = target instanceof HTMLInputElement && target.type !== "checkbox" || target instanceof HTMLTextAreaElement;
  if (event.ctrlKey || event.metaKey || event.altKey || state.sheet || state.menu) return;
  if (event.key === "Escape" && !typing) {
    if (state.part === "conversations" && state.opened) closeConversation();
    else if (state.part === "learned") changeLearned({ open: "" });
    else if (state.part === "review") openFinding("");
    else return;
  } else if (typing) return;
  else if (event.key === "/") document.getElementById("words")?.focus();
  else if (event.key === "?") showKeys();
  else if (event.key === "n" && state.opened) toHit(1);
  else if (event.key === "p" && state.opened) toHit(-1);
  else return;
  event.preventDefault();
}

/** Apply the host's colours, fonts, zone and size. @param {import("./host.js").HostContext} context */
function dressed(context) {
  const root = document.documentElement;
  if (context.theme) root.dataset.theme = context.theme;
  for (const [name, value] of Object.entries(context.styles?.variables ?? {})) {
    if (name.startsWith("--") && value !== undefined) root.style.setProperty(name, value);
  }
  if (context.timeZone && context.timeZone !== state.clock.timeZone) update({ clock: new Clock(context.timeZone) });
  const insets = context.safeAreaInsets;
  if (insets) document.body.style.padding = `${insets.top}px ${insets.right}px ${insets.bottom}px ${insets.left}px`;
  const room = context.containerDimensions ?? {};
  const full = context.displayMode === "fullscreen";
  const fills = room.height !== undefined || full;
  const height = fills ? "" : `${Math.min(INLINE_HEIGHT, room.maxHeight ?? INLINE_HEIGHT)}px`;
  // Some hosts read the document's height instead of the message.
  root.style.height = height;
  document.body.style.height = height;
  if (height) host.notify("ui/notifications/size-changed", { width: root.clientWidth, height: Number.parseFloat(height) });
  update();
}

async function start() {
  const place = /** @type {Element} */ (document.getElementById("app"));
  drawWith(() => render(html`<${App} tick=${performance.now()} />`, place));
  update();
  document.addEventListener("keydown", key);
  try {
    await host.connect({ dressed, moved: moveTo });
  } catch (error) {
    update({ loading: "", problem: `${messageOf(error)} Open this page from an assistant, or with "reflexio-mcp explore".` });
    return;
  }
  // A host that shows an old conversation may have forgotten the arguments.
  const late = new Promise((resolve) => setTimeout(() => resolve({}), 1_000));
  const given = await Promise.race([host.input, /** @type {Promise<Record<string, any>>} */ (late)]);
  performance.mark("explorer-asks");
  window.addEventListener("focus", () => void lookQuietly());
  setInterval(() => {
    if (document.visibilityState === "visible") void lookQuietly();
  }, LOOK_MS);
  await openPage(given);
}

void start();
