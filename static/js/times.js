// Times in the reader's language, in the tenant's zone or else the reader's, and kept current; the exact moment in the
// title.
const zone = known(document.querySelector("[data-time-zone]")?.dataset.timeZone);
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto", style: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long", ...zone });
const units = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];

// A browser may know fewer zones than the database: then the reader's own.
function known(timeZone) {
  try {
    new Intl.DateTimeFormat(undefined, { timeZone });
    return { timeZone };
  } catch {
    return {};
  }
}

function words(at) {
  const seconds = Math.round((at - Date.now()) / 1000);
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  const [unit, length] = units.find(([, length]) => length <= size);
  return relative.format(Math.trunc(seconds / length), unit);
}

export function refresh() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    time.dataset.utc ??= time.title;
    time.title = `${exact.format(at)} (${time.dataset.utc})`;
    if (Math.abs(at - Date.now()) < 30 * 86_400_000) time.textContent = words(at);
  }
}

// Charts say the moments of their bars in UTC; the reader gets them in their own zone.
const bar = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short", ...zone });
const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "short", ...zone });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", ...zone });

for (const place of document.querySelectorAll("[data-moment]")) {
  const at = Date.parse(place.dataset.moment);
  if (Number.isNaN(at)) continue;
  const format = { hour, day }[place.dataset.as] ?? bar;
  place.textContent = place.textContent.replace(place.dataset.utc, format.format(at));
}
for (const head of document.querySelectorAll("[data-zone]")) head.textContent = "From";

refresh();
setInterval(refresh, 15_000);
