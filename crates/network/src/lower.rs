//! From the operators of a graph to the layers that the kernels know: weights as numbers, what follows a convolution as part of it,
//! everything checked.

mod attributes;
mod convolution;
mod weights;

use std::collections::BTreeMap;

use crate::layers::{Clamp, Depthwise, Kernel, Pads, Pointwise, Stem, Stride, blocks};
use crate::onnx::{Graph, Node, malformed, shown, unsupported};
use crate::simd::LANES;
use crate::{LoadError, Shape};
use attributes::Attributes;
use convolution::Convolution;
use weights::{Weights, bias};

/// Pixels of a side.
const MOST_SIDE: usize = 4096;
/// Channels of a value.
const MOST_CHANNELS: usize = 1 << 16;
/// Planes of a picture.
const MOST_PLANES: usize = 16;

/// A network as layers, in the order of the computation.
pub(crate) struct Lowered {
    pub(crate) input: Planes,
    pub(crate) values: Vec<Value>,
    pub(crate) layers: Vec<Layer>,
    /// The value that is the result, and whether it becomes probabilities by softmax.
    pub(crate) output: usize,
    pub(crate) softmax: bool,
}

/// The picture, and how it is laid out for the first layer: each number times `scale` plus `offset`, with zeros around.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes {
    pub(crate) shape: Shape,
    pub(crate) scale: f32,
    pub(crate) offset: f32,
    pub(crate) pads: Pads,
}

/// What lies between layers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) shape: Shape,
    /// The layer that makes it.
    pub(crate) layer: usize,
    /// Whether exactly one layer reads it, and it is not the result.
    pub(crate) read_once: bool,
}

/// One computation.
pub(crate) struct Layer {
    pub(crate) kind: Kind,
    /// The value that is read; a [`Kind::Stem`] reads the picture.
    pub(crate) input: Option<usize>,
    /// The value that is added before the clamp.
    pub(crate) residual: Option<usize>,
    pub(crate) output: usize,
}

pub(crate) enum Kind {
    Stem(Stem),
    Pointwise(Pointwise),
    Depthwise(Depthwise),
    Mean,
}

impl Kind {
    fn clamp_mut(&mut self) -> Option<&mut Clamp> {
        match self {
            Self::Stem(layer) => Some(&mut layer.clamp),
            Self::Pointwise(layer) => Some(&mut layer.clamp),
            Self::Depthwise(layer) => Some(&mut layer.clamp),
            Self::Mean => None,
        }
    }
}

/// What a name of the graph stands for.
#[derive(Clone, Copy)]
enum Named<'g> {
    Planes,
    /// A value of four dimensions.
    Image(usize),
    /// A value of two, which has one pixel.
    Row(usize),
    Probabilities(usize),
    Weights(Weights<'g>),
}

/// Turns a graph, read from so many bytes, into layers.
pub(crate) fn lower(graph: &Graph<'_>, bytes: usize) -> Result<Lowered, LoadError> {
    // Older and newer versions give some of these operators another meaning.
    if !(10..=25).contains(&graph.version) {
        return Err(unsupported(format!("version {} of the operators", graph.version)));
    }
    let mut lowering = Lowering::start(graph, bytes)?;
    for node in &graph.nodes {
        lowering.node(node)?;
    }
    lowering.end()
}

struct Lowering<'g> {
    graph: &'g Graph<'g>,
    /// How often each name is read.
    reads: BTreeMap<&'g str, usize>,
    names: BTreeMap<&'g str, Named<'g>>,
    planes: Planes,
    values: Vec<Value>,
    layers: Vec<Layer>,
    /// Vectors of packed weights that may still come: a file that uses the same weights over and over must not grow without bound.
    budget: usize,
}

impl<'g> Lowering<'g> {
    fn start(graph: &'g Graph<'g>, bytes: usize) -> Result<Self, LoadError> {
        let [input] = graph.inputs.as_slice() else { return Err(unsupported("another number of inputs than one")) };
        let side = |length: Option<u64>, most: usize| length.and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=most).contains(n));
        let shape = match input.shape.as_slice() {
            [None | Some(1), channels, height, width] => {
                side(*channels, MOST_PLANES).zip(side(*height, MOST_SIDE)).zip(side(*width, MOST_SIDE))
            }
            _ => None,
        };
        let Some(((channels, height), width)) = shape else {
            return Err(unsupported("an input that is not one picture of planes of a fixed size"));
        };
        let mut reads = BTreeMap::new();
        for name in graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs) {
            *reads.entry(*name).or_insert(0) += 1;
        }
        let shape = Shape { channels, height, width };
        let planes = Planes { shape, scale: 1.0, offset: 0.0, pads: Pads::default() };
        let names = BTreeMap::from([(input.name, Named::Planes)]);
        let budget = bytes.saturating_mul(4).saturating_add(1 << 20) / LANES;
        Ok(Self { graph, reads, names, planes, values: Vec::new(), layers: Vec::new(), budget })
    }

    fn node(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        match node.operator {
            "Constant" => self.constant(node),
            "DequantizeLinear" => self.dequantize(node),
            "Identity" => {
                let named = self.only_read(node, 0)?;
                self.rename(node, named)
            }
            "Conv" => self.convolution(node),
            "Clip" => self.clip(node),
            "Relu" => self.clamp(node, Clamp { low: 0.0, ..Clamp::NONE }),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node),
            "GlobalAveragePool" => self.mean(node),
            "Flatten" => self.flatten(node),
            "Gemm" => self.dense(node),
            "Softmax" => self.softmax(node),
            other => Err(unsupported(format!("operator {}", shown(other)))),
        }
    }

    fn end(self) -> Result<Lowered, LoadError> {
        let [output] = self.graph.outputs.as_slice() else { return Err(unsupported("another number of outputs than one")) };
        let (output, softmax) = match self.names.get(output) {
            Some(Named::Probabilities(value)) => (*value, true),
            Some(Named::Row(value)) => (*value, false),
            Some(Named::Planes | Named::Image(_) | Named::Weights(_)) => return Err(unsupported("a result that is not a list of numbers")),
            None => return Err(malformed("an output that nothing makes")),
        };
        let mut values = self.values;
        values[output].read_once = false;
        Ok(Lowered { input: self.planes, values, layers: self.layers, output, softmax })
    }

    // Names.

    fn named(&self, node: &Node<'g>, index: usize) -> Result<Named<'g>, LoadError> {
        let name = node.inputs.get(index).copied().unwrap_or_default();
        match self.names.get(name) {
            Some(named) => Ok(*named),
            None => match self.graph.tensors.get(name) {
                Some(tensor) => Ok(Named::Weights(Weights::plain(tensor))),
                None => Err(malformed(format!("{} reads {}, which nothing before it makes", node.operator, shown(name)))),
            },
        }
    }

    /// As [`Self::named`], of what nobody else reads.
    fn only_read(&self, node: &Node<'g>, index: usize) -> Result<Named<'g>, LoadError> {
        let name = node.inputs.get(index).copied().unwrap_or_default();
        let named = self.named(node, index)?;
        match self.reads.get(name) {
            Some(1) => Ok(named),
            _ => Err(unsupported(format!("{} of {}, which is read elsewhere too", node.operator, shown(name)))),
        }
    }

    fn weights(&self, node: &Node<'g>, index: usize) -> Result<Weights<'g>, LoadError> {
        match self.named(node, index)? {
            Named::Weights(weights) => Ok(weights),
            Named::Planes | Named::Image(_) | Named::Row(_) | Named::Probabilities(_) => {
                Err(unsupported(format!("{} by computed weights", node.operator)))
            }
        }
    }

    fn optional_weights(&self, node: &Node<'g>, index: usize) -> Result<Option<Weights<'g>>, LoadError> {
        if node.inputs.get(index).is_none_or(|name| name.is_empty()) { Ok(None) } else { self.weights(node, index).map(Some) }
    }

    fn scalar(&self, node: &Node<'g>, index: usize) -> Result<Option<f32>, LoadError> {
        self.optional_weights(node, index)?.map(|weights| weights.scalar()).transpose()
    }

    /// Gives the node's output its meaning.
    fn rename(&mut self, node: &Node<'g>, named: Named<'g>) -> Result<(), LoadError> {
        let [output] = node.outputs.as_slice() else { return Err(unsupported(format!("{} with several outputs", node.operator))) };
        if let Named::Image(value) | Named::Row(value) | Named::Probabilities(value) = named {
            self.values[value].read_once = self.reads.get(output) == Some(&1);
        }
        let taken = self.graph.tensors.contains_key(output) || self.names.insert(*output, named).is_some();
        if taken || output.is_empty() { Err(malformed(format!("{} is made twice, or has no name", shown(output)))) } else { Ok(()) }
    }

    /// A layer that makes a new value, which it returns.
    fn layer(&mut self, kind: Kind, input: Option<usize>, shape: Shape) -> usize {
        let output = self.values.len();
        self.values.push(Value { shape, layer: self.layers.len(), read_once: false });
        self.layers.push(Layer { kind, input, residual: None, output });
        output
    }

    fn spend(&mut self, vectors: Option<usize>) -> Result<(), LoadError> {
        let left = vectors.and_then(|vectors| self.budget.checked_sub(vectors));
        self.budget = left.ok_or_else(|| unsupported("far more weights than the file has bytes"))?;
        Ok(())
    }

    // Operators.

    fn constant(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        let tensor = Attributes::of(node, &["value"])?.tensor("value")?;
        self.rename(node, Named::Weights(Weights::plain(tensor)))
    }

    fn dequantize(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        let axis = Attributes::of(node, &["axis"])?.int("axis", 1)?;
        let weights = Weights::codes(self.weights(node, 0)?, self.weights(node, 1)?, self.optional_weights(node, 2)?, axis)?;
        self.rename(node, Named::Weights(weights))
    }

    fn convolution(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        let convolution = Convolution::of(node, self.weights(node, 1)?, self.optional_weights(node, 2)?)?;
        let value = match self.named(node, 0)? {
            Named::Planes => {
                self.only_read(node, 0)?;
                self.stem(&convolution)?
            }
            Named::Image(value) => {
                let (kind, shape) = self.inner_convolution(&convolution, self.values[value].shape)?;
                self.layer(kind, Some(value), shape)
            }
            Named::Row(_) | Named::Probabilities(_) | Named::Weights(_) => return Err(unsupported("a convolution of what is no picture")),
        };
        self.rename(node, Named::Image(value))
    }

    fn stem(&mut self, convolution: &Convolution<'g>) -> Result<usize, LoadError> {
        let Planes { shape, .. } = self.planes;
        let Convolution { kernel, stride, pads, outputs, .. } = *convolution;
        if convolution.groups != 1 || kernel.channels != shape.channels {
            return Err(unsupported("a first convolution that is not of all planes"));
        }
        self.spend(kernel.taps().checked_mul(blocks(outputs)))?;
        let made = convolution.shape(shape)?;
        self.planes.pads = pads;
        let (height, pitch) = (shape.height + pads.top + pads.bottom, shape.width + pads.left + pads.right);
        let (weights, bias) = convolution.numbers()?;
        let stem = Stem::new(&weights, &bias, kernel, height, pitch, stride);
        Ok(self.layer(Kind::Stem(stem), None, made))
    }

    fn inner_convolution(&mut self, convolution: &Convolution<'g>, shape: Shape) -> Result<(Kind, Shape), LoadError> {
        let Convolution { kernel, groups, stride, pads, outputs, .. } = *convolution;
        let made = convolution.shape(shape)?;
        let plain = (kernel.height, kernel.width, stride, pads) == (1, 1, Stride::One, Pads::default());
        if groups == 1 && plain && kernel.channels == shape.channels {
            self.spend(Pointwise::cost(kernel.channels, outputs))?;
            let (weights, bias) = convolution.numbers()?;
            let layer = Pointwise::new(kernel.channels, &bias, |output, input| weights[output * kernel.channels + input]);
            return Ok((Kind::Pointwise(layer), made));
        }
        let channels = shape.channels;
        if (groups, outputs) == (channels, channels) && kernel == (Kernel { channels: 1, height: 3, width: 3 }) {
            self.spend(blocks(channels).checked_mul(9))?;
            let (weights, bias) = convolution.numbers()?;
            return Ok((Kind::Depthwise(Depthwise::new(&weights, &bias, stride, pads)), made));
        }
        let Kernel { height, width, .. } = kernel;
        Err(unsupported(format!("a convolution of {height} × {width} in {groups} groups, {channels} channels to {outputs}")))
    }

    fn clip(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        let (low, high) = if self.graph.version < 11 {
            let attributes = Attributes::of(node, &["min", "max"])?;
            (attributes.float("min")?, attributes.float("max")?)
        } else {
            Attributes::of(node, &[])?;
            (self.scalar(node, 1)?, self.scalar(node, 2)?)
        };
        let clamp = Clamp { low: low.unwrap_or(f32::NEG_INFINITY), high: high.unwrap_or(f32::INFINITY) };
        // Nor is it one where a bound is not a number.
        let is_range = clamp.low <= clamp.high;
        if !is_range {
            return Err(malformed("a Clip whose bounds are no range"));
        }
        self.clamp(node, clamp)
    }

    /// What stays within bounds does so in the layer that makes it.
    fn clamp(&mut self, node: &'g Node<'g>, clamp: Clamp) -> Result<(), LoadError> {
        let named = self.only_read(node, 0)?;
        let (Named::Image(value) | Named::Row(value)) = named else {
            return Err(unsupported(format!("{} of what no layer makes", node.operator)));
        };
        let layer = self.values[value].layer;
        match self.layers[layer].kind.clamp_mut() {
            Some(slot) if *slot == Clamp::NONE => *slot = clamp,
            Some(_) | None => return Err(unsupported(format!("{} that no convolution comes before", node.operator))),
        }
        self.rename(node, named)
    }

    fn arithmetic(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        Attributes::of(node, &[])?;
        match (self.named(node, 0)?, self.named(node, 1)?) {
            (Named::Planes, Named::Weights(weights)) => {
                self.only_read(node, 0)?;
                self.normalise(node, weights.scalar()?)
            }
            (Named::Image(first), Named::Image(second)) if node.operator == "Add" => {
                let (sum, added) =
                    self.residual(first, second).ok_or_else(|| unsupported("a sum of other than a convolution and an earlier value"))?;
                let layer = self.values[sum].layer;
                self.layers[layer].residual = Some(added);
                self.rename(node, Named::Image(sum))
            }
            (_, _) => Err(unsupported(format!("{} in the midst of the network", node.operator))),
        }
    }

    /// One number for all pixels: part of laying out the picture.
    fn normalise(&mut self, node: &'g Node<'g>, number: f32) -> Result<(), LoadError> {
        let Planes { scale, offset, .. } = self.planes;
        let (scale, offset) = match node.operator {
            "Add" => (scale, offset + number),
            "Sub" => (scale, offset - number),
            "Mul" => (scale * number, offset * number),
            _ => (scale / number, offset / number),
        };
        if !scale.is_finite() || !offset.is_finite() {
            return Err(malformed("a normalisation that leaves the numbers"));
        }
        (self.planes.scale, self.planes.offset) = (scale, offset);
        self.rename(node, Named::Planes)
    }

    /// Of two values that are added, the one whose layer can do it, and the other, which exists by then.
    fn residual(&self, first: usize, second: usize) -> Option<(usize, usize)> {
        let (a, b) = (self.values.get(first)?, self.values.get(second)?);
        let (sum, added) = if a.layer > b.layer { (first, second) } else { (second, first) };
        let layer = self.layers.get(self.values.get(sum)?.layer)?;
        let free = match &layer.kind {
            Kind::Pointwise(pointwise) => pointwise.clamp == Clamp::NONE && layer.residual.is_none(),
            Kind::Stem(_) | Kind::Depthwise(_) | Kind::Mean => false,
        };
        (free && sum != added && a.shape == b.shape && self.values.get(sum)?.read_once).then_some((sum, added))
    }

    fn mean(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        Attributes::of(node, &[])?;
        let Named::Image(value) = self.named(node, 0)? else { return Err(unsupported("a mean of what is no picture")) };
        let channels = self.values[value].shape.channels;
        let mean = self.layer(Kind::Mean, Some(value), Shape { channels, height: 1, width: 1 });
        self.rename(node, Named::Image(mean))
    }

    fn flatten(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        let axis = Attributes::of(node, &["axis"])?.int("axis", 1)?;
        match self.only_read(node, 0)? {
            Named::Image(value) | Named::Row(value) if axis == 1 && self.is_one_pixel(value) => self.rename(node, Named::Row(value)),
            _ => Err(unsupported("Flatten of more than one pixel")),
        }
    }

    fn is_one_pixel(&self, value: usize) -> bool {
        let Shape { height, width, .. } = self.values[value].shape;
        (height, width) == (1, 1)
    }

    fn dense(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        let attributes = Attributes::of(node, &["alpha", "beta", "transA", "transB"])?;
        let (alpha, beta) = (attributes.float("alpha")?.unwrap_or(1.0), attributes.float("beta")?.unwrap_or(1.0));
        let transposed = attributes.int("transB", 0)? != 0;
        if (alpha, beta) != (1.0, 1.0) || attributes.int("transA", 0)? != 0 {
            return Err(unsupported("Gemm with factors or a transposed row"));
        }
        let Named::Row(value) = self.named(node, 0)? else { return Err(unsupported("Gemm of what is no list of numbers")) };
        let inputs = self.values[value].shape.channels;
        let weights = self.weights(node, 1)?;
        let outputs = match *weights.shape() {
            [rows, columns] if !transposed && rows == inputs => columns,
            [rows, columns] if transposed && columns == inputs => rows,
            _ => return Err(malformed("a matrix of Gemm whose shape does not fit")),
        };
        if !(1..=MOST_CHANNELS).contains(&outputs) {
            return Err(unsupported(format!("a layer of {outputs} outputs")));
        }
        let bias = bias(self.optional_weights(node, 2)?, outputs)?;
        self.spend(Pointwise::cost(inputs, outputs))?;
        let numbers = weights.numbers()?;
        let layer =
            Pointwise::new(
                inputs,
                &bias,
                |output, input| {
                    if transposed { numbers[output * inputs + input] } else { numbers[input * outputs + output] }
                },
            );
        let value = self.layer(Kind::Pointwise(layer), Some(value), Shape { channels: outputs, height: 1, width: 1 });
        self.rename(node, Named::Row(value))
    }

    fn softmax(&mut self, node: &'g Node<'g>) -> Result<(), LoadError> {
        // Of two dimensions the last is 1.
        let axis = Attributes::of(node, &["axis"])?.int("axis", 1)?;
        match self.only_read(node, 0)? {
            Named::Row(value) if matches!(axis, 1 | -1) => self.rename(node, Named::Probabilities(value)),
            _ => Err(unsupported("Softmax of what is no list of numbers")),
        }
    }
}
