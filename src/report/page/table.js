'use strict';
// Tables: numbers to the right with their full value, words to the left.

// columns: names or { name, unit, title }; rows: arrays of numbers, strings or nothing.
function table(columns, rows, caption) {
  columns = columns.map((column) => (typeof column === 'string' ? { name: column } : column));
  const numeric = columns.map((_, i) => rows.some((row) => typeof row[i] === 'number'));
  const kind = (i) => (numeric[i] ? 'number' : undefined);
  const head = columns.map(({ name, title }, i) => el('th', { scope: 'col', class: kind(i), title }, name));
  const body = rows.map((row) =>
    el(
      'tr',
      {},
      row.map((value, i) =>
        el(i === 0 ? 'th' : 'td', { scope: i === 0 && 'row', class: kind(i) }, number(value, columns[i].unit)),
      ),
    ),
  );
  return wide(
    caption,
    el(
      'table',
      {},
      el('caption', { class: 'unseen' }, caption),
      el('thead', {}, el('tr', {}, head)),
      el('tbody', {}, body),
    ),
  );
}

// A table that is made when it is opened: the data of a chart, for those who read rather than look.
function folded(summary, make, printed = true) {
  const details = el(
    'details',
    { class: printed ? 'data' : 'data unprinted', toggle: fill },
    el('summary', {}, summary),
  );
  function fill() {
    if (details.children.length === 1) details.append(make());
  }
  if (printed) addEventListener('beforeprint', fill);
  return details;
}
