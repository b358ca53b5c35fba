"use strict";
// Draws the two pictures of a scan, and the marks on them, in mm.

const SVG = "http://www.w3.org/2000/svg";
const TALL_MM = 480;  // Of longer scans a part is shown.
const MIN_WIDTH_MM = 150;  // Of a magnified picture.
const VIEWS = ["frontal", "sagittal"];
const SIDES = {frontal: ["R", "L"], sagittal: ["A", "P"]};  // Of the patient.

function element(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
}

function usualZoom(scan) {
  return Math.max(1, scan.rows * DATA.pixel_mm / TALL_MM);
}

// Returns [left, top, width, height] of the part that a view shows, mm.
function shownPart(scan, view, zoom, centerMm) {
  const width = scan[view].columns * DATA.pixel_mm, height = scan.rows * DATA.pixel_mm;
  const w = Math.min(width, Math.max(MIN_WIDTH_MM, width * usualZoom(scan) / zoom));
  const h = height / zoom;
  const top = Math.min(Math.max(centerMm - h / 2, 0), height - h);
  const places = scan.vertebrae.map((v) => v[view] - scan[view].left_mm);
  const middle = places.length ? places[places.length >> 1] : width / 2;
  return [Math.min(Math.max(middle - w / 2, 0), width - w), top, w, h];
}

function drawVertebra(scan, view, vertebra) {
  const x = vertebra[view] - scan[view].left_mm, row = (z) => scan.top_mm - z;
  const text = element("text", {x: x + 24, y: row(vertebra.z_mm), class: "name"});
  text.textContent = vertebra.name;
  const bar = {x1: x, x2: x, y1: row(vertebra.upper_mm), y2: row(vertebra.lower_mm)};
  return [element("line", {...bar, class: "body"}), text];
}

// Returns the letters of the patient's sides, in the upper corners of what is shown.
function drawSides(svg, scan, view) {
  const {a, d, e, f} = svg.getScreenCTM(), box = svg.getBoundingClientRect();
  const left = Math.max((box.left - e) / a, 0), top = Math.max((box.top - f) / d, 0);
  const right = Math.min((box.right - e) / a, scan[view].columns * DATA.pixel_mm);
  return [left + 14 / a, right - 14 / a].map((x, i) => {
    const text = element("text", {x, y: top + 22 / d, class: "side"});
    text.textContent = SIDES[view][i];
    return text;
  });
}

function drawLine(scan, view, left, z, css, label) {
  const width = scan[view].columns * DATA.pixel_mm, y = scan.top_mm - z;
  const text = element("text", {x: left, y: y - 2});
  text.textContent = label;
  return element("g", {class: css},
    element("line", {x1: 0, x2: width, y1: y, y2: y}), text);
}

// Puts the picture of a scan, and the part of it that is shown, into the <svg> of a view.
function placeView(svg, scan, view, marks) {
  svg.toggleAttribute("hidden", !scan[view]);
  if (!scan[view]) return;
  svg.setAttribute("viewBox", shownPart(scan, view, marks.zoom, marks.centerMm).join(" "));
  const href = `${scan.url}.${view}.png`;
  const old = svg.querySelector("image");
  if (old?.getAttribute("href") === href) return;
  const image = element("image", {href, preserveAspectRatio: "none", x: 0, y: 0,
    width: scan[view].columns * DATA.pixel_mm, height: scan.rows * DATA.pixel_mm});
  image.addEventListener("error", () => say(`The picture ${href} is missing.`));
  svg.replaceChildren(image);
}

// Draws the marks; views must have been placed, for they share the width of the page.
function drawMarks(svg, scan, view, marks) {
  if (!scan[view]) return;
  svg.style.setProperty("--mm", 1 / svg.getScreenCTM().a);  // A pixel of the screen.
  const left = svg.viewBox.baseVal.x + 2;
  const lines = marks.lines.map((line) => drawLine(scan, view, left, ...line));
  svg.replaceChildren(svg.querySelector("image"), ...drawSides(svg, scan, view),
    ...scan.vertebrae.flatMap((v) => drawVertebra(scan, view, v)), ...lines);
}

// Draws a scan in all views; marks is {zoom, centerMm, lines: [z, css, label]}.
function drawViews(scan, marks) {
  VIEWS.forEach((view) => placeView(get(view), scan, view, marks));
  VIEWS.forEach((view) => drawMarks(get(view), scan, view, marks));
}

// Returns z at the place of a mouse event.
function eventZ(svg, scan, event) {
  const point = new DOMPoint(event.clientX, event.clientY);
  const row = point.matrixTransform(svg.getScreenCTM().inverse()).y;
  return withinSlices(scan.slices, Math.round(10 * (scan.top_mm - row)) / 10);
}
