//! The number formats that array files store.

use crate::Scalar;

/// The formats that are read, for messages.
pub(super) const ACCEPTED: &str = "bool, i8 to i64, u8 to u64, f32 and f64 are accepted";

/// A number format without its byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DType {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// A number format as it stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) dtype: DType,
    pub(super) big_endian: bool,
}

impl DType {
    /// Bytes of one value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The name that enters fingerprints; never change it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

impl Format {
    /// Single bytes, as in images.
    pub(super) const BYTES: Self = Self { dtype: DType::U8, big_endian: false };

    /// `S` as it lies in this machine's memory.
    pub(super) fn native<S: Scalar>() -> Self {
        let dtype = if size_of::<S>() == 4 { DType::F32 } else { DType::F64 };
        Self { dtype, big_endian: cfg!(target_endian = "big") }
    }

    /// The format of an `.npy` type string such as `"<f4"`; `None` for what is not read.
    pub(super) fn from_npy(descr: &str) -> Option<Self> {
        let (order, kind) = descr.split_at_checked(1)?;
        let dtype = match kind {
            "b1" => DType::Bool,
            "u1" => DType::U8,
            "i1" => DType::I8,
            "u2" => DType::U16,
            "i2" => DType::I16,
            "u4" => DType::U32,
            "i4" => DType::I32,
            "u8" => DType::U64,
            "i8" => DType::I64,
            "f4" => DType::F32,
            "f8" => DType::F64,
            _ => return None,
        };
        let big_endian = match order {
            "<" => false,
            ">" => true,
            "|" if dtype.size() == 1 => false,
            _ => return None,
        };
        Some(Self { dtype, big_endian })
    }

    /// The format of an IDX type code; `None` for what is not one.
    pub(super) fn from_idx(code: u8) -> Option<Self> {
        let dtype = match code {
            0x08 => DType::U8,
            0x09 => DType::I8,
            0x0b => DType::I16,
            0x0c => DType::I32,
            0x0d => DType::F32,
            0x0e => DType::F64,
            _ => return None,
        };
        Some(Self { dtype, big_endian: true })
    }

    /// Visits the values in `bytes` in order; a rest too short for a value is left out.
    ///
    /// Integers past 2^53 are rounded to the nearest `f64`.
    pub(super) fn for_each(self, bytes: &[u8], mut visit: impl FnMut(f64)) {
        macro_rules! each {
            ($number:ty) => {{
                let (values, _) = bytes.as_chunks::<{ size_of::<$number>() }>();
                if self.big_endian {
                    values.iter().for_each(|&v| visit(<$number>::from_be_bytes(v) as f64));
                } else {
                    values.iter().for_each(|&v| visit(<$number>::from_le_bytes(v) as f64));
                }
            }};
        }
        match self.dtype {
            DType::Bool => bytes.iter().for_each(|&v| visit(f64::from(u8::from(v != 0)))),
            DType::U8 => each!(u8),
            DType::I8 => each!(i8),
            DType::U16 => each!(u16),
            DType::I16 => each!(i16),
            DType::U32 => each!(u32),
            DType::I32 => each!(i32),
            DType::U64 => each!(u64),
            DType::I64 => each!(i64),
            DType::F32 => each!(f32),
            DType::F64 => each!(f64),
        }
    }

    /// Hands `bytes` on with the lowest byte of each value first, whatever their order in the file.
    pub(super) fn little_endian(self, bytes: &[u8], scratch: &mut Vec<u8>, visit: impl FnOnce(&[u8])) {
        if self.big_endian && self.dtype.size() > 1 {
            scratch.clear();
            scratch.extend_from_slice(bytes);
            scratch.chunks_exact_mut(self.dtype.size()).for_each(<[u8]>::reverse);
            visit(scratch);
        } else {
            visit(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(descr: &str, bytes: &[u8]) -> Vec<f64> {
        let mut values = Vec::new();
        Format::from_npy(descr).unwrap().for_each(bytes, |v| values.push(v));
        values
    }

    #[test]
    fn every_type_in_either_byte_order() {
        assert_eq!(decode("|b1", &[0, 1, 7]), [0.0, 1.0, 1.0]);
        assert_eq!(decode("|u1", &[0, 255]), [0.0, 255.0]);
        assert_eq!(decode("|i1", &[1, 255]), [1.0, -1.0]);
        macro_rules! both {
            ($name:literal, $number:ty, $value:expr) => {{
                let value: $number = $value;
                let expected = [value as f64, 3.0];
                let le = [value.to_le_bytes(), (3 as $number).to_le_bytes()].concat();
                let be = [value.to_be_bytes(), (3 as $number).to_be_bytes()].concat();
                assert_eq!(decode(concat!("<", $name), &le), expected);
                assert_eq!(decode(concat!(">", $name), &be), expected);
                let mut turned = Vec::new();
                let format = Format::from_npy(concat!(">", $name)).unwrap();
                format.little_endian(&be, &mut Vec::new(), |bytes| turned.extend_from_slice(bytes));
                assert_eq!(turned, le);
            }};
        }
        both!("u2", u16, 40_000);
        both!("i2", i16, -12_345);
        both!("u4", u32, 4_000_000_000);
        both!("i4", i32, -2_000_000_000);
        both!("u8", u64, 1 << 52);
        both!("i8", i64, -(1 << 52));
        both!("f4", f32, -1.5e-30);
        both!("f8", f64, 1.5e300);
    }

    #[test]
    fn other_types_are_refused() {
        for descr in ["", "<", "|O", "<c8", "<f2", "|S7", "<U3", "<M8[s]", "|V4", "|f4", "=f4", "é", "<f44"]
        {
            assert_eq!(Format::from_npy(descr), None, "{descr}");
        }
        assert_eq!(Format::from_idx(0x0a), None);
    }
}
