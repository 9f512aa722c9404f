// The Now page: rows come and go as the server tells; keys act on the chosen one.
"use strict";

const now = {
  chosen: null,       // id of the alert under the cursor
  marked: new Set(),  // ids chosen with x
  source: null,

  list: () => document.getElementById("alerts"),
  rows: () => [...document.querySelectorAll("li.alert")].filter((row) => row.offsetParent !== null),
  row: (id) => document.getElementById(`a-${id}`),

  wanted() {
    return Object.fromEntries(new FormData(document.getElementById("filters")));
  },

  // The rules of filters.py.
  takes(row, wanted) {
    const of = row.dataset;
    const state = wanted.state === "active"
      ? of.state !== "snoozed" && of.state !== "resolved"
      : wanted.state === "all" || wanted.state === of.state;
    return state
      && ["region", "store", "category", "severity"].every((name) => !wanted[name] || wanted[name] === of[name])
      && of.text.includes((wanted.text || "").toLowerCase());
  },

  // Whether `one` stands before `other`: the more expensive, then the older.
  before(one, other) {
    const difference = Number(one.dataset.margin) - Number(other.dataset.margin);
    if (difference) return difference > 0;
    const age = Number(one.dataset.opened) - Number(other.dataset.opened);
    return age ? age < 0 : one.dataset.id < other.dataset.id;
  },

  put(html, wanted, incidents) {
    const holder = document.createElement("template");
    holder.innerHTML = html.trim();
    const row = holder.content.firstElementChild;
    const old = now.row(row.dataset.id);
    const isMember = old?.closest(".members");
    if (isMember) { old.replaceWith(row); now.dress(row); return; }
    const next = old?.nextElementSibling;
    const goes = !now.takes(row, wanted) || incidents.has(row.dataset.incident);
    if (goes) {
      if (old && now.chosen === row.dataset.id) now.choose(next || old.previousElementSibling);
      old?.remove();
      now.marked.delete(row.dataset.id);
      return;
    }
    if (old && old.dataset.margin === row.dataset.margin) {
      old.replaceWith(row);
    } else {
      old?.remove();
      const list = now.list();
      const place = [...list.children].find((one) => now.before(row, one));
      list.insertBefore(row, place || null);
    }
    row.classList.add(old ? "changed" : "fresh");
    now.dress(row);
    htmx.process(row);
  },

  dress(row) {
    row.classList.toggle("chosen", row.dataset.id === now.chosen);
    row.classList.toggle("marked", now.marked.has(row.dataset.id));
    row.tabIndex = row.dataset.id === now.chosen ? 0 : -1;
  },

  choose(row, focus = true) {
    const old = now.chosen && now.row(now.chosen);
    now.chosen = row?.dataset?.id ?? null;
    if (old) now.dress(old);
    document.getElementById("actions").hidden = !row || !tillstream.mayAct;
    if (!row) return;
    now.dress(row);
    if (focus) { row.focus({ preventScroll: true }); row.scrollIntoView({ block: "nearest" }); }
  },

  move(by) {
    const rows = now.rows();
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.dataset.id === now.chosen);
    now.choose(rows[Math.min(Math.max(at < 0 ? 0 : at + by, 0), rows.length - 1)]);
  },

  targets() {
    const ids = now.marked.size ? [...now.marked] : [now.chosen];
    return ids.map((id) => id && now.row(id)).filter(Boolean);
  },

  async does(kind) {
    const focused = now.chosen;
    const rows = now.targets();
    const decisions = await acting.does(kind, rows);
    if (decisions?.length) for (const one of decisions) now.marked.delete(one.alert_id);
    const row = focused && now.row(focused);
    if (row) now.choose(row);
  },

  news(event) {
    const news = JSON.parse(event.data);
    const board = document.getElementById("board");
    board.dataset.at = event.lastEventId;
    if (news.problem !== undefined) now.problem(news.problem);
    if (news.totals) document.getElementById("totals").innerHTML = news.totals;
    const wanted = now.wanted();
    if (news.incidents !== undefined && wanted.state === "active") now.incidents(news.incidents);
    if (news.reload) { setTimeout(now.reload, Math.random() * 1000); return; }
    const incidents = new Set([...document.querySelectorAll("details.incident")].map((one) => one.dataset.incident));
    for (const html of news.rows || []) now.put(html, wanted, incidents);
    const list = now.list();
    while (list.children.length > Number(board.dataset.most)) list.lastElementChild.remove();
    document.getElementById("nothing").hidden = list.children.length > 0;
    if (list.children.length < 20 && Number(board.dataset.found) > 20) now.reload();
  },

  // Incidents are few: all of them are drawn again, and those that were open stay open.
  incidents(html) {
    const place = document.getElementById("incidents");
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const known = new Map([...place.querySelectorAll("details")].map((one) => [one.dataset.incident, one]));
    const gone = [...known.keys()].filter((id) => !holder.content.querySelector(`[data-incident="${CSS.escape(id)}"]`));
    for (const fresh of holder.content.querySelectorAll("details")) {
      const old = known.get(fresh.dataset.incident);
      if (old) old.querySelector("summary").replaceWith(fresh.querySelector("summary"));
      else { place.append(fresh); htmx.process(fresh); }
    }
    for (const id of gone) known.get(id).remove();
    if (gone.length) now.reload();
  },

  problem(words) {
    const place = document.getElementById("problem");
    place.textContent = words;
    place.hidden = !words;
  },

  reload() {
    const filters = document.getElementById("filters");
    htmx.ajax("GET", `/now/list?${new URLSearchParams(new FormData(filters))}`, { target: "#board", swap: "outerHTML" });
  },

  linked(isUp) {
    const link = document.getElementById("link");
    link.classList.toggle("down", !isUp);
    link.lastElementChild.textContent = isUp ? "live" : "not connected, trying again";
  },

  listen() {
    now.source?.close();
    now.source = new EventSource(`/now/live?since=${document.getElementById("board").dataset.at}`);
    now.source.addEventListener("news", now.news);
    now.source.addEventListener("open", () => now.linked(true));
    now.source.addEventListener("error", () => now.linked(false));
  },
};

const keys = {
  j: () => now.move(1), ArrowDown: () => now.move(1),
  k: () => now.move(-1), ArrowUp: () => now.move(-1),
  a: () => now.does("acknowledge"), s: () => now.does("snooze"), e: () => now.does("escalate"),
  r: () => now.does("resolve"), c: () => now.does("comment"), u: () => now.does("undo"),
  o: () => now.chosen && now.row(now.chosen)?.querySelector("a").click(),
  Enter: () => keys.o(),
  x: () => {
    if (!now.chosen) return;
    if (!now.marked.delete(now.chosen)) now.marked.add(now.chosen);
    now.dress(now.row(now.chosen));
  },
  "/": () => document.getElementById("text").focus(),
  "?": () => document.getElementById("help").showModal(),
  Escape: () => { now.marked.clear(); document.querySelectorAll("li.marked").forEach(now.dress); },
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.id === "text") event.target.blur();
  const act = keys[event.key];
  if (!act || tillstream.isTyping(event)) return;
  if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
  event.preventDefault();
  act();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) { now.does(button.dataset.do); return; }
  const row = event.target.closest("li.alert");
  if (row && !event.target.closest("a")) now.choose(row);
});
document.addEventListener("focusin", (event) => {
  const row = event.target.closest("li.alert");
  if (row && row.dataset.id !== now.chosen) now.choose(row, false);
});
document.getElementById("keys").addEventListener("click", () => keys["?"]());
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id !== "board" && event.detail.elt?.id !== "board") return;
  if (now.chosen && now.row(now.chosen)) now.choose(now.row(now.chosen));
  else now.choose(null);
});
addEventListener("pagehide", () => now.source?.close());
addEventListener("pageshow", (event) => { if (event.persisted) now.listen(); });

now.listen();
const linked = decodeURIComponent(location.hash.slice(1));
if (linked) {
  const incident = document.querySelector(`details.incident[data-incident="${CSS.escape(linked)}"]`);
  if (incident) incident.open = true;
}
