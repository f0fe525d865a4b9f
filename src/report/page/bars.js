'use strict';
// Bars, each beside its number, as a table: what is drawn and what is read are the same cells.

// { x: [labels], series: [{ name, values, unit }], axis }
function drawBars({ title, drawn: { x, series, axis: name } }) {
  const values = series.flatMap((one) => one.values).filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const share = (value) => (high === low ? 0 : (100 * value) / (high - low));
  const cell = (value, i, unit) => {
    if (!Number.isFinite(value)) return el('td', {}, number(value));
    const place = `margin-left:${share(Math.min(0, value) - low).toFixed(3)}%;width:${Math.abs(share(value)).toFixed(3)}%;background:${hue(i)}`;
    return el('td', {}, el('div', { class: 'track' }, el('div', { class: 'bar', style: place })), number(value, unit));
  };
  const head = el(
    'tr',
    {},
    el('th', { scope: 'col' }, name ?? ''),
    series.map((one) => el('th', { scope: 'col' }, one.name)),
  );
  const rows = x.map((label, at) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row' }, String(label)),
      series.map((one, i) => cell(one.values[at], i, one.unit)),
    ),
  );
  return [
    wide(
      title,
      el(
        'table',
        { class: 'bars' },
        el('caption', { class: 'unseen' }, title),
        el('thead', {}, head),
        el('tbody', {}, rows),
      ),
    ),
  ];
}

// { columns, rows }
const drawTable = ({ title, drawn: { columns, rows } }) => [table(columns, rows, title)];
