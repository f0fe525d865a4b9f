'use strict';
// Axes: where a value lies along a length, and the ticks that say so.

// A little more than the values take; `from`, where given, is held to, and no number is above `most`.
function extent(values, log, from, most = Infinity) {
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
  if (usable.length === 0) return log ? [0.1, 1] : [0, 1];
  let [low, high] = [Math.min(...usable, from ?? Infinity), Math.max(...usable)];
  if (log) return [low / 1.12, high * 1.12];
  if (low === high) [low, high] = low === from ? [low, low + 1] : [low - 0.5, high + 0.5];
  const margin = 0.04 * (high - low);
  return [from === low ? low : low - margin, Math.min(high, most) + margin];
}

// at(value): its place between the ends of the length.
function axis({ log, range: [low, high] }, [start, end]) {
  const place = log ? Math.log : (value) => value;
  const span = place(high) - place(low);
  return { log, range: [low, high], at: (value) => start + ((place(value) - place(low)) / span) * (end - start) };
}

// Round values: 1, 2 and 5 times powers of ten, on a logarithmic axis only powers of ten where those are enough.
function ticks({ log, range: [low, high] }, wanted) {
  if (!log) {
    const rough = (high - low) / wanted,
      power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9),
      last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  }
  const of = (digits) => {
    const all = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      all.push(...digits.map((digit) => Number(`${digit}e${power}`)));
    }
    return all.filter((tick) => tick >= low && tick <= high);
  };
  return (
    [[1], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]].map(of).find((some) => some.length >= 3) ??
    of([1, 2, 3, 4, 5, 6, 7, 8, 9])
  );
}

// Those whose labels do not touch, the first and the last kept first.
function apart(places, least) {
  const kept = [];
  for (const i of [0, places.length - 1, ...places.keys()]) {
    if (i >= 0 && kept.every((other) => other !== i && Math.abs(places[i] - places[other]) >= least)) kept.push(i);
  }
  return kept.sort((a, b) => a - b);
}

const short = (value) =>
  Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6
    ? signed(Number(value.toPrecision(6)).toLocaleString('en-GB', { maximumFractionDigits: 6 }))
    : value === 0
      ? '0'
      : plain(value, 2);
