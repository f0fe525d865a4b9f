//! Bytes of Protocol Buffers.
#![allow(unreachable_pub, reason = "each test file that needs it takes it in")]

/// A field of variable length.
pub fn field(number: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = inner.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    [&bytes, inner].concat()
}
