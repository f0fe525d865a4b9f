//! Files made to hang a reader or to fill its memory.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::protobuf::field;

/// Zeros that deflate to a thousandth.
const ZEROS: usize = 16 << 20;

pub(crate) fn on(kind: &str) -> Vec<Vec<u8>> {
    match kind {
        "onnx" => vec![nested_graphs(1000), nested_graphs(16), field(7, &[0x0a, 0].repeat(1 << 17))],
        "npy" => npy_headers(),
        "npz" | "planes" | "enumerations" => {
            let names = ["a.npy", "origin.npy", "code.npy", "limits.npy"];
            names
                .iter()
                .flat_map(|name| [zipped(name, "(1099511627776,)"), zipped(name, "(2097152,)")])
                .collect()
        }
        "idx" => {
            let most = [0, 0, 14, 255].into_iter().chain([0xff; 255 * 4]).collect();
            let some = [&[0, 0, 8, 3][..], &[0, 0xff, 0xff, 0xff].repeat(3)].concat();
            let bomb = [&some[..], &vec![0; ZEROS]].concat();
            let twice = [gzipped(&[0, 0, 8, 1, 0, 0x40, 0, 0]), gzipped(&vec![0; ZEROS / 4])].concat();
            vec![most, some, gzipped(&bomb), twice]
        }
        "images" => [1_u32, 5000, 20_000, 100_000, i32::MAX as u32, u32::MAX].map(png).into(),
        "splines" => [1 << 60, u64::MAX, 1 << 20, 100_000]
            .map(|length: u64| [&length.to_le_bytes()[..], &b"[".repeat(100_000)].concat())
            .into(),
        _ => vec![b"[".repeat(100_000), br#"{"points":"#.iter().copied().chain([b'9'; 100_000]).collect()],
    }
}

/// Graphs that lie in attributes of one another.
fn nested_graphs(depth: usize) -> Vec<u8> {
    let mut graph = vec![];
    for _ in 0..depth {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    field(7, &graph)
}

fn npy(shape: &str, descr: &str) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    [&b"\x93NUMPY\x02\0"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes(), &[0; 64]].concat()
}

fn npy_headers() -> Vec<Vec<u8>> {
    let many = format!("({})", "1, ".repeat(20_000));
    let deep = "(".repeat(30_000);
    let shapes = [
        "(1099511627776,)",
        "(18446744073709551615,)",
        "(4294967296, 4294967296)",
        "(0, 18446744073709551615)",
        "(-8,)",
        "(8.0,)",
        "(1e9,)",
        &many,
        &deep,
    ];
    let descriptions = ["'|O'", "'<c16'", "'<f2'", "'<f999'", "[('a', '<f4')]", "'>M8[ns]'", "''", "'é'"];
    let of_shape = shapes.iter().map(|shape| npy(shape, "'<f8'"));
    of_shape.chain(descriptions.iter().map(|descr| npy("(8,)", descr))).collect()
}

/// An array of zeros of eight bytes each in a zip file, with this shape in its header.
fn zipped(name: &str, shape: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    let header = npy(shape, "'<f8'");
    zip.write_all(&header[..header.len() - 64]).unwrap();
    zip.write_all(&vec![0; ZEROS]).unwrap();
    zip.finish().unwrap().into_inner()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A grey image of so many rows and columns by its header, all of it a few kilobytes of zeros.
fn png(size: u32) -> Vec<u8> {
    let chunk = |name: &[u8], content: &[u8]| {
        let named = [name, content].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&named);
        [&(content.len() as u32).to_be_bytes()[..], &named, &sum.sum().to_be_bytes()].concat()
    };
    let mut pixels = flate2::write::ZlibEncoder::new(vec![], Compression::best());
    pixels.write_all(&vec![0; 4 << 20]).unwrap();
    let pixels = pixels.finish().unwrap();
    let size = size.to_be_bytes();
    let header = [&size[..], &size, &[8, 0, 0, 0, 0]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header), &chunk(b"IDAT", &pixels), &chunk(b"IEND", b"")]
        .concat()
}
