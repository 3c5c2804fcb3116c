// Opens questions in place. Without scripts their links lead to pages with the same question.
for (const opener of document.querySelectorAll("a[data-dialog]")) {
  const dialog = document.getElementById(opener.dataset.dialog);
  if (!dialog?.showModal) continue;
  opener.setAttribute("role", "button");
  opener.setAttribute("aria-haspopup", "dialog");
  opener.addEventListener("keydown", (event) => {
    if (event.key === " ") { event.preventDefault(); opener.click(); }
  });
  opener.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    dialog.showModal();
    // The safe way out is what Enter should mean.
    dialog.querySelector("[data-dialog-close]")?.focus();
  });
  dialog.querySelector("[data-dialog-close]")?.addEventListener("click", (event) => {
    event.preventDefault();
    dialog.close();
    opener.focus();
  });
  dialog.addEventListener("click", (event) => {
    const box = dialog.getBoundingClientRect();
    const inside = box.left <= event.clientX && event.clientX <= box.right && box.top <= event.clientY && event.clientY <= box.bottom;
    if (event.target === dialog && !inside) dialog.close();
  });
}
