//! The headers of `.npy` and IDX files.
//!
//! `npyz` reads such headers too, but its parser takes time exponential in the depth of nested brackets and
//! multiplies the shape without looking for overflow, so a hostile file would hang or crash it.

use std::fmt::Display;
use std::io::{self, Read};
use std::path::Path;

use super::dtype::{ACCEPTED, Format};
use crate::{Error, Result};

/// The longest `.npy` header text that is read. NumPy writes 118 bytes and by itself reads up to 10,000.
const LONGEST_TEXT: usize = 1 << 16;

/// The most axes an array may have; NumPy's own limit.
const MOST_AXES: usize = 64;

/// Where an array comes from, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The file.
    pub(super) path: &'a Path,
    /// The array in it, if the file is an `.npz`.
    pub(super) key: Option<&'a str>,
}

impl Origin<'_> {
    /// An error whose text continues a sentence that begins with the file's name.
    pub(super) fn fault(&self, reason: impl Display) -> Error {
        match self.key {
            Some(key) => Error::file(self.path, format!("(array '{}') {reason}", key.escape_debug())),
            None => Error::file(self.path, reason.to_string()),
        }
    }

    /// What a failed read means: data that ends early, damaged data, or the system's refusal.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.fault("ends early"),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                self.fault(format_args!("is damaged: {error}"))
            }
            _ => Error::io("read", self.path)(error),
        }
    }
}

/// What the header of an array file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) shape: Vec<usize>,
    /// The first index runs fastest.
    pub(super) fortran: bool,
    /// Bytes of the values by shape and format.
    pub(super) value_bytes: usize,
    /// Bytes of the header itself: where the values begin.
    pub(super) start: usize,
}

impl Header {
    /// Reads the header of an `.npy` or IDX file and leaves `reader` at the first value.
    pub(super) fn read(reader: &mut impl Read, origin: &Origin<'_>) -> Result<Self> {
        match take::<4>(reader, origin)? {
            [0x93, b'N', b'U', b'M'] => Self::read_npy(reader, origin),
            [0, 0, code, axes] if axes > 0 => Self::read_idx(code, axes, reader, origin),
            _ => Err(origin.fault("is no array file: .npy, .npz and IDX (raw or gzip) are accepted")),
        }
    }

    fn read_npy(reader: &mut impl Read, origin: &Origin<'_>) -> Result<Self> {
        let [p, y, major, minor] = take::<4>(reader, origin)?;
        if [p, y] != *b"PY" {
            return Err(origin.fault("is no .npy file: its first bytes are wrong"));
        }
        let (length, before) = match (major, minor) {
            (1, 0) => (usize::from(u16::from_le_bytes(take(reader, origin)?)), 10),
            (2 | 3, 0) => (u32::from_le_bytes(take(reader, origin)?) as usize, 12),
            _ => {
                return Err(origin
                    .fault(format_args!("has .npy version {major}.{minor}; 1.0, 2.0 and 3.0 are accepted")));
            }
        };
        if length > LONGEST_TEXT {
            return Err(origin.fault(format_args!(
                "has an .npy header of {length} bytes; at most {LONGEST_TEXT} are accepted"
            )));
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(|e| origin.failed(e))?;
        let fields = std::str::from_utf8(&text).ok().and_then(Fields::parse);
        let Some(Fields { descr, fortran, shape }) = fields else {
            return Err(origin.fault(
                "has an .npy header that is not of the form {'descr': .., 'fortran_order': .., 'shape': ..}",
            ));
        };
        let format = match descr {
            Descr::Plain(descr) => Format::from_npy(descr).ok_or_else(|| {
                let shown: String = descr.chars().take(32).flat_map(char::escape_debug).collect();
                origin.fault(format_args!("holds values of type '{shown}'; {ACCEPTED}"))
            })?,
            Descr::Structured => {
                return Err(origin.fault(format_args!("holds records of several fields; {ACCEPTED}")));
            }
        };
        Self::new(format, shape, fortran, before + length, origin)
    }

    fn read_idx(code: u8, axes: u8, reader: &mut impl Read, origin: &Origin<'_>) -> Result<Self> {
        let Some(format) = Format::from_idx(code) else {
            return Err(origin.fault(format_args!("begins like an IDX file, but {code:#04x} is no IDX type")));
        };
        let mut shape = Vec::with_capacity(usize::from(axes));
        for _ in 0..axes {
            shape.push(u32::from_be_bytes(take(reader, origin)?) as usize);
        }
        Self::new(format, shape, false, 4 + 4 * usize::from(axes), origin)
    }

    fn new(
        format: Format,
        shape: Vec<usize>,
        fortran: bool,
        start: usize,
        origin: &Origin<'_>,
    ) -> Result<Self> {
        if shape.len() > MOST_AXES {
            let axes = shape.len();
            return Err(origin.fault(format_args!("has {axes} axes; at most {MOST_AXES} are accepted")));
        }
        // Axes of length 0 are left out of the product: `ndarray` refuses a shape by the same rule.
        let bytes =
            shape.iter().filter(|&&n| n > 0).try_fold(format.dtype.size(), |all, &n| all.checked_mul(n));
        let value_bytes = match bytes {
            Some(_) if shape.contains(&0) => 0,
            Some(bytes) if isize::try_from(bytes).is_ok() => bytes,
            _ => return Err(origin.fault(format_args!("has an impossible shape: {shape:?}"))),
        };
        Ok(Self { format, shape, fortran, value_bytes, start })
    }
}

fn take<const N: usize>(reader: &mut impl Read, origin: &Origin<'_>) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map_err(|e| origin.failed(e))?;
    Ok(bytes)
}

/// The three entries of an `.npy` header, which is a Python dictionary.
struct Fields<'a> {
    descr: Descr<'a>,
    fortran: bool,
    shape: Vec<usize>,
}

/// The type of the values.
enum Descr<'a> {
    Plain(&'a str),
    /// A list of fields, which are not looked at.
    Structured,
}

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut scan = Scanner(text);
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        scan.expect("{")?;
        while !scan.eat("}") {
            let key = scan.string()?;
            scan.expect(":")?;
            match key {
                "descr" if scan.eat("[") => {
                    // What follows is refused in any case, so nothing more needs to be understood.
                    return Some(Self { descr: Descr::Structured, fortran: false, shape: Vec::new() });
                }
                "descr" => descr = Some(Descr::Plain(scan.string()?)),
                "fortran_order" => fortran = Some(scan.boolean()?),
                "shape" => shape = Some(scan.shape()?),
                _ => return None,
            }
            if !scan.eat(",") {
                scan.expect("}")?;
                break;
            }
        }
        scan.0.trim_matches([' ', '\n', '\t', '\0']).is_empty().then_some(())?;
        Some(Self { descr: descr?, fortran: fortran?, shape: shape? })
    }
}

/// What is left of a header's text. Nothing in it recurses, whatever the text.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let text = self.0.trim_start();
        match text.strip_prefix(token) {
            Some(rest) => self.0 = rest,
            None => self.0 = text,
        }
        self.0.len() < text.len()
    }

    fn expect(&mut self, token: &str) -> Option<()> {
        self.eat(token).then_some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = if self.eat("'") {
            '\''
        } else {
            self.expect("\"")?;
            '"'
        };
        let (string, rest) = self.0.split_once(quote)?;
        self.0 = rest;
        Some(string)
    }

    fn boolean(&mut self) -> Option<bool> {
        let value = self.eat("True");
        (value || self.eat("False")).then_some(value)
    }

    fn shape(&mut self) -> Option<Vec<usize>> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.eat(")") {
            let end = self.0.find(|c: char| !c.is_ascii_digit()).filter(|&end| end > 0)?;
            let (digits, rest) = self.0.split_at(end);
            // Only a number too large fails here, and the largest one is refused as a shape later.
            shape.push(digits.parse().unwrap_or(usize::MAX));
            // Python 2 wrote long integers with an L.
            self.0 = rest.strip_prefix('L').unwrap_or(rest);
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        Some(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dtype::DType;

    fn read(bytes: &[u8]) -> Result<Header, String> {
        let origin = Origin { path: Path::new("x.npy"), key: None };
        Header::read(&mut &*bytes, &origin).map_err(|e| e.to_string())
    }

    fn npy(text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn what_numpy_writes_is_understood() {
        let header = read(&npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n")).unwrap();
        let format = Format { dtype: DType::F32, big_endian: false };
        assert_eq!(header, Header { format, shape: vec![3, 4], fortran: false, value_bytes: 48, start: 73 });
        let header = read(&npy("{\"shape\":(7L,),\"fortran_order\":True,\"descr\":\"|u1\"}")).unwrap();
        assert_eq!((header.shape, header.fortran), (vec![7], true));
        let header = read(&npy("{'descr': '>i8', 'fortran_order': False, 'shape': ()}")).unwrap();
        assert_eq!((header.shape, header.value_bytes), (vec![], 8));
        let header = read(&npy("{'descr': '>i8', 'fortran_order': False, 'shape': (4, 0)}")).unwrap();
        assert_eq!(header.value_bytes, 0);
        let mut long = b"\x93NUMPY\x03\x00\x3c\x00\x00\x00".to_vec();
        long.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } ");
        assert_eq!(read(&long).unwrap().start, 72);
    }

    #[test]
    fn hostile_npy_headers_are_one_clear_error() {
        let dict = |descr: &str, shape: &str| {
            npy(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"))
        };
        let cases: [(Vec<u8>, &str); 15] = [
            (dict("'|O'", "(3,)"), "holds values of type '|O'; bool, i8 to i64"),
            (dict("[('a', '<f4'), ('b', '<i4')]", "(3,)"), "records of several fields"),
            (dict("'<f4'", "(99999999999999999999999,)"), "impossible shape"),
            (dict("'<f4'", "(4294967296, 4294967296)"), "impossible shape"),
            (dict("'<f4'", "(0, 4294967296, 4294967296, 2)"), "impossible shape"),
            (dict("'<f8'", "(1152921504606846976,)"), "impossible shape"),
            (dict("'<f4'", &format!("({})", "1,".repeat(65))), "65 axes"),
            (dict("'<f4'", "(-3,)"), "not of the form"),
            (dict("'<f4'", "3"), "not of the form"),
            (dict("'<f4'", &"(".repeat(60_000)), "not of the form"),
            (npy(&"[".repeat(60_000)), "not of the form"),
            (npy("{'descr': '<f4', 'shape': (3,)}"), "not of the form"),
            (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} 1"), "not of the form"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec(), "header of 4294967295 bytes"),
            (b"\x93NUMPY\x04\x00\x02\x00{}".to_vec(), "version 4.0"),
        ];
        for (bytes, expected) in cases {
            let message = read(&bytes).unwrap_err();
            assert!(message.contains(expected), "{message}");
            assert!(message.starts_with("'x.npy' ") && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn idx_headers() {
        let header = read(&[0, 0, 0x0d, 2, 0, 0, 0, 3, 0, 0, 1, 0]).unwrap();
        assert_eq!(header.format, Format { dtype: DType::F32, big_endian: true });
        assert_eq!((header.shape, header.value_bytes, header.start), (vec![3, 256], 3072, 12));
        assert!(read(&[0, 0, 0x0a, 1, 0, 0, 0, 3]).unwrap_err().contains("0x0a is no IDX type"));
        assert!(read(&[0, 0, 8, 0, 0, 0, 0, 3]).unwrap_err().contains("is no array file"));
        let huge = [&[0, 0, 8, 3][..], &[255; 12]].concat();
        assert!(read(&huge).unwrap_err().contains("impossible shape"));
        assert_eq!(read(&[0, 0, 8, 2, 0, 0]).unwrap_err(), "'x.npy' ends early");
    }
}
