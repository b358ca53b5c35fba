"use strict";
// Shows the scan at hand: its pictures, the answers and the progress.

function say(text) {
  get("message").textContent = text;
}

function lines(scan, review) {
  const first = firstReview(scan), made = [];
  if (scan.other_z_mm !== null) made.push([scan.other_z_mm, "other", "second candidate"]);
  if (first.z !== null && !sameAnswer(first, review)) made.push([first.z, "first", "first answer"]);
  if (review.kind === FOUND) made.push([review.z, "now", scan.level]);
  return made;
}

function show() {
  const scan = SCANS[page.at], review = reviews[page.at];
  drawViews(scan, {zoom, centerMm, lines: lines(scan, review)});
  get("progress").textContent = `${doneCount} of ${SCANS.length} reviewed`;
  get("bar").max = SCANS.length;
  get("bar").value = doneCount;
  get("number").value = page.at + 1;
  get("number").max = SCANS.length;
  get("reader").value = page.reader;
  get("only").checked = page.only;
  get("note").value = review.note;
  showAnswer(scan, review);
}

function mm(z) {
  return `z = ${z.toFixed(1)} mm`;
}

function showAnswer(scan, review) {
  get("scan").textContent = scan.scan;
  const first = scan.z_mm === null ? scan.status : mm(scan.z_mm);
  get("first").textContent = `${scan.level} ${first}`;
  const about = scan.z_mm === null ? "in view" : "level right";
  const within = ["within 5 mm", scan.within_5_mm];
  get("sure").textContent = [["trust", scan.trust], [about, scan.confidence], within]
    .filter(([, p]) => p !== null).map(([name, p]) => `${name} ${p.toFixed(2)}`).join(", ");
  get("numbering").textContent = scan.numbering || "-";
  get("warnings").textContent = scan.warnings;
  get("now").textContent = nowText(scan, review);
  get("slice").textContent = sliceText(scan, review);
  const state = get("state");
  state.textContent = review.done ? `Reviewed: ${verdict(scan, review)}` :
    sameAnswer(review, firstReview(scan)) ? "Not reviewed" : "Changed. Press Enter to keep it.";
  state.className = review.done ? "done" : "open";
  get("picks").hidden = !scan.vertebrae.length;
  get("vertebrae").replaceChildren(...scan.vertebrae.map((v) => vertebraButton(v, review)));
}

function nowText(scan, review) {
  if (review.kind === FOUND) return `${scan.level} ${mm(review.z)}`;
  return review.kind === ABSENT ? `${scan.level} ${ABSENT}` : UNKNOWN;
}

function sliceText(scan, review) {
  if (review.kind !== FOUND) return "-";
  const i = nearestSlice(scan.slices, review.z);
  return `${i}, ${mm(sliceZ(scan.slices, i))}`;
}

function vertebraButton(vertebra, review) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = vertebra.name;
  const here = review.kind === FOUND && review.z <= vertebra.upper_mm && review.z >= vertebra.lower_mm;
  made.setAttribute("aria-pressed", here);
  made.addEventListener("click", () => moveTo(vertebra.z_mm, "pick"));
  return made;
}
