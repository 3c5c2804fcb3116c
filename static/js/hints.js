// Keyboard shortcuts for those who want them; a switch turns them off for good in this browser.
const KEY = "gatepost.shortcuts";
const dialog = document.getElementById("hints");
const places = { o: "/", k: "/keys", w: "/webhooks", d: "/deliveries", e: "/events", u: "/usage" };
let waiting = 0;

function isOn() {
  try { return localStorage.getItem(KEY) !== "off"; } catch { return true; }
}

function isTyping(target) {
  return target.isContentEditable || target.closest("input, textarea, select") !== null;
}

function act(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "?") { event.preventDefault(); dialog.showModal(); return; }
  if (!isOn()) return;
  const follows = Date.now() - waiting < 1200;
  waiting = event.key === "g" ? Date.now() : 0;
  if (follows && places[event.key]) {
    event.preventDefault();
    location.assign(places[event.key]);
  } else if (event.key === "/") {
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  }
}

if (dialog?.showModal) {
  document.addEventListener("keydown", act);
  const button = document.querySelector("[data-hints]");
  if (button) { button.hidden = false; button.addEventListener("click", () => dialog.showModal()); }
  const toggle = dialog.querySelector("[data-hints-switch]");
  toggle.checked = isOn();
  toggle.addEventListener("change", () => {
    try { localStorage.setItem(KEY, toggle.checked ? "on" : "off"); } catch { /* a private window: until it closes */ }
  });
}
