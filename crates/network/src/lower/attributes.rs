//! The attributes of a node: all of them known, each of its kind.

use crate::LoadError;
use crate::onnx::{Attribute, Node, Tensor, malformed, shown, unsupported};

/// The attributes of one node.
pub(super) struct Attributes<'g> {
    node: &'g Node<'g>,
}

impl<'g> Attributes<'g> {
    /// Refuses a node with others than the known ones: they might change what it means.
    pub(super) fn of(node: &'g Node<'g>, known: &[&str]) -> Result<Self, LoadError> {
        match node.attributes.iter().find(|(name, _)| !known.contains(name)) {
            None => Ok(Self { node }),
            Some((name, _)) => Err(unsupported(format!("{} with attribute {}", node.operator, shown(name)))),
        }
    }

    pub(super) fn int(&self, name: &str, otherwise: i64) -> Result<i64, LoadError> {
        match self.get(name)? {
            None => Ok(otherwise),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, LoadError> {
        match self.get(name)? {
            None => Ok(None),
            Some(Attribute::Float(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(name)),
        }
    }

    /// Exactly so many sizes; a single one may also be written as a plain integer. Each is small enough that sums do not overflow.
    pub(super) fn sizes<const COUNT: usize>(&self, name: &str, otherwise: [usize; COUNT]) -> Result<[usize; COUNT], LoadError> {
        let list = match self.get(name)? {
            None => return Ok(otherwise),
            Some(Attribute::Ints(list)) => list.as_slice(),
            Some(Attribute::Int(value)) => std::slice::from_ref(value),
            Some(_) => return Err(self.wrong(name)),
        };
        let mut sizes = [0; COUNT];
        if list.len() != COUNT {
            return Err(unsupported(format!("{} with {} numbers in {}", self.node.operator, list.len(), shown(name))));
        }
        for (size, value) in sizes.iter_mut().zip(list) {
            *size = usize::try_from(*value).ok().filter(|size| *size <= 1 << 20).ok_or_else(|| self.wrong(name))?;
        }
        Ok(sizes)
    }

    /// Whether a text is this one, which it also is when it is not given.
    pub(super) fn is_text(&self, name: &str, expected: &[u8]) -> Result<bool, LoadError> {
        match self.get(name)? {
            None => Ok(true),
            Some(Attribute::Text(text)) => Ok(*text == expected),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn tensor(&self, name: &str) -> Result<&'g Tensor<'g>, LoadError> {
        match self.get(name)? {
            Some(Attribute::Tensor(tensor)) => Ok(tensor),
            Some(_) | None => Err(unsupported(format!("{} without {}", self.node.operator, shown(name)))),
        }
    }

    fn get(&self, name: &str) -> Result<Option<&'g Attribute<'g>>, LoadError> {
        let mut found = self.node.attributes.iter().filter(|(given, _)| *given == name);
        match (found.next(), found.next()) {
            (first, None) => Ok(first.map(|(_, value)| value)),
            (_, Some(_)) => Err(malformed(format!("{} with two of {}", self.node.operator, shown(name)))),
        }
    }

    fn wrong(&self, name: &str) -> LoadError {
        malformed(format!("{} with a wrong {}", self.node.operator, shown(name)))
    }
}
