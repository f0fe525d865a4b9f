//! A look at the bytes of a file before they are decoded.
//!
//! The decoder trusts what it reads, measured on rten-onnx 0.27: it recurses as deep as graphs lie in attributes
//! (a stack overflow), sets aside as much memory as a length field asks for, jumps backwards on lengths beyond
//! 2^63 (without end) and never returns from a number of ten continued bytes. Every message, length and number
//! that it will follow is therefore followed here first, without recursion and without memory of its own
//! beyond the depth allowed.

use std::fmt::Display;

/// How deep messages may lie in one another. One graph in an attribute takes three levels, and Protocol Buffers
/// itself stops at 100.
const DEEPEST: usize = 64;

/// How many strings and messages a file may hold. Each takes up to about a kilobyte when decoded but two bytes
/// in the file; forty thousand nodes of a usual network have so many.
const MOST_PARTS: usize = 1 << 20;

/// The messages that the decoder descends into.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Sequence,
    Shape,
    /// Has no messages inside: lengths, operator sets, pairs of strings.
    Leaf,
}

/// What a field of variable length holds.
enum Content {
    Message(Message),
    /// Numbers one after another, each in this many bytes.
    Fixed(usize),
    /// Numbers of variable length one after another.
    Numbers,
    Bytes,
}

impl Message {
    /// What field `number` holds, by `onnx.proto`.
    fn content(self, number: u64) -> Content {
        use Content::{Fixed, Numbers};
        let message = match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6) => Self::Graph,
            (Self::Model, 8 | 14) | (Self::Tensor, 13) | (Self::Shape, 1) => Self::Leaf,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::ValueInfo,
            (Self::Node, 5) => Self::Attribute,
            (Self::ValueInfo, 2) | (Self::Sequence, 1) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::Type, 4) => Self::Sequence,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Tensor, 4) => return Fixed(4),
            (Self::Tensor, 5 | 7) => return Numbers,
            (Self::Tensor, 10) => return Fixed(8),
            _ => return Content::Bytes,
        };
        Content::Message(message)
    }
}

/// Checks that `bytes` can be decoded safely as a model.
///
/// # Errors
/// What is wrong, as a clause, and at which byte.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut reader = Reader { bytes, at: 0 };
    let mut open = vec![(Message::Model, bytes.len())];
    let mut parts = 0;
    while let Some(&(message, end)) = open.last() {
        if reader.at == end {
            open.pop();
            continue;
        }
        let tag = reader.number(end)?;
        match tag & 7 {
            _ if tag >> 3 == 0 => return Err(reader.fault("a field has the number 0")),
            0 => drop(reader.number(end)?),
            1 => reader.skip(8, end)?,
            5 => reader.skip(4, end)?,
            2 => {
                parts += 1;
                if parts > MOST_PARTS {
                    return Err(format!("it holds more than {MOST_PARTS} strings and messages"));
                }
                let length = reader.number(end)?;
                let length = usize::try_from(length).ok().filter(|&length| length <= end - reader.at);
                let length = length.ok_or_else(|| reader.fault("a field is longer than what holds it"))?;
                let inner = reader.at + length;
                match message.content(tag >> 3) {
                    Content::Message(_) if open.len() == DEEPEST => {
                        return Err(reader.fault("messages lie too deep in one another"));
                    }
                    Content::Message(message) => open.push((message, inner)),
                    Content::Fixed(size) if length % size != 0 => {
                        return Err(reader.fault("a list of numbers ends inside a number"));
                    }
                    Content::Numbers => {
                        while reader.at < inner {
                            reader.number(inner)?;
                        }
                    }
                    Content::Fixed(_) | Content::Bytes => reader.at = inner,
                }
            }
            _ => return Err(reader.fault("a field has a type that ONNX does not use")),
        }
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// A number of variable length that ends at or before `end`.
    fn number(&mut self, end: usize) -> Result<u64, String> {
        let mut value = 0;
        for (i, &byte) in self.bytes[self.at..end].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 && (i < 9 || byte < 2) {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.fault("a number does not end"))
    }

    fn skip(&mut self, length: usize, end: usize) -> Result<(), String> {
        if length > end - self.at {
            return Err(self.fault("a number is cut off"));
        }
        self.at += length;
        Ok(())
    }

    fn fault(&self, reason: impl Display) -> String {
        format!("{reason} (at byte {})", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = inner.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [&bytes, inner].concat()
    }

    #[test]
    fn sound_bytes_pass() {
        check(&[]).unwrap();
        check(&[8, 9]).unwrap();
        check(&field(7, &field(1, &field(1, b"x")))).unwrap();
        check(&field(7, &field(5, &field(7, &[0x96, 1, 3])))).unwrap();
    }

    #[test]
    fn lengths_and_numbers_must_end_where_they_are_held() {
        let endless = [[8].as_slice(), &[0xff; 10], &[1]].concat();
        let too_long = [[0x3a].as_slice(), &[0xff; 9], &[1]].concat();
        let beyond_parent = field(7, &[0x0a, 2]);
        let straddling = [field(7, &field(5, &field(7, &[0x96]))), vec![1]].concat();
        let uneven = field(7, &field(5, &field(4, &[0; 5])));
        let cases: [&[u8]; 9] =
            [&endless, &too_long, &beyond_parent, &straddling, &uneven, &[8], &[0, 1], &[0x0b], &[13, 0]];
        for bytes in cases {
            assert!(check(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn depth_and_number_of_parts_are_limited() {
        let mut graph = vec![];
        for _ in 0..20 {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        check(&field(7, &graph)).unwrap();
        graph = field(1, &field(5, &field(6, &graph)));
        assert!(check(&field(7, &graph)).unwrap_err().contains("deep"));
        let parts = [0x0a, 0].repeat(MOST_PARTS);
        assert!(check(&field(7, &parts)).unwrap_err().contains("more than"));
    }
}
