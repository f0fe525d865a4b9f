'use strict';
// A plane through input space that one moves through: a layer at a time, lines over it, and what every layer says under the pointer.

const GROUPS = { network: 'Network', regions: 'Regions', spline: 'Spline', certificate: 'Error bar' };
const LINES = ['#ffffff', '#ff7a4d', '#ff6fd8', '#9fe8ff'];

function drawSlice({
  id,
  drawn: {
    size: [width, height],
    layers,
    marks = [],
    missing = [],
  },
}) {
  const arrays = new Map(),
    pictures = new Map();
  const arrayFor = (layer) => arrays.get(layer) ?? arrays.set(layer, arrayOf(layer.npy)).get(layer);
  const lined = layers.filter((layer) => layer.type === 'u32');
  const lines = new Map(
    lined.map((layer, i) => [
      layer,
      { draw: boundaries(() => arrayFor(layer), LINES[i % LINES.length]), on: false, colour: LINES[i % LINES.length] },
    ]),
  );
  let shownLayer = layers[0],
    pixel,
    pointed = false,
    byKeys = false;

  const place = el('p', { class: 'place', id: `${id}-place` });
  const spoken = el('div', { class: 'unseen', 'aria-live': 'polite' });
  const canvas = el('canvas', {
    tabindex: 0,
    role: 'application',
    'aria-label':
      'The slice. Arrow keys move it under a cross in the middle, with shift by a pixel; plus and minus zoom, 0 shows all of it.',
    'aria-describedby': place.id,
    style: `aspect-ratio:${width}/${height}`,
  });
  const values = new Map(layers.map((layer) => [layer, el('output', { class: 'value' })]));
  const legend = el('div', { class: 'legend' });
  const view = panzoom(canvas, { width, height, draw, point });

  async function picture(layer) {
    if (!pictures.has(layer)) {
      pictures.set(layer, undefined);
      pictures.set(layer, await createImageBitmap(blobOf(layer.png)));
      view.redraw();
    }
  }

  function choose(layer) {
    shownLayer = layer;
    picture(layer);
    legend.replaceChildren(...(layer.legend ? [legendPicture(layer)] : []));
    view.redraw();
  }

  function draw(pen, { scale, left, top }) {
    const ratio = window.devicePixelRatio || 1,
      image = pictures.get(shownLayer);
    pen.imageSmoothingEnabled = scale < 1;
    if (image) pen.drawImage(image, left, top, scale * width, scale * height);
    for (const set of lines.values()) if (set.on) set.draw(pen, view, ratio);
    for (const { s, t, label } of marks)
      sample(
        pen,
        left + (scale * width * (s + 1)) / 2,
        top + (scale * height * (1 - t)) / 2,
        canvas.width < 480 * ratio ? label.split(':')[0] : label,
        ratio,
      );
    canvas.dataset.drawn = image ? shownLayer.id : '';
    if (pointed && scale >= 6 * ratio) {
      pen.lineWidth = ratio;
      for (const [colour, inset] of [
        ['#000', 0],
        ['#fff', ratio],
      ]) {
        pen.strokeStyle = colour;
        pen.strokeRect(
          left + pixel[0] * scale + inset,
          top + pixel[1] * scale + inset,
          scale - 2 * inset,
          scale - 2 * inset,
        );
      }
    }
    if (byKeys) cross(pen, ratio);
    say();
  }

  function point(x, y, keys = false) {
    byKeys = keys;
    pointed ||= x !== undefined;
    // What was read last stays when the pointer leaves, so that layers can be gone through.
    if (x >= 0 && y >= 0 && x <= width && y <= height) {
      read([Math.min(width - 1, Math.floor(x)), Math.min(height - 1, Math.floor(y))]);
    }
    if (byKeys) spoken.textContent = `${place.textContent}: ${shownLayer.title} ${values.get(shownLayer).textContent}`;
    view.redraw();
  }

  function read(at) {
    pixel = at;
    for (const layer of layers) {
      values.get(layer).replaceChildren(number(arrayFor(layer).values[at[1] * width + at[0]]));
    }
    say();
  }

  function say() {
    const zoom = `zoom ${plain(Math.round((100 * view.scale * width) / canvas.width))}\u2009%`;
    const at = (value) => el('data', { value }, signed(value.toFixed(4)));
    const [s, t] = pixel ? [-1 + (2 * pixel[0] + 1) / width, 1 - (2 * pixel[1] + 1) / height] : [];
    place.replaceChildren(...(pixel ? ['s = ', at(s), ', t = ', at(t), '; ', zoom] : [zoom]));
  }

  canvas.addEventListener('focus', () => {
    if (canvas.matches(':focus-visible')) point(...view.middle(), true);
  });
  canvas.addEventListener('blur', () => point());

  const name = `${id}-layer`;
  const radio = (layer) =>
    el('input', {
      type: 'radio',
      name,
      id: `${name}-${layer.id}`,
      value: layer.id,
      checked: layer === layers[0],
      change: () => choose(layer),
    });
  const groups = [...Map.groupBy(layers, (layer) => layer.group)].map(([group, some]) => [
    el('p', { class: 'group' }, GROUPS[group] ?? group),
    some.map((layer) =>
      el(
        'div',
        { class: 'layer' },
        radio(layer),
        el('label', { for: `${name}-${layer.id}` }, layer.title),
        values.get(layer),
      ),
    ),
  ]);
  const checks = lined.map((layer) =>
    el(
      'label',
      {},
      el('input', {
        type: 'checkbox',
        value: layer.id,
        change: (event) => {
          lines.get(layer).on = event.target.checked;
          view.redraw();
        },
      }),
      el('span', { class: 'swatch', style: `background:${lines.get(layer).colour}` }),
      layer.title,
    ),
  );
  const tools = el(
    'div',
    { class: 'tools' },
    el('button', { type: 'button', 'aria-label': 'Zoom in', title: 'Zoom in (+)', click: () => view.zoom(2) }, '+'),
    el(
      'button',
      { type: 'button', 'aria-label': 'Zoom out', title: 'Zoom out (\u2212)', click: () => view.zoom(0.5) },
      '\u2212',
    ),
    el('button', { type: 'button', 'aria-label': 'Show all', title: 'Show all (0)', click: view.fit }, '\u2922'),
  );
  const small = layers.map((layer) =>
    el(
      'label',
      { for: `${name}-${layer.id}` },
      el('img', { alt: '', decoding: 'async', src: addressOf(layer.png) }),
      layer.title,
    ),
  );

  choose(layers[0]);
  // The arrays are read when the slice comes into sight.
  const seen = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    seen.disconnect();
    if (!pixel) read([Math.floor(width / 2), Math.floor(height / 2)]);
  });
  seen.observe(canvas);
  return [
    el(
      'div',
      { class: 'slice' },
      el(
        'div',
        { class: 'view' },
        el('div', { class: 'stage' }, canvas, tools),
        place,
        spoken,
        checks.length > 0 ? el('fieldset', { class: 'lines' }, el('legend', {}, 'Boundaries'), checks) : undefined,
      ),
      el(
        'div',
        { class: 'side' },
        el('fieldset', {}, el('legend', {}, 'Layer, and its value at the pointer'), groups),
        legend,
      ),
    ),
    el('div', { class: 'small' }, small),
    missing.length > 0
      ? el(
          'ul',
          { class: 'missing' },
          missing.map((one) => el('li', {}, el('strong', {}, `${one.title}: `), one.refused)),
        )
      : undefined,
  ];
}

// The legend's own picture, in the colours of the page, without its title: the layer that is chosen says it.
function legendPicture(layer) {
  const picture = new DOMParser().parseFromString(
    new TextDecoder().decode(bytesOf(layer.legend)),
    'image/svg+xml',
  ).documentElement;
  const [wide, high, title] = [picture.getAttribute('width'), picture.getAttribute('height'), 40];
  furnish(
    picture,
    { viewBox: `12 ${title} ${wide - 12} ${high - title}`, width: wide - 12, height: high - title, role: 'img' },
    [],
  );
  picture.setAttribute(
    'aria-label',
    `Legend of ${layer.title}: ${[...picture.querySelectorAll('text')].map((text) => text.textContent.trim()).join(', ')}`,
  );
  return document.importNode(picture, true);
}

// White on black: seen on any colour.
function strokeOutlined(pen, ratio) {
  for (const [colour, across] of [
    ['#000', 4],
    ['#fff', 2],
  ]) {
    pen.strokeStyle = colour;
    pen.lineWidth = across * ratio;
    pen.stroke();
  }
}

function sample(pen, x, y, text, ratio) {
  pen.beginPath();
  pen.arc(x, y, 5 * ratio, 0, 2 * Math.PI);
  strokeOutlined(pen, ratio);
  pen.font = `600 ${12 * ratio}px system-ui, sans-serif`;
  pen.lineJoin = 'round';
  const left =
    x + 10 * ratio + pen.measureText(text).width > pen.canvas.width
      ? x - 10 * ratio - pen.measureText(text).width
      : x + 10 * ratio;
  pen.lineWidth = 3 * ratio;
  pen.strokeStyle = '#000';
  pen.strokeText(text, left, y + 4 * ratio);
  pen.fillStyle = '#fff';
  pen.fillText(text, left, y + 4 * ratio);
}

function cross(pen, ratio) {
  const [x, y] = [pen.canvas.width / 2, pen.canvas.height / 2];
  pen.beginPath();
  for (const [i, j] of [
    [-1, 0],
    [1, 0],
    [0, -1],
    [0, 1],
  ]) {
    pen.moveTo(x + 4 * i * ratio, y + 4 * j * ratio);
    pen.lineTo(x + 14 * i * ratio, y + 14 * j * ratio);
  }
  strokeOutlined(pen, ratio);
}
