//! Messages of Protocol Buffers, field by field: read from bytes that were checked, and written.

/// One field of a message.
pub(super) struct Field<'a> {
    pub(super) number: u64,
    /// All its bytes.
    pub(super) whole: &'a [u8],
    /// What it holds; without its length, where it has one.
    pub(super) content: &'a [u8],
}

/// The fields of a message that [`check`](super::wire::check) passed; of any other those before the first fault.
pub(super) fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let start = rest;
        let tag = number(&mut rest)?;
        let length = match tag & 7 {
            0 => {
                let mut end = rest;
                number(&mut end)?;
                rest.len() - end.len()
            }
            1 => 8,
            5 => 4,
            2 => usize::try_from(number(&mut rest)?).ok()?,
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(Field { number: tag >> 3, whole: &start[..start.len() - rest.len()], content })
    })
}

/// A number of variable length, taken off the front.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Some(value);
        }
    }
    None
}

/// A message in the making.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

/// An array with one axis.
pub(super) enum Constant<'a> {
    Floats(&'a [f32]),
    Doubles(&'a [f64]),
    Integers(&'a [i64]),
}

impl Message {
    /// A field as it stands elsewhere.
    pub(super) fn copy(&mut self, field: &[u8]) {
        self.0.extend_from_slice(field);
    }

    /// All fields of another message.
    pub(super) fn append(&mut self, other: &Self) {
        self.copy(&other.0);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, field: u64, value: i64) {
        self.number(field << 3);
        self.number(value.cast_unsigned());
    }

    pub(super) fn bytes(&mut self, field: u64, content: &[u8]) {
        self.number(field << 3 | 2);
        self.number(content.len() as u64);
        self.copy(content);
    }

    pub(super) fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// An attribute of a node: its name, its value as `fill` writes it, and its type.
    fn attribute(&mut self, name: &str, kind: i64, fill: impl FnOnce(&mut Self)) {
        let mut attribute = Self::default();
        attribute.bytes(1, name.as_bytes());
        fill(&mut attribute);
        attribute.integer(20, kind);
        self.message(5, &attribute);
    }

    pub(super) fn integer_attribute(&mut self, name: &str, value: i64) {
        self.attribute(name, 2, |attribute| attribute.integer(3, value));
    }

    pub(super) fn integers_attribute(&mut self, name: &str, values: &[i64]) {
        self.attribute(name, 7, |attribute| values.iter().for_each(|&value| attribute.integer(8, value)));
    }

    /// The value of a node Constant.
    pub(super) fn constant_attribute(&mut self, value: &Constant<'_>) {
        let (length, kind, raw) = match value {
            Constant::Floats(values) => {
                (values.len(), 1, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Constant::Doubles(values) => {
                (values.len(), 11, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Constant::Integers(values) => {
                (values.len(), 7, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
            }
        };
        let mut tensor = Self::default();
        tensor.integer(1, length as i64);
        tensor.integer(2, kind);
        tensor.bytes(9, &raw);
        self.attribute("value", 4, |attribute| attribute.message(5, &tensor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let mut message = Message::default();
        message.bytes(1, b"name");
        message.integer(3, -2);
        message.integer_attribute("keepdims", 300);
        message.copy(&[0x15, 1, 2, 3, 4]);
        let bytes = message.into_bytes();
        let found: Vec<Field<'_>> = fields(&bytes).collect();
        assert_eq!(found.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 3, 5, 2]);
        assert_eq!(
            (found[0].content, found[1].content.len(), found[3].content),
            (&b"name"[..], 10, &[1, 2, 3, 4][..])
        );
        assert_eq!(found.iter().map(|field| field.whole).collect::<Vec<_>>().concat(), bytes);
        assert_eq!(fields(&[0x0a, 5, 1]).count(), 0);
    }
}
