'use strict';
// Colours of numbers: viridis, and about 0 blue over white to red, as the program's own pictures have them.

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
const DIVERGING = ['#2166ac', '#67a9cf', '#d1e5f0', '#f7f7f7', '#fddbc7', '#ef8a62', '#b2182b'];

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

// A scale of the numbers from `low` to `high`: its ends, its colours and the colour of a number.
function scaleOf(low, high) {
  const about = low < 0 && high > 0,
    colours = about ? DIVERGING : VIRIDIS,
    stops = colours.map(channels);
  if (about) [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
  const of = (value) => {
    const share = high > low ? Math.max(0, Math.min(1, (value - low) / (high - low))) : 0;
    const place = share * (stops.length - 1),
      at = Math.min(stops.length - 2, Math.floor(place));
    return stops[at].map((channel, i) => Math.round(channel + (place - at) * (stops[at + 1][i] - channel)));
  };
  return { low, high, colours, of };
}

// Whether black is read better than white on a colour (WCAG's relative luminance).
function isLight(rgb) {
  const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179;
}
