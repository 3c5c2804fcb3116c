// The page that shows a secret once: leaving asks first, and nothing stays behind.
const box = document.querySelector("[data-reveal]");

if (box) {
  const saved = box.querySelector("[data-reveal-saved]");
  const done = box.querySelector("[data-reveal-done]");
  const warn = (event) => { event.preventDefault(); };
  const settle = () => {
    done.setAttribute("aria-disabled", String(!saved.checked));
    window[saved.checked ? "removeEventListener" : "addEventListener"]("beforeunload", warn);
  };
  saved.addEventListener("change", settle);
  done.addEventListener("click", (event) => {
    if (saved.checked) return;
    event.preventDefault();
    saved.focus();
  });
  settle();

  const download = box.querySelector("[data-reveal-download]");
  if (download) {
    download.hidden = false;
    download.addEventListener("click", () => {
      const file = new Blob([download.dataset.revealDownload], { type: "text/plain" });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(file);
      link.download = download.dataset.name;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  // The back-forward cache must not bring the secret back.
  window.addEventListener("pagehide", () => {
    for (const input of box.querySelectorAll("[readonly]")) { input.value = ""; input.defaultValue = ""; }
    for (const code of document.querySelectorAll(".code code")) code.textContent = "";
    for (const holder of box.querySelectorAll("[data-reveal-download], [data-copy]")) {
      delete holder.dataset.revealDownload;
      delete holder.dataset.copy;
    }
    box.classList.add("reveal-gone");
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.replace(box.dataset.reveal); });
}
