"use strict";
const charts = (function () {
  const WIDE = 200, HIGH = 150, LEFT = 30, TOP = 20, BELOW = 32;

  function part(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function words(x, y, text, anchor) {
    return part("text", {x: x, y: y, "text-anchor": anchor, "font-size": 9, fill: "currentColor"}, text);
  }
  function mark(style, x, y, told) {
    const shapes = {
      o: "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0", s: "M-3,-3h6v6h-6z", "^": "M0,-4L4,3H-4z",
      D: "M0,-4L4,0L0,4L-4,0z", v: "M0,4L4,-3H-4z", P: "M-1,-4h2v3h3v2h-3v3h-2v-3h-3v-2h3z",
      X: "M-3,-4L0,-1L3,-4L4,-3L1,0L4,3L3,4L0,1L-3,4L-4,3L-1,0L-4,-3z",
    };
    const made = part("path", {d: shapes[style[1]], fill: style[0], transform: "translate(" + x + "," + y + ")"});
    made.append(part("title", {}, told));
    return made;
  }
  function dashes(style) { return {"-": "", "--": "5,3", "-.": "6,2,1,2", ":": "1,2"}[style[2]]; }
  function told(entry, factor) {
    const text = (factor * entry[0]).toFixed(factor === 100 ? 1 : 3);
    return entry[1] === null ? text : text + " (" + (factor * entry[1]).toFixed(factor === 100 ? 1 : 3) +
      "–" + (factor * entry[2]).toFixed(factor === 100 ? 1 : 3) + ")";
  }
  function range(entries, zero) {
    const ends = entries.flatMap((e) => e[1] === null ? [e[0]] : [e[0], e[1], e[2]]);
    const low = Math.min(zero ? 0 : Infinity, ...ends), high = Math.max(...ends, low + 1e-6);
    const more = 0.05 * (high - low);
    return [zero && low === 0 ? 0 : low - more, high + more];
  }
  function steps(low, high) {
    const rough = (high - low) / 4, power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= rough);
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
    return found;
  }
  function written(value, factor) { return String(Number((factor * value).toPrecision(3))); }
  function legend(matrix, rows, styles, height, width) {
    const made = part("g", {});
    let x = LEFT, y = height;
    for (const row of rows) {
      const style = styles[row % styles.length], long = 30 + 5.2 * matrix.labels[row].length;
      if (x > LEFT && x + long > width) { x = LEFT; y += 14; }
      made.append(part("path", {d: "M" + x + "," + (y - 3) + "h18", stroke: style[0], "stroke-dasharray": dashes(style)}));
      made.append(mark(style, x + 9, y - 3, matrix.labels[row]), words(x + 22, y, matrix.labels[row], "start"));
      x += long;
    }
    return [made, y + 6];
  }
  function frame(height, width) {
    return part("svg", {viewBox: "0 0 " + width + " " + height, class: "drawn"});
  }
  function curves(matrix, name, metric, styles) {
    const rows = matrix.metrics[name].rows, names = matrix.corruptions;
    const factor = metric.share ? 100 : 1, across = Math.min(4, names.length);
    const line = (row, c) => [rows[row][0][0], ...rows[row][c + 1].slice(1)];
    const every = matrix.drawn.flatMap((row) => names.flatMap((_, c) => line(row, c))).filter((e) => e !== null);
    if (every.length === 0) return null;
    const [low, high] = range(every, true);
    const width = across * (LEFT + WIDE), deep = TOP + HIGH + BELOW;
    const panels = part("g", {});
    names.forEach(function (corruption, c) {
      const left = (c % across) * (LEFT + WIDE) + LEFT, top = Math.floor(c / across) * deep + TOP;
      const y = (value) => top + HIGH * (1 - (value - low) / (high - low));
      const x = (place) => left + 8 + place * (WIDE - 24) / matrix.severities.length;
      panels.append(words(left + WIDE / 2 - 8, top - 6, corruption.replaceAll("_", " "), "middle"));
      for (const value of steps(low, high)) {
        panels.append(part("path", {d: "M" + left + "," + y(value) + "h" + (WIDE - 12), stroke: "#8090a0", "stroke-opacity": 0.3, "stroke-width": 0.6}));
        panels.append(words(left - 3, y(value) + 3, written(value, factor), "end"));
      }
      ["clean", ...matrix.severities].forEach((level, place) => panels.append(words(x(place), top + HIGH + 11, level, "middle")));
      panels.append(words(left + WIDE / 2 - 8, top + HIGH + 23, "severity", "middle"));
      for (const row of matrix.drawn) {
        const style = styles[row % styles.length];
        const seen = line(row, c).map((entry, place) => [entry, x(place)]).filter((pair) => pair[0] !== null);
        const sure = seen.filter((pair) => pair[0][1] !== null);
        const up = sure.map((pair) => pair[1] + "," + y(pair[0][2]));
        const down = sure.map((pair) => pair[1] + "," + y(pair[0][1])).reverse();
        if (sure.length === seen.length && sure.length > 1) panels.append(part("path", {d: "M" + up.concat(down).join("L") + "z", fill: style[0], "fill-opacity": 0.13}));
        const path = seen.map((pair) => pair[1] + "," + y(pair[0][0])).join("L");
        if (path) panels.append(part("path", {d: "M" + path, fill: "none", stroke: style[0], "stroke-width": 1.5, "stroke-dasharray": dashes(style)}));
        for (const pair of seen) panels.append(mark(style, pair[1], y(pair[0][0]), matrix.labels[row] + ": " + told(pair[0], factor)));
      }
    });
    const [named, height] = legend(matrix, matrix.drawn, styles, Math.ceil(names.length / across) * deep + TOP, width);
    const drawing = frame(height, width);
    drawing.append(panels, named);
    return drawing;
  }
  function scatter(matrix, name, metric, styles) {
    const rows = matrix.metrics[name].rows, factor = metric.share ? 100 : 1;
    const points = rows.map((row) => [row[0][0], row[row.length - 2][0]]);
    const known = points.map((_, row) => row).filter((row) => points[row][0] !== null && points[row][1] !== null);
    if (known.length < 2) return null;
    const [low, high] = range(known.flatMap((row) => points[row]), false);
    const side = 260, left = 48, place = (value) => side * (value - low) / (high - low);
    const x = (value) => left + place(value), y = (value) => TOP + side - place(value);
    const panel = part("g", {});
    panel.append(part("path", {d: "M" + x(low) + "," + y(low) + "L" + x(high) + "," + y(high), stroke: "#8090a0", "stroke-dasharray": "1,2"}));
    for (const value of steps(low, high)) {
      panel.append(words(x(value), TOP + side + 12, written(value, factor), "middle"), words(left - 4, y(value) + 3, written(value, factor), "end"));
    }
    for (const row of known) {
      const [clean, mean] = points[row], style = styles[row % styles.length];
      if (clean[1] !== null) panel.append(part("path", {d: "M" + x(clean[1]) + "," + y(mean[0]) + "H" + x(clean[2]), stroke: style[0]}));
      if (mean[1] !== null) panel.append(part("path", {d: "M" + x(clean[0]) + "," + y(mean[1]) + "V" + y(mean[2]), stroke: style[0]}));
      panel.append(mark(style, x(clean[0]), y(mean[0]), matrix.labels[row] + ": " + told(clean, factor) + " → " + told(mean, factor)));
    }
    const unit = metric.share ? ", %" : "", middle = TOP + side / 2;
    panel.append(words(left + side / 2, TOP + side + 26, metric.title + " on clean images" + unit, "middle"));
    const upward = words(12, middle, "mean over corruptions" + unit, "middle");
    upward.setAttribute("transform", "rotate(-90 12 " + middle + ")");
    const [named, height] = legend(matrix, known, styles, TOP + side + 44, left + side + 20);
    const drawing = frame(height, left + side + 20);
    drawing.append(panel, upward, named);
    return drawing;
  }
  return {curves: curves, scatter: scatter};
})();
