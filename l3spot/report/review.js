"use strict";
// The page: its state, its keys and its mouse.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SCANS = DATA.scans;
const PREFIX = `l3spot.review ${hash(location.pathname)} `;  // Each folder has its own.
const ZOOM_STEP = 1.5, MAX_ZOOM = 8, JUMP_MM = 5, LIGHT_STEP = 1.2;
const get = (id) => document.getElementById(id);

let reviews = SCANS.map((scan) => load(reviewKey(scan)) || firstReview(scan));
let page = load("page") || {at: 0, reader: "", only: false};
let zoom = 1, centerMm = 0, light = 1, undoSteps = [], doneCount = 0;

// Keys hold the scan and its slices, so that another scan of this name has its own review.
function reviewKey(scan) {
  const {low_mm, count} = scan.slices;
  const about = JSON.stringify([scan.level, scan.series, low_mm, count]);
  return JSON.stringify([scan.scan, hash(about)]);
}

function load(key) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key));
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    get("lost").hidden = false;
  }
}

// Takes over what another tab with this page has stored; without a key, all is gone.
function takeStored(event) {
  SCANS.forEach((scan, i) => {
    if (event.key !== null && event.key !== PREFIX + reviewKey(scan)) return;
    const review = JSON.parse(event.newValue) || firstReview(scan);
    doneCount += review.done - reviews[i].done;
    reviews[i] = review;
  });
  show();
}

function storePage() {
  store("page", page);
}

// Replaces the review of the scan that is shown; moves in a row are undone together.
function update(changes, kind) {
  const i = page.at, last = undoSteps.at(-1);
  if (kind !== "move" || !last || last.kind !== kind || last.i !== i) {
    undoSteps.push({i, kind, before: reviews[i]});
  }
  setReview(i, {...reviews[i], ...changes});
  show();
}

function setReview(i, review) {
  doneCount += review.done - reviews[i].done;
  reviews[i] = review;
  store(reviewKey(SCANS[i]), review);
}

function undo() {
  const last = undoSteps.pop();
  if (!last) return say("There is nothing to undo.");
  setReview(last.i, {...last.before, note: reviews[last.i].note});
  goTo(last.i);
}

// The line, or where it appears first if the vertebra is not in view.
function zOfLine() {
  const scan = SCANS[page.at], z = reviews[page.at].z;
  return z ?? scan.z_mm ?? withinSlices(scan.slices, scan.top_mm - scan.rows * DATA.pixel_mm / 2);
}

function moveTo(z, kind = "move") {
  const inside = withinSlices(SCANS[page.at].slices, z);
  update({kind: FOUND, z: Math.round(1000 * inside) / 1000, done: false}, kind);
  follow();
}

function moveSlice(direction) {
  moveTo(neighbourZ(SCANS[page.at].slices, zOfLine(), direction));
}

function moveVertebra(direction) {
  const others = SCANS[page.at].vertebrae.map((v) => v.z_mm)
    .filter((z) => (z - zOfLine()) * direction > SAME_MM);
  if (others.length) moveTo(direction > 0 ? Math.min(...others) : Math.max(...others), "pick");
}

function reset() {
  const {kind, z} = firstReview(SCANS[page.at]);
  update({kind, z, done: false}, "reset");
}

function answer(changes) {
  update({...changes, done: true, reader: page.reader}, "confirm");
  advance();
}

function advance() {
  const next = following(1);
  if (next !== null) goTo(next);
  if (doneCount === SCANS.length) say("All scans are reviewed. Export corrections.csv (E).");
}

// The next scan in a direction; with the filter, the next one that is not reviewed.
function following(direction) {
  const n = SCANS.length;
  for (let k = 1; k <= n; k++) {
    const i = page.at + direction * k;
    if (!page.only && (i < 0 || i >= n)) return null;
    if (!page.only || !reviews[(i % n + n) % n].done) return (i % n + n) % n;
  }
  return null;
}

function step(direction) {
  const next = following(direction);
  if (next === null) return say(page.only ? "All scans are reviewed." : "There are no more scans.");
  goTo(next);
}

function goTo(i) {
  say("");
  page.at = i;
  storePage();
  zoom = usualZoom(SCANS[i]);
  centerMm = SCANS[i].top_mm - zOfLine();
  show();
  const next = following(1);
  if (next !== null) VIEWS.forEach((view) => { new Image().src = `${SCANS[next].url}.${view}.png`; });
}

function findScan(text) {
  const n = SCANS.length, low = text.toLowerCase();
  for (let k = 1; k <= n; k++) {
    const i = (page.at + k) % n;
    if (SCANS[i].scan.toLowerCase().includes(low)) return goTo(i);
  }
  say(`No scan is named ${text}.`);
}

function magnify(factor) {
  zoom = factor ? Math.min(Math.max(1, zoom * factor), MAX_ZOOM) : usualZoom(SCANS[page.at]);
  centerMm = SCANS[page.at].top_mm - zOfLine();
  show();
}

function brighten(factor) {
  light = Math.min(Math.max(light * factor, 0.3), 5);
  document.body.style.setProperty("--light", light);
}

// Keeps the line in the part that is shown.
function follow() {
  const scan = SCANS[page.at], row = scan.top_mm - zOfLine();
  const [, top, , height] = shownPart(scan, "frontal", zoom, centerMm);
  if (row > top + height / 10 && row < top + 0.9 * height) return;
  centerMm = row;
  show();
}

function exportCsv() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([correctionsCsv(SCANS, reviews)], {type: "text/csv"}));
  link.download = "corrections.csv";
  link.click();
  say(`${doneCount} of ${SCANS.length} answers are in corrections.csv, among your downloads.`);
}

function setOnly(on) {
  page.only = on;
  storePage();
  if (on && reviews[page.at].done) step(1);
  show();
}

const KEYS = {
  Enter: () => answer({}), a: () => answer({}),
  x: () => answer({kind: ABSENT, z: null}), c: () => answer({kind: UNKNOWN, z: null}),
  ArrowUp: () => moveSlice(1), ArrowDown: () => moveSlice(-1),
  "Shift+ArrowUp": () => moveTo(zOfLine() + JUMP_MM), "Shift+ArrowDown": () => moveTo(zOfLine() - JUMP_MM),
  PageUp: () => moveVertebra(1), PageDown: () => moveVertebra(-1),
  ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  Home: () => reset(), u: () => undo(), "Control+z": () => undo(), "Meta+z": () => undo(),
  b: () => brighten(LIGHT_STEP), d: () => brighten(1 / LIGHT_STEP),
  m: () => get("note").focus(), "/": () => get("find").focus(),
  f: () => setOnly(!page.only), e: () => exportCsv(),
  "+": () => magnify(ZOOM_STEP), "=": () => magnify(ZOOM_STEP), "-": () => magnify(1 / ZOOM_STEP), 0: () => magnify(0),
};

// Keys that act once while they are held, so that nobody accepts what he has not seen.
const ONCE = ["Enter", "a", "x", "c", "u", "e", "f"];

function keyName(event) {
  const isLetter = event.key.length === 1;
  // On a keyboard with other letters, the place of the key counts.
  const key = isLetter && event.key > "~" && event.code.startsWith("Key") ?
    event.code.slice(3) : event.key;
  const shift = event.shiftKey && !isLetter ? "Shift+" : "";
  const control = event.ctrlKey ? "Control+" : event.metaKey ? "Meta+" : event.altKey ? "Alt+" : "";
  return control + shift + (isLetter ? key.toLowerCase() : key);
}

function onKey(event) {
  const tag = event.target.tagName;
  if (tag === "INPUT" && event.target.type !== "checkbox") {
    if (event.key === "Escape" || event.key === "Enter") event.target.blur();
    return;
  }
  if (tag === "BUTTON" && (event.key === "Enter" || event.key === " ")) return;
  const name = keyName(event);
  if (!KEYS[name]) return;
  event.preventDefault();
  if (!event.repeat || !ONCE.includes(name)) KEYS[name]();
}

function startDrag(event) {
  const svg = event.currentTarget, scan = SCANS[page.at];
  if (event.button !== 0) return;
  event.preventDefault();
  document.activeElement.blur();
  svg.setPointerCapture(event.pointerId);
  moveTo(eventZ(svg, scan, event), "drag");
  const drag = (e) => {
    setReview(page.at, {...reviews[page.at], z: eventZ(svg, scan, e)});
    show();
  };
  svg.addEventListener("pointermove", drag);
  const end = () => svg.removeEventListener("pointermove", drag);
  svg.addEventListener("pointerup", end, {once: true});
  svg.addEventListener("pointercancel", end, {once: true});
}

function start() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && event.detail) button.blur();  // So that Enter accepts after a click.
    if (button?.dataset.key) KEYS[button.dataset.key]();
  });
  VIEWS.forEach((view) => get(view).addEventListener("pointerdown", startDrag));
  get("only").addEventListener("change", (e) => { setOnly(e.target.checked); e.target.blur(); });
  get("note").addEventListener("input", (e) =>
    setReview(page.at, {...reviews[page.at], note: e.target.value}));
  get("reader").addEventListener("input", (e) => { page.reader = e.target.value; storePage(); });
  get("number").addEventListener("change", (e) =>
    goTo(Math.min(Math.max(Math.trunc(e.target.value), 1), SCANS.length) - 1));
  get("find").addEventListener("change", (e) => { if (e.target.value) findScan(e.target.value); });
  addEventListener("resize", show);
  addEventListener("storage", takeStored);
  doneCount = reviews.filter((review) => review.done).length;
  goTo(Math.min(page.at, SCANS.length - 1));
}

if (SCANS.length) start();
