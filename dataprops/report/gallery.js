"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const PAGE = 24, PRINTED = 300;
  const make = (tag, attributes = {}, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...inside.filter((part) => part !== null));
    return element;
  };
  // control characters, line ends and marks of direction are shown, not obeyed
  const visible = (text) => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\u3164\ufeff\uffa0\ufff9-\ufffb]/g,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
  // what a spreadsheet would take for a formula gets an apostrophe; numbers stay
  const cell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (/^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text)) text = "'" + text;
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const store = { key: "dataprops:" + data.dataset + ":" + data.run,
    load() { try { return JSON.parse(localStorage.getItem(this.key) || "[]"); } catch { return []; } },
    save(values) { try { localStorage.setItem(this.key, JSON.stringify(values)); } catch { /* a mail viewer has none */ } } };
  const ticked = new Set(store.load());
  const about = (image) => data.images[image] || { p: String(image) };

  for (const img of document.querySelectorAll("img[data-i]")) {
    const source = data.pics[img.dataset.i];
    if (source) { img.src = source; img.alt = visible(about(img.dataset.i).p); img.hidden = false; tiny(img); }
  }
  function tiny(img) { img.addEventListener("load", () => img.classList.toggle("tiny", img.naturalWidth < 140)); }

  // ---- pointing at a part of a plot says its numbers
  const tooltip = make("div", { id: "tooltip", hidden: true, "aria-hidden": "true" });
  document.body.append(tooltip);
  document.addEventListener("pointermove", (event) => {
    const part = event.target.closest ? event.target.closest("svg .tip") : null;
    tooltip.hidden = !part;
    if (!part) return;
    const title = part.querySelector("title");
    if (title) { part.dataset.tip = title.textContent; title.remove(); }
    tooltip.textContent = part.dataset.tip;
    tooltip.style.left = Math.min(event.clientX + 12, innerWidth - 200) + "px";
    tooltip.style.top = event.clientY + 14 + "px";
  });
  if (!$("gallery")) return;

  // ---- filters
  const all = data.rows.map((row, at) => ({ ...row, at, kind: data.kinds[row.k] }));
  const values = (key) => [...new Set(Object.values(data.images).map((i) => i[key]).filter((v) => v !== undefined))].sort();
  const choices = (select, entries) => select.replaceChildren(make("option", { value: "", text: "all" }), ...entries.map(([value, text]) => make("option", { value, text })));
  choices($("f-kind"), data.kinds.map((k, at) => [String(at), k.title + " (" + k.count.toLocaleString("en") + (k.usual ? ", as in every set)" : ")")]));
  const counted = all.filter((row) => !row.kind.usual);
  choices($("f-class"), values("l").map((v) => [v, visible(v)]));
  choices($("f-split"), values("s").map((v) => [v, visible(v)]));
  for (const id of ["f-class", "f-split"]) $(id).closest("label").hidden = $(id).options.length < 2;
  const groups = values("g");
  $("f-group").closest("label").hidden = !groups.length;
  $("groups").append(...groups.slice(0, 500).map((value) => make("option", { value })));
  let found = all, page = 0;

  const words = (row) => (row.words ??= [row.t, ...row.m.map((i) => about(i).p)].join("\n").toLowerCase());
  function filter() {
    const kind = $("f-kind").value, label = $("f-class").value, split = $("f-split").value;
    const group = $("f-group").value, text = $("f-text").value.trim().toLowerCase();
    const one = (row, key, value) => row.m.some((i) => about(i)[key] === value);
    const known = groups.includes(group), part = group.toLowerCase(); // what is typed so far may be a part of a name
    const grouped = (row) => (known ? one(row, "g", group) : row.m.some((i) => (about(i).g || "").toLowerCase().includes(part)));
    found = (kind === "" ? (counted.length ? counted : all) : all).filter((row) => (kind === "" || row.k === +kind) && (label === "" || one(row, "l", label)) && (split === "" || one(row, "s", split))
      && (group === "" || grouped(row)) && (text === "" || words(row).includes(text)));
    page = 0;
    show();
  }

  // ---- cards
  const copier = (entry) => {
    const copy = make("button", { type: "button", class: "copy", text: "copy", "aria-label": "copy the name of " + visible(entry.p), onclick: () => copied(copy, entry.p) });
    return copy;
  };
  const where = (entry) => [entry.s && "split " + visible(entry.s), entry.g && "group " + visible(entry.g)].filter(Boolean).join(", ");
  // the place in the picture that a finding names, a cell of an 8 x 8 grid
  const GRID = 8, members = (row) => (row.o ? row.m.concat(row.o) : row.m);
  function place_of(row) {
    if (!row.c) return null;
    const inside = make("span", { class: "cell" });
    inside.style.top = (100 * row.c[0]) / GRID + "%"; inside.style.left = (100 * row.c[1]) / GRID + "%";
    return make("span", { class: "place", "aria-hidden": "true" }, inside);
  }
  // that place and as much around it on each side, NEAR times as large: a thin mark is lost in a small picture
  const NEAR = 4;
  function close_of(row, source) {
    if (!row.c || !source) return null;
    const inside = make("img", { alt: "" });
    inside.src = source; tiny(inside);
    const [top, left] = row.c.map((at) => -100 * NEAR * Math.min(Math.max((at + 0.5) / GRID - 0.5 / NEAR, 0), 1 - 1 / NEAR) + "%");
    Object.assign(inside.style, { top, left, width: 100 * NEAR + "%", height: 100 * NEAR + "%" });
    return make("span", { class: "close", "aria-hidden": "true" }, inside);
  }
  // one image of a finding; of many only the label stands below it, and the names in a list below them all
  function shot(row, image, at, many) {
    const entry = about(image), source = data.pics[image], name = visible(entry.p);
    const figure = make("figure", { class: "shot" });
    const inside = source ? make("img", { alt: (entry.l ? visible(entry.l) + ": " : "") + name }) : make("span", { class: "none", text: "no picture" });
    if (source) { tiny(inside); inside.src = source; }
    const box = make("input", { type: "checkbox", "aria-label": "wrong: " + name });
    box.checked = ticked.has(entry.p);
    figure.classList.toggle("wrong", box.checked);
    box.addEventListener("change", () => tick(entry.p, box.checked));
    figure.dataset.path = entry.p;
    const label = entry.l !== undefined ? make("span", { class: "label", title: visible(entry.l), text: visible(entry.l) }) : null;
    const ticks = make("label", { title: "tick what is wrong" }, box, "wrong");
    figure.append(make("button", { type: "button", class: "pic", "aria-label": "enlarge " + name, onclick: () => open(found.indexOf(row), at) }, inside, source ? place_of(row) : null), close_of(row, source) || "",
      many ? make("figcaption", {}, label, make("div", { class: "row" }, ticks))
        : make("figcaption", {}, label, make("span", { class: "path", text: name }), where(entry) ? make("span", { class: "where", text: where(entry) }) : null,
          make("div", { class: "row" }, ticks, copier(entry))));
    return figure;
  }
  const names = (members) => make("details", { class: "names" }, make("summary", { text: "file names" }),
    make("ul", {}, ...members.map((image) => make("li", {}, visible(about(image).p) + (where(about(image)) ? ", " + where(about(image)) : "") + " ", copier(about(image))))));
  async function copied(button, text) {
    try { await navigator.clipboard.writeText(text); } catch {
      const area = make("textarea"); area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
    }
    button.textContent = "Copied"; setTimeout(() => { button.textContent = "copy"; }, 1200);
  }
  const apart = (row) => (row.f ? "difference × " + row.f : "no difference");
  function card(row) {
    const own = row.m.slice(0, row.o ? 4 : 8), rest = row.m.length - own.length + (row.more || 0), many = own.length + (row.o || []).length > 3;
    const shape = row.m.length === 1 ? "one" : row.m.length === 2 ? (row.x ? "diff" : "pair") : many ? "many" : "three";
    const shots = make("div", { class: "shots " + shape }, ...own.map((image, at) => shot(row, image, at, many)),
      ...(row.o || []).map((image, at) => shot(row, image, row.m.length + at, many)));
    if (row.x) {
      const img = make("img", { alt: apart(row) + " of the two images" }); img.src = row.x; tiny(img);
      shots.append(make("figure", { class: "shot" }, make("button", { type: "button", class: "pic", "aria-label": "show the difference", onclick: () => open(found.indexOf(row), 1, "diff") }, img),
        make("figcaption", { class: "where", text: apart(row) })));
    }
    const told = (row.c ? " The frame shows where; below each picture that part, " + NEAR + " times as large." : "") + (row.o ? " The last " + row.o.length + " are of other classes, for comparison." : "");
    return make("article", { class: "card " + (own.length ? shape : "words"), "data-kind": row.kind.id }, make("h3", { text: row.kind.title }), own.length ? shots : null,
      make("p", { text: visible(row.t) + told + (rest > 0 ? " " + rest.toLocaleString("en") + " more images are not shown." : "") }), many ? names(own.concat(row.o || [])) : null);
  }
  // of more than fit on paper some of each kind, in their order
  function spread(rows, most) {
    if (rows.length <= most) return rows;
    const share = Math.floor(most / new Set(rows.map((row) => row.k)).size), seen = new Map();
    const first = new Set(rows.filter((row) => { const at = seen.get(row.k) || 0; seen.set(row.k, at + 1); return at < share; }));
    for (const row of rows) if (first.size < most) first.add(row);
    return rows.filter((row) => first.has(row));
  }
  function show(printed = 0) {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(page, pages - 1);
    const rows = printed ? spread(found, printed) : found.slice(page * PAGE, (page + 1) * PAGE);
    $("cards").replaceChildren(...rows.map(card));
    const of = $("f-kind").value === "" && counted.length ? counted : all.filter((row) => $("f-kind").value === "" || row.k === +$("f-kind").value);
    $("status").textContent = found.length.toLocaleString("en") + " of " + of.length.toLocaleString("en") + " findings" + (printed && found.length > printed ? ", " + printed + " of them here" : "");
    $("page").textContent = "page " + (page + 1) + " of " + pages;
    $("prev").disabled = page === 0;
    $("next-page").disabled = page >= pages - 1;
    count();
  }
  for (const id of ["f-kind", "f-class", "f-split"]) $(id).addEventListener("change", filter);
  let waiting = 0;
  for (const id of ["f-group", "f-text"]) $(id).addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  document.querySelector("form.tools").addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  $("f-reset").addEventListener("click", () => { for (const id of ["f-kind", "f-class", "f-split", "f-group", "f-text"]) $(id).value = ""; filter(); });
  $("prev").addEventListener("click", () => { page -= 1; show(); });
  $("next-page").addEventListener("click", () => { page += 1; show(); });
  function follow() {
    const wanted = decodeURIComponent(location.hash.slice(1));
    if (!wanted.startsWith("find=")) return;
    if (only(wanted.slice(5))) $("gallery").scrollIntoView();
  }
  function only(wanted) {
    const kind = data.kinds.findIndex((k) => k.id === wanted);
    if (kind < 0) return false;
    for (const id of ["f-class", "f-split", "f-group", "f-text"]) $(id).value = "";
    $("f-kind").value = String(kind);
    filter();
    return true;
  }
  // a small picture beside a step or an alert opens its finding; the keyboard has the link beside it
  for (const img of document.querySelectorAll(".steps img[data-i], .alert img[data-i]")) {
    const link = img.closest("li, .alert").querySelector('a[href^="#find="]');
    if (!link || img.hidden) continue;
    img.classList.add("opens");
    img.addEventListener("click", () => {
      if (!only(link.hash.slice(6))) return;
      const at = found.findIndex((row) => row.m.includes(+img.dataset.i));
      if (at >= 0) open(at, found[at].m.indexOf(+img.dataset.i));
    });
  }
  addEventListener("hashchange", follow);
  for (const link of document.querySelectorAll('a[href^="#find="]')) link.addEventListener("click", () => { if (location.hash === link.getAttribute("href")) follow(); });

  // ---- ticks and exports
  function tick(path, wrong) {
    if (wrong) ticked.add(path); else ticked.delete(path);
    store.save([...ticked]);
    for (const figure of document.querySelectorAll(".shot[data-path]")) if (figure.dataset.path === path) {
      figure.classList.toggle("wrong", wrong);
      figure.querySelector("input").checked = wrong;
    }
    count();
  }
  function count() {
    $("ticked").textContent = ticked.size.toLocaleString("en");
    for (const id of ["untick", "export-csv"]) $(id).disabled = !ticked.size;
    $("export-manifest").disabled = !ticked.size || !data.files || data.files.lost > 0;
    if (data.files && data.files.lost) $("export-manifest").title = data.files.lost + " names are not valid UTF-8, which CSV cannot hold: dataprops clean writes them to a .parquet file";
    if (!data.files) $("export-manifest").title = "The set is too long for this page: dataprops clean writes the manifest";
  }
  $("untick").addEventListener("click", () => { for (const path of [...ticked]) tick(path, false); });
  $("tick-page").addEventListener("click", () => {
    for (const row of found.slice(page * PAGE, (page + 1) * PAGE)) for (const image of row.m.length > 1 ? row.m.slice(1) : row.m) tick(about(image).p, true);
  });
  if (data.files && !data.base && !data.files.path.some((path) => /^(\/|[a-z][a-z0-9+.-]*:\/\/)/i.test(path))) {
    $("export-manifest").textContent = "Export list without them"; // images inside a container have no path of their own
  }
  const lies = (path) => { const real = data.files.real[path] ?? path; return /^(\/|[a-z][a-z0-9+.-]*:\/\/)/i.test(real) ? real : data.base + real; };
  function save(name, lines) {
    const address = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv;charset=utf-8" }));
    const link = make("a", { href: address, download: name });
    document.body.append(link); link.click(); link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }
  $("export-csv").addEventListener("click", () => {
    const kinds = new Map();
    for (const row of all) for (const image of row.m) { const path = about(image).p; if (ticked.has(path)) kinds.set(path, (kinds.get(path) || new Set()).add(row.kind.id)); }
    const by = new Map(Object.values(data.images).map((entry) => [entry.p, entry]));
    save(data.dataset + "-wrong.csv", ["path,label,split,group,findings", ...[...ticked].map((path) => { const e = by.get(path) || {};
      return [path, e.l, e.s, e.g, [...(kinds.get(path) || [])].join(" ")].map(cell).join(","); })]);
  });
  $("export-manifest").addEventListener("click", () => {
    const f = data.files, lines = ["path,label,split,group"], text = (name, at) => (f[name][at] < 0 ? "" : f[name + "s"][f[name][at]]);
    f.path.forEach((path, at) => { if (!ticked.has(path)) lines.push([lies(path), text("label", at), text("split", at), text("group", at)].map(cell).join(",")); });
    save(data.dataset + "-clean.csv", lines);
  });

  // ---- enlarged
  const view = $("view");
  let current = 0, second = 1, mode = "side", flipped = false, zoom = 1, x = 0, y = 0;
  function open(at, member = 0, wanted = "") {
    if (at < 0 || at >= found.length) return;
    current = at;
    const row = found[at], other = members(row).findIndex((i) => about(i).l !== about(row.m[0]).l);
    second = member > 0 ? member : Math.max(1, other);
    if (wanted) mode = wanted;
    if (members(row).length < 2) mode = "side";
    zoom = 1; x = y = 0; flipped = false;
    draw();
    if (!view.open) view.showModal();
  }
  function pane(image, source, caption, where = null) {
    const frame = make("div", { class: "frame" }), figure = make("figure", { class: "pane" }, frame);
    if (source) { const img = make("img", { alt: caption, draggable: "false" }); tiny(img); img.src = source; frame.append(img, ...(where ? [where] : [])); } else frame.append(make("span", { class: "none", text: "no picture in this file" }));
    const text = make("figcaption", {}, make("b", { text: caption }));
    if (image !== null) { const entry = about(image); text.append(make("br"), visible(entry.p) + (entry.s ? " · split " + visible(entry.s) : "") + (entry.g ? " · group " + visible(entry.g) : "")); }
    figure.append(text);
    if (image !== null) {
      const entry = about(image), box = make("input", { type: "checkbox", "aria-label": "wrong: " + visible(entry.p) });
      box.checked = ticked.has(entry.p);
      box.addEventListener("change", () => tick(entry.p, box.checked));
      figure.append(make("div", { class: "row" }, make("label", {}, box, "wrong"), copier(entry)));
    }
    return figure;
  }
  function draw() {
    const row = found[current], shown = members(row), pair = shown.length > 1, a = shown[0], b = shown[Math.min(second, shown.length - 1)];
    const label = (image) => (about(image).l !== undefined ? visible(about(image).l) : "no label");
    $("view-title").textContent = row.kind.title + ", " + (current + 1) + " of " + found.length;
    $("v-text").textContent = visible(row.t);
    if (mode === "diff" && !(row.x && row.m.length === 2)) mode = "side";
    const one = (image, caption) => pane(image, data.pics[image], caption, place_of(row));
    const panes = !shown.length ? [] : !pair ? [one(a, label(a))]
      : mode === "flip" ? [flipped ? one(b, "2: " + label(b)) : one(a, "1: " + label(a))]
      : mode === "diff" ? [pane(null, row.x, apart(row))] : [one(a, label(a)), one(b, label(b))];
    $("panes").replaceChildren(...panes);
    $("panes").className = "panes" + (panes.length < 2 ? " single" : "");
    for (const [id, name] of [["v-side", "side"], ["v-flip", "flip"], ["v-diff", "diff"]]) { $(id).setAttribute("aria-pressed", String(mode === name)); $(id).hidden = !pair; }
    $("v-diff").disabled = !(row.x && row.m.length === 2);
    $("v-prev").disabled = current === 0;
    $("v-next").disabled = current === found.length - 1;
    $("v-more").replaceChildren(...(shown.length > 2 ? shown.slice(1, 40).filter((i) => data.pics[i]).map((image) => {
      const img = make("img", { alt: visible(about(image).p) }); img.src = data.pics[image];
      return make("button", { type: "button", "aria-pressed": String(image === b), "aria-label": "compare with " + visible(about(image).p), onclick: () => { second = shown.indexOf(image); draw(); } }, img);
    }) : []));
    place();
  }
  function place() { for (const img of view.querySelectorAll(".frame img, .frame .place")) img.style.transform = "translate(" + x + "px," + y + "px) scale(" + zoom + ")"; }
  function scale(times) { zoom = Math.min(32, Math.max(1, zoom * times)); if (zoom === 1) x = y = 0; place(); }
  const set = (name) => { if (members(found[current]).length > 1) { flipped = mode === "flip" && name === "flip" ? !flipped : false; mode = name; draw(); } };
  $("v-side").addEventListener("click", () => set("side"));
  $("v-flip").addEventListener("click", () => set("flip"));
  $("v-diff").addEventListener("click", () => set("diff"));
  $("v-in").addEventListener("click", () => scale(1.5));
  $("v-out").addEventListener("click", () => scale(1 / 1.5));
  $("v-fit").addEventListener("click", () => scale(0));
  $("v-prev").addEventListener("click", () => open(current - 1, 0));
  $("v-next").addEventListener("click", () => open(current + 1, 0));
  $("v-close").addEventListener("click", () => view.close());
  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const does = { ArrowLeft: () => open(current - 1, 0), ArrowRight: () => open(current + 1, 0), f: () => set("flip"), d: () => set("diff"), s: () => set("side"),
      "+": () => scale(1.5), "=": () => scale(1.5), "-": () => scale(1 / 1.5), 0: () => scale(0),
      x: () => { const shown = members(found[current]), path = about(shown[Math.min(second, shown.length - 1)]).p; tick(path, !ticked.has(path)); draw(); } }[event.key];
    if (does) { event.preventDefault(); does(); }
  });
  view.addEventListener("wheel", (event) => { if (event.target.closest(".frame")) { event.preventDefault(); scale(event.deltaY < 0 ? 1.15 : 1 / 1.15); } }, { passive: false });
  let held = null;
  view.addEventListener("pointerdown", (event) => { const frame = event.target.closest(".frame"); if (frame) { held = [event.clientX - x, event.clientY - y]; frame.setPointerCapture(event.pointerId); event.preventDefault(); } });
  view.addEventListener("pointermove", (event) => { if (held && zoom > 1) { x = event.clientX - held[0]; y = event.clientY - held[1]; place(); } });
  for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, () => { held = null; });

  // ---- print: everything that the filters let through
  addEventListener("beforeprint", () => { show(PRINTED); for (const d of document.querySelectorAll("details")) { d.dataset.was = String(d.open); d.open = true; } });
  addEventListener("afterprint", () => { show(); for (const d of document.querySelectorAll("details")) d.open = d.dataset.was === "true"; });
  filter();
  follow();
})();
