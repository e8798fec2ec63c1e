//! Protocol Buffers' wire format, as far as ONNX and TensorBoard's files need it: numbers, bytes and messages within
//! messages. A crate would bring a compiler of schemas for these few functions.

/// A field whose value is a varint.
const VARINT: u32 = 0;
/// A field of eight bytes.
const EIGHT: u32 = 1;
/// A field that begins with its length.
const LENGTH: u32 = 2;
/// A field of four bytes.
const FOUR: u32 = 5;

/// A message, or some of its fields. Fields stand in the order in which they were put in; repeated ones are put in again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from((field << 3) | wire));
    }

    /// An `int32`, `int64` or enumeration; negative ones take ten bytes, as the format has it.
    pub fn number(mut self, field: u32, value: i64) -> Self {
        self.key(field, VARINT);
        self.varint(value as u64);
        self
    }

    /// A `float`.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, FOUR);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A `double`.
    pub fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, EIGHT);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// `bytes`.
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.key(field, LENGTH);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    /// A `string`.
    pub fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// A message.
    pub fn message(self, field: u32, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }

    /// The fields of another message of the same kind behind these.
    pub fn and(mut self, fields: &Message) -> Self {
        self.0.extend(&fields.0);
        self
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the format's own description (protobuf.dev/programming-guides/encoding).
    #[test]
    fn is_encoded_as_the_format_describes() {
        let number = Message::default().number(1, 150);
        assert_eq!(number.clone().into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::default().text(2, "testing");
        assert_eq!(text.into_bytes(), [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        assert_eq!(Message::default().message(3, &number).into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let minus_two = Message::default().number(1, -2).into_bytes();
        assert_eq!(minus_two, [0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(Message::default().float(20, 1.0).into_bytes(), [0xa5, 0x01, 0, 0, 0x80, 0x3f]);
        assert_eq!(Message::default().double(1, 1.0).into_bytes(), [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        let twice = Message::default().number(6, 1).and(&Message::default().number(6, 2));
        assert_eq!(twice.into_bytes(), [0x30, 1, 0x30, 2]);
    }
}
