'use strict';
// Numbers as text: four digits that count, and the whole number beside them in <data value>.

const DIGITS = 4;
const signed = (text) => text.replace('-', '\u2212');
const superscript = (power) =>
  String(power).replace(
    /./g,
    (c) => '\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079'['-0123456789'.indexOf(c)],
  );

function plain(value, digits = DIGITS) {
  if (value === null || value === undefined) return '\u2013';
  if (typeof value !== 'number') return String(value);
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (Number.isSafeInteger(value)) return signed(value.toLocaleString('en-GB'));
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [mantissa, power] = value.toExponential(digits - 1).split('e');
    return `${signed(String(Number(mantissa)))}\u2009\u00d7\u200910${superscript(Number(power))}`;
  }
  return signed(size >= 10 ** digits ? Math.round(value).toLocaleString('en-GB') : value.toPrecision(digits));
}

const percent = (share, digits = 3) => `${signed(share === 0 ? '0' : (100 * share).toPrecision(digits))}\u2009%`;

function duration(seconds) {
  if (seconds < 60) return `${Number(seconds.toPrecision(seconds < 1 ? 2 : 3))}\u2009s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}\u2009min ${whole % 60}\u2009s`;
}

function size(bytes) {
  const units = ['B', 'kB', 'MB', 'GB'];
  const step = Math.min(3, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${Number((bytes / 1000 ** step).toPrecision(3))}\u2009${units[step]}`;
}

function shown(value, unit) {
  if (typeof value !== 'number') return plain(value);
  return { share: percent, s: duration, bytes: size }[unit]?.(value) ?? plain(value);
}

// The number as people read it, with what the document says as its value.
const number = (value, unit) =>
  typeof value === 'number' ? el('data', { value }, shown(value, unit)) : el('span', {}, shown(value, unit));

const count = (many, one, more = `${one}s`) => `${plain(many)} ${many === 1 ? one : more}`;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
