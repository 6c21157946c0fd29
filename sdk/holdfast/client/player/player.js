"use strict";
// Plays one recorded run. All that it shows is set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { items, frames } = data.frames;
  const $ = (id) => document.getElementById(id);
  const CLOSED = new Set(["completed", "failed", "skipped", "compensated", "cancelled"]);
  const SVG = "http://www.w3.org/2000/svg";
  const times = frames.map((frame) => Date.parse(frame.at));
  const begin = times[0] || 0;
  const span = Math.max((times[times.length - 1] || 0) - begin, 1);
  let at = frames.length - 1;
  let timer = null;

  const make = (tag, text, attributes) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    return element;
  };
  const drawn = (tag, attributes, parent) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    parent.append(element);
    return element;
  };
  const lasted = (ms) => {
    if (ms < 1000) return `${Math.round(ms)} ms`;
    if (ms < 120000) return `${(ms / 1000).toFixed(1)} s`;
    if (ms < 7200000) return `${Math.round(ms / 60000)} min`;
    return `${(ms / 3600000).toFixed(1)} h`;
  };
  const label = (item) => (item.ordinal > 1 ? `${item.name} #${item.ordinal}` : item.name);

  // The states after each frame are made by going on from those before, and from the start when going back.
  let shown = -1;
  let states = [];
  let attempts = [];
  let latest = [];
  let told = new Map();
  const reach = (index) => {
    if (index < shown) {
      shown = -1;
      states = [];
      attempts = [];
      latest = [];
      told = new Map();
    }
    while (shown < index) {
      shown += 1;
      for (const change of frames[shown].changes) {
        if (change.item === undefined) {
          told.set(change.node, change.state);
          continue;
        }
        states[change.item] = change.state;
        attempts[change.item] = change.attempt;
        latest[change.item] = shown;
        told.delete(items[change.item].node);
      }
    }
    // What is said of a box in a frame counts more than its items in the same frame.
    for (const change of index >= 0 ? frames[index].changes : []) {
      if (change.item === undefined) told.set(change.node, change.state);
    }
  };

  // The picture
  const members = new Map();
  items.forEach((item, index) => {
    if (item.node === null) return;
    if (!members.has(item.node)) members.set(item.node, []);
    members.get(item.node).push(index);
  });
  const groups = [...document.querySelectorAll("#graph g[data-state]")];
  const stateOf = (box) => {
    if (told.has(box)) return told.get(box);
    let open = null;
    let last = null;
    for (const index of members.get(box) || []) {
      const state = states[index];
      if (state === undefined) continue;
      if (!CLOSED.has(state) && (open === null || data.worst.indexOf(state) < data.worst.indexOf(open))) open = state;
      if (last === null || latest[index] >= latest[last]) last = index;
    }
    return open || (last === null ? null : states[last]);
  };
  const paint = () => {
    data.boxes.forEach((box, index) => {
      const group = groups[index];
      if (!group) return;
      const state = stateOf(box.id);
      group.setAttribute("data-state", state || "none");
      const [title, detail] = group.querySelectorAll("text");
      const sign = state ? data.signs[state] : "";
      if (title) title.textContent = sign ? `${sign} ${box.title}` : box.title;
      if (detail) detail.setAttribute("visibility", CLOSED.has(state) ? "visible" : "hidden");
    });
  };

  // The timeline
  const ROW = 20;
  const LEFT = 190;
  const WIDTH = 960;
  const x = (time) => LEFT + ((time - begin) / span) * (WIDTH - LEFT - 12);
  const lines = items.slice(0, data.max_rows);
  const bars = lines.map(() => []);
  frames.forEach((frame, index) => {
    for (const change of frame.changes) {
      if (change.item === undefined || change.item >= lines.length) continue;
      const parts = bars[change.item];
      const before = parts[parts.length - 1];
      if (before && before.end === null) {
        before.end = times[index];
        // A bar has the colour of its end; that of a wait to be run stays.
        if (CLOSED.has(change.state) && before.state !== "pending") {
          before.state = change.state;
          continue;
        }
      }
      parts.push({ state: change.state, begin: times[index], end: CLOSED.has(change.state) ? times[index] : null });
    }
  });
  const board = drawn("svg", { viewBox: `0 0 ${WIDTH} ${lines.length * ROW + 24}`, role: "img" }, $("timeline"));
  drawn("title", {}, board).textContent = "When each step was in which state";
  lines.forEach((item, index) => {
    const y = index * ROW + 4;
    const name = drawn("text", { x: LEFT - 8, y: y + 12, "text-anchor": "end" }, board);
    const text = label(item);
    name.textContent = text.length > 26 ? `${text.slice(0, 25)}…` : text;
    drawn("title", {}, name).textContent = text;
    for (const part of bars[index]) {
      const end = part.end === null ? begin + span : part.end;
      const width = Math.max(x(end) - x(part.begin), 3);
      const shape = drawn("rect", { x: x(part.begin), y, width, height: ROW - 6, rx: 2 }, board);
      shape.setAttribute("data-state", part.state);
      drawn("title", {}, shape).textContent = `${text}: ${part.state}, ${lasted(part.begin - begin)} after the start`;
    }
  });
  const head = drawn("line", { class: "head", y1: 0, y2: lines.length * ROW + 8 }, board);
  for (let part = 0; part <= 4; part += 1) {
    const place = drawn("text", { x: x(begin + (span * part) / 4), y: lines.length * ROW + 20 }, board);
    place.setAttribute("text-anchor", part === 4 ? "end" : part ? "middle" : "start");
    place.textContent = lasted((span * part) / 4);
  }

  // The table
  const rows = data.steps.map((step) => {
    const row = make("tr");
    const name = make("td", step.label);
    if (step.execution) name.append(make("small", ` execution ${step.execution + 1}`));
    const state = make("td", "", { class: "state" });
    row.append(name, state, make("td", ""), make("td", step.duration === null ? "" : lasted(step.duration * 1000)));
    for (const value of [step.input, step.result]) {
      const cell = make("td");
      if (value) cell.append(make("pre", value));
      row.append(cell);
    }
    row.lastChild.append(...(step.error ? [make("pre", step.error, { class: "error" })] : []));
    $("rows").append(row);
    return { row, state, attempt: row.children[2], item: step.item };
  });

  // The player
  const slider = $("slider");
  slider.max = String(Math.max(frames.length - 1, 0));
  const show = (index) => {
    at = Math.max(0, Math.min(index, frames.length - 1));
    const frame = frames[at];
    if (!frame) return;
    reach(at);
    paint();
    slider.value = String(at);
    slider.setAttribute("aria-valuetext", frame.text);
    $("state").textContent = frame.state.replace("_", " ");
    $("state").setAttribute("data-state", frame.state);
    $("clock").textContent = `${lasted(times[at] - begin)} · ${new Date(times[at]).toISOString().replace("T", " ")}`;
    const merged = frame.merged_count ? ` (and ${frame.merged_count} moments before it)` : "";
    $("text").textContent = `${frame.text}${merged}`;
    $("where").textContent = `${at + 1} of ${frames.length}, event ${frame.event_id}`;
    head.setAttribute("x1", x(times[at]));
    head.setAttribute("x2", x(times[at]));
    for (const { row, state, attempt, item } of rows) {
      const now = item === null ? undefined : states[item];
      state.textContent = now ? `${data.signs[now]} ${now}` : "";
      state.setAttribute("data-state", now || "none");
      attempt.textContent = now ? attempts[item] : "";
      row.classList.toggle("changed", item !== null && latest[item] === at && now !== undefined);
    }
  };
  const pause = () => {
    clearTimeout(timer);
    timer = null;
    $("play").textContent = "▶ Play";
  };
  const next = () => {
    if (at >= frames.length - 1) {
      pause();
      return;
    }
    show(at + 1);
    const wait = at < frames.length - 1 ? times[at + 1] - times[at] : 0;
    timer = setTimeout(next, Math.min(Math.max(wait, 120), 1500) / Number($("speed").value));
  };
  const play = () => {
    if (timer !== null) {
      pause();
      return;
    }
    if (at >= frames.length - 1) show(0);
    $("play").textContent = "⏸ Pause";
    timer = setTimeout(next, 300 / Number($("speed").value));
  };
  const go = (index) => {
    pause();
    show(index);
  };
  $("play").addEventListener("click", play);
  $("back").addEventListener("click", () => go(at - 1));
  $("forth").addEventListener("click", () => go(at + 1));
  slider.addEventListener("input", () => go(Number(slider.value)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const onButton = event.target.tagName === "BUTTON";
    const speeds = $("speed");
    const keys = {
      " ": () => play(),
      ArrowLeft: () => go(at - 1),
      ArrowRight: () => go(at + 1),
      Home: () => go(0),
      End: () => go(frames.length - 1),
      "+": () => { speeds.selectedIndex = Math.min(speeds.selectedIndex + 1, speeds.length - 1); },
      "-": () => { speeds.selectedIndex = Math.max(speeds.selectedIndex - 1, 0); },
    };
    if (!(event.key in keys) || (onButton && event.key === " ")) return;
    event.preventDefault();
    keys[event.key]();
  });
  show(at);
})();
