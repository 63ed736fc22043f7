"use strict";
const $ = (id) => document.getElementById(id);
const view = $("view"), frame = $("frame"), picture = $("picture"), heat = $("heat");
const PARTS = "heatmap,lungs,picture,html";
const AT_ONCE = 2; // the server reads one after the other; the next one travels meanwhile
const cases = [];
let current = null, busy = 0;
let zoom = { scale: 1, x: 0, y: 0, fitted: true };

// -- asking the server ------------------------------------------------------------------------
async function post(path, file) {
  const form = new FormData();
  form.append("file", file, file.name);
  const answer = await fetch(path, { method: "POST", body: form });
  const told = await answer.json().catch(() => ({ error: "The server's answer cannot be read." }));
  if (!answer.ok) throw new Error(told.error);
  return told;
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function blob(uri) {
  const [head, data] = uri.split(",");
  return new Blob([bytes(data)], { type: head.slice(5, head.indexOf(";")) });
}

async function isZip(file) {
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  return head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4;
}

async function add(files) {
  for (const file of files) {
    if (!(await isZip(file))) {
      put(file);
      continue;
    }
    say(`Unpacking ${file.name}`);
    try {
      const { files: members } = await post("/api/unpack", file);
      for (const m of members) put(new File([bytes(m.data)], m.name));
    } catch (error) {
      put(file, error.message);
    }
  }
}

function put(file, error = "") {
  const one = { file, name: file.name, error, state: error ? "failed" : "waiting" };
  cases.push(one);
  one.item = listed(one);
  if (!current || current.state === "failed") show(one);
  update(one);
  next();
}

function next() {
  while (busy < AT_ONCE) {
    const one = cases.find((c) => c.state === "waiting");
    if (!one) return;
    one.state = "reading";
    busy += 1;
    update(one);
    read(one).finally(() => { busy -= 1; next(); });
  }
}

async function read(one) {
  try {
    const told = await post(`/api/read?include=${PARTS}`, one.file);
    one.url = URL.createObjectURL(blob(told.picture));
    one.heat = await painted(told.heatmap);
    delete told.picture;
    Object.assign(one, { told, state: "done" });
    thumbnail(one);
    say(`${one.name}: ${told.decision}, probability ${told.probability[told.decision].toFixed(3)}`);
  } catch (error) {
    Object.assign(one, { error: error.message || "The server does not answer.", state: "failed" });
    say(`${one.name}: ${one.error}`);
  }
  one.file = null;
  update(one);
  if (one === current) show(one);
}

function say(text) {
  $("said").textContent = text;
}

// -- the list of cases ------------------------------------------------------------------------
function listed(one) {
  const item = document.createElement("li"), button = document.createElement("button");
  button.type = "button";
  one.thumb = document.createElement("canvas");
  one.thumb.width = one.thumb.height = 90;
  one.title = document.createElement("b");
  one.line = document.createElement("small");
  one.title.textContent = button.title = one.name;
  button.append(one.thumb, one.title, one.line);
  button.addEventListener("click", () => show(one));
  item.append(button);
  $("cases").append(item);
  return button;
}

function update(one) {
  const told = one.told;
  const lines = { waiting: "waiting", reading: "reading …", failed: "not read" };
  one.line.textContent = lines[one.state] || `${told.decision} ${told.probability[told.decision].toFixed(3)}`;
  if (told && told.warnings.length) {
    const badge = document.createElement("i"), count = told.warnings.length;
    badge.className = "badge";
    badge.textContent = count;
    badge.title = `${count} reason${count > 1 ? "s" : ""} to distrust it`;
    one.line.append(badge);
  }
  $("export").disabled = !cases.some((c) => c.state === "done");
}

async function thumbnail(one) {
  const image = await loaded(one.url);
  const side = one.thumb.width, scale = side / Math.min(image.width, image.height);
  const w = image.width * scale, h = image.height * scale;
  one.thumb.getContext("2d").drawImage(image, (side - w) / 2, (side - h) / 2, w, h);
}

function loaded(url) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = failed;
    image.src = url;
  });
}

// -- the stage --------------------------------------------------------------------------------
async function painted(heatmap) {
  const url = URL.createObjectURL(blob(heatmap.png)), image = await loaded(url);
  const made = document.createElement("canvas");
  made.width = image.width;
  made.height = image.height;
  const pen = made.getContext("2d");
  pen.drawImage(image, 0, 0);
  URL.revokeObjectURL(url);
  const pixels = pen.getImageData(0, 0, made.width, made.height), d = pixels.data;
  for (let i = 0; i < d.length; i += 4) {
    const v = d[i] / 255; // blue, green, yellow, red; what is cold is clear
    d[i] = 255 * Math.min(1, Math.max(0, 1.5 - Math.abs(4 * v - 3)));
    d[i + 1] = 255 * Math.min(1, Math.max(0, 1.5 - Math.abs(4 * v - 2)));
    d[i + 2] = 255 * Math.min(1, Math.max(0, 1.5 - Math.abs(4 * v - 1)));
    d[i + 3] = 255 * Math.min(1, 2.5 * v);
  }
  pen.putImageData(pixels, 0, 0);
  return made;
}

function show(one) {
  current = one;
  $("empty").hidden = true;
  $("work").hidden = false;
  for (const c of cases) c.item.setAttribute("aria-current", String(c === one));
  one.item.scrollIntoView({ block: "nearest", inline: "nearest" });
  const done = one.state === "done", wait = $("wait");
  frame.hidden = !done;
  wait.hidden = done;
  wait.textContent = one.state === "failed" ? `${one.name} is not read. ${one.error}` : `Reading ${one.name} …`;
  $("panel").replaceChildren();
  $("scale").textContent = "";
  if (!done) return;
  const { told } = one;
  $("panel").innerHTML = told.html; // escaped by the server's templates; no script runs
  $("panel").scrollTop = 0;
  picture.src = one.url;
  picture.alt = `The radiograph ${one.name}`;
  frame.style.width = `${told.width}px`;
  frame.style.height = `${told.height}px`;
  frame.style.setProperty("--shape", `${told.width} / ${told.height}`);
  heat.width = one.heat.width;
  heat.height = one.heat.height;
  heat.getContext("2d").drawImage(one.heat, 0, 0);
  heat.setAttribute("aria-label", told.heatmap.empty ? "The heat map is empty" : `Heat map for ${told.heatmap.class_name}: ${told.heatmap.place}`);
  $("lungs").innerHTML = "";
  for (const line of told.lungs || []) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", `M${line.map((p) => p.join(" ")).join("L")}Z`);
    $("lungs").append(path);
  }
  fit();
}

function place() {
  frame.style.transform = `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})`;
  const { width, height } = current.told;
  $("scale").textContent = `${width} × ${height} pixels at ${Math.round(100 * zoom.scale * devicePixelRatio)} %`;
}

function fit() {
  if (!current || !current.told) return;
  const { width, height } = current.told, w = view.clientWidth, h = view.clientHeight;
  const scale = Math.min(w / width, h / height);
  zoom = { scale, x: (w - width * scale) / 2, y: (h - height * scale) / 2, fitted: true };
  place();
}

function zoomBy(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  if (!current || !current.told) return;
  const scale = Math.min(32, Math.max(0.02, zoom.scale * factor)), by = scale / zoom.scale;
  zoom = { scale, x: x - (x - zoom.x) * by, y: y - (y - zoom.y) * by, fitted: false };
  place();
}

function move(x, y) {
  if (!current || !current.told) return;
  Object.assign(zoom, { x: zoom.x + x, y: zoom.y + y, fitted: false });
  place();
}

const zooms = {
  in: () => zoomBy(1.4),
  out: () => zoomBy(1 / 1.4),
  one: () => zoomBy(1 / (zoom.scale * devicePixelRatio)),
  fit,
};
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", zooms[button.dataset.zoom]);
}
view.addEventListener("wheel", (e) => {
  e.preventDefault();
  const box = view.getBoundingClientRect();
  zoomBy(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0016)), e.clientX - box.left, e.clientY - box.top);
}, { passive: false });
view.addEventListener("dblclick", fit);
view.addEventListener("contextmenu", (e) => e.preventDefault());
new ResizeObserver(() => zoom.fitted && fit()).observe(view);

const fingers = new Map();
view.addEventListener("pointerdown", (e) => {
  if (e.target.closest(".zoom")) return;
  view.setPointerCapture(e.pointerId);
  fingers.set(e.pointerId, e);
});
view.addEventListener("pointermove", (e) => {
  const before = fingers.get(e.pointerId);
  if (!before) return;
  const dx = e.clientX - before.clientX, dy = e.clientY - before.clientY;
  if (fingers.size === 2) {
    const other = [...fingers.values()].find((f) => f.pointerId !== e.pointerId);
    const apart = (f) => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY);
    const box = view.getBoundingClientRect();
    zoomBy(apart(e) / Math.max(1, apart(before)), other.clientX - box.left, other.clientY - box.top);
  } else if (before.buttons === 2) {
    $("level").value = Number($("level").value) - dy;
    $("width").value = Number($("width").value) + dx;
    window_();
  } else {
    move(dx, dy);
  }
  fingers.set(e.pointerId, e);
});
for (const end of ["pointerup", "pointercancel"]) {
  view.addEventListener(end, (e) => fingers.delete(e.pointerId));
}

// -- the tools --------------------------------------------------------------------------------
function layers() {
  heat.style.opacity = $("opacity").value / 100;
  $("lungs").style.opacity = $("outline").value / 100;
  for (const id of ["opacity", "outline"]) {
    document.querySelector(`output[for=${id}]`).textContent = `${$(id).value} %`;
  }
}

function window_() {
  const level = Number($("level").value), width = Number($("width").value);
  const plain = level === 128 && width === 255;
  for (const f of document.querySelectorAll("#window feComponentTransfer > *")) {
    f.setAttribute("slope", 255 / width);
    f.setAttribute("intercept", 0.5 - level / width);
  }
  picture.style.filter = plain ? "none" : "url(#window)";
  document.querySelector("output[for=level]").textContent = level;
  document.querySelector("output[for=width]").textContent = width;
}

for (const id of ["opacity", "outline"]) $(id).addEventListener("input", layers);
for (const id of ["level", "width"]) $(id).addEventListener("input", window_);
$("reset").addEventListener("click", () => {
  for (const input of document.querySelectorAll(".tools input")) input.value = input.defaultValue;
  layers();
  window_();
  fit();
});

// -- files come in, and a page goes out -------------------------------------------------------
$("files").addEventListener("change", (e) => {
  add([...e.target.files]);
  e.target.value = "";
});
addEventListener("paste", (e) => e.clipboardData && add([...e.clipboardData.files]));
let inside = 0;
addEventListener("dragenter", (e) => { e.preventDefault(); inside += 1; $("over").hidden = false; });
addEventListener("dragleave", () => { inside = Math.max(0, inside - 1); $("over").hidden = inside === 0; });
addEventListener("dragover", (e) => e.preventDefault());
addEventListener("drop", (e) => {
  e.preventDefault();
  inside = 0;
  $("over").hidden = true;
  add([...e.dataTransfer.files]);
});

addEventListener("keydown", (e) => {
  if (e.target.matches("input") || e.ctrlKey || e.metaKey || e.altKey) return;
  const step = { j: 1, k: -1 }[e.key], one = cases[cases.indexOf(current) + step];
  if (step && one) show(one);
  if (document.activeElement !== view) return;
  const keys = {
    "+": zooms.in, "=": zooms.in, "-": zooms.out, 0: fit, 1: zooms.one,
    ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0),
    ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
  };
  if (keys[e.key]) {
    e.preventDefault();
    keys[e.key]();
  }
});

$("export").addEventListener("click", async () => {
  const answer = await fetch("/export");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const place = page.getElementById("cases"), unread = page.createElement("ul");
  for (const [i, one] of cases.entries()) {
    if (one.state === "done") {
      // the same file may be there twice
      const key = one.told.html.match(/<article id="(\w+)"/)[1];
      place.insertAdjacentHTML("beforeend", one.told.html.replaceAll(`"${key}`, `"c${i}-${key}`));
    } else if (one.state === "failed") {
      const line = page.createElement("li");
      line.textContent = `${one.name} is not read. ${one.error}`;
      unread.append(line);
    }
  }
  if (unread.children.length) place.prepend(unread);
  const link = document.createElement("a");
  const html = `<!DOCTYPE html>\n${page.documentElement.outerHTML}\n`;
  link.href = URL.createObjectURL(new Blob([html], { type: "text/html" }));
  link.download = "radiographs.html";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});

layers();
window_();
