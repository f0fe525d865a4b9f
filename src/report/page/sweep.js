'use strict';
// A sweep: what is measured against the number of pieces, a line for each way to make a spline, over seeds.

// What tells ways to make a spline apart, with what the first of each says where all are alike.
const WAYS = [
  ['curvature_choice', (value) => `curvature ${value}`],
  ['selection', (value) => `${value} pieces`],
  ['metric', (value) => `metric ${value}`],
  ['slopes', (value) => `slopes ${value}`],
  ['softness', (value) => `${value} maxima`],
  ['refine', (value) => `${value} steps`],
  ['warp', (value) => `warp ${value}`],
];

function waysOf(rows) {
  const differing = WAYS.filter(([field], i) => i === 0 || new Set(rows.map((row) => row[field])).size > 1);
  return Map.groupBy(rows, (row) => differing.map(([field, say]) => say(row[field] ?? row.curvature)).join(', '));
}

// For each way and number of pieces the mean, the lowest and the highest over seeds.
function pointsOf(rows, field) {
  const groups = [
    ...Map.groupBy(
      rows.filter((row) => Number.isFinite(row[field])),
      (row) => row.pieces,
    ),
  ];
  return groups
    .sort(([a], [b]) => a - b)
    .map(([pieces, some]) => {
      const all = some.map((row) => row[field]);
      return { x: pieces, mean: mean(all), low: Math.min(...all), high: Math.max(...all), all };
    });
}

const MEASURES = [
  { field: 'relative_rmse', title: 'Relative error (RMSE / standard deviation)', log: true },
  { field: 'agreement', title: 'Agreement with the network\u2019s class', unit: 'share' },
  { field: 'accuracy', title: 'Accuracy on the labels', unit: 'share' },
  {
    field: 'relative_certificate',
    title: 'Half-width of the error bar (in standard deviations)',
    log: true,
    below: 'below 0 the bounds cross: no error bar',
  },
  { field: 'violations', title: 'Points outside their error bar', unit: 'share', from: 0 },
];

function drawSweep({ document: { rows } }) {
  const ways = waysOf(rows);
  const panels = MEASURES.map(({ field, title, unit, log, from, below }) => {
    const series = [...ways]
      .map(([name, some]) => ({ name, points: pointsOf(some, field) }))
      .filter((one) => one.points.length > 0);
    if (series.length === 0) return undefined;
    const positive = series.every((one) => one.points.every((point) => point.low > 0));
    return chart({ title, x: { name: 'pieces', log: true }, y: { unit, log: log && positive, from, below }, series });
  });
  return [
    legendOf([...ways.keys()]),
    el('div', { class: 'panels' }, panels),
    folded('The numbers, means over seeds', () => sweepTable(ways)),
  ];
}

function sweepTable(ways) {
  const columns = [
    'spline',
    'pieces',
    { name: 'seeds' },
    { name: 'relative error' },
    { name: 'mean error' },
    { name: 'largest error' },
    { name: 'agreement', unit: 'share' },
    { name: 'accuracy', unit: 'share' },
    { name: 'half-width' },
    { name: 'outside', unit: 'share' },
    'error bar',
  ];
  const fields = [
    'relative_rmse',
    'mean_abs',
    'max_abs',
    'agreement',
    'accuracy',
    'relative_certificate',
    'violations',
  ];
  const rows = [...ways].flatMap(([name, all]) =>
    [...Map.groupBy(all, (row) => row.pieces)]
      .sort(([a], [b]) => a - b)
      .map(([pieces, some]) => {
        const means = fields.map((field) =>
          some.every((row) => Number.isFinite(row[field])) ? mean(some.map((row) => row[field])) : undefined,
        );
        return [name, pieces, some.length, ...means, [...new Set(some.map((row) => row.certificate_label))].join(', ')];
      }),
  );
  const known = columns.map((_, i) => rows.some((row) => row[i] !== undefined));
  return table(
    columns.filter((_, i) => known[i]),
    rows.map((row) => row.filter((_, i) => known[i])),
    'Error and agreement against pieces',
  );
}
