// Copy buttons: hidden until here, since without scripts they could do nothing.
import { announce } from "./announce.js";

function textFor(button) {
  const from = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
  return from ? from.value ?? from.textContent : button.dataset.copy ?? "";
}

async function write(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  // Plain http on a private network has no clipboard API.
  const box = document.createElement("textarea");
  box.value = text;
  box.className = "visually-hidden";
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  if (!done) throw new Error("the browser refused");
}

async function copy(button) {
  const name = button.textContent.trim().replace(/^Copy\s*(the\s*)?/u, "") || "text";
  try {
    await write(textFor(button));
  } catch {
    announce(`Could not copy the ${name}: select it and copy it yourself.`);
    return;
  }
  announce(`Copied the ${name}.`);
  const use = button.querySelector("use");
  use?.setAttribute("href", "#i-check");
  button.classList.add("copy-done");
  setTimeout(() => {
    use?.setAttribute("href", "#i-copy");
    button.classList.remove("copy-done");
  }, 1600);
}

for (const button of document.querySelectorAll("[data-copy], [data-copy-from]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
