// Fills the page from the JSON that the same listener serves. Text goes in as text, never as HTML: it holds what
// workers wrote to their standard error.
"use strict";

const $ = (id) => document.getElementById(id);

const age = (seconds) =>
  seconds < 120 ? `${Math.round(seconds)} s`
  : seconds < 7200 ? `${Math.round(seconds / 60)} min`
  : seconds < 172800 ? `${Math.round(seconds / 3600)} h`
  : `${Math.round(seconds / 86400)} d`;

const ago = (when) => `${age(Math.max(0, Date.now() / 1000 - when))} ago`;

const mib = (bytes) => (bytes ? `${(bytes / 1048576).toFixed(1)} MiB` : "");

function cell(tag, text, kind, href) {
  const td = document.createElement(tag);
  td.textContent = text ?? "";
  if (kind) td.className = kind;
  if (!href) return td;
  const a = document.createElement("a");
  a.href = href;
  a.append(...td.childNodes);
  td.append(a);
  return td;
}

// columns: [title, row => text, row => class, row => address]
function table(id, columns, rows) {
  const head = document.createElement("tr");
  head.append(...columns.map(([title]) => cell("th", title)));
  const body = rows.map((row) => {
    const tr = document.createElement("tr");
    tr.append(...columns.map(([, text, kind, href]) => cell("td", text(row), kind?.(row), href?.(row))));
    return tr;
  });
  $(id).replaceChildren(head, ...body);
}

function diagnostic(d) {
  const place = d.file ? `${d.file}${d.line ? `:${d.line}` : ""}${d.column ? `:${d.column}` : ""}: ` : "";
  return `${place}${d.severity}: ${d.message}${d.help ? `\nhelp: ${d.help}` : ""}`;
}

function showStatus(s) {
  const reasons = [...s.not_live, ...s.not_ready];
  const state = reasons.length ? `not ready: ${reasons.join("; ")}` : "ready";
  const because = s.config_file_differs_because ? ` (${s.config_file_differs_because})` : "";
  const differs = s.config_file_differs ? `, the files on disk differ from what runs${because}` : "";
  const cannot = s.trial?.cannot_go_back ? ` and cannot go back: ${s.trial.cannot_go_back}` : "";
  const within = s.trial?.confirm_seconds == null ? "" : `, to be confirmed within ${age(s.trial.confirm_seconds)}`;
  const how = cannot || `${s.trial?.canary ? `: ${s.trial.canary}` : ""}${within}`;
  const trial = s.trial ? `, generation ${s.trial.generation} is on trial${how}` : "";
  const before = s.predecessors.map((p) => `, pid ${p.pid}, before this one, still has ${p.in_flight} requests`).join("");
  $("summary").textContent =
    `${s.version}, pid ${s.pid}, up ${age(s.uptime_seconds)}, generation ${s.generation}, ${s.state}, ${state}${differs}${trial}${before}`;
  $("summary").className = reasons.length || s.config_file_differs ? "bad" : "good";
  table("apis", [
    ["name", (a) => a.name],
    ["listens on", (a) => (a.tls ? `${a.listen} (TLS)` : a.listen)],
    ["workers", (a) => `${a.workers_serving} of ${a.workers_wanted}`, (a) => (a.workers_serving ? "" : "bad")],
    ["queued", (a) => a.queued],
  ], s.apis);
  const last = s.last_reload;
  $("reload").textContent = last
    ? `${last.outcome} ${ago(last.when)}, by ${last.source}, in ${last.took_ms} ms${last.reason ? `: ${last.reason}` : ""}`
    : "none since the start";
  $("reload").className = ["rejected", "rolled_back"].includes(last?.outcome) ? "bad" : "";
  $("diagnostics").textContent = (last?.diagnostics ?? []).map(diagnostic).join("\n\n");
}

function showWorkers(slots) {
  table("workers", [
    ["slot", (w) => `${w.api}/${w.slot}`],
    ["state", (w) => w.state, (w) => (w.state === "serving" ? "good" : "bad")],
    ["kind", (w) => w.kind],
    ["pid", (w) => w.pid || ""],
    ["generation", (w) => w.generation],
    ["in flight", (w) => w.in_flight],
    ["requests", (w) => w.requests],
    ["memory", (w) => mib(w.rss_bytes)],
    ["age", (w) => (w.pid ? age(w.age_seconds) : "")],
    ["starts", (w) => w.starts],
    ["last exit", (w) => w.last_exit],
  ], slots);
}

function showGenerations(generations) {
  table("generations", [
    ["generation", (g) => g.generation],
    ["state", (g) => g.state, (g) => (g.state === "live" ? "good" : "")],
    ["since", (g) => ago(g.when)],
    ["by", (g) => [g.source, g.peer].filter(Boolean).join(", ")],
    ["changes", (g) => g.changes.map((c) => `${c.what} (${c.class})`).join(", ")],
    ["in flight", (g) => g.in_flight],
    ["held by", (g) => (g.state === "live" ? "" : (g.holders ?? []).map((h) => `${h.method} of ${h.api} from ${h.peer}${h.client_gone ? ", who has gone" : ""}`).join(", "))],
    ["taken back", (g) => g.undone],
    ["files", (g) => g.sha256.slice(0, 12), null, (g) => `generations/${g.generation}`],
  ], generations);
}

async function load(path, show) {
  const response = await fetch(path);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  show(body);
}

async function refresh() {
  try {
    await Promise.all([load("status", showStatus), load("workers", showWorkers), load("generations", showGenerations)]);
  } catch (error) {
    $("summary").textContent = `no answer: ${error.message}`;
    $("summary").className = "bad";
  }
  setTimeout(refresh, 2000);
}

refresh();
