//! Where pictures go, row by row, while the next rows are computed.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{panic, thread};

use crate::data::{NpyWriter, OutputFile};
use crate::{Error, Result};

use super::frame::Frame;
use super::pyramid::Pyramid;
use super::{Band, Rgb, write_png};

/// Where a picture goes: to any of these, at once.
#[derive(Default)]
pub struct Targets<'a> {
    /// A PNG file.
    pub png: Option<OutputFile>,
    /// What is around the pixels of the PNG file.
    pub frame: Option<&'a Frame>,
    /// A folder of tiles, to be finished afterwards.
    pub pyramid: Option<&'a mut Pyramid>,
    /// A `.npy` file `[H, W]` of the values at the pixels: f32, or u32 of categories.
    pub data: Option<OutputFile>,
}

impl Targets<'_> {
    /// Bytes that are held, whatever the bands.
    pub(super) fn memory(&self, [_, width]: [usize; 2]) -> u64 {
        // Rows wait for the rest of a piece of the file: see png.rs.
        let frame = self.frame.map_or(0, Frame::memory);
        let png = if self.png.is_some() { (4 * size_of::<Rgb>() * width) as u64 + frame } else { 0 };
        png + self.pyramid.as_ref().map_or(0, |pyramid| pyramid.memory())
    }
}

/// Writes a picture of `size` `[H, W]` into files: `fill` gives its rows, from the top, to the function it is given.
/// They are encoded in a thread of their own, at most one batch behind.
///
/// # Errors
/// What `fill` says; a failed write.
pub(super) fn written<T>(
    size: [usize; 2],
    comment: &str,
    (png, frame, pyramid): (Option<OutputFile>, Option<&Frame>, Option<&mut Pyramid>),
    fill: impl FnOnce(&mut dyn FnMut(Vec<Rgb>) -> Result<()>) -> Result<T>,
) -> Result<T> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let writer = scope.spawn(move || write(size, comment, (png, frame, pyramid), &receiver));
        let mut stopped = false;
        let filled = send(sender, fill, &mut stopped);
        let written = writer.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked));
        match filled {
            // What keeps rows from being written is told by the writer.
            Err(error) if !stopped => Err(error),
            filled => written.and(filled),
        }
    })
}

/// Gives rows to the writer until it stops; it sees the end once the sender is gone.
fn send<T>(
    sender: SyncSender<Vec<Rgb>>,
    fill: impl FnOnce(&mut dyn FnMut(Vec<Rgb>) -> Result<()>) -> Result<T>,
    stopped: &mut bool,
) -> Result<T> {
    fill(&mut |pixels| {
        sender.send(pixels).map_err(|_| {
            *stopped = true;
            Error::Cancelled
        })
    })
}

fn write(
    size: [usize; 2],
    comment: &str,
    (png, frame, pyramid): (Option<OutputFile>, Option<&Frame>, Option<&mut Pyramid>),
    rows: &Receiver<Vec<Rgb>>,
) -> Result<()> {
    let mut pyramid = pyramid;
    let mut tile = |pixels: &[Rgb]| pyramid.as_mut().map_or(Ok(()), |pyramid| pyramid.put(pixels));
    match (png, frame) {
        (None, _) => rows.iter().try_for_each(|pixels| tile(&pixels)),
        (Some(png), None) => write_png(png, size, comment, |put| {
            rows.iter().try_for_each(|pixels| tile(&pixels).and_then(|()| put(&pixels)))
        }),
        (Some(png), Some(frame)) => write_png(png, frame.size(), comment, |put| {
            let mut rows = rows.iter().map(|pixels| tile(&pixels).map(|()| pixels));
            frame.around(&mut rows, put)
        }),
    }
}

/// The values behind a picture.
pub(super) enum Values {
    Numbers(NpyWriter<f32>),
    Categories(NpyWriter<u32>),
}

impl Values {
    pub(super) fn create(output: OutputFile, size: [usize; 2], categorical: bool) -> Result<Self> {
        Ok(match categorical {
            true => Self::Categories(NpyWriter::create(output, &size)?),
            false => Self::Numbers(NpyWriter::create(output, &size)?),
        })
    }

    pub(super) fn write(&mut self, band: &Band) -> Result<()> {
        match (self, band) {
            (Self::Numbers(writer), Band::Numbers(values)) => writer.write(values),
            (Self::Categories(writer), Band::Categories(values)) => writer.write(values),
            _ => unreachable!("a field has values of one kind"),
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::Numbers(writer) => writer.finish(),
            Self::Categories(writer) => writer.finish(),
        }
    }
}
