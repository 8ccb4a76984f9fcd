// The pages are complete without this. It keeps them up to date, and spares the keyboard a few steps.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const part = document.getElementById("live");
  const pulse = document.getElementById("pulse");

  // One stream for each page, and none for a page that nobody sees: browsers have few connections to one server.
  let source = null;
  const show = (text, isLive) => {
    if (!pulse) return;
    pulse.hidden = false;
    pulse.className = "status " + (isLive ? "ok" : "doubt");
    pulse.textContent = text;
  };
  // What is being pressed stays where it is until it is let go.
  let isPressed = false;
  let waiting = null;
  addEventListener("pointerdown", () => (isPressed = true));
  addEventListener("pointerup", () =>
    setTimeout(() => {
      isPressed = false;
      if (waiting !== null) replace(waiting);
    })
  );
  const replace = (html) => {
    waiting = isPressed ? html : null;
    if (isPressed) return;
    const focused = document.activeElement;
    const key = part.contains(focused) ? focused.getAttribute("href") || focused.id : null;
    const open = [...part.querySelectorAll("details[open][id]")].map((d) => d.id);
    const scrolled = [...part.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    part.innerHTML = html;
    open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    [...part.querySelectorAll(".scroll")].forEach((box, place) => (box.scrollLeft = scrolled[place] || 0));
    if (key) [...part.querySelectorAll("a, [id]")].find((e) => (e.getAttribute("href") || e.id) === key)?.focus();
  };
  const listen = () => {
    if (source || !main?.dataset.live || !part) return;
    source = new EventSource(main.dataset.live);
    source.onopen = () => show("● live", true);
    source.onerror = () => show("○ not connected", false);
    source.addEventListener("part", (event) => replace(event.data));
  };
  const rest = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  addEventListener("pagehide", rest);
  if (!document.hidden) listen();

  // A form is sent once; the server would do it once anyway.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (event.target.method === "post" && button && !button.name) setTimeout(() => (button.disabled = true));
  });

  document.querySelectorAll("[data-all]").forEach((box) => {
    box.hidden = false;
    box.addEventListener("click", () => {
      const boxes = [...document.querySelectorAll("input[name=id][type=checkbox]")];
      const all = boxes.every((b) => b.checked);
      boxes.forEach((b) => (b.checked = !all));
    });
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    if (event.key === "/") {
      event.preventDefault();
      document.getElementById("find")?.focus();
    }
  });
})();
