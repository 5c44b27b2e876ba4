// The console without this script is whole; with it lists move by themselves and the keyboard works.
"use strict";
(() => {
  const body = document.body;
  const state = document.getElementById("live-state");
  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  // Times: ages stay true while the page stands, dates are shown in the reader's own zone.
  const scale = [[60, ""], [60, "min"], [24, "h"], [7, "d"], [Infinity, "w"]];
  const age = (then) => {
    let amount = Math.max(0, (Date.now() - then) / 1000);
    for (const [size, unit] of scale) {
      if (amount < size) return unit ? `${Math.floor(amount)} ${unit}` : "now";
      amount /= size;
    }
  };
  const dates = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
  const showTimes = () => {
    for (const tag of document.querySelectorAll("time")) {
      const then = new Date(tag.dateTime);
      const text = tag.className === "age" ? age(then) : dates.format(then);
      if (tag.textContent !== text) tag.textContent = text;
    }
  };
  showTimes();
  setInterval(showTimes, 20000);

  // Keyboard: j and k walk, / searches, u goes up.
  const stops = () => [...document.querySelectorAll(".row > a, article.comment")];
  const walk = (step) => {
    const all = stops();
    const here = all.indexOf(document.activeElement.closest(".row > a, article.comment"));
    const next = all[Math.min(all.length - 1, Math.max(0, here + step))];
    if (!next) return;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing) typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") walk(1);
    else if (event.key === "k") walk(-1);
    else if (event.key === "/") document.querySelector(".search input")?.select();
    else if (event.key === "u" && body.dataset.up) location.assign(body.dataset.up);
    else return;
    event.preventDefault();
  });

  // News: the stream says that something changed; the page itself is asked for what.
  const fetchPage = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };
  const marks = () => new Map([...document.querySelectorAll(".row")].map((row) => [row.dataset.id, row.dataset.mark]));
  const refreshList = (page) => {
    const known = marks();
    const focused = document.activeElement.closest(".row")?.dataset.id;
    document.getElementById("live").replaceWith(document.adoptNode(page.getElementById("live")));
    document.title = page.title;
    for (const row of document.querySelectorAll(".row")) {
      row.classList.toggle("fresh", known.get(row.dataset.id) !== row.dataset.mark);
      if (row.dataset.id === focused) row.firstElementChild.focus({ preventScroll: true });
    }
    showTimes();
  };
  const refreshTicket = (page) => {
    if (page.body.dataset.mark !== body.dataset.mark) document.getElementById("news").hidden = false;
  };
  let wanted = body.dataset.revision;
  let busy = false;
  const refresh = async (revision) => {
    wanted = revision;
    if (busy || wanted === body.dataset.revision || document.hidden) return;
    busy = true;
    try {
      const page = await fetchPage();
      (body.dataset.page === "list" ? refreshList : refreshTicket)(page);
      body.dataset.revision = page.body.dataset.revision;
      await pause(300);
    } catch {
      await pause(3000);
    }
    busy = false;
    if (wanted !== body.dataset.revision) setTimeout(() => refresh(wanted), 700);
  };
  const say = (text, lost) => {
    state.hidden = false;
    state.textContent = text;
    state.classList.toggle("lost", lost);
  };
  if (body.dataset.events) {
    const stream = new EventSource(body.dataset.events);
    stream.onopen = () => say("live", false);
    stream.onmessage = (event) => refresh(event.data);
    stream.onerror = () => say(stream.readyState === EventSource.CLOSED ? "not live: reload the page" : "reconnecting", true);
    document.addEventListener("visibilitychange", () => document.hidden || refresh(wanted));
    addEventListener("pagehide", () => stream.close());
  }
  const news = document.querySelector("#news a");
  if (news) news.addEventListener("click", (event) => { event.preventDefault(); location.reload(); });
})();
