"use strict";
// Sorting by any column and filtering by name. Without this script the page is complete, only still.

function keyOf(row, column) {
  const key = row.cells[column].dataset.key;
  if (key === undefined) return null;
  const number = Number(key);
  return row.cells[column].classList.contains("number") ? number : key;
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number") return sign * (a - b);
  return sign * a.localeCompare(b, "en", { numeric: true });
}

function sort(table, column, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [keyOf(row, column), row]);
  rows.sort((a, b) => compare(a[0], b[0], sign));
  body.append(...rows.map((pair) => pair[1]));
  for (const heading of table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", direction);
}

function makeSortable(table) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") === "ascending";
      sort(table, column, up ? "descending" : "ascending");
    });
    heading.replaceChildren(button);
  });
}

function makeFilter(box, table, shown) {
  box.closest(".filter").hidden = false;
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase();
    let count = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      count += !row.hidden;
    }
    shown.textContent = count === 1 ? "1 tensor" : count.toLocaleString("en") + " tensors";
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
const box = document.getElementById("filter");
if (box) makeFilter(box, document.querySelector(".tall table"), document.getElementById("shown"));
