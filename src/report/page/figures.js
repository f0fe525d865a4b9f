'use strict';
// A figure: what is drawn, what it says, the commands that make it again, and its data.

const KINDS = {
  sweep: drawSweep,
  slice: drawSlice,
  bars: drawBars,
  matrix: drawMatrix,
  table: drawTable,
  image: drawImage,
};

// A sheet of many columns scrolls sideways rather than that it shrinks until nobody can read it.
function drawImage({ drawn: { image, alt }, document: sheet }) {
  const least = sheet?.width ? `min-width:${Math.round(0.62 * sheet.width)}px` : undefined;
  return [
    wide(
      alt,
      el('img', {
        class: 'sheet',
        src: addressOf(image),
        alt,
        width: sheet?.width,
        height: sheet?.height,
        style: least,
      }),
    ),
  ];
}

function drawing(figure) {
  if (figure.refused)
    return [el('p', { class: 'refused' }, el('strong', {}, 'Not for this network: '), figure.refused)];
  try {
    return KINDS[figure.kind](figure);
  } catch (error) {
    console.error(error);
    return [el('p', { class: 'refused' }, el('strong', {}, 'This figure could not be drawn: '), error.message)];
  }
}

function command(text) {
  // Lines end between options, not within them.
  const code = el(
    'code',
    {},
    text.split(/( (?=-))/).map((part) => (part === ' ' ? part : el('span', {}, part))),
  );
  const button = el(
    'button',
    {
      type: 'button',
      'aria-label': `Copy the command ${text.split(' ').slice(0, 2).join(' ')}`,
      click: async () => {
        button.textContent = (await copy(text, code)) ? 'Copied' : 'Selected';
        setTimeout(() => {
          button.textContent = 'Copy';
        }, 2000);
      },
    },
    'Copy',
  );
  return el('li', {}, el('pre', {}, code), button);
}

function file(name) {
  const short = name.replace(/^data\//, '');
  // What is too large for the page lies beside it.
  if (!files.has(name)) return el('li', {}, el('a', { href: name, download: true }, short), ' (beside this page)');
  return el(
    'li',
    {},
    el(
      'button',
      {
        type: 'button',
        class: 'file',
        'data-file': name,
        'aria-label': `Download ${short}, ${size(sizeOf(name))}`,
        click: () => download(name),
      },
      short,
      el('span', {}, size(sizeOf(name))),
    ),
  );
}

function makings({ commands = [], files: names = [], seconds }) {
  const held = names.filter((name) => files.has(name));
  const made = commands.length === 1 ? 'Made by this command' : `Made by these ${plain(commands.length)} commands`;
  const total = held.length > 0 ? `, ${size(held.map(sizeOf).reduce((a, b) => a + b, 0))}` : '';
  return el(
    'div',
    { class: 'makings' },
    commands.length > 0
      ? el(
          'details',
          { class: 'commands', open: commands.length <= 2 },
          el('summary', {}, `${made}${seconds === undefined ? '' : ` in ${duration(seconds)}`}`),
          el('ol', {}, commands.map(command)),
        )
      : undefined,
    names.length > 0
      ? el(
          'details',
          { class: 'files', open: names.length <= 6 },
          el('summary', {}, `Data: ${count(names.length, 'file')}${total}`),
          el('ul', {}, names.map(file)),
        )
      : undefined,
  );
}

function figureOf(figure, at) {
  const title = el(
    'h3',
    { id: `title-${figure.id}` },
    el('span', { class: 'number' }, `Figure ${at}`),
    ' ',
    figure.title,
  );
  return el(
    'figure',
    { id: figure.id, class: `kind-${figure.kind}`, 'aria-labelledby': title.id },
    title,
    el('div', { class: 'drawing' }, drawing(figure)),
    figure.caption ? el('figcaption', {}, figure.caption) : undefined,
    makings(figure),
  );
}
