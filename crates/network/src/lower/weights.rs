//! Weights: float32 as they stand, or eight-bit codes that stand for (code − zero point) × scale.

use crate::LoadError;
use crate::onnx::{Elements, Tensor, malformed, unsupported};

/// Weights, not yet read.
#[derive(Clone, Copy)]
pub(super) struct Weights<'g> {
    tensor: &'g Tensor<'g>,
    codes: Option<Codes<'g>>,
}

/// What the codes mean.
#[derive(Clone, Copy)]
struct Codes<'g> {
    scale: &'g Tensor<'g>,
    zero: Option<&'g Tensor<'g>>,
    /// How many neighbours in the tensor have the same scale, and how many scales there are.
    run: usize,
    scales: usize,
}

impl<'g> Weights<'g> {
    pub(super) fn plain(tensor: &'g Tensor<'g>) -> Self {
        Self { tensor, codes: None }
    }

    /// One scale, or one for each index of `axis`; likewise zero points.
    pub(super) fn codes(codes: Self, scale: Self, zero: Option<Self>, axis: i64) -> Result<Self, LoadError> {
        if codes.codes.is_some() || scale.codes.is_some() || zero.is_some_and(|zero| zero.codes.is_some()) {
            return Err(unsupported("codes of codes"));
        }
        let (tensor, scale, zero) = (codes.tensor, scale.tensor, zero.map(|zero| zero.tensor));
        let scales = scale.len();
        if zero.is_some_and(|zero| zero.shape != scale.shape) {
            return Err(malformed("scales and zero points of different number"));
        }
        if scales == 1 {
            return Ok(Self { tensor, codes: Some(Codes { scale, zero, run: 1, scales }) });
        }
        let rank = tensor.shape.len();
        let axis = if axis < 0 { rank.checked_sub(axis.unsigned_abs() as usize) } else { usize::try_from(axis).ok() };
        let axis = axis.filter(|axis| tensor.shape.get(*axis) == Some(&scales) && scale.shape.len() == 1);
        let Some(axis) = axis else { return Err(malformed("scales that do not fit their codes")) };
        let run = tensor.shape.iter().skip(axis + 1).product();
        Ok(Self { tensor, codes: Some(Codes { scale, zero, run, scales }) })
    }

    pub(super) fn shape(&self) -> &'g [usize] {
        &self.tensor.shape
    }

    /// The only number.
    pub(super) fn scalar(&self) -> Result<f32, LoadError> {
        if self.tensor.len() != 1 {
            return Err(unsupported("a list where one number is expected"));
        }
        match self.numbers()?.as_slice() {
            [number] => Ok(*number),
            _ => Err(malformed("a number that is missing")),
        }
    }

    /// All of them, each finite.
    pub(super) fn numbers(&self) -> Result<Vec<f32>, LoadError> {
        let numbers = match self.codes {
            None => floats(self.tensor)?,
            Some(codes) => codes.decode(self.tensor)?,
        };
        if numbers.iter().all(|number| number.is_finite()) { Ok(numbers) } else { Err(malformed("weights that are not finite")) }
    }
}

impl Codes<'_> {
    fn decode(&self, tensor: &Tensor<'_>) -> Result<Vec<f32>, LoadError> {
        let scales = floats(self.scale)?;
        let zeros = match self.zero {
            None => vec![0; self.scales],
            Some(zero) => integers(zero)?,
        };
        let code = |(index, code): (usize, i32)| {
            let at = index / self.run % self.scales;
            (code - zeros[at]) as f32 * scales[at]
        };
        Ok(integers(tensor)?.into_iter().enumerate().map(code).collect())
    }
}

/// As many biases as outputs; zeros where there are none.
pub(super) fn bias(weights: Option<Weights<'_>>, outputs: usize) -> Result<Vec<f32>, LoadError> {
    match weights {
        None => Ok(vec![0.0; outputs]),
        Some(weights) if matches!(*weights.shape(), [length] | [1, length] if length == outputs) => weights.numbers(),
        Some(_) => Err(unsupported("biases of another number than the outputs")),
    }
}

fn floats(tensor: &Tensor<'_>) -> Result<Vec<f32>, LoadError> {
    match tensor.elements {
        Elements::Float(numbers) => Ok(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Elements::Unsigned(_) | Elements::Signed(_) | Elements::Other => Err(unsupported("weights other than float32 and eight-bit codes")),
    }
}

fn integers(tensor: &Tensor<'_>) -> Result<Vec<i32>, LoadError> {
    match tensor.elements {
        Elements::Unsigned(bytes) => Ok(bytes.iter().map(|byte| i32::from(*byte)).collect()),
        Elements::Signed(bytes) => Ok(bytes.iter().map(|byte| i32::from(byte.cast_signed())).collect()),
        Elements::Float(_) | Elements::Other => Err(unsupported("codes of other than eight bits")),
    }
}
