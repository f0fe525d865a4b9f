'use strict';
// A matrix as squares of colour, read by pointer or, focused, by the arrow keys.

const VIRIDIS = [
  '#440154',
  '#482878',
  '#3e4989',
  '#31688e',
  '#26828e',
  '#1f9e89',
  '#35b779',
  '#6ece58',
  '#b5de2b',
  '#fde725',
];
const channels = VIRIDIS.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));

function viridis(share) {
  const place = Math.max(0, Math.min(1, share)) * (channels.length - 1),
    at = Math.min(channels.length - 2, Math.floor(place));
  return channels[at].map((low, i) => Math.round(low + (place - at) * (channels[at + 1][i] - low)));
}

// Runs of equal neighbours: [label, first, end].
function runs(labels) {
  const all = [];
  for (const [i, label] of labels.entries()) {
    if (all.length > 0 && all.at(-1)[0] === label) all.at(-1)[2] = i + 1;
    else all.push([label, i, i + 1]);
  }
  return all;
}

function squares(values, low, high) {
  const canvas = el('canvas', { width: values[0].length, height: values.length });
  const pen = canvas.getContext('2d'),
    image = pen.createImageData(canvas.width, canvas.height);
  for (const [i, value] of values.flat().entries())
    image.data.set([...viridis(high > low ? (value - low) / (high - low) : 0), 255], 4 * i);
  pen.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

// { rows, columns, values, unit, groups: a label for each row and column, range }
function drawMatrix({ title, drawn: { rows, columns, values, unit, groups, range } }) {
  const flat = values.flat().filter(Number.isFinite);
  const [low, high] = range ?? [flat.reduce((a, b) => Math.min(a, b)), flat.reduce((a, b) => Math.max(a, b))];
  const [height, width] = [rows.length, columns.length];
  if (groups?.length !== height || height !== width) groups = undefined;
  const side = 460,
    edge = groups ? 30 : 2,
    cell = side / Math.max(height, width);
  const picture = svg('svg', {
    viewBox: `0 0 ${edge + cell * width + 2} ${edge + cell * height + 2}`,
    'aria-hidden': true,
  });
  const inside = svg('g', { transform: `translate(${edge},${edge})` });
  inside.append(
    svg('image', {
      href: squares(values, low, high),
      width: cell * width,
      height: cell * height,
      preserveAspectRatio: 'none',
    }),
  );
  if (groups) inside.append(...groupLines());
  const cursor = svg('rect', { class: 'cursor', width: cell, height: cell, visibility: 'hidden' });
  inside.append(cursor);
  picture.append(inside);

  function groupLines() {
    return runs(groups).flatMap(([label, first, end]) => {
      const [from, middle] = [first * cell, ((first + end) / 2) * cell];
      return [
        first > 0 &&
          svg('path', { class: 'between', d: `M${-6},${from}H${cell * width}M${from},${-6}V${cell * height}` }),
        svg('text', { x: -9, y: middle + 4, 'text-anchor': 'end' }, String(label)),
        svg('text', { x: middle, y: -9, 'text-anchor': 'middle' }, String(label)),
      ].filter(Boolean);
    });
  }

  const reading = el(
    'p',
    { class: 'cell', 'aria-live': 'polite' },
    'Point at a square, or focus the matrix and use the arrow keys.',
  );
  let at = [0, 0];
  function read(row, column) {
    at = [Math.max(0, Math.min(height - 1, row)), Math.max(0, Math.min(width - 1, column))];
    cursor.setAttribute('x', at[1] * cell);
    cursor.setAttribute('y', at[0] * cell);
    cursor.setAttribute('visibility', 'visible');
    reading.replaceChildren(
      `${rows[at[0]]} and ${columns[at[1]]}: `,
      unit ? `${unit} ` : '',
      number(values[at[0]][at[1]]),
    );
  }

  const label = `${title}: ${height} by ${width} values from ${plain(low)} to ${plain(high)}. Arrow keys read them.`;
  const frame = el('div', { class: 'matrix', tabindex: 0, role: 'group', 'aria-label': label }, picture);
  frame.addEventListener('pointermove', (event) => {
    const box = inside.querySelector('image').getBoundingClientRect();
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
  const bar = el(
    'div',
    { class: 'scale' },
    unit ?? '',
    number(low),
    el('span', { class: 'ramp', style: `background:linear-gradient(to right,${VIRIDIS})` }),
    number(high),
  );
  const columnsOf = ['', ...columns.map(String)];
  return [
    frame,
    bar,
    reading,
    folded(
      'The numbers',
      () =>
        table(
          columnsOf,
          rows.map((name, i) => [String(name), ...values[i]]),
          title,
        ),
      false,
    ),
  ];
}
