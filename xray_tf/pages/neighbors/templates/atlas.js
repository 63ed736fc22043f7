"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const P = D.points, PART = ["training", "validation", "test", "new"], GREY = "#98a2aa";
const [LABEL, DECIDED, SPLIT, PROB, VOTES, UNUSUAL, PATH, PATIENT, NEAR] = [4, 5, 6, 7, 8, 9, 10, 11, 12];
const map = document.getElementById("map"), card = document.getElementById("card"), controls = document.getElementById("controls");
const sheets = [...document.querySelectorAll("img.sheet")];
const wrong = (p) => p[LABEL] >= 0 && p[DECIDED] >= 0 && p[LABEL] !== p[DECIDED];
const errors = P.map((p, i) => i).filter((i) => wrong(P[i]));
const state = { map: "tsne", colour: "label", parts: new Set([0, 1, 2, 3]), at: -1, held: false };
let places = [], wide = 0, high = 0;

for (const box of document.querySelectorAll("#parts input")) {
  const there = P.some((p) => p[SPLIT] === Number(box.value));
  box.parentElement.hidden = !there;
}

const name = (c) => (c < 0 ? "not known" : D.classes[c]);
const colour = (c) => (c < 0 ? GREY : D.colours[c]);
const shown = (i) => state.parts.has(P[i][SPLIT]);

function make(tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function lay() {
  const box = map.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  [wide, high] = [box.width, box.height];
  map.width = Math.round(wide * ratio);
  map.height = Math.round(high * ratio);
  const o = state.map === "tsne" ? 0 : 2, pad = 16;
  const xs = P.map((p) => p[o]), ys = P.map((p) => p[o + 1]);
  const ends = (v) => v.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
  const [x0, x1] = ends(xs), [y0, y1] = ends(ys);
  places = P.map((p, i) => [pad + (wide - 2 * pad) * (xs[i] - x0) / (x1 - x0 || 1), pad + (high - 2 * pad) * (1 - (ys[i] - y0) / (y1 - y0 || 1))]);
  draw();
}

function cross(c, x, y, r) {
  c.beginPath();
  c.moveTo(x - r, y - r); c.lineTo(x + r, y + r); c.moveTo(x + r, y - r); c.lineTo(x - r, y + r);
  c.stroke();
}

function draw() {
  const c = map.getContext("2d"), ratio = map.width / wide, ink = getComputedStyle(document.body).color;
  const radius = Math.max(2, Math.min(5, 160 / Math.sqrt(P.length)));
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, wide, high);
  for (let i = 0; i < P.length; i++) {
    if (!shown(i)) continue;
    const p = P[i], [x, y] = places[i];
    const value = state.colour === "label" ? p[LABEL] : state.colour === "decided" ? p[DECIDED] : -1;
    c.globalAlpha = state.colour === "error" ? 0.4 : 0.75;
    c.fillStyle = colour(value);
    c.beginPath(); c.arc(x, y, radius, 0, 7); c.fill();
  }
  c.globalAlpha = 1;
  if (state.colour === "error") for (const i of errors) if (shown(i)) {
    c.lineWidth = 2.2; c.strokeStyle = colour(P[i][LABEL]);
    cross(c, ...places[i], radius + 2);
  }
  if (state.at < 0) return;
  c.lineWidth = 1; c.strokeStyle = ink;
  for (const [who] of P[state.at][NEAR]) if (typeof who === "number") {
    c.globalAlpha = 0.5; c.beginPath(); c.moveTo(...places[state.at]); c.lineTo(...places[who]); c.stroke();
    c.globalAlpha = 1; c.beginPath(); c.arc(...places[who], radius + 2.5, 0, 7); c.stroke();
  }
  c.lineWidth = 2.5; c.beginPath(); c.arc(...places[state.at], radius + 4, 0, 7); c.stroke();
}

function thumbnail(i, side) {
  const canvas = make("canvas"), per = D.per * D.per, k = i % per;
  canvas.width = canvas.height = D.size;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Radiograph " + P[i][PATH].split("/").pop());
  const sheet = sheets[Math.floor(i / per)];
  const paint = () => canvas.getContext("2d").drawImage(sheet, D.size * (k % D.per), D.size * Math.floor(k / D.per), D.size, D.size, 0, 0, D.size, D.size);
  if (sheet.complete) paint(); else sheet.addEventListener("load", paint, { once: true });
  return canvas;
}

function fact(list, term, ...values) {
  list.append(make("dt", term));
  const dd = make("dd");
  dd.append(...values);
  list.append(dd);
}

function chip(c) {
  const span = make("span"), dot = make("i");
  dot.style.background = colour(c);
  span.append(dot, name(c));
  return span;
}

const shares = (values) => values.map((v, c) => D.classes[c] + " " + v.toFixed(3)).join(", ");

function show(i) {
  state.at = i;
  draw();
  card.replaceChildren();
  if (i < 0) {
    card.append(make("p", "Point at a dot to see its radiograph.", "small"));
    return;
  }
  const p = P[i], facts = make("dl");
  card.append(thumbnail(i), make("h3", p[PATH].split("/").pop()));
  fact(facts, "patient", p[PATIENT] || "not known");
  fact(facts, "part", PART[p[SPLIT]]);
  fact(facts, "true class", chip(p[LABEL]));
  fact(facts, "decided", chip(p[DECIDED]));
  if (wrong(p)) fact(facts, "", make("span", "an error of " + D.by, "wrong"));
  fact(facts, "probability", shares(p[PROB]));
  fact(facts, "votes", shares(p[VOTES]));
  fact(facts, "unusual", "farther from its neighbours than " + p[UNUSUAL].toFixed(0) + " % of training radiographs from theirs");
  card.append(facts, make("h3", "Nearest training radiographs"));
  const list = make("ol");
  for (const [who, label, distance] of p[NEAR]) {
    const item = make("li"), here = typeof who === "number", row = make(here ? "button" : "div", undefined, here ? "" : "absent"), text = make("span");
    text.append((here ? P[who][PATH] : who).split("/").pop(), make("br"), chip(label), "  distance " + distance.toFixed(3));
    if (here) {
      row.type = "button";
      row.append(thumbnail(who));
      row.addEventListener("click", () => { state.held = true; show(who); map.focus(); });
    }
    row.append(text);
    item.append(row);
    list.append(item);
  }
  card.append(list);
}

function legend() {
  const box = document.getElementById("legend");
  box.replaceChildren();
  const used = state.colour === "decided" ? DECIDED : LABEL;
  const entries = D.classes.map((n, c) => [state.colour === "error" ? "true " + n + ", decided otherwise" : n, D.colours[c]]);
  if (state.colour === "error") entries.push(["decided rightly, or class not known", GREY]);
  else if (P.some((p) => p[used] < 0)) entries.push(["not known", GREY]);
  for (const [text, shade] of entries) {
    const span = make("span"), dot = make("i");
    dot.style.background = shade;
    span.append(dot, text);
    box.append(span);
  }
  const visible = P.filter((p, i) => shown(i)).length;
  document.getElementById("how").textContent = D.titles[state.map] + ". " + visible.toLocaleString("en") + " dots, " +
    errors.filter(shown).length.toLocaleString("en") + " errors of " + D.by + ".";
}

function under(event) {
  const box = map.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  let best = -1, least = 18 * 18;
  for (let i = 0; i < P.length; i++) {
    const d = (places[i][0] - x) ** 2 + (places[i][1] - y) ** 2;
    if (d < least && shown(i)) [best, least] = [i, d];
  }
  return best;
}

function towards(dx, dy) {
  if (state.at < 0) return P.findIndex((p, i) => shown(i));
  const [x, y] = places[state.at];
  let best = state.at, least = Infinity;
  for (let i = 0; i < P.length; i++) {
    const ahead = (places[i][0] - x) * dx + (places[i][1] - y) * dy;
    if (i === state.at || !shown(i) || ahead <= 0) continue;
    const aside = Math.abs((places[i][0] - x) * dy) + Math.abs((places[i][1] - y) * dx);
    if (aside > 2 * ahead) continue;
    const cost = ahead + 2 * aside;
    if (cost < least) [best, least] = [i, cost];
  }
  return best;
}

function error(step) {
  const seen = errors.filter(shown);
  if (!seen.length) return state.at;
  const next = step > 0 ? seen.find((i) => i > state.at) : [...seen].reverse().find((i) => i < state.at);
  return next === undefined ? seen[step > 0 ? 0 : seen.length - 1] : next;
}

const KEYS = {
  ArrowLeft: () => towards(-1, 0), ArrowRight: () => towards(1, 0), ArrowUp: () => towards(0, -1), ArrowDown: () => towards(0, 1),
  PageDown: () => error(1), PageUp: () => error(-1),
  n: () => {
    const near = state.at < 0 ? [] : P[state.at][NEAR].map((e) => e[0]).filter((w) => typeof w === "number");
    return near.length ? near[0] : state.at;
  },
};

map.addEventListener("keydown", (event) => {
  const step = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (step) { state.held = true; show(step()); }
  else if (event.key === "Enter") state.held = !state.held;
  else if (event.key === "Escape") { state.held = false; show(-1); }
  else return;
  event.preventDefault();
});
map.addEventListener("pointermove", (event) => { if (!state.held) { const i = under(event); if (i >= 0 && i !== state.at) show(i); } });
map.addEventListener("click", (event) => { const i = under(event); state.held = i >= 0; if (i !== state.at) show(i); });
controls.addEventListener("change", () => {
  const form = new FormData(controls);
  state.map = form.get("map"); state.colour = form.get("colour");
  state.parts = new Set(form.getAll("part").map(Number));
  lay(); legend();
});
controls.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("find").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  const text = event.target.value.trim().toLowerCase();
  if (!text) return;
  const hits = (i) => shown(i) && (P[i][PATH].toLowerCase().includes(text) || P[i][PATIENT].toLowerCase().includes(text));
  for (let step = 1; step <= P.length; step++) {
    const i = (state.at + step) % P.length;
    if (hits(i)) { state.held = true; show(i); return; }
  }
  card.replaceChildren(make("p", "No dot that is shown has “" + event.target.value + "” in its file's or patient's name.", "small"));
});
new ResizeObserver(() => lay()).observe(map.parentElement);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
lay(); legend(); show(-1);
