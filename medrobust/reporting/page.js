"use strict";
(function () {
  const data = JSON.parse(document.getElementById("cells").textContent);
  const metric = document.getElementById("metric");
  const severity = document.getElementById("severity");
  const dataset = document.getElementById("dataset");
  const original = new Map();

  function shade(share) {
    const x = Math.min(Math.max(share, 0), 1) * (data.shades.length - 1);
    return data.shades[Math.round(x)];
  }
  function show(cell, entry, name, top) {
    const share = data.metrics[name].share;
    const digits = share ? 1 : 3;
    const factor = share ? 100 : 1;
    cell.replaceChildren();
    if (entry === null) { cell.textContent = "–"; cell.removeAttribute("style"); return; }
    cell.append((factor * entry[0]).toFixed(digits));
    if (entry[1] !== null) {
      const range = document.createElement("small");
      range.textContent = (factor * entry[1]).toFixed(digits) + "–" + (factor * entry[2]).toFixed(digits);
      cell.append(range);
    }
    const better = data.metrics[name].higher ? top - entry[0] : entry[0];
    const colors = shade(top > 0 ? better / top : 0);
    cell.style.background = colors[0];
    cell.style.color = colors[1];
  }
  function redraw() {
    for (const section of document.querySelectorAll("section[data-matrix]")) {
      const matrix = data.matrices[Number(section.dataset.matrix)];
      section.hidden = dataset.value !== "" && dataset.value !== section.dataset.matrix;
      const table = section.querySelector("table.heat");
      const usual = metric.value === "" && severity.value === "";
      const name = metric.value || matrix.shown;
      const values = matrix.metrics[name];
      section.querySelector(".switched").textContent = usual ? "" :
        "Shown: " + data.metrics[name].title + (severity.value === "" ? ", mean over severities" :
        ", severity " + severity.value) + (values ? "." : ": not computed on this data set.");
      for (const part of section.querySelectorAll(".usual")) part.hidden = !usual;
      const level = matrix.severities.indexOf(Number(severity.value));
      const all = values ? values.flat(2).filter((e) => e !== null).map((e) => e[0]) : [];
      const top = data.metrics[name].share ? 1 : Math.max(...all, 0);
      for (const cell of table.querySelectorAll("td")) {
        if (!original.has(cell)) original.set(cell, [cell.innerHTML, cell.getAttribute("style")]);
        const kept = original.get(cell);
        if (usual) {
          cell.innerHTML = kept[0];
          if (kept[1] === null) cell.removeAttribute("style"); else cell.setAttribute("style", kept[1]);
          continue;
        }
        const row = Number(cell.dataset.row);
        const column = cell.dataset.column;
        if (!values || column === undefined) { show(cell, null, name, top); continue; }
        const place = values[row][Number(column)];
        if (Number(column) === 0) { show(cell, place[0], name, top); continue; }
        show(cell, severity.value === "" ? place[0] : level < 0 ? null : place[level + 1], name, top);
      }
    }
  }
  let opened = [];
  addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", function () {
    for (const part of opened) part.open = false;
    opened = [];
  });
  for (const control of [metric, severity, dataset]) control.addEventListener("change", redraw);
  document.getElementById("switches").hidden = false;
  redraw();
})();
