// Scopes that other keys have: a press puts one into the field, another takes it out. Without scripts they are there to read.
for (const place of document.querySelectorAll("[data-suggests]")) {
  const field = document.getElementById(place.dataset.suggests);
  const lines = () => field.value.split(/[\s,]+/).filter(Boolean);
  const buttons = [...place.querySelectorAll("[data-suggestion]")].map((word) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-small mono";
    button.textContent = word.textContent;
    word.replaceWith(button);
    return button;
  });
  const settle = () => {
    const held = lines();
    for (const button of buttons) button.setAttribute("aria-pressed", String(held.includes(button.textContent)));
  };
  const put = (scopes) => { field.value = scopes.join("\n"); settle(); };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const scope = button.textContent;
      const held = lines();
      put(held.includes(scope) ? held.filter((one) => one !== scope) : [...held, scope]);
    });
  }
  const reads = buttons.map((button) => button.textContent).filter((scope) => /[:.]read$/.test(scope));
  const preset = place.querySelector("[data-reads]");
  preset.hidden = reads.length === 0;
  preset.addEventListener("click", () => put(reads));
  field.addEventListener("input", settle);
  window.addEventListener("pageshow", settle);
  settle();
}
