// What a person does to alerts: one request each, told what the log decided.
"use strict";

const acting = {
  undoable: JSON.parse(sessionStorage.getItem("undoable") || "[]"),

  // Resolves to [{alert_id, accepted, reason}]; says what happened.
  async send(rows, kind, more = {}) {
    if (!tillstream.mayAct) {
      tillstream.toast("You may look, not act. Ask an admin for another role.", "bad");
      return [];
    }
    const actions = rows.map((row) => ({
      alert_id: row.dataset.id,
      kind,
      based_on: Number(row.dataset.revision),
      seen: Number(row.dataset.version),
      ...more,
    }));
    return acting.post(actions, rows.length);
  },

  async post(actions, count) {
    let answer;
    try {
      const reply = await fetch("/api/v1/actions", {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          "X-CSRF-Token": tillstream.csrf,
          "Idempotency-Key": crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2),
        },
        body: JSON.stringify({ actions }),
      });
      if (reply.status === 401) { location.assign("/sign-in"); return []; }
      answer = await reply.json();
      if (!reply.ok) throw new Error([answer.error, answer.hint].filter(Boolean).join(": "));
    } catch (error) {
      tillstream.toast(`Not done: ${error.message}`, "bad");
      return [];
    }
    acting.tell(answer.decisions, count);
    return answer.decisions;
  },

  tell(decisions, count) {
    const done = decisions.filter((one) => one.accepted);
    for (const one of decisions.filter((one) => !one.accepted)) {
      tillstream.toast(`Not done: ${one.reason}`, "bad");
    }
    if (!done.length) return;
    const kind = done[0].kind;
    const words = acting.done[kind] || kind;
    const changes = done.filter((one) => one.kind !== "comment" && one.kind !== "undo");
    if (kind === "undo") {
      acting.undoable.pop();
    } else if (changes.length) {
      acting.undoable.push(changes.map((one) => ({ alert_id: one.alert_id, undoes: one.action_id })));
    }
    sessionStorage.setItem("undoable", JSON.stringify(acting.undoable.slice(-20)));
    const undo = changes.length ? () => acting.undo() : null;
    tillstream.toast(count > 1 ? `${done.length} ${words}` : words[0].toUpperCase() + words.slice(1), "good", undo);
  },

  done: {
    acknowledge: "acknowledged: yours", snooze: "snoozed", escalate: "escalated",
    resolve: "resolved", comment: "commented", undo: "undone", assign: "assigned",
  },

  async undo() {
    const last = acting.undoable.at(-1);
    if (!last) { tillstream.toast("There is nothing of yours to undo.", "bad"); return; }
    await acting.post(last.map((one) => ({ ...one, kind: "undo" })), last.length);
  },

  // Does `kind` to the rows, asking what must be asked.
  async does(kind, rows) {
    if (kind === "undo") return acting.undo();
    if (!rows.length) { tillstream.toast("No alert is chosen: j and k move.", "bad"); return []; }
    if (kind === "snooze") {
      const minutes = await acting.ask("snooze", rows);
      return minutes ? acting.send(rows, kind, { until_ms: Date.now() + Number(minutes) * 60000 }) : [];
    }
    if (kind === "resolve" || kind === "comment") {
      const words = await acting.words(kind, rows);
      return words ? acting.send(rows, kind, { comment: words }) : [];
    }
    return acting.send(rows, kind);
  },

  about(rows) {
    const name = rows[0].querySelector(".what a, h1")?.textContent ?? "";
    return rows.length > 1 ? `${rows.length} alerts` : name;
  },

  ask(id, rows) {
    const dialog = document.getElementById(id);
    dialog.querySelector(".about").textContent = acting.about(rows);
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    });
  },

  async words(kind, rows) {
    const dialog = document.getElementById("words");
    const field = dialog.querySelector("input");
    document.getElementById("words-title").textContent = kind === "resolve" ? "Resolve" : "Comment";
    document.getElementById("words-label").textContent = kind === "resolve" ? "Why is it over?" : "What should others know?";
    field.value = "";
    const answer = await acting.ask("words", rows);
    return answer === "yes" ? field.value.trim() : "";
  },
};

// Enter in the text field means send.
document.querySelector("#words form")?.addEventListener("submit", (event) => {
  if (!event.submitter || event.submitter.value === "yes") document.getElementById("words").returnValue = "yes";
});
document.getElementById("snooze")?.addEventListener("keydown", (event) => {
  const button = event.currentTarget.querySelectorAll(".choices button")[Number(event.key) - 1];
  if (button) { event.preventDefault(); button.click(); }
});
