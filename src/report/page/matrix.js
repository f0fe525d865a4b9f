'use strict';
// A matrix as squares of colour, read by pointer or, focused, by the arrow keys.

// Runs of equal neighbours: [label, first, end].
function runs(labels) {
  const all = [];
  for (const [i, label] of labels.entries()) {
    if (all.length > 0 && all.at(-1)[0] === label) all.at(-1)[2] = i + 1;
    else all.push([label, i, i + 1]);
  }
  return all;
}

// A pixel for each value.
function squares(values, scale) {
  const canvas = el('canvas', { width: values[0].length, height: values.length });
  const pen = canvas.getContext('2d'),
    image = pen.createImageData(canvas.width, canvas.height);
  for (const [i, value] of values.flat().entries()) image.data.set([...scale.of(value), 255], 4 * i);
  pen.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

// Of few rows and columns the names, and the numbers in the squares.
function writing(rows, columns, values, scale, cell) {
  const names = [
    ...rows.map((name, i) => svg('text', { x: -6, y: (i + 0.5) * cell + 4, 'text-anchor': 'end' }, String(name))),
    ...columns.map((name, i) => svg('text', { x: (i + 0.5) * cell, y: -6, 'text-anchor': 'middle' }, last(name))),
  ];
  const inks = values.flatMap((row, y) =>
    row.map((value, x) =>
      svg(
        'text',
        {
          class: isLight(scale.of(value)) ? 'on-light' : 'on-dark',
          x: (x + 0.5) * cell,
          y: (y + 0.5) * cell + 4,
          'text-anchor': 'middle',
        },
        plain(value, 2),
      ),
    ),
  );
  return [...names, ...inks];
}

// "output 3" in a narrow column: what tells it from the others.
const last = (name) => String(name).split(' ').at(-1);

// Lines between groups of rows and columns, and their labels.
function groupLines(groups, cell) {
  return runs(groups).flatMap(([label, first, end]) => {
    const [from, middle, length] = [first * cell, ((first + end) / 2) * cell, groups.length * cell];
    return [
      first > 0 ? svg('path', { class: 'between', d: `M-6,${from}H${length}M${from},-6V${length}` }) : [],
      svg('text', { x: -9, y: middle + 4, 'text-anchor': 'end' }, String(label)),
      svg('text', { x: middle, y: -9, 'text-anchor': 'middle' }, String(label)),
    ].flat();
  });
}

// { rows, columns, values, unit, groups: a label for each row and column, range }
function drawMatrix({ title, drawn: { rows, columns, values, unit, groups, range } }) {
  const flat = values.flat().filter(Number.isFinite);
  const scale = scaleOf(...(range ?? [flat.reduce((a, b) => Math.min(a, b)), flat.reduce((a, b) => Math.max(a, b))]));
  const [height, width] = [rows.length, columns.length];
  const grouped = groups?.length === height && height === width;
  const few = Math.max(height, width) <= 16;
  const cell = few ? 50 : 460 / Math.max(height, width);
  const left = few ? 14 + 7 * Math.max(...rows.map((name) => String(name).length)) : grouped ? 30 : 2;
  const top = few ? 24 : grouped ? 30 : 2;
  const [across, down] = [left + cell * width + 2, top + cell * height + 2];
  const image = svg('image', {
    href: squares(values, scale),
    width: cell * width,
    height: cell * height,
    preserveAspectRatio: 'none',
  });
  const cursor = svg('rect', { class: 'cursor', width: cell, height: cell, visibility: 'hidden' });
  const marks = few ? writing(rows, columns, values, scale, cell) : grouped ? groupLines(groups, cell) : [];
  const picture = svg(
    'svg',
    { viewBox: `0 0 ${across} ${down}`, 'aria-hidden': true },
    svg('g', { transform: `translate(${left},${top})` }, image, marks, cursor),
  );

  const reading = el(
    'p',
    { class: 'cell', 'aria-live': 'polite' },
    'Point at a square, or focus the matrix and use the arrow keys.',
  );
  let at = [0, 0];
  function read(row, column) {
    at = [Math.max(0, Math.min(height - 1, row)), Math.max(0, Math.min(width - 1, column))];
    furnish(cursor, { x: at[1] * cell, y: at[0] * cell, visibility: 'visible' }, []);
    reading.replaceChildren(
      `${rows[at[0]]} and ${columns[at[1]]}: `,
      unit ? `${unit} ` : '',
      number(values[at[0]][at[1]]),
    );
  }

  const label = `${title}: ${height} by ${width} values from ${plain(scale.low)} to ${plain(scale.high)}. Arrow keys read them.`;
  const frame = el(
    'div',
    {
      class: 'matrix',
      tabindex: 0,
      role: 'group',
      'aria-label': label,
      style: `max-width:${Math.round(across * 1.08)}px`,
    },
    picture,
  );
  frame.addEventListener('pointermove', (event) => {
    const box = image.getBoundingClientRect();
    read(
      Math.floor(((event.clientY - box.top) / box.height) * height),
      Math.floor(((event.clientX - box.left) / box.width) * width),
    );
  });
  frame.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (cursor.getAttribute('visibility') === 'hidden') read(...at);
    else read(at[0] + step[0], at[1] + step[1]);
  });
  const ramp = el('span', { class: 'ramp', style: `background:linear-gradient(to right,${scale.colours})` });
  const bar = el('div', { class: 'scale' }, unit ?? '', number(scale.low), ramp, number(scale.high));
  const numbers = () =>
    table(
      ['', ...columns.map(String)],
      rows.map((name, i) => [String(name), ...values[i]]),
      title,
    );
  return [frame, bar, reading, folded('The numbers', numbers, few)];
}
