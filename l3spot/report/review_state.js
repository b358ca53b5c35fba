"use strict";
// The answers of a reader, as pure functions: slices, verdicts and corrections.csv.
//
// A review is {kind, z, done, reader, note}: kind is FOUND, ABSENT or UNKNOWN; z is in mm,
// null unless the vertebra is in view; done says that the reader has confirmed it.

const FOUND = "found", ABSENT = "not in view", UNKNOWN = "cannot tell";
const SAME_MM = 0.005;  // The first answers are rounded to 0.01 mm.
const COLUMNS = ["scan", "z_mm", "level", "reader", "verdict", "note"];

// Returns 53 bits of a text, as 11 characters at most (FNV-1a, twice).
function hash(text) {
  const half = (seed) => {
    let bits = seed;
    for (let i = 0; i < text.length; i++) bits = Math.imul(bits ^ text.charCodeAt(i), 0x01000193);
    return bits >>> 0;
  };
  return ((half(0x811c9dc5) & 0x1fffff) * 2 ** 32 + half(0x2b0d53e7)).toString(36);
}

function sliceZ(slices, i) {
  return slices.z_mm ? slices.z_mm[i] : slices.low_mm + i * slices.step_mm;
}

function nearestSlice(slices, z) {
  if (!slices.z_mm) {
    const i = Math.round((z - slices.low_mm) / slices.step_mm);
    return Math.min(Math.max(i, 0), slices.count - 1);
  }
  let best = 0;
  slices.z_mm.forEach((at, i) => {
    if (Math.abs(at - z) < Math.abs(slices.z_mm[best] - z)) best = i;
  });
  return best;
}

// Returns z of the next slice towards the head (1) or the feet (-1).
function neighbourZ(slices, z, direction) {
  let i = nearestSlice(slices, z);
  if ((sliceZ(slices, i) - z) * direction < SAME_MM) i += direction;
  return sliceZ(slices, Math.min(Math.max(i, 0), slices.count - 1));
}

function withinSlices(slices, z) {
  return Math.min(Math.max(z, slices.low_mm), sliceZ(slices, slices.count - 1));
}

function firstReview(scan) {
  const found = scan.status === FOUND;
  return {kind: found ? FOUND : ABSENT, z: found ? scan.z_mm : null, done: false,
    reader: "", note: ""};
}

function sameAnswer(review, other) {
  return review.kind === other.kind &&
    (review.kind !== FOUND || Math.abs(review.z - other.z) < SAME_MM);
}

function verdict(scan, review) {
  if (sameAnswer(review, firstReview(scan))) return "accepted";
  return review.kind === FOUND ? "moved" : review.kind;
}

// A spreadsheet takes some starts for a formula; "'" precedes such a text.
function protectedCell(text) {
  return /^'*[=+\-@\t\r]/.test(text) ? "'" + text : text;
}

function csvLine(cells) {
  return cells.map((cell) =>
    /[",\r\n]/.test(cell) ? '"' + cell.replaceAll('"', '""') + '"' : cell
  ).join(",") + "\n";
}

function correction(scan, review) {
  const z = review.kind === FOUND ? String(Math.round(1000 * review.z) / 1000) : "";
  const [name, level, reader, note] =
    [scan.scan, scan.level, review.reader, review.note].map(protectedCell);
  return csvLine([name, z, level, reader, verdict(scan, review), note]);
}

// Encodes as UTF-8. Bytes of names that are no UTF-8 are U+DC80 to U+DCFF in the page, as
// in Python, and become these bytes again.
function csvBytes(text) {
  const encoder = new TextEncoder(), bytes = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - 0xdc00);
    else bytes.push(...encoder.encode(character));
  }
  return new Uint8Array(bytes);
}

function correctionsCsv(scans, reviews) {
  const lines = scans.flatMap((scan, i) =>
    reviews[i].done ? [correction(scan, reviews[i])] : []);
  return csvBytes([csvLine(COLUMNS), ...lines].join(""));
}
