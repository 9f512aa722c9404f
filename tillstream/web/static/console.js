// What every page does: theme, ages that go on counting, messages, keys that lead elsewhere.
"use strict";

const tillstream = {
  csrf: document.body.dataset.csrf || "",
  mayAct: document.body.dataset.mayAct === "yes",

  toast(words, kind = "good", undo = null) {
    const toast = document.createElement("div");
    toast.className = `toast ${kind}`;
    toast.textContent = words;
    if (undo) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Undo";
      button.addEventListener("click", () => { toast.remove(); undo(); });
      toast.append(button);
    }
    const toasts = document.getElementById("toasts");
    toasts.append(toast);
    while (toasts.children.length > 4) toasts.firstChild.remove();
    setTimeout(() => toast.remove(), kind === "bad" ? 12000 : 6000);
  },

  age(sinceMs) {
    const minutes = Math.max(0, Math.floor((Date.now() - sinceMs) / 60000));
    if (minutes < 1) return "now";
    if (minutes < 60) return `${minutes} min`;
    return minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
  },

  count(root = document) {
    for (const one of root.querySelectorAll("[data-since]")) {
      const words = tillstream.age(Number(one.dataset.since));
      if (one.textContent !== words) one.textContent = words;
    }
  },

  isTyping(event) {
    return event.ctrlKey || event.metaKey || event.altKey
      || event.target.closest("input, select, textarea, dialog[open]") !== null;
  },
};

setInterval(() => tillstream.count(), 20000);

document.getElementById("theme")?.addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
  document.dispatchEvent(new CustomEvent("theme"));
});

document.addEventListener("htmx:beforeSwap", (event) => {
  // What went wrong is shown where the answer would have been.
  if (event.detail.xhr.status >= 400) event.detail.shouldSwap = true;
});
document.addEventListener("htmx:sendError", () => {
  tillstream.toast("The console does not answer. What you see may be old.", "bad");
});
