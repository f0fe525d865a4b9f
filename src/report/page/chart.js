'use strict';
// Lines over an axis of values, with a band from the lowest to the highest and the values themselves as dots. Read by pointer or, focused,
// by the left and right arrow keys.

// The sign of a series: its colour and the shape of its marks, so that neither alone tells series apart.
const SHAPES = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (r) => `M${-r},${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (r) => `M0,${-1.3 * r}L${1.2 * r},${0.9 * r}H${-1.2 * r}z`,
  (r) => `M0,${-1.35 * r}L${1.35 * r},0L0,${1.35 * r}L${-1.35 * r},0z`,
  (r) => `M0,${1.3 * r}L${1.2 * r},${-0.9 * r}H${-1.2 * r}z`,
];
const hue = (i) => `var(--series-${i % 7})`;
const mark = (i, x, y, r = 3.6) =>
  svg('path', {
    class: 'mark',
    d: SHAPES[i % SHAPES.length](r),
    transform: `translate(${x.toFixed(2)},${y.toFixed(2)})`,
    fill: hue(i),
  });

function legendOf(names) {
  return el(
    'ul',
    { class: 'legend-line' },
    names.map((name, i) =>
      el(
        'li',
        {},
        svg(
          'svg',
          { width: 30, height: 14, 'aria-hidden': true },
          svg('path', { d: 'M1,7H29', stroke: hue(i), 'stroke-width': 2 }),
          mark(i, 15, 7),
        ),
        name,
      ),
    ),
  );
}

// chart({ title, x: { name, log }, y: { unit, log, from, below }, series: [{ name, points: [{ x, mean, low, high, all }] }] })
function chart({ title, x, y, series }) {
  const places = [...new Set(series.flatMap((one) => one.points.map((point) => point.x)))].sort((a, b) => a - b);
  const box = el('div', { class: 'plot' });
  const reading = el('div', { class: 'reading', hidden: true });
  const spoken = el('div', { class: 'unseen', 'aria-live': 'polite' });
  const summary = `${title} over ${x.name}. ${count(series.length, 'line')}: ${series.map((one) => one.name).join(', ')}. Left and right arrow keys read the values.`;
  const frame = el('div', { class: 'chart', tabindex: 0, role: 'group', 'aria-label': summary }, box, reading);
  let axes,
    guide,
    at = -1;

  function draw(width) {
    const height = Math.round(Math.min(300, Math.max(190, width * 0.6)));
    const [left, right, top, bottom] = [52, width - 12, 10, height - 40];
    const values = series.flatMap((one) => one.points.flatMap((point) => point.all));
    axes = {
      x: axis({ log: x.log, range: extent(places, x.log) }, [left, right]),
      y: axis({ log: y.log, range: extent(values, y.log, y.from, y.unit === 'share' ? 1 : undefined) }, [bottom, top]),
    };
    const picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, 'aria-hidden': true });
    picture.append(grid([left, right, top, bottom], [width, height]));
    for (const [i, one] of series.entries()) picture.append(line(one, i));
    guide = svg('path', { class: 'guide', d: `M0,${top}V${bottom}`, visibility: 'hidden' });
    picture.append(guide);
    box.replaceChildren(picture);
    if (at >= 0) read(at);
  }

  function grid([left, right, top, bottom], [, height]) {
    const group = svg('g', { class: 'grid' });
    if (y.below && axes.y.range[0] < 0) {
      group.append(
        svg('rect', { class: 'below', x: left, y: axes.y.at(0), width: right - left, height: bottom - axes.y.at(0) }),
      );
      group.append(svg('text', { class: 'small', x: right - 6, y: bottom - 7, 'text-anchor': 'end' }, y.below));
    }
    const rows = ticks(axes.y, 5),
      columns = places.length <= 12 ? places : ticks(axes.x, 6);
    for (const value of rows) {
      const place = axes.y.at(value).toFixed(2);
      group.append(svg('path', { class: value === 0 ? 'zero' : 'rule', d: `M${left},${place}H${right}` }));
    }
    for (const i of apart(rows.map(axes.y.at), 16)) {
      group.append(
        svg(
          'text',
          { x: left - 7, y: axes.y.at(rows[i]) + 4, 'text-anchor': 'end' },
          y.unit === 'share' ? `${short(100 * rows[i])}\u2009%` : short(rows[i]),
        ),
      );
    }
    group.append(svg('path', { class: 'zero', d: `M${left},${bottom}H${right}` }));
    for (const value of columns)
      group.append(svg('path', { class: 'tick', d: `M${axes.x.at(value).toFixed(2)},${bottom}v4` }));
    for (const i of apart(columns.map(axes.x.at), 38)) {
      group.append(
        svg('text', { x: axes.x.at(columns[i]), y: bottom + 17, 'text-anchor': 'middle' }, short(columns[i])),
      );
    }
    group.append(svg('text', { class: 'name', x: (left + right) / 2, y: height - 5, 'text-anchor': 'middle' }, x.name));
    return group;
  }

  function line(one, i) {
    const drawable = (value) => Number.isFinite(value) && (!y.log || value > 0);
    const points = one.points.filter((point) => drawable(point.mean));
    const to = (value) => (point) =>
      `${axes.x.at(point.x).toFixed(2)},${axes.y.at(drawable(point[value]) ? point[value] : axes.y.range[0]).toFixed(2)}`;
    const group = svg('g', { class: 'series', 'data-name': one.name });
    if (points.length === 0) return group;
    const band = [...points.map(to('high')), ...points.toReversed().map(to('low'))];
    group.append(svg('path', { class: 'band', d: `M${band.join('L')}z`, fill: hue(i) }));
    for (const point of points) {
      if (point.all.length === 1) continue;
      for (const value of point.all.filter(drawable)) {
        group.append(
          svg('circle', {
            class: 'each',
            cx: axes.x.at(point.x).toFixed(2),
            cy: axes.y.at(value).toFixed(2),
            r: 1.6,
            fill: hue(i),
          }),
        );
      }
    }
    group.append(svg('path', { class: 'line', d: `M${points.map(to('mean')).join('L')}`, stroke: hue(i) }));
    for (const point of points) group.append(mark(i, axes.x.at(point.x), axes.y.at(point.mean)));
    return group;
  }

  function read(index) {
    at = Math.max(0, Math.min(places.length - 1, index));
    const place = axes.x.at(places[at]);
    guide.setAttribute('transform', `translate(${place.toFixed(2)},0)`);
    guide.setAttribute('visibility', 'visible');
    const lines = [];
    for (const [i, one] of series.entries()) {
      const point = one.points.find((point) => point.x === places[at]);
      if (!point) continue;
      const spread = point.all.length > 1 ? ` (${shown(point.low, y.unit)} to ${shown(point.high, y.unit)})` : '';
      const key = svg('svg', { width: 12, height: 12, 'aria-hidden': true }, mark(i, 6, 6));
      lines.push(el('li', {}, key, `${one.name}: `, number(point.mean, y.unit), spread));
    }
    reading.replaceChildren(el('strong', {}, `${plain(places[at])} ${x.name}`), el('ul', {}, lines));
    reading.hidden = false;
    // Below the lines, which it would hide.
    const most = box.clientWidth - reading.offsetWidth;
    reading.style.left = `${Math.max(0, Math.min(most, place - reading.offsetWidth / 2))}px`;
  }

  function leave() {
    at = -1;
    reading.hidden = true;
    guide?.setAttribute('visibility', 'hidden');
  }

  frame.addEventListener('pointermove', (event) => {
    if (!axes) return;
    const here = event.clientX - box.getBoundingClientRect().left;
    const far = places.map((value) => Math.abs(axes.x.at(value) - here));
    read(far.indexOf(Math.min(...far)));
  });
  frame.addEventListener('pointerleave', leave);
  frame.addEventListener('blur', leave);
  frame.addEventListener('keydown', (event) => {
    const to = { ArrowLeft: Math.max(0, at - 1), ArrowRight: at + 1, Home: 0, End: places.length - 1 }[event.key];
    if (event.key === 'Escape') leave();
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    read(to);
    spoken.textContent = reading.innerText.replaceAll('\n', ', ');
  });
  atWidth(box, draw);
  return el('div', { class: 'panel' }, el('p', { class: 'panel-title' }, title), frame, spoken);
}
