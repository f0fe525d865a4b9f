//! Rows of a picture that are held at a time.

/// Consecutive rows of equal width, of which the first are given up as new ones come.
#[derive(Debug)]
pub(super) struct Window<T> {
    width: usize,
    first: usize,
    held: Vec<T>,
}

impl<T> Window<T> {
    /// No rows; the first will be row 0.
    pub(super) fn new(width: usize) -> Self {
        Self { width, first: 0, held: vec![] }
    }

    /// The row after the last.
    pub(super) fn end(&self) -> usize {
        self.first + self.held.len() / self.width
    }

    /// Adds rows below.
    pub(super) fn push(&mut self, rows: impl IntoIterator<Item = T>) {
        self.held.extend(rows);
    }

    /// Gives up all rows before one, and gives them out.
    pub(super) fn take(&mut self, before: usize) -> Vec<T> {
        let count = before.saturating_sub(self.first) * self.width;
        self.first = self.first.max(before);
        let rest = self.held.split_off(count);
        std::mem::replace(&mut self.held, rest)
    }

    /// A row, where it is held.
    pub(super) fn row(&self, row: usize) -> Option<&[T]> {
        let start = row.checked_sub(self.first)? * self.width;
        self.held.get(start..start + self.width)
    }

    /// An element that is held.
    pub(super) fn at_mut(&mut self, row: usize, column: usize) -> &mut T {
        &mut self.held[(row - self.first) * self.width + column]
    }
}
