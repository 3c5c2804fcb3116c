// After a refused form the reader starts at its summary.
document.querySelector("[data-focus]")?.focus({ preventScroll: false });
