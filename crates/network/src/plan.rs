//! What is computed after what, and where the values stand: all of it decided once, when a network is read.

use crate::LoadError;
use crate::Shape;
use crate::chain::{Chain, Head, Tail};
use crate::layers::{Pointwise, Stem, blocks};
use crate::lower::{Kind, Layer, Lowered, Planes, Value};
use crate::onnx::unsupported;
use crate::simd::Lanes;

/// Bytes of all buffers of a runner.
const MOST_MEMORY: usize = 128 << 20;
/// Multiplications for one picture; MobileNetV2 has 0.3 thousand million.
const MOST_PRODUCTS: usize = 1 << 36;

/// A network, ready to be computed.
pub(crate) struct Plan {
    pub(crate) input: Planes,
    pub(crate) steps: Vec<Step>,
    pub(crate) memory: Sizes,
    /// Where the result stands at last, how many numbers it has, and whether they become probabilities by softmax.
    pub(crate) output: usize,
    pub(crate) outputs: usize,
    pub(crate) softmax: bool,
}

/// One step; values are in slots.
pub(crate) enum Step {
    Stem { layer: Stem, made: Shape, output: usize },
    Pointwise { layer: Pointwise, made: Shape, input: usize, residual: Option<usize>, output: usize },
    Mean { read: Shape, input: usize, output: usize },
    Chain(Box<Chain>),
}

/// The buffers of a runner: numbers of the picture, and vectors of all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// The picture with its padding.
    pub(crate) planes: usize,
    /// Values between steps.
    pub(crate) slots: Vec<usize>,
    /// What chains work with: see [`Chain`].
    pub(crate) window: usize,
    pub(crate) middle: usize,
    pub(crate) blank: usize,
}

impl Sizes {
    pub(crate) fn bytes(&self) -> usize {
        let vectors = self.slots.iter().sum::<usize>() + self.window + self.middle + self.blank;
        self.planes * size_of::<f32>() + vectors * size_of::<Lanes>()
    }
}

/// Vectors of a picture.
pub(crate) fn vectors(shape: Shape) -> usize {
    shape.height * shape.width * blocks(shape.channels)
}

impl Plan {
    pub(crate) fn new(lowered: Lowered) -> Result<Self, LoadError> {
        let Lowered { input, values, layers, output, softmax } = lowered;
        let products: usize = layers.iter().map(|layer| products(layer, &values)).fold(0, usize::saturating_add);
        if products > MOST_PRODUCTS {
            return Err(unsupported(format!("{products} multiplications for a picture")));
        }
        let outputs = values[output].shape.channels;
        let height = input.shape.height + input.pads.top + input.pads.bottom;
        let width = input.shape.width + input.pads.left + input.pads.right;
        let mut memory = Sizes { planes: input.shape.channels * height * width, ..Sizes::default() };

        let groups = group(layers, &values);
        let mut slots = Slots::new(&groups, values.len(), output);
        let mut steps = Vec::with_capacity(groups.len());
        for (index, group) in groups.into_iter().enumerate() {
            let made = group.last().output;
            let place = slots.give(made, vectors(values[made].shape));
            let step = group.into_step(&values, &slots, place);
            if let Step::Chain(chain) = &step {
                memory.window = memory.window.max(chain.window());
                memory.middle = memory.middle.max(chain.middle());
                memory.blank = memory.blank.max(chain.blank());
            }
            steps.push(step);
            slots.free(index);
        }
        let output = slots.of(output);
        memory.slots = slots.sizes;
        if memory.bytes() > MOST_MEMORY {
            return Err(unsupported(format!("a network that needs {} MiB for a picture", memory.bytes() >> 20)));
        }
        Ok(Self { input, steps, memory, output, outputs, softmax })
    }
}

fn products(layer: &Layer, values: &[Value]) -> usize {
    let made = vectors(values[layer.output].shape);
    let each = match &layer.kind {
        Kind::Stem(stem) => stem.taps.len(),
        Kind::Pointwise(pointwise) => pointwise.depth * Lanes::ZERO.0.len(),
        Kind::Depthwise(_) => 9,
        Kind::Mean => 1,
    };
    made.saturating_mul(each).saturating_mul(Lanes::ZERO.0.len())
}

/// Layers that are computed together.
#[allow(clippy::large_enum_variant, reason = "there are some dozens, for as long as a plan is made")]
enum Group {
    One(Layer),
    /// What a depthwise convolution reads (unless it is to be copied), that convolution, and what alone reads it.
    Chain {
        head: Option<Layer>,
        depthwise: Layer,
        tail: Option<Layer>,
    },
}

/// Joins each depthwise convolution with the layer before and the one after, where nothing else looks at what lies between.
fn group(layers: Vec<Layer>, values: &[Value]) -> Vec<Group> {
    let mut layers = layers.into_iter().peekable();
    let mut groups = Vec::new();
    let follows = |layer: &Layer, next: &Layer| {
        next.input == Some(layer.output) && next.residual != Some(layer.output) && values[layer.output].read_once
    };
    while let Some(layer) = layers.next() {
        let (head, depthwise) = match &layer.kind {
            Kind::Depthwise(_) => (None, layer),
            Kind::Stem(_) | Kind::Pointwise(_) => {
                match layers.next_if(|next| matches!(next.kind, Kind::Depthwise(_)) && follows(&layer, next)) {
                    Some(depthwise) => (Some(layer), depthwise),
                    None => {
                        groups.push(Group::One(layer));
                        continue;
                    }
                }
            }
            Kind::Mean => {
                groups.push(Group::One(layer));
                continue;
            }
        };
        let tail = layers.next_if(|next| matches!(next.kind, Kind::Pointwise(_)) && follows(&depthwise, next));
        groups.push(Group::Chain { head, depthwise, tail });
    }
    groups
}

impl Group {
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        let (one, three) = match self {
            Self::One(layer) => (Some(layer), [None, None, None]),
            Self::Chain { head, depthwise, tail } => (None, [head.as_ref(), Some(depthwise), tail.as_ref()]),
        };
        one.into_iter().chain(three.into_iter().flatten())
    }

    fn last(&self) -> &Layer {
        match self {
            Self::One(layer) => layer,
            Self::Chain { depthwise, tail, .. } => tail.as_ref().unwrap_or(depthwise),
        }
    }

    fn into_step(self, values: &[Value], slots: &Slots, output: usize) -> Step {
        let made = values[self.last().output].shape;
        match self {
            Self::One(Layer { kind, input, residual, .. }) => match (kind, input) {
                (Kind::Stem(layer), _) => Step::Stem { layer, made, output },
                (Kind::Pointwise(layer), Some(input)) => {
                    let residual = residual.map(|value| slots.of(value));
                    Step::Pointwise { layer, made, input: slots.of(input), residual, output }
                }
                (Kind::Mean, Some(input)) => Step::Mean { read: values[input].shape, input: slots.of(input), output },
                (Kind::Depthwise(_), _) | (Kind::Pointwise(_) | Kind::Mean, None) => {
                    unreachable!("depthwise layers are in chains; only a stem reads the picture")
                }
            },
            Self::Chain { head, depthwise, tail } => Step::Chain(Box::new(chain(head, depthwise, tail, values, slots, output))),
        }
    }
}

fn chain(head: Option<Layer>, depthwise: Layer, tail: Option<Layer>, values: &[Value], slots: &Slots, output: usize) -> Chain {
    let read = depthwise.input.expect("only a stem reads the picture");
    let (inner, outer) = (values[read].shape, values[depthwise.output].shape);
    let slot = |value: Option<usize>| value.map(|value| slots.of(value));
    let head = match head {
        None => Head::Copy { input: slots.of(read) },
        Some(Layer { kind, input, residual, .. }) => match (kind, slot(input)) {
            (Kind::Stem(layer), _) => Head::Stem(layer),
            (Kind::Pointwise(layer), Some(input)) => Head::Pointwise { layer, input, residual: slot(residual) },
            (Kind::Depthwise(_) | Kind::Mean, _) | (Kind::Pointwise(_), None) => unreachable!("a head is a stem or has an input"),
        },
    };
    let tail = tail.map(|layer| match layer.kind {
        Kind::Pointwise(pointwise) => Tail { layer: pointwise, residual: slot(layer.residual) },
        Kind::Stem(_) | Kind::Depthwise(_) | Kind::Mean => unreachable!("a tail is pointwise"),
    });
    let Kind::Depthwise(depthwise) = depthwise.kind else { unreachable!("the middle of a chain is depthwise") };
    Chain::new(head, inner, depthwise, outer, tail, output)
}

/// Which value stands in which buffer: a buffer is used again once nothing will read its value any more.
struct Slots {
    sizes: Vec<usize>,
    free: Vec<usize>,
    /// By value: its buffer, and the last step that reads it.
    places: Vec<Option<usize>>,
    last_reads: Vec<usize>,
}

impl Slots {
    fn new(groups: &[Group], values: usize, output: usize) -> Self {
        let mut last_reads = vec![0; values];
        for (index, group) in groups.iter().enumerate() {
            // A value that nothing reads is done with at once.
            last_reads[group.last().output] = index;
            for value in group.layers().flat_map(|layer| [layer.input, layer.residual]).flatten() {
                last_reads[value] = index;
            }
        }
        last_reads[output] = usize::MAX;
        Self { sizes: Vec::new(), free: Vec::new(), places: vec![None; values], last_reads }
    }

    /// A buffer for a value: of the free ones the largest, which may have to grow.
    fn give(&mut self, value: usize, size: usize) -> usize {
        let best = (0..self.free.len()).max_by_key(|index| self.sizes[self.free[*index]]);
        let slot = match best {
            Some(index) => self.free.swap_remove(index),
            None => {
                self.sizes.push(0);
                self.sizes.len() - 1
            }
        };
        self.sizes[slot] = self.sizes[slot].max(size);
        self.places[value] = Some(slot);
        slot
    }

    fn of(&self, value: usize) -> usize {
        self.places[value].expect("a value is made before it is read")
    }

    /// Gives back the buffers of values that no step after this one reads.
    fn free(&mut self, step: usize) {
        for (value, place) in self.places.iter_mut().enumerate() {
            if self.last_reads[value] <= step
                && let Some(slot) = place.take()
            {
                self.free.push(slot);
            }
        }
    }
}
