//! Text in the pixels of pictures, and the small images it is drawn on.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, PxScaleFont, ScaleFont, point};

use super::Rgb;
use super::light::{component, light};

/// A subset of DejaVu Sans, see `assets/fonts/LICENSE`.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    let font = FontRef::try_from_slice(include_bytes!("../../assets/fonts/DejaVuSans.ttf"));
    font.expect("the font in the program is whole")
});

/// An image in memory: legends, labels, tiles. What is drawn beyond its edges is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

/// Text of one size, in DejaVu Sans. Characters that it lacks (it has printable ASCII, and signs such as those of minus,
/// degrees, lambda and times) appear as boxes.
#[derive(Debug, Clone)]
pub struct Text {
    font: PxScaleFont<&'static FontRef<'static>>,
    /// Pixels of a capital letter above the baseline.
    capital: f32,
}

/// Which place along a line of text is put at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Horizontal {
    /// Its start.
    Left,
    /// Its middle.
    Middle,
    /// Its end.
    Right,
}

/// Which height of a line of text is put at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vertical {
    /// The highest that any letter reaches.
    Top,
    /// Half-way up a capital letter.
    Middle,
    /// What letters stand on.
    Baseline,
    /// The lowest that any letter reaches.
    Bottom,
}

/// What of each pixel of a box is covered by ink, in `[0, 1]`.
struct Ink {
    width: usize,
    height: usize,
    /// Pixels from the left edge of the box to the start of the text, and from its upper edge to the baseline.
    origin: [usize; 2],
    coverage: Vec<f32>,
}

impl Canvas {
    /// An image of one colour.
    pub fn new(width: usize, height: usize, colour: Rgb) -> Self {
        Self { width, height, pixels: vec![colour; width * height] }
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All pixels, row by row from the top.
    pub fn pixels(&self) -> &[Rgb] {
        &self.pixels
    }

    /// The pixels of a row, counted from the top.
    ///
    /// # Panics
    /// For a row that is not there.
    pub fn row(&self, y: usize) -> &[Rgb] {
        &self.pixels[y * self.width..(y + 1) * self.width]
    }

    /// Gives one pixel a colour.
    pub fn set(&mut self, [x, y]: [isize; 2], colour: Rgb) {
        if let Some(at) = self.index([x, y]) {
            self.pixels[at] = colour;
        }
    }

    /// Fills the rectangle with the upper left corner at `[x, y]` and the size `[width, height]`.
    pub fn rectangle(&mut self, [x, y]: [isize; 2], [width, height]: [usize; 2], colour: Rgb) {
        let across = clip(x, width, self.width);
        for y in clip(y, height, self.height) {
            self.pixels[y * self.width..(y + 1) * self.width][across.clone()].fill(colour);
        }
    }

    /// Draws the edge, one pixel wide, of the rectangle with the upper left corner at `[x, y]` and the size
    /// `[width, height]`, inside it.
    pub fn frame(&mut self, [x, y]: [isize; 2], [width, height]: [usize; 2], colour: Rgb) {
        let (right, bottom) = (x + width as isize - 1, y + height as isize - 1);
        self.rectangle([x, y], [width, 1.min(height)], colour);
        self.rectangle([x, bottom], [width, 1.min(height)], colour);
        self.rectangle([x, y], [1.min(width), height], colour);
        self.rectangle([right, y], [1.min(width), height], colour);
    }

    /// Copies another image, its upper left corner to `[x, y]`.
    pub fn blit(&mut self, [x, y]: [isize; 2], image: &Self) {
        let across = clip(x, image.width, self.width);
        for row in clip(y, image.height, self.height) {
            let from = image.row((row as isize - y) as usize);
            let start = (across.start as isize - x) as usize;
            let to = &mut self.pixels[row * self.width..(row + 1) * self.width][across.clone()];
            to.copy_from_slice(&from[start..start + across.len()]);
        }
    }

    /// Lays a colour over a share of a pixel, in `[0, 1]`; the light of both is averaged.
    pub fn blend(&mut self, [x, y]: [isize; 2], colour: Rgb, share: f64) {
        let Some(at) = self.index([x, y]) else { return };
        let (share, under) = (share.clamp(0.0, 1.0), self.pixels[at]);
        self.pixels[at] =
            [0, 1, 2].map(|c| component((1.0 - share) * light(under[c]) + share * light(colour[c])));
    }

    /// Writes a line of text to the right.
    pub fn text(
        &mut self,
        text: &Text,
        line: &str,
        [x, y]: [isize; 2],
        anchor: (Horizontal, Vertical),
        colour: Rgb,
    ) {
        let ink = text.ink(line);
        let [left, top] = text.corner(line, anchor, &ink);
        ink.each(|across, down, share| self.blend([x + left + across, y + top + down], colour, share));
    }

    /// Writes a line of text upwards, as along a vertical axis. `anchor` is as seen along the text: its left end is
    /// below, its top to the left.
    pub fn text_up(
        &mut self,
        text: &Text,
        line: &str,
        [x, y]: [isize; 2],
        anchor: (Horizontal, Vertical),
        colour: Rgb,
    ) {
        let ink = text.ink(line);
        let [left, top] = text.corner(line, anchor, &ink);
        // A pixel's left edge becomes its lower one.
        ink.each(|across, down, share| self.blend([x + top + down, y - left - across - 1], colour, share));
    }

    fn index(&self, [x, y]: [isize; 2]) -> Option<usize> {
        let is_inside = (0..self.width as isize).contains(&x) && (0..self.height as isize).contains(&y);
        is_inside.then(|| y as usize * self.width + x as usize)
    }
}

/// What of `start..start + length` lies in `0..end`.
fn clip(start: isize, length: usize, end: usize) -> std::ops::Range<usize> {
    let inside = |at: isize| at.clamp(0, end as isize) as usize;
    inside(start)..inside(start.saturating_add_unsigned(length))
}

impl Text {
    /// Text of a font size in pixels: the height of a line is 1.16 times as much, of a capital letter 0.73 times.
    pub fn new(size: f32) -> Self {
        let font = &*FONT;
        let units = font.units_per_em().unwrap_or(1.0);
        let scale = PxScale::from(size * font.height_unscaled() / units);
        // The upper edge comes first.
        let capital = font.outline(font.glyph_id('H')).map_or(0.0, |outline| outline.bounds.min.y);
        Self { font: font.into_scaled(scale), capital: capital * size / units }
    }

    /// Pixels of a line across, from the start of its first letter to the end of its last.
    pub fn width(&self, line: &str) -> f32 {
        let [left, right] = self.extent(line);
        right - left
    }

    /// Pixels from the top of the highest letters to the bottom of the lowest.
    pub fn height(&self) -> f32 {
        self.ascent() + self.descent()
    }

    /// Pixels that letters reach above the baseline.
    pub fn ascent(&self) -> f32 {
        self.font.ascent()
    }

    /// Pixels that letters reach below the baseline.
    pub fn descent(&self) -> f32 {
        -self.font.descent()
    }

    /// The letters of a line, each with its place from the start, and where the next letter would be.
    fn layout(&self, line: &str) -> (Vec<(GlyphId, f32)>, f32) {
        let (mut letters, mut x) = (Vec::<(GlyphId, f32)>::new(), 0.0);
        for character in line.chars() {
            let id = self.font.glyph_id(if character.is_control() { ' ' } else { character });
            if let Some(&(before, _)) = letters.last() {
                x += self.font.kern(before, id);
            }
            letters.push((id, x));
            x += self.font.h_advance(id);
        }
        (letters, x)
    }

    /// How far a line reaches to both sides of its start: also where a letter, such as `j`, begins before it.
    fn extent(&self, line: &str) -> [f32; 2] {
        let (letters, end) = self.layout(line);
        let factor = self.font.h_scale_factor();
        letters.iter().fold([0.0, end], |[left, right], &(id, x)| match self.font.font.outline(id) {
            Some(outline) => {
                let [first, last] = [outline.bounds.min.x, outline.bounds.max.x].map(|at| x + factor * at);
                [left.min(first), right.max(last)]
            }
            None => [left, right],
        })
    }

    /// The upper left corner of the box of ink, from the point that the anchor is put at. Lines of text begin and stand
    /// on whole pixels, so that equal texts have equal pixels.
    fn corner(&self, line: &str, (horizontal, vertical): (Horizontal, Vertical), ink: &Ink) -> [isize; 2] {
        let [left, right] = self.extent(line);
        let start = match horizontal {
            Horizontal::Left => (-left).ceil(),
            Horizontal::Middle => (-f32::midpoint(left, right)).round(),
            Horizontal::Right => (-right).floor(),
        };
        let baseline = match vertical {
            Vertical::Top => self.ascent().ceil(),
            Vertical::Middle => (self.capital / 2.0).round(),
            Vertical::Baseline => 0.0,
            Vertical::Bottom => -self.descent().ceil(),
        };
        [start as isize - ink.origin[0] as isize, baseline as isize - ink.origin[1] as isize]
    }

    fn ink(&self, line: &str) -> Ink {
        let [left, right] = self.extent(line);
        let origin = [(-left).ceil() as usize, self.ascent().ceil() as usize];
        let width = origin[0] + right.ceil() as usize;
        let height = origin[1] + self.descent().ceil() as usize;
        let mut coverage = vec![0.0_f32; width * height];
        for (id, x) in self.layout(line).0 {
            let glyph =
                id.with_scale_and_position(self.font.scale, point(origin[0] as f32 + x, origin[1] as f32));
            let Some(outline) = self.font.font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|across, down, share| {
                let at = [corner.x as isize + across as isize, corner.y as isize + down as isize];
                let is_inside = (0..width as isize).contains(&at[0]) && (0..height as isize).contains(&at[1]);
                if is_inside {
                    let covered = &mut coverage[at[1] as usize * width + at[0] as usize];
                    *covered = (*covered + share).min(1.0);
                }
            });
        }
        Ink { width, height, origin, coverage }
    }
}

impl Ink {
    /// Each pixel with ink: from the left, from the top, its share.
    fn each(&self, mut each: impl FnMut(isize, isize, f64)) {
        for y in 0..self.height {
            for (x, &share) in self.coverage[y * self.width..(y + 1) * self.width].iter().enumerate() {
                if share > 0.0 {
                    each(x as isize, y as isize, f64::from(share));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    const WHITE: Rgb = [255; 3];
    const BLACK: Rgb = [0; 3];

    /// The columns and rows that hold ink.
    fn inked(canvas: &Canvas) -> [Range<usize>; 2] {
        let is_inked = |x: usize, y: usize| canvas.row(y)[x] != WHITE;
        let bounds = |found: Vec<usize>| found[0]..found[found.len() - 1] + 1;
        let (width, height) = (canvas.width(), canvas.height());
        [
            bounds((0..width).filter(|&x| (0..height).any(|y| is_inked(x, y))).collect()),
            bounds((0..height).filter(|&y| (0..width).any(|x| is_inked(x, y))).collect()),
        ]
    }

    fn written(line: &str, at: [isize; 2], anchor: (Horizontal, Vertical)) -> Canvas {
        let mut canvas = Canvas::new(200, 60, WHITE);
        canvas.text(&Text::new(20.0), line, at, anchor, BLACK);
        canvas
    }

    #[test]
    fn ink_lies_in_the_measured_box() {
        let text = Text::new(20.0);
        for line in ["Hpqj|_", "jj", "\u{2212}1.5 \u{3bb}\u{b0}", "W", "x\ny", "AVAV"] {
            let canvas = written(line, [50, 20], (Horizontal::Left, Vertical::Top));
            let [across, down] = inked(&canvas);
            assert!(across.start >= 50 && across.end <= 50 + text.width(line).ceil() as usize + 1, "{line}");
            assert!(down.start >= 20 && down.end <= 20 + text.height().ceil() as usize + 1, "{line}");
        }
        // Units of the font: 2,025 across for W, 2,048 for a size.
        assert!((text.width("W") - 20.0 * 2025.0 / 2048.0).abs() < 1e-3, "{}", text.width("W"));
        assert!(text.width("AV") < text.width("A") + text.width("V"), "no kerning");
        assert!(text.width("ab") > text.width("a") && Text::new(40.0).width("ab") > 1.99 * text.width("ab"));
        assert_eq!(inked(&written("H", [50, 40], (Horizontal::Left, Vertical::Baseline)))[1], 25..40);
        // A box stands for what the font lacks.
        assert_eq!(text.width("\u{4e00}"), text.width("\u{4e01}"));
        assert_ne!(
            written("\u{4e00}", [50, 40], (Horizontal::Left, Vertical::Baseline)),
            Canvas::new(200, 60, WHITE)
        );
        assert_eq!(written("", [50, 20], (Horizontal::Left, Vertical::Top)), Canvas::new(200, 60, WHITE));
    }

    #[test]
    fn anchors_are_put_at_the_point() {
        let ends =
            |horizontal| inked(&written("HHHH", [100, 30], (horizontal, Vertical::Baseline)))[0].clone();
        let (left, middle, right) =
            (ends(Horizontal::Left), ends(Horizontal::Middle), ends(Horizontal::Right));
        assert!((100..104).contains(&left.start) && (97..=100).contains(&right.end), "{left:?} {right:?}");
        assert!((middle.start + middle.end).abs_diff(200) <= 2, "{middle:?}");
        let heights = |vertical| inked(&written("Hg", [100, 30], (Horizontal::Left, vertical)))[1].clone();
        assert!(heights(Vertical::Top).start >= 30 && heights(Vertical::Bottom).end <= 30);
        let capital = inked(&written("H", [100, 30], (Horizontal::Left, Vertical::Middle)))[1].clone();
        assert!((capital.start + capital.end).abs_diff(60) <= 1, "{capital:?}");
    }

    #[test]
    fn text_upwards_is_turned_to_the_left() {
        let text = Text::new(16.0);
        let anchor = (Horizontal::Left, Vertical::Baseline);
        let (mut across, mut up) = (Canvas::new(80, 80, WHITE), Canvas::new(80, 80, WHITE));
        across.text(&text, "Fg7", [20, 40], anchor, BLACK);
        up.text_up(&text, "Fg7", [40, 60], anchor, BLACK);
        // Turned to the left about the anchors, what lies dx right and dy below lies dy right and dx above.
        for (y, x) in (0..60).flat_map(|dx| (-40..40).map(move |dy: isize| (dy, dx))) {
            assert_eq!(up.index([40 + y, 59 - x]).map(|at| up.pixels[at]), {
                across.index([20 + x, 40 + y]).map(|at| across.pixels[at])
            });
        }
        assert_ne!(up, Canvas::new(80, 80, WHITE));
    }

    #[test]
    fn coverage_averages_light() {
        let mut canvas = Canvas::new(2, 1, [255, 0, 0]);
        canvas.blend([0, 0], [0, 0, 255], 0.5);
        // Half the light of 255 is 0.5, and 1.055 0.5^(1 / 2.4) - 0.055 = 0.7354 = 187.5 / 255.
        assert_eq!(canvas.pixels(), [[188, 0, 188], [255, 0, 0]]);
        canvas.blend([1, 0], [0, 0, 255], 1.0);
        canvas.blend([2, 0], [0, 0, 255], 1.0);
        canvas.blend([0, -1], [0, 0, 255], 1.0);
        assert_eq!(canvas.pixels(), [[188, 0, 188], [0, 0, 255]]);
    }

    #[test]
    fn shapes_end_at_the_edges() {
        let mut canvas = Canvas::new(4, 3, WHITE);
        canvas.rectangle([-1, 1], [3, 9], BLACK);
        let (o, x) = (WHITE, BLACK);
        assert_eq!(canvas.pixels(), [o, o, o, o, x, x, o, o, x, x, o, o]);
        let mut other = Canvas::new(2, 2, WHITE);
        other.frame([0, 0], [3, 2], BLACK);
        assert_eq!(other.pixels(), [x, x, x, x]);
        other.set([1, 0], [7; 3]);
        canvas.blit([3, -1], &other);
        canvas.blit([-1, 2], &other);
        canvas.blit([9, 9], &other);
        let grey = [7; 3];
        assert_eq!(canvas.pixels(), [o, o, o, x, x, x, o, o, grey, x, o, o]);
        let mut frame = Canvas::new(3, 3, WHITE);
        frame.frame([0, 0], [3, 3], BLACK);
        assert_eq!(frame.pixels(), [x, x, x, x, o, x, x, x, x]);
        frame.frame([0, 0], [0, 3], WHITE);
        assert_eq!(frame.pixels(), [x, x, x, x, o, x, x, x, x]);
    }
}
