'use strict';
// The page: key numbers, contents, sections, and what it was made of.

const report = JSON.parse(document.getElementById('report').textContent);
const words = (key) => {
  const text = key.replaceAll('_', ' ');
  return text[0].toUpperCase() + text.slice(1);
};
const shapeOf = (shape) => shape.join(' \u00d7 ');

// Names and values; what is not there is left out.
function facts(title, entries) {
  const known = entries.filter(([, value]) => value !== undefined && value !== null && value !== '');
  return el(
    'div',
    { class: 'facts' },
    el('h3', {}, title),
    el(
      'dl',
      {},
      known.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value instanceof Node ? value : String(value))]),
    ),
  );
}

function modelFacts({ file, bytes, sha256, document: model }) {
  const ends = (all) => all.map((one) => `${shapeOf(one.shape)}, named \u201c${one.name}\u201d`).join('; ');
  return facts('Model', [
    ['File', file],
    ['Kind', model.kind?.replaceAll('-', ' ')],
    ['Parameters', number(model.parameters)],
    ['Layers', number(model.layers.length)],
    ['Input', ends(model.inputs)],
    ['Output', ends(model.outputs)],
    ['Made by', model.producer],
    ['Opset', model.opset],
    ['Size', bytes && number(bytes, 'bytes')],
    ['SHA-256', sha256],
  ]);
}

// Values as they come: text, numbers, shapes, ranges of rows.
function asItComes(value, key) {
  if (key === 'memory' && typeof value === 'number') return el('data', { value }, `${plain(value / 2 ** 20)}\u2009MiB`);
  if (typeof value === 'number') return number(value);
  if (!Array.isArray(value)) return value;
  return key === 'shape' || value.length !== 2 ? shapeOf(value) : `${plain(value[0])} to ${plain(value[1] - 1)}`;
}
const map = (object) => Object.entries(object ?? {}).map(([key, value]) => [words(key), asItComes(value, key)]);

function modelSection() {
  const layers = report.model.document.layers.map((layer) => [
    layer.name,
    layer.operator,
    layer.kind?.replaceAll('-', ' '),
    shapeOf(layer.shape),
    layer.parameters,
  ]);
  return [
    el(
      'div',
      { class: 'about' },
      modelFacts(report.model),
      facts('Data', map(report.data)),
      facts('Device and settings', [['Device', report.device], ...map(report.settings)]),
    ),
    folded(`The ${count(layers.length, 'layer')}`, () =>
      table(['layer', 'operator', 'kind', 'shape', 'parameters'], layers, 'Layers of the network'),
    ),
  ];
}

function head() {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const root = document.documentElement;
  const other = () => ((root.dataset.theme ?? (dark.matches ? 'dark' : 'light')) === 'dark' ? 'light' : 'dark');
  const theme = el('button', {
    type: 'button',
    id: 'theme',
    click: () => {
      root.dataset.theme = other();
      name();
    },
  });
  const name = () => {
    theme.textContent = `${words(other())} colours`;
  };
  dark.addEventListener('change', name);
  name();
  const { document: model } = report.model;
  const line = [
    model.kind?.replaceAll('-', ' '),
    count(model.parameters, 'parameter'),
    report.device,
    `made in ${duration(report.seconds)}`,
  ]
    .filter(Boolean)
    .join(' \u00b7 ');
  const numbers = (report.summary ?? []).map(({ label, value, unit, note, figure }) =>
    el(
      'li',
      {},
      el('span', { class: 'label' }, figure ? el('a', { href: `#${figure}` }, label) : label),
      el('span', { class: 'big' }, number(value, unit)),
      note ? el('span', { class: 'note' }, note) : undefined,
    ),
  );
  document
    .getElementById('head')
    .append(
      el('p', { class: 'line' }, line),
      el('div', { class: 'controls' }, theme),
      ...(numbers.length > 0 ? [el('ul', { class: 'key', 'aria-label': 'Key numbers' }, numbers)] : []),
    );
}

function contents(sections) {
  const link = (id, title) => el('a', { href: `#${id}` }, title);
  const list = el(
    'ol',
    {},
    sections.map(({ id, title, figures }) =>
      el(
        'li',
        {},
        link(`section-${id}`, title),
        figures.length > 0
          ? el(
              'ol',
              {},
              figures.map((figure) => el('li', {}, link(figure.id, figure.title))),
            )
          : undefined,
      ),
    ),
  );
  const beside = matchMedia('(min-width: 72rem)');
  const details = el('details', { open: beside.matches }, el('summary', {}, 'Contents'), list);
  beside.addEventListener('change', () => {
    details.open = beside.matches;
  });
  document.getElementById('contents').append(details);
  return list;
}

// The link of the part that is being read is marked.
function follow(list) {
  const links = new Map([...list.querySelectorAll('a')].map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute('aria-current');
        links.get(entry.target.id)?.setAttribute('aria-current', 'true');
      }
    },
    { rootMargin: '-10% 0px -80% 0px' },
  );
  for (const id of links.keys()) watch.observe(document.getElementById(id));
}

function build() {
  let at = 0;
  head();
  const sections = report.sections
    .map((section) => ({ ...section, figures: report.figures.filter((figure) => figure.section === section.id) }))
    .filter(({ id, figures }) => id === 'model' || figures.length > 0);
  const list = contents(sections);
  const main = document.getElementById('main');
  for (const { id, title, figures } of sections) {
    const heading = el('h2', { id: `heading-${id}` }, title);
    main.append(
      el(
        'section',
        { id: `section-${id}`, 'aria-labelledby': heading.id },
        heading,
        id === 'model' ? modelSection() : undefined,
        figures.map((figure) => figureOf(figure, ++at)),
      ),
    );
  }
  document
    .getElementById('foot')
    .append(
      el('p', {}, `Made by Fenchel ${report.fenchel} with`),
      el('ol', { class: 'commands' }, command(report.command)),
      el('p', {}, 'This page holds its data and asks nothing of any network.'),
    );
  follow(list);
}

build();
