// A table: a caption, heads that sort, a row for each item; on a narrow screen each row is a block.
//
// The roles stand there in words, because a table that is laid out as blocks loses its own.
import { h } from "./dom.js";

/**
 * `columns`: {name, label, num, sorts, cell(row), isHead, wide, hide(row)}; `name` is what it sorts
 * by. `sort`: {by, down}; `onSort(name)`. `key(row)` tells rows apart. `empty` is shown without
 * rows. `isWide`: it has many columns, and is laid out as blocks on a screen of middle width, too.
 */
export function table({ caption, columns, rows, key, sort, onSort, empty, pick, isWide }) {
  if (!rows.length) return h("div", { class: "empty" }, empty);
  const shown = pick ? [pickColumn(pick, rows, key), ...columns] : columns;
  return h(
    "table",
    { class: isWide ? "stack wide" : "stack", role: "table" },
    h("caption", { class: "unseen" }, caption),
    h(
      "thead",
      { role: "rowgroup" },
      h("tr", { role: "row" }, shown.map((column) => head(column, sort, onSort))),
    ),
    h(
      "tbody",
      { role: "rowgroup" },
      rows.map((row) => h("tr", { role: "row", key: key(row) }, shown.map((column) => cell(column, row)))),
    ),
  );
}

function head(column, sort, onSort) {
  const { label, num, name } = column;
  const sorts = Boolean(column.sorts && onSort);
  const isSorted = sorts && sort?.by === name;
  return h(
    "th",
    {
      scope: "col",
      role: "columnheader",
      class: [num && "num", sorts && "sortable", column.isPick && "pick"].filter(Boolean).join(" "),
      "aria-sort": isSorted ? (sort.down ? "descending" : "ascending") : null,
    },
    sorts
      ? h("button", { class: "sorter", type: "button", on: { click: () => onSort(name) } }, label)
      : (column.headCell?.() ?? (label || h("span", { class: "unseen" }, "Actions"))),
  );
}

function cell(column, row) {
  const value = column.cell(row);
  const isNone = !value && value !== 0;
  const names = [column.num && "num", column.wide && "wrap", isNone && "none"].filter(Boolean);
  if (column.isHead) return h("th", { scope: "row", role: "rowheader", class: names.join(" ") }, value);
  return h("td", { role: "cell", class: names.join(" "), "data-label": column.label }, h("div", null, value));
}

// A box for each row, and one for all.
function pickColumn({ picked, toggle, label }, rows, key) {
  const isAll = rows.every((row) => picked.has(key(row)));
  const all = () => rows.forEach((row) => toggle(key(row), !isAll));
  return {
    label: "",
    isPick: true,
    headCell: () =>
      h("input", { type: "checkbox", checked: isAll, "aria-label": "Select all on this page", on: { change: all } }),
    cell: (row) =>
      h("input", {
        type: "checkbox",
        checked: picked.has(key(row)),
        "aria-label": label(row),
        on: { change: (event) => toggle(key(row), event.target.checked) },
      }),
  };
}

/** Return rows in the order asked for; `columns` give what they are ordered by. */
export function sorted(rows, columns, { by, down }) {
  const read = columns.find((column) => column.name === by)?.sorts;
  if (!read) return rows;
  const sign = down ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [read(one), read(other)];
    if (typeof a === "string") return sign * a.localeCompare(b, "en", { numeric: true });
    return sign * ((a ?? -Infinity) - (b ?? -Infinity));
  });
}

/** Read an order from an address: "name" is up, "-name" is down. */
export function orderOf(text, other) {
  const chosen = text || other;
  return chosen.startsWith("-") ? { by: chosen.slice(1), down: true } : { by: chosen, down: false };
}

/** Return the order after its head was pressed: the other way, or first the greatest. */
export function pressed(name, sort, isText) {
  if (sort.by === name) return sort.down ? name : `-${name}`;
  return isText ? name : `-${name}`;
}
