// Rows that can be ticked: all of a page at once, and how many are. Without scripts each is ticked by itself.
const bar = document.querySelector("[data-bulk]");

if (bar) {
  const boxes = [...document.querySelectorAll("input[form='bulk']")];
  const label = bar.querySelector("[data-bulk-all]");
  const all = label.querySelector("input");
  const says = bar.querySelector("[data-bulk-count]");
  const usual = says.textContent;
  const settle = () => {
    const ticked = boxes.filter((box) => box.checked).length;
    all.checked = ticked === boxes.length;
    all.indeterminate = 0 < ticked && ticked < boxes.length;
    says.textContent = ticked === 0 ? usual : `${ticked} selected`;
  };
  label.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    settle();
  });
  for (const box of boxes) box.addEventListener("change", settle);
  window.addEventListener("pageshow", settle);
  settle();
}
