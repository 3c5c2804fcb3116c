// A field that may have held a secret: the back-forward cache must not bring it back.
window.addEventListener("pagehide", () => {
  for (const field of document.querySelectorAll("input.forgets")) field.value = "";
});
