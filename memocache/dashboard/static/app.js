"use strict";
// Every page works without this. It asks for the same page again every 2 s and puts in what changed, and draws the plots.
(() => {
  const base = document.body.dataset.base, EVERY = 2000;
  const tiles = document.querySelector("[data-range]"), RANGE = tiles?.dataset.range, SECONDS = +tiles?.dataset.seconds;
  const dark = () => { const t = document.documentElement.dataset.theme; return t ? t === "dark" : matchMedia("(prefers-color-scheme: dark)").matches; };
  const plots = new Map(), columns = { number: [], at: [] };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const bytes = (v) => { for (const u of ["B", "KiB", "MiB", "GiB"]) { if (v < 1024) return v.toFixed(u === "B" ? 0 : 1) + " " + u; v /= 1024; } return v.toFixed(1) + " TiB"; };
  const number = (v) => v >= 1e6 ? (v / 1e6).toFixed(1) + "M" : v >= 1e4 ? (v / 1e3).toFixed(0) + "k" : String(+v.toPrecision(3));
  const POWERS = Array.from({ length: 50 }, (_, i) => 2 ** i); // round numbers of bytes
  const when = (v, span) => { const d = new Date(v * 1000); return span > 2 * 86400 ? d.toLocaleDateString("en", { month: "short", day: "numeric" }) : d.toTimeString().slice(0, span < 180 ? 8 : 5); };
  const shown = { hit_rate: (v) => (v * 100).toFixed(0) + "%", memory: bytes, saved: (v) => number(v) + " s" };

  function draw() {
    for (const old of plots.values()) old.destroy();
    plots.clear();
    if (columns.at.length < 2) return;
    for (const box of document.querySelectorAll("[data-plot]")) {
      const key = box.dataset.plot, form = shown[key] || number;
      box.replaceChildren();
      plots.set(key, new uPlot({
        width: box.clientWidth, height: box.clientHeight, padding: [6, 4, 0, 0], legend: { show: false }, cursor: { y: false },
        scales: { y: { range: key === "hit_rate" ? [0, 1] : (u, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [{ stroke: css("--soft"), grid: { show: false }, ticks: { show: false }, size: 26, space: 70, values: (u, all) => all.map((v) => when(v, u.scales.x.max - u.scales.x.min)), font: "11px system-ui" },
               { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, size: 64, space: 34, font: "11px system-ui", values: (u, all) => all.map(form), ...(key === "memory" && { incrs: POWERS }) }],
        series: [{}, { stroke: css("--accent"), fill: css("--tint"), width: 1.5, spanGaps: false, points: { show: false } }],
      }, [columns.at, columns[key]], box));
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", box.closest("section").querySelector("h2").textContent + " over the last " + tiles.dataset.words);
    }
  }

  async function points() {
    const last = columns.number.at(-1) || 0;
    const answer = await fetch(`${base}/data?range=${RANGE}&since=${last}`, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(String(answer.status));
    const news = (await answer.json()).points, count = news.at.length;
    const first = columns.at.length < 2;
    if (!last) for (const values of Object.values(columns)) values.length = 0; // all of them come again
    for (const [key, values] of Object.entries(news)) (columns[key] ||= []).push(...values);
    let old = 0;
    while (old < columns.at.length && columns.at[old] < Date.now() / 1000 - SECONDS) old++;
    if (old) for (const values of Object.values(columns)) values.splice(0, old);
    if (first && columns.at.length >= 2) draw();
    else if (count) for (const [key, plot] of plots) plot.setData([columns.at, columns[key]]);
  }

  function put(text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    for (const there of document.querySelectorAll("[data-live], #state")) {
      const now = page.getElementById(there.id);
      if (!now || there.contains(document.activeElement) || there.querySelector("input:checked") || there.innerHTML === now.innerHTML && there.title === now.title) continue;
      there.replaceChildren(...now.childNodes);
      if (now.title) there.title = now.title;
    }
  }

  function lost() {
    const state = document.getElementById("state");
    if (state.querySelector(".lost")) return;
    const line = document.createElement("p");
    line.className = "trouble lost";
    line.textContent = "The dashboard itself does not answer. What is shown is the last that was known; this page tries again by itself.";
    state.replaceChildren(line);
  }

  let latest = 0;
  async function again(address = location.href) {
    const mine = ++latest;
    try {
      const answer = await fetch(address, { credentials: "same-origin", headers: { "X-Live": "1" } });
      if (answer.redirected && new URL(answer.url).pathname.endsWith("/login")) { location.assign(answer.url); return; }
      const text = await answer.text();
      if (mine === latest) put(text);
      if (document.querySelector("[data-plot]")) await points();
    } catch { lost(); }
  }

  const alive = document.querySelector("[data-live]");
  let paused = false;
  async function tick() { if (!document.hidden && alive && !paused) await again(); setTimeout(tick, EVERY); }
  if (document.querySelector("[data-plot]")) points().catch(lost);
  setTimeout(tick, EVERY);

  async function inplace(address) { history.replaceState(null, "", address); document.activeElement?.closest?.("[data-live]") && document.activeElement.blur(); await again(address); }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-inplace]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    const label = link.firstChild.textContent;
    inplace(link.href).then(() => [...document.querySelectorAll("a[data-inplace]")].find((one) => one.firstChild.textContent === label)?.focus({ preventScroll: true }));
  });
  for (const form of document.querySelectorAll("form[data-inplace]")) {
    const search = () => inplace("?" + new URLSearchParams(new FormData(form)));
    form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
    let later;
    form.addEventListener("input", () => { clearTimeout(later); later = setTimeout(search, 200); });
  }

  const pause = document.getElementById("pause");
  pause.hidden = !alive;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Paused" : "Pause";
    if (!paused) again();
  });

  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const chosen = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = chosen;
    try { localStorage.setItem("memocache-theme", chosen); } catch { /* for this page only */ }
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let resized;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 150); });
})();
