//! The only place that knows bincode.
//!
//! Bodies are bincode 2 in its standard configuration: little-endian variable
//! length integers, one byte for an enum's variant up to 250, strings and lists
//! prefixed by their length. Two own types replace bincode's `String` and
//! `Vec`, whose decoding allocates what a hostile length prefix asks for:
//! [`Text`] and [`Packed`] take no more than what the input holds, so decoding
//! never allocates more than a small multiple of its input.
//!
//! Trailing bytes are refused here: bincode itself ignores them.

use std::fmt;
use std::marker::PhantomData;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::de::read::Reader;
use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use serde::{Deserialize, Serialize, Serializer};

pub use bincode::{Decode, Encode};

/// Largest body that is ever encoded or decoded, in bytes: above any frame and
/// any stored record.
const BODY_BYTES_MAX: usize = 8 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<BODY_BYTES_MAX>> =
    bincode::config::standard().with_limit::<BODY_BYTES_MAX>();

/// Why bytes could not be decoded, or a value not encoded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CodecError {
    /// A field is well-formed but holds what it may not, such as an id with an
    /// odd character.
    #[error("{0}")]
    Invalid(&'static str),
    /// The bytes end too early or do not follow the format.
    #[error("the bytes are not a valid body")]
    Malformed,
    /// There are bytes after the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

impl From<DecodeError> for CodecError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Other(reason) => Self::Invalid(reason),
            _ => Self::Malformed,
        }
    }
}

/// Encodes a value.
///
/// # Panics
/// Never for the types of this workspace: encoding into memory fails only for
/// a value past `BODY_BYTES_MAX`, which every limit is far below.
#[must_use]
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, CONFIG).expect("encoding into memory cannot fail")
}

/// Encodes a value behind what `buffer` already holds.
///
/// # Panics
/// As [`encode`].
pub fn encode_into<T: Encode>(value: &T, buffer: &mut Vec<u8>) {
    bincode::encode_into_std_write(value, buffer, CONFIG)
        .expect("encoding into memory cannot fail");
}

/// Decodes a value that takes the whole of `bytes`.
///
/// # Errors
/// See [`CodecError`].
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::decode_from_slice(bytes, CONFIG)?;
    match bytes.len() - used {
        0 => Ok(value),
        trailing => Err(CodecError::Trailing(trailing)),
    }
}

/// Decodes a value from the front of `bytes`; answers how many bytes it took.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_prefix<T: Decode<()>>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    Ok(bincode::decode_from_slice(bytes, CONFIG)?)
}

/// Reads a length-prefixed run of bytes without trusting the length.
fn read_bytes<D: Decoder, R>(
    decoder: &mut D,
    take: impl FnOnce(&[u8]) -> Result<R, DecodeError>,
) -> Result<R, DecodeError> {
    let len = u64::decode(decoder)?;
    let len = usize::try_from(len).map_err(|_| DecodeError::LimitExceeded)?;
    decoder.claim_bytes_read(len)?;
    let reader = decoder.reader();
    let bytes = reader
        .peek_read(len)
        .ok_or(DecodeError::UnexpectedEnd { additional: len })?;
    let taken = take(bytes)?;
    reader.consume(len);
    Ok(taken)
}

/// Reads a length-prefixed string and turns it into what it is for.
pub(crate) fn read_str<D: Decoder, R>(
    decoder: &mut D,
    take: impl FnOnce(&str) -> Result<R, DecodeError>,
) -> Result<R, DecodeError> {
    read_bytes(decoder, |bytes| {
        take(std::str::from_utf8(bytes).map_err(|_| DecodeError::Other("a text is not UTF-8"))?)
    })
}

/// A text on the wire; encoded as bincode encodes a `String`.
#[derive(Clone, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The text as a `String`.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// The text as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl Encode for Text {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.as_str().encode(encoder)
    }
}

impl<C> Decode<C> for Text {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        read_str(decoder, |text| Ok(Self(text.to_owned())))
    }
}

impl<'de, C> bincode::BorrowDecode<'de, C> for Text {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// A list on the wire, kept in its encoded form until it is read.
///
/// Encoded as the number of items, the number of bytes, and the items one after
/// another. Items are checked when the list is decoded, so reading them later
/// cannot fail; they are decoded one at a time, so a list takes no more memory
/// than its bytes, and a server can pass on what it holds encoded already.
///
/// Invariant: `bytes` holds exactly `count` valid items.
pub struct Packed<T> {
    count: u32,
    bytes: Box<[u8]>,
    items: PhantomData<fn() -> T>,
}

impl<T> Packed<T> {
    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes the items take.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }
}

impl<T: Decode<()>> Packed<T> {
    /// The items, decoded one at a time.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let mut rest = &self.bytes[..];
        (0..self.count).map(move |_| {
            let (item, used) = decode_prefix(rest).expect("items were checked when decoded");
            rest = &rest[used..];
            item
        })
    }

    /// The items as a `Vec`.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().collect()
    }

    fn is_sound(count: u32, bytes: &[u8]) -> Result<bool, DecodeError> {
        let mut rest = bytes;
        for _ in 0..count {
            // An item takes at least a byte, or `count` alone would keep us busy.
            let (_, used) = bincode::decode_from_slice::<T, _>(rest, CONFIG)?;
            if used == 0 {
                return Ok(false);
            }
            rest = &rest[used..];
        }
        Ok(rest.is_empty())
    }
}

impl<T: Encode> FromIterator<T> for Packed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut builder = PackedBuilder::new();
        for item in items {
            builder.push(&item);
        }
        builder.finish()
    }
}

impl<T: Encode> From<Vec<T>> for Packed<T> {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

/// Fills a [`Packed`] list item by item; knows its size, so a page can stop in time.
pub struct PackedBuilder<T> {
    count: u32,
    bytes: Vec<u8>,
    items: PhantomData<fn() -> T>,
}

impl<T: Encode> Default for PackedBuilder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Encode> PackedBuilder<T> {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self {
            count: 0,
            bytes: Vec::new(),
            items: PhantomData,
        }
    }

    /// Adds an item at the end.
    pub fn push(&mut self, item: &T) {
        encode_into(item, &mut self.bytes);
        self.count += 1;
    }

    /// How many items there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether nothing was pushed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes the items take so far.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished list.
    #[must_use]
    pub fn finish(self) -> Packed<T> {
        Packed {
            count: self.count,
            bytes: self.bytes.into_boxed_slice(),
            items: PhantomData,
        }
    }
}

impl<T> Clone for Packed<T> {
    fn clone(&self) -> Self {
        Self {
            count: self.count,
            bytes: self.bytes.clone(),
            items: PhantomData,
        }
    }
}

impl<T> Default for Packed<T> {
    fn default() -> Self {
        Self {
            count: 0,
            bytes: Box::default(),
            items: PhantomData,
        }
    }
}

impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.bytes == other.bytes
    }
}

impl<T> Eq for Packed<T> {}

impl<T: Decode<()> + fmt::Debug> fmt::Debug for Packed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Decode<()> + Serialize> Serialize for Packed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<T> Encode for Packed<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.count.encode(encoder)?;
        (self.bytes.len() as u64).encode(encoder)?;
        encoder.writer().write(&self.bytes)
    }
}

impl<C, T: Decode<()>> Decode<C> for Packed<T> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let count = u32::decode(decoder)?;
        read_bytes(decoder, |bytes| {
            if !Self::is_sound(count, bytes)? {
                return Err(DecodeError::Other("a list's bytes do not match its count"));
            }
            Ok(Self {
                count,
                bytes: bytes.into(),
                items: PhantomData,
            })
        })
    }
}

impl<'de, C, T: Decode<()>> bincode::BorrowDecode<'de, C> for Packed<T> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

#[cfg(test)]
mod tests {
    use super::{CodecError, Packed, Text, decode, encode};

    /// A list is read back as it was written, nested ones too.
    #[test]
    fn lists_come_back() {
        let inner: Packed<Text> = ["a", "", "ccc"].into_iter().map(Text::from).collect();
        let outer: Packed<Packed<Text>> = vec![inner.clone(), Packed::default()].into();
        let back: Packed<Packed<Text>> = decode(&encode(&outer)).expect("just encoded");
        assert_eq!(back.to_vec(), vec![inner, Packed::default()]);
    }

    /// A count that the bytes do not bear out is refused when the list is
    /// decoded, so that reading it cannot fail.
    #[test]
    fn a_wrong_count_is_refused() {
        let mut bytes = encode(&Packed::<Text>::from(vec![Text::from("a")]));
        bytes[0] = 2;
        assert_eq!(decode::<Packed<Text>>(&bytes), Err(CodecError::Malformed));
        bytes[0] = 0;
        assert!(matches!(
            decode::<Packed<Text>>(&bytes),
            Err(CodecError::Invalid(_))
        ));
    }

    /// A length of two exabytes in a frame of ten bytes asks for no memory.
    #[test]
    fn a_hostile_length_asks_for_nothing() {
        let hostile = [253, 255, 255, 255, 255, 255, 255, 255, 31];
        assert_eq!(decode::<Text>(&hostile), Err(CodecError::Malformed));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&Text::from("a"));
        bytes.push(0);
        assert_eq!(decode::<Text>(&bytes), Err(CodecError::Trailing(1)));
    }
}
