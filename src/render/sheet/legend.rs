//! Bars with the colours of a sheet, below it.

use crate::render::{Canvas, Horizontal, Rgb, Text, Vertical};

use super::layout::{LABEL, LINE, MARGIN, shortened};
use super::paint::Paint;
use super::short;

/// Pixels of a bar, and of what lies between two of them.
const BAR: [usize; 2] = [200, 12];
const APART: usize = 40;
/// Pixels above a row of bars.
const ABOVE: usize = 10;

/// The bars of a sheet, or a line that says why there are none.
pub(super) struct Legends {
    bars: Vec<Bar>,
    note: Option<String>,
    text: Text,
    /// The first bar of each row of them.
    rows: Vec<usize>,
}

struct Bar {
    name: String,
    paint: Paint,
    /// Labels of its ends and its middle.
    labels: [String; 3],
    /// Pixels that labels reach beyond the bar to the left.
    before: usize,
    width: usize,
}

impl Legends {
    /// Bars for named colours.
    pub(super) fn new(paints: impl IntoIterator<Item = (String, Paint)>, note: Option<String>) -> Self {
        let text = Text::new(LABEL);
        let bar = |(name, paint): (String, Paint)| {
            let (name, range) = (shortened(&name), paint.range());
            let middle = f64::midpoint(range.start, range.end);
            let labels = [range.start, middle, range.end].map(short);
            let half = labels.iter().map(|label| (text.width(label) / 2.0).ceil() as usize).max();
            let before = half.unwrap_or(0);
            let width = (2 * before + BAR[0]).max(before + text.width(&name).ceil() as usize);
            Bar { name, paint, labels, before, width }
        };
        let mut bars: Vec<Bar> = paints.into_iter().map(bar).collect();
        // Bars below each other begin alike.
        let most = bars.iter().map(|bar| bar.before).max().unwrap_or(0);
        bars.iter_mut().for_each(|bar| {
            bar.width += most - bar.before;
            bar.before = most;
        });
        Self { bars, note, text, rows: vec![] }
    }

    /// Pixels across that they need.
    pub(super) fn least_width(&self) -> usize {
        let note = self.note.as_ref().map_or(0, |note| self.text.width(note).ceil() as usize);
        self.bars.iter().map(|bar| bar.width).max().unwrap_or(0).max(note)
    }

    /// In as many rows as the width asks for.
    pub(super) fn wrapped(mut self, width: usize) -> Self {
        let mut right = usize::MAX;
        for (i, bar) in self.bars.iter().enumerate() {
            if right.saturating_add(APART + bar.width) > width {
                self.rows.push(i);
                right = bar.width;
            } else {
                right += APART + bar.width;
            }
        }
        self
    }

    /// Pixels down.
    pub(super) fn height(&self) -> usize {
        let note = if self.note.is_some() { ABOVE + LINE } else { 0 };
        note + self.rows.len() * (ABOVE + 2 * LINE + BAR[1])
    }

    /// Draws them from the top of an image.
    pub(super) fn draw(&self, canvas: &mut Canvas, ink: Rgb, frame: Rgb) {
        let mut y = 0;
        for (number, &first) in self.rows.iter().enumerate() {
            let behind = self.rows.get(number + 1).copied().unwrap_or(self.bars.len());
            let (mut x, top) = (MARGIN, y + ABOVE);
            for bar in &self.bars[first..behind] {
                let left = x + bar.before;
                let at = |x: usize, y: usize| [x as isize, y as isize];
                let under = (Horizontal::Left, Vertical::Top);
                canvas.text(&self.text, &bar.name, at(left, top), under, ink);
                let top = top + LINE;
                let range = bar.paint.range();
                let length = range.end - range.start;
                for step in 0..BAR[0] {
                    let value = range.start + (step as f64 + 0.5) / BAR[0] as f64 * length;
                    canvas.rectangle(at(left + step, top), [1, BAR[1]], bar.paint.colour(value));
                }
                canvas.frame([left as isize - 1, top as isize - 1], [BAR[0] + 2, BAR[1] + 2], frame);
                for (number, label) in bar.labels.iter().enumerate() {
                    let x = left + number * BAR[0] / 2;
                    canvas.rectangle(at(x.min(left + BAR[0] - 1), top + BAR[1]), [1, 4], ink);
                    let middle = (Horizontal::Middle, Vertical::Top);
                    canvas.text(&self.text, label, at(x, top + BAR[1] + 3), middle, ink);
                }
                x += bar.width + APART;
            }
            y += ABOVE + 2 * LINE + BAR[1];
        }
        if let Some(note) = &self.note {
            let at = [MARGIN as isize, (y + ABOVE) as isize];
            canvas.text(&self.text, note, at, (Horizontal::Left, Vertical::Top), ink);
        }
    }
}
