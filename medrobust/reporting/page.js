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
  function small(text) {
    const made = document.createElement("small");
    made.textContent = text;
    return made;
  }
  function show(cell, entry, told, top) {
    const digits = told.share ? 1 : 3, factor = told.share ? 100 : 1;
    cell.replaceChildren();
    cell.removeAttribute("style");
    if (entry === null || entry === undefined) { cell.textContent = "–"; return; }
    cell.append((factor * entry[0]).toFixed(digits));
    if (entry[1] !== null) cell.append(small((factor * entry[1]).toFixed(digits) + "–" + (factor * entry[2]).toFixed(digits) + (entry[4] || "")));
    if (entry[3]) cell.append(small(entry[3]));
    if (top === null) return;
    const colors = shade(top > 0 ? (told.higher ? top - entry[0] : entry[0]) / top : 0);
    cell.style.background = colors[0];
    cell.style.color = colors[1];
  }
  function kept(element, name, make) {
    if (!original.has(element)) original.set(element, make());
    return original.get(element);
  }
  function table(section, matrix, name, usual) {
    const values = matrix.metrics[name], told = data.metrics[name];
    const level = matrix.severities.indexOf(Number(severity.value));
    const all = values ? values.rows.map((row) => row.slice(0, Math.max(1, row.length - 1))).flat(2).filter((e) => e !== null) : [];
    const most = Math.max(...all.map((entry) => entry[0]), 0);
    const top = told.share ? Math.min(1, Math.ceil(10 * most - 1e-9) / 10) : most;
    for (const cell of section.querySelectorAll("table.heat td")) {
      const before = kept(cell, "cell", () => [cell.innerHTML, cell.getAttribute("style")]);
      if (usual) {
        cell.innerHTML = before[0];
        if (before[1] === null) cell.removeAttribute("style"); else cell.setAttribute("style", before[1]);
        continue;
      }
      const columns = values ? values.rows[Number(cell.dataset.row)] : [];
      const column = Number(cell.dataset.column), entries = columns[column] || [];
      const ratio = column === matrix.corruptions.length + 2;
      const alone = column === 0 || severity.value === "";
      show(cell, alone ? entries[0] : level < 0 || ratio ? null : entries[level + 1], told, ratio ? null : top);
    }
    const scale = section.querySelector(".scale");
    const ends = kept(scale, "scale", () => [scale.firstElementChild.textContent, scale.lastElementChild.textContent]);
    const limits = [written(0, told), written(top, told)];
    const shown = usual ? ends : told.higher ? limits.reverse() : limits;
    scale.firstElementChild.textContent = shown[0];
    scale.lastElementChild.textContent = shown[1];
  }
  function written(value, told) { return told.share ? (100 * value).toFixed(0) + " %" : String(Number(value.toPrecision(3))); }
  function named(section, matrix, name) {
    const values = matrix.metrics[name], told = data.metrics[name];
    const caption = section.querySelector(".caption");
    const first = kept(caption, "caption", () => caption.textContent);
    const level = ", severity " + severity.value + " (ranks, ratios and charts are over all of them)";
    const text = values ? (name === matrix.shown ? first : values.caption) : told.title + ": not computed on this data set.";
    caption.textContent = severity.value === "" ? text : text.replace(matrix.averaged, level);
    for (const place of section.querySelectorAll("[data-metric]")) {
      place.textContent = told.title[0].toUpperCase() + told.title.slice(1);
    }
  }
  function drawings(section, matrix, name) {
    for (const place of section.querySelectorAll("[data-figure]")) {
      for (const old of section.querySelectorAll("[data-drawn=" + place.dataset.figure + "]")) old.remove();
      const first = place.querySelector("svg");
      first.style.display = name === matrix.shown ? "" : "none";
      if (name === matrix.shown || !matrix.metrics[name]) continue;
      const made = charts[place.dataset.figure](matrix, name, data.metrics[name], data.styles);
      if (made) { made.dataset.drawn = place.dataset.figure; place.append(made); }
    }
  }
  function choose(root) {
    for (const group of root.querySelectorAll("[data-by-metric]")) {
      const parts = Array.from(group.children).filter((part) => part.dataset.of !== undefined);
      const chosen = metric.value === "" ? parts.find((part) => part.dataset.first !== undefined)
        : parts.find((part) => part.dataset.of === metric.value);
      for (const part of parts) part.hidden = part !== chosen;
      for (const old of group.querySelectorAll(":scope > .none")) old.remove();
      if (chosen || metric.value === "" || !group.dataset.none) continue;
      const told = document.createElement("p");
      told.className = "none small";
      told.textContent = group.dataset.none.replace("{metric}", data.metrics[metric.value].title);
      group.append(told);
    }
  }
  function redraw() {
    for (const section of document.querySelectorAll("section[data-matrix]")) {
      const matrix = data.matrices[Number(section.dataset.matrix)];
      const name = metric.value || matrix.shown;
      section.hidden = dataset.value !== "" && dataset.value !== section.dataset.matrix;
      table(section, matrix, name, name === matrix.shown && severity.value === "");
      named(section, matrix, name);
      drawings(section, matrix, name);
    }
    for (const place of document.querySelectorAll("[data-heading]")) {
      const matrix = data.matrices[Number(place.dataset.heading)];
      const values = matrix.metrics[metric.value || matrix.shown];
      if (values) place.textContent = values.heading;
    }
    choose(document);
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
  for (const place of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(place.dateTime);
    if (!isNaN(moment)) place.textContent = moment.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"});
  }
  for (const control of [metric, severity, dataset]) control.addEventListener("change", redraw);
  document.getElementById("switches").hidden = false;
  redraw();
})();
