'use strict';
// The files that the page holds, each in a script element as base64, decoded when they are asked for.

const files = new Map([...document.querySelectorAll('script.file')].map((script) => [script.dataset.name, script]));

const text64 = (name) => files.get(name).textContent.trim();

function bytesOf(name) {
  const text = atob(text64(name)),
    bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const blobOf = (name) => new Blob([bytesOf(name)], { type: files.get(name).dataset.type });
const addressOf = (name) => `data:${files.get(name).dataset.type};base64,${text64(name)}`;

function sizeOf(name) {
  const text = text64(name);
  return (text.length / 4) * 3 - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0);
}

function download(name) {
  const address = URL.createObjectURL(blobOf(name));
  el('a', { href: address, download: name.split('/').pop() }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// An array of numpy's, format 1 to 3: its shape and its values, little-endian, in C order.
const NUMPY = { '<f4': Float32Array, '<f8': Float64Array, '<u4': Uint32Array, '<i4': Int32Array, '|u1': Uint8Array };
function arrayOf(name) {
  const bytes = bytesOf(name),
    view = new DataView(bytes.buffer);
  const [start, length] = bytes[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const shape = header
    .match(/'shape': \(([^)]*)\)/)[1]
    .split(',')
    .filter((part) => part.trim())
    .map(Number);
  const Kind = NUMPY[header.match(/'descr': '([^']*)'/)[1]];
  if (!Kind || header.includes("'fortran_order': True"))
    throw new Error(`${name}: an array of another kind: ${header.trim()}`);
  return { shape, values: new Kind(bytes.buffer, start + length) };
}
