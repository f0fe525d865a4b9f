'use strict';
// Elements. Text is always set as text, never read as HTML.

const SVG = 'http://www.w3.org/2000/svg';

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
  return element;
}

// el('p', { class: 'note' }, 'text', …): an HTML element; functions among the attributes are listeners.
const el = (name, attributes = {}, ...children) => furnish(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => furnish(document.createElementNS(SVG, name), attributes, children);

// A box of its own that scrolls sideways, reached by keyboard, so that the page does not scroll.
const wide = (label, ...children) =>
  el('div', { class: 'wide', role: 'region', tabindex: 0, 'aria-label': label }, ...children);

// Calls `draw(width)` now and whenever the element has another width.
function atWidth(element, draw) {
  let last = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0 && width !== last) draw((last = width));
  }).observe(element);
}

async function copy(text, source) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without the right to the clipboard the text is at least selected.
    getSelection().selectAllChildren(source);
    return document.execCommand('copy');
  }
}
