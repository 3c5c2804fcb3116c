// Lists that look again by themselves, where somebody asks for it. Without scripts one loads the page again.
import { announce } from "./announce.js";
import { refresh } from "./times.js";

const EVERY = 3_000;

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
  button.title = "Look again every 3 seconds";
  document.querySelector(`[data-live-for="${region.id}"]`)?.append(button);
  let timer = 0;
  const stop = (why) => {
    clearTimeout(timer);
    timer = 0;
    button.setAttribute("aria-pressed", "false");
    if (why) announce(why);
  };
  const turn = async () => {
    // Nobody looks, or somebody is at work inside: next time.
    if (!document.hidden && !region.contains(document.activeElement)) {
      try {
        const fresh = (await again()).getElementById(region.id);
        if (timer && fresh) region.replaceChildren(...document.importNode(fresh, true).childNodes);
        refresh();
      } catch {
        return stop("The list can't be brought up to date just now.");
      }
    }
    if (timer) timer = setTimeout(turn, EVERY);
  };
  button.addEventListener("click", () => {
    if (timer) return stop("The list stays as it is.");
    button.setAttribute("aria-pressed", "true");
    announce("The list is brought up to date every 3 seconds.");
    timer = setTimeout(turn, 0);
  });
}

for (const region of document.querySelectorAll("[data-live]")) offer(region);
