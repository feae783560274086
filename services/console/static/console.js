// Renews the part of the page that changes, every two seconds; not while the visitor is elsewhere or fills in a form there.
"use strict";
const LOOK_EVERY_MS = 2000;
const pulse = document.getElementById("pulse");

// On a phone a row is a card: each cell needs the name of its column, which console.css shows.
function nameCells() {
  for (const table of document.querySelectorAll("table:not(.rows)")) {
    const names = [...table.querySelectorAll("thead th")].map((heading) => heading.textContent);
    for (const cell of table.querySelectorAll("tbody td, tbody th")) {
      if (cell.colSpan === 1 && names[cell.cellIndex]) cell.dataset.label = names[cell.cellIndex];
    }
    table.classList.add("rows");
  }
}

async function renew() {
  const live = document.getElementById("live");
  if (document.hidden) return;
  if (live.contains(document.activeElement)) { pulse.textContent = pulse.dataset.still; return; }
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") { location.reload(); return; }
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    live.replaceWith(document.adoptNode(page.getElementById("live")));
    nameCells();
    pulse.textContent = pulse.dataset.renewed.replace("{time}", new Date().toLocaleTimeString("en-GB"));
  } catch {
    pulse.textContent = pulse.dataset.lost;
  }
}

async function keepRenewing() {
  await renew();
  setTimeout(keepRenewing, LOOK_EVERY_MS);
}

nameCells();
if (document.getElementById("live")) setTimeout(keepRenewing, LOOK_EVERY_MS);
