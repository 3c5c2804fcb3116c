// Lists that look again by themselves, where somebody asks for it. Without scripts one loads the page again.
import { announce } from "./announce.js";
import { refresh } from "./times.js";

const EVERY = 3_000;
// Each look keeps the session alive: a page that somebody has left must not do so for ever.
const LONGEST = 15 * 60_000;

// The same page as a document: parsed by the browser, run by nobody.
function again() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", location.href);
    request.responseType = "document";
    request.timeout = 10_000;
    request.onload = () => {
      const isSame = request.status === 200 && request.responseURL.split("#")[0] === location.href.split("#")[0];
      if (isSame && request.response) resolve(request.response); else reject(new Error("not this page"));
    };
    request.onerror = request.ontimeout = () => reject(new Error("no answer"));
    request.send();
  });
}

function offer(region) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-quiet live";
  button.textContent = "Live";
  button.setAttribute("aria-pressed", "false");
  button.title = "Update this list every 3 seconds";
  document.querySelector(`[data-live-for="${region.id}"]`)?.append(button);
  // The run that goes on, if one does: an answer that comes after its end changes nothing.
  let run = null;
  const stop = (why) => {
    run = null;
    button.setAttribute("aria-pressed", "false");
    announce(why);
  };
  const start = async () => {
    const mine = run = {};
    const until = Date.now() + LONGEST;
    while (run === mine) {
      if (until < Date.now()) return stop("The list no longer updates.");
      // Nobody looks, or somebody is at work inside: next time.
      if (!document.hidden && !region.contains(document.activeElement)) {
        const fresh = await again().catch(() => null);
        if (run !== mine) return;
        if (!fresh) return stop("The list can't be updated right now.");
        const now = fresh.getElementById(region.id);
        if (now) region.replaceChildren(...document.importNode(now, true).childNodes);
        refresh();
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
  };
  button.addEventListener("click", () => {
    if (run) return stop("The list no longer updates.");
    button.setAttribute("aria-pressed", "true");
    announce("The list updates every 3 seconds.");
    start();
  });
}

for (const region of document.querySelectorAll("[data-live]")) offer(region);
