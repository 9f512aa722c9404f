// The item's page: the same keys as on Now, for its one alert.
"use strict";

const alertRows = () => [...document.querySelectorAll("#alerts li.alert")];
const actions = document.getElementById("actions");
actions.hidden = !alertRows().length || !tillstream.mayAct;

async function act(kind) {
  const decisions = await acting.does(kind, alertRows());
  // The page tells more than the row: history and explanation follow from what was done.
  if (decisions?.some((one) => one.accepted) || kind === "undo") setTimeout(() => location.reload(), 900);
}

const itemKeys = { a: "acknowledge", s: "snooze", e: "escalate", r: "resolve", c: "comment", u: "undo" };
document.addEventListener("keydown", (event) => {
  if (tillstream.isTyping(event)) return;
  if (event.key === "?") document.getElementById("help").showModal();
  else if (itemKeys[event.key] && alertRows().length) { event.preventDefault(); act(itemKeys[event.key]); }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) act(button.dataset.do);
});
document.querySelector("#what-if form").addEventListener("submit", (event) => event.preventDefault());
