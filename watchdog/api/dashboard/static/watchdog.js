// Keeps a page live: one event stream, the server's own HTML put in place of what changed. Reading works without it.
"use strict";

(() => {
  const body = document.body;
  const byId = (id) => document.getElementById(id);
  const charts = typeof Charts === "undefined" ? null : Charts;

  // Time zone: UTC until somebody presses t.
  const two = (n) => String(n).padStart(2, "0");
  const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

  function timeText(at, form) {
    const d = new Date(at * 1000);
    const utc = body.dataset.zone === "utc";
    const day = utc ? d.getUTCDate() : d.getDate();
    const month = months[utc ? d.getUTCMonth() : d.getMonth()];
    const hm = `${two(utc ? d.getUTCHours() : d.getHours())}:${two(utc ? d.getUTCMinutes() : d.getMinutes())}`;
    if (form === "hm") return hm;
    if (form === "day") return `${two(day)} ${month} ${hm}`;
    return `${hm}:${two(utc ? d.getUTCSeconds() : d.getSeconds())}`;
  }

  function showTimes() {
    for (const time of document.querySelectorAll("time[data-at]")) {
      time.textContent = timeText(Number(time.dataset.at), time.dataset.form);
    }
    const zone = body.dataset.zone === "utc" ? "UTC" : "local";
    for (const word of document.querySelectorAll("#zone, .zone")) word.textContent = zone;
  }

  function toggleZone() {
    body.dataset.zone = body.dataset.zone === "utc" ? "local" : "utc";
    localStorage.setItem("zone", body.dataset.zone);
    showTimes();
    if (charts) charts.restart();
  }

  // Search hides rows; it never asks the server.
  function filter() {
    const words = (byId("search")?.value || "").toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.querySelectorAll("[data-find]")) {
      row.hidden = !words.every((word) => row.dataset.find.includes(word));
    }
  }

  // Live: what the server rendered anew replaces what is here, region by region.
  const rowIds = (list) => [...list.querySelectorAll("[data-row][id]")].map((row) => row.id).join(" ");

  function put(old, fresh) {
    if (old.outerHTML === fresh.outerHTML) return;
    const focused = document.activeElement;
    const key = old.contains(focused) ? focused.id || focused.getAttribute("href") : null;
    const open = [...old.querySelectorAll("details")].map((part) => part.open);
    fresh.querySelectorAll("details").forEach((part, n) => {
      if (n in open) part.open = open[n];
    });
    old.replaceWith(fresh);
    if (key) {
      const again = [...fresh.querySelectorAll("[id], a")].find((e) => e.id === key || e.getAttribute("href") === key);
      if (again) again.focus({ preventScroll: true });
    }
  }

  function replaceRegion(old, fresh) {
    if (!("list" in old.dataset)) return put(old, fresh);
    if (rowIds(old) === rowIds(fresh) && rowIds(old) !== "") {
      for (const row of fresh.querySelectorAll("[data-row][id]")) put(byId(row.id), row);
      return undefined;
    }
    // Rows come, go or change places only while nobody points at them.
    if (old.matches(":hover, :focus-within")) {
      old.addEventListener("mouseleave", refreshSoon, { once: true });
      return undefined;
    }
    return put(old, fresh);
  }

  const liveIds = (root) => [...root.querySelectorAll("main [data-live]")].map((e) => e.id).join(" ");
  let isRefreshing = false;
  let timer = 0;

  async function refresh() {
    if (isRefreshing) return refreshSoon();
    isRefreshing = true;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
      if (answer.redirected) return location.reload();
      if (!answer.ok) return undefined;
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      const spokenBefore = byId("verdict")?.dataset.spoken;
      if (liveIds(document) === liveIds(next)) {
        for (const fresh of next.querySelectorAll("[data-live][id]")) {
          const old = byId(fresh.id);
          if (old && !fresh.parentElement.closest("[data-live]")) replaceRegion(old, fresh);
        }
      } else {
        byId("main").replaceWith(next.getElementById("main"));
        if (charts) charts.restart();
      }
      document.title = next.title;
      const spoken = byId("verdict")?.dataset.spoken;
      if (spoken && spoken !== spokenBefore) byId("spoken").textContent = spoken;
      showTimes();
      filter();
      if (charts) await charts.refresh();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // A failed fetch: the stream's own banner tells it.
    } finally {
      isRefreshing = false;
    }
    return undefined;
  }

  function refreshSoon() {
    clearTimeout(timer);
    timer = setTimeout(refresh, 300);
  }

  let stream = null;
  let heardAt = 0;
  let shownAt = Number(document.querySelector("#clock time").dataset.at);
  let brokenAt = 0;
  let number = null;

  function heard() {
    heardAt = performance.now();
    brokenAt = 0;
    setLive(true);
  }

  function setLive(isLive) {
    byId("live").className = `live ${isLive ? "on" : "off"}`;
    byId("live-word").textContent = isLive ? "live" : "not live";
    body.classList.toggle("is-lost", !isLive);
    const banner = byId("lost");
    banner.hidden = isLive;
    if (!isLive) {
      const zone = body.dataset.zone === "utc" ? "UTC" : "local time";
      const gone = Math.round((performance.now() - heardAt) / 1000);
      banner.textContent = `Live updates stopped ${gone} s ago; showing ${timeText(shownAt, "hms")} ${zone}.`;
    }
  }

  function listen() {
    stream = new EventSource("/api/v1/events");
    stream.addEventListener("state", (event) => {
      const state = JSON.parse(event.data);
      heard();
      shownAt = state.at;
      if (number !== null && number !== state.number) refreshSoon();
      number = state.number;
    });
    stream.addEventListener("beat", heard);
    stream.addEventListener("error", () => {
      brokenAt = brokenAt || performance.now();
      // Closed for good (a refusal, not a lost line): the browser will not try again, so we do.
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    });
  }

  // Hidden tabs let go of their connection: browsers allow six to one server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream.close();
    } else {
      listen();
      refreshSoon();
    }
  });
  setInterval(() => {
    const now = performance.now();
    const isLost = (brokenAt && now - brokenAt > 4000) || (heardAt && now - heardAt > 15000);
    if (!document.hidden && isLost) setLive(false);
  }, 1000);

  // Keys. None of them approves, vetoes or changes anything.
  let isGoing = false;

  function move(step) {
    const rows = [...document.querySelectorAll("[data-row]")].filter((row) => !row.hidden && row.querySelector("a"));
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
    if (next) next.querySelector("a").focus();
  }

  const keys = {
    "/": () => byId("search").focus(),
    "?": () => byId("help").showModal(),
    t: toggleZone,
    j: () => move(1),
    k: () => move(-1),
    "[": () => byId("before")?.click(),
    "]": () => byId("after")?.click(),
    g: () => {
      isGoing = true;
      setTimeout(() => (isGoing = false), 1500);
    },
  };
  const places = { n: "/", a: "/audit" };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (localStorage.getItem("keys") === "off" && event.key !== "?") return;
    const place = isGoing ? places[event.key] : null;
    isGoing = false;
    if (place) {
      location.assign(place);
    } else if (keys[event.key] && !byId("help").open) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  body.dataset.zone = localStorage.getItem("zone") || "utc";
  for (const anchor of document.querySelectorAll(".top nav a")) {
    if (anchor.pathname === location.pathname) anchor.setAttribute("aria-current", "page");
  }
  byId("search").addEventListener("input", filter);
  byId("keys-off").checked = localStorage.getItem("keys") === "off";
  byId("keys-off").addEventListener("change", (event) => {
    localStorage.setItem("keys", event.target.checked ? "off" : "on");
  });
  showTimes();
  if (charts) charts.refresh();
  listen();
})();
