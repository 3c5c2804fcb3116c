// Times in the reader's language and zone, and kept current; the exact moment in the title.
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto", style: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const units = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];

function words(at) {
  const seconds = Math.round((at - Date.now()) / 1000);
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  const [unit, length] = units.find(([, length]) => length <= size);
  return relative.format(Math.trunc(seconds / length), unit);
}

function refresh() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    time.dataset.utc ??= time.title;
    time.title = `${exact.format(at)} (${time.dataset.utc})`;
    if (Math.abs(at - Date.now()) < 30 * 86_400_000) time.textContent = words(at);
  }
}

refresh();
setInterval(refresh, 15_000);
