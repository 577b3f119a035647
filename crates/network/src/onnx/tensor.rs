//! Tensors as a file holds them.

use super::wire::{Fields, Value, ints, text};
use super::{MOST_PARTS, malformed, shown, unsupported};
use crate::LoadError;

/// Numbers with a shape; of float32 and eight-bit integers also the numbers.
#[derive(Clone, Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements<'a>,
}

/// As many as the shape says, where they are read at all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Elements<'a> {
    /// In little endian.
    Float(&'a [[u8; 4]]),
    Unsigned(&'a [u8]),
    /// Two's complement.
    Signed(&'a [u8]),
    /// A type whose numbers are not used here.
    Other,
}

impl Tensor<'_> {
    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        // It was computed once without an overflow.
        self.shape.iter().product()
    }
}

/// A `TensorProto` and its name.
pub(super) fn read(bytes: &[u8]) -> Result<(&str, Tensor<'_>), LoadError> {
    /// How `TensorProto.DataType` numbers the types.
    const FLOAT: u64 = 1;
    const UINT8: u64 = 2;
    const INT8: u64 = 3;

    let mut name = "";
    let mut dimensions = Vec::new();
    let mut kind = 0;
    let (mut raw, mut floats) = (None, None);
    for field in Fields::of(bytes) {
        match field? {
            (1, value) => ints(value, &mut dimensions, MOST_PARTS)?,
            (2, Value::Number(number)) => kind = number,
            (4, Value::Bytes(bytes)) if floats.is_none() => floats = Some(bytes),
            (8, Value::Bytes(bytes)) => name = text(bytes)?,
            (9, Value::Bytes(bytes)) => raw = Some(bytes),
            (13, _) => return Err(unsupported("tensors in another file")),
            (14, Value::Number(number)) if number != 0 => return Err(unsupported("tensors in another file")),
            (3, _) => return Err(unsupported("tensors in pieces")),
            // Numbers one by one, or of a type that is written in another field.
            (4..=7 | 10 | 11, _) if matches!(kind, FLOAT | UINT8 | INT8) => {
                return Err(unsupported(format!("tensor {} in another form than raw bytes", shown(name))));
            }
            _ => {}
        }
    }
    let shape = shape(&dimensions).ok_or_else(|| malformed(format!("the shape of tensor {}", shown(name))))?;
    let bytes = raw.or(floats).unwrap_or_default();
    let elements = match kind {
        FLOAT => match bytes.as_chunks::<4>() {
            (numbers, []) => Elements::Float(numbers),
            (_, _) => return Err(malformed(format!("the size of tensor {}", shown(name)))),
        },
        UINT8 => Elements::Unsigned(raw.unwrap_or_default()),
        INT8 => Elements::Signed(raw.unwrap_or_default()),
        _ => Elements::Other,
    };
    let tensor = Tensor { shape, elements };
    let found = match elements {
        Elements::Float(numbers) => numbers.len(),
        Elements::Unsigned(bytes) | Elements::Signed(bytes) => bytes.len(),
        Elements::Other => tensor.len(),
    };
    if found != tensor.len() {
        return Err(malformed(format!("the size of tensor {}", shown(name))));
    }
    Ok((name, tensor))
}

/// The dimensions, where their product is a size.
fn shape(dimensions: &[i64]) -> Option<Vec<usize>> {
    let shape: Vec<usize> = dimensions.iter().map(|length| usize::try_from(*length).ok()).collect::<Option<_>>()?;
    // Of all but the zeros: any part of the product is then a size as well.
    shape.iter().filter(|length| **length > 0).try_fold(1_usize, |product, length| product.checked_mul(*length))?;
    Some(shape)
}
