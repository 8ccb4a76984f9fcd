// The pages are complete without this. It spares the keyboard a few steps, and keeps a form from being sent twice.
(() => {
  "use strict";
  addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    // After the form's own value has been taken.
    setTimeout(() => event.target.querySelectorAll("button").forEach((button) => (button.disabled = true)));
  });
  // Whoever comes back to a page finds its forms as they were.
  addEventListener("pageshow", () => document.querySelectorAll("button:disabled").forEach((b) => (b.disabled = false)));
  // A menu closes when something else is wanted.
  const menu = document.querySelector("details.menu");
  if (menu) {
    addEventListener("click", (event) => menu.contains(event.target) || (menu.open = false));
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.firstElementChild.focus();
    });
  }
  // What goes on by itself is looked at again, unless its reader is elsewhere.
  const again = document.querySelector("a[data-again]");
  if (again) setInterval(() => document.hidden || location.assign(again.href), again.dataset.again * 1000);
  addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const find = document.getElementById("find");
    if (find) {
      find.focus();
      event.preventDefault();
    }
  });
})();
