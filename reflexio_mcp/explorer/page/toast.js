/** One notice for a job: running with numbers, done, or half done. It stays until it is used or closed. */

import { closeJob, openConversation, stopJob, undo } from "./actions.js";
import { counted, number } from "./format.js";
import { can, state } from "./state.js";
import { Button, Facts, html, Icon, IconButton } from "./view.js";

export function Toast() {
  const { job } = state;
  if (!job) return null;
  const { phase, title, notes, facts, done, total, step, stopping, numbers, goOn, undo: undoWords, back } = job;
  const running = phase === "running";
  const bad = phase === "half" || phase === "failed";
  const soft = running ? [stopping ? "Stopping after this part." : step, "You can go on working. Keep this window open."].filter(Boolean) : notes;
  const shown = state.part === "conversations" && state.opened?.session === back;
  const undoable = !running && numbers.length > 0 && can("restore_requests");
  return html`<div class=${`toast ${phase}`} id="toast">
    ${!running && html`<${Icon} name=${bad ? "warn" : "check"} />`}
    <div role=${bad ? "alert" : "status"} class="words"><p class="title">${title}${running && total > 1 && done > 0 && html`<span class="soft">, ${number(done)} of ${counted(total, "question")} done</span>`}</p>
      ${soft.map((text) => html`<p class="soft" key=${text}>${text}</p>`)}
      ${!running && html`<${Facts} facts=${facts} />`}</div>
    ${running && stopping === false && html`<${Button} onClick=${stopJob}>Stop<//>`}
    ${undoable && html`<${Button} class=${phase === "done" ? "strong" : ""} onClick=${() => undo([...numbers], job.rows)}>${undoWords}<//>`}
    ${goOn && html`<${Button} class="strong" onClick=${goOn}>Go on<//>`}
    ${back && phase === "done" && !shown && state.index.ofSession(back).length > 0 && html`<${Button} onClick=${() => openConversation(back)}>Show<//>`}
    ${!running && html`<${IconButton} icon="close" class="little" label="Close this notice" onClick=${closeJob} />`}
    ${running && html`<progress aria-label=${title} max=${total > 1 ? total : undefined} value=${total > 1 ? done : undefined}></progress>`}
  </div>`;
}
