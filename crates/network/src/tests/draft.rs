//! Writes ONNX, and computes what it means in the simplest way, in double precision.

/// Kinds of attribute.
pub(super) enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
    Text(&'a str),
    /// A scalar.
    Number(f32),
}

/// A model in the making.
#[derive(Clone, Default)]
pub(super) struct Model {
    graph: Vec<u8>,
    names: usize,
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field_number(out: &mut Vec<u8>, field: u64, value: u64) {
    number(out, field << 3);
    number(out, value);
}

fn field(out: &mut Vec<u8>, number_of_field: u64, bytes: &[u8]) {
    number(out, number_of_field << 3 | 2);
    number(out, bytes.len() as u64);
    out.extend(bytes);
}

fn tensor(name: &str, shape: &[usize], kind: u64, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for length in shape {
        field_number(&mut out, 1, *length as u64);
    }
    field_number(&mut out, 2, kind);
    field(&mut out, 8, name.as_bytes());
    field(&mut out, 9, raw);
    out
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn value_info(name: &str, shape: &[Option<usize>]) -> Vec<u8> {
    let (mut dimensions, mut kind, mut info, mut tensor) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for length in shape {
        let mut dimension = Vec::new();
        match length {
            Some(length) => field_number(&mut dimension, 1, *length as u64),
            None => field(&mut dimension, 2, b"N"),
        }
        field(&mut dimensions, 1, &dimension);
    }
    field_number(&mut tensor, 1, 1);
    field(&mut tensor, 2, &dimensions);
    field(&mut kind, 1, &tensor);
    field(&mut info, 1, name.as_bytes());
    field(&mut info, 2, &kind);
    info
}

impl Model {
    pub(super) fn new(shape: &[usize]) -> Self {
        let mut model = Self::default();
        let shape: Vec<_> = std::iter::once(None).chain(shape.iter().map(|length| Some(*length))).collect();
        field(&mut model.graph, 11, &value_info("input", &shape));
        model
    }

    pub(super) fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    pub(super) fn floats(&mut self, shape: &[usize], numbers: &[f32]) -> String {
        let name = self.name();
        field(&mut self.graph, 5, &tensor(&name, shape, 1, &floats(numbers)));
        name
    }

    pub(super) fn bytes(&mut self, shape: &[usize], signed: bool, bytes: &[u8]) -> String {
        let name = self.name();
        field(&mut self.graph, 5, &tensor(&name, shape, if signed { 3 } else { 2 }, bytes));
        name
    }

    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)]) -> String {
        let output = self.name();
        self.node_to(operator, inputs, &output, attributes);
        output
    }

    pub(super) fn node_to(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute<'_>)]) {
        let mut node = Vec::new();
        for input in inputs {
            field(&mut node, 1, input.as_bytes());
        }
        field(&mut node, 2, output.as_bytes());
        field(&mut node, 4, operator.as_bytes());
        for (name, value) in attributes {
            let mut attribute = Vec::new();
            field(&mut attribute, 1, name.as_bytes());
            let kind = match value {
                Attribute::Int(value) => {
                    field_number(&mut attribute, 3, *value as u64);
                    2
                }
                Attribute::Ints(list) => {
                    for value in *list {
                        field_number(&mut attribute, 8, *value as u64);
                    }
                    7
                }
                Attribute::Float(value) => {
                    number(&mut attribute, 2 << 3 | 5);
                    attribute.extend(value.to_le_bytes());
                    1
                }
                Attribute::Text(text) => {
                    field(&mut attribute, 4, text.as_bytes());
                    3
                }
                Attribute::Number(value) => {
                    field(&mut attribute, 5, &tensor("", &[], 1, &value.to_le_bytes()));
                    4
                }
            };
            field_number(&mut attribute, 20, kind);
            field(&mut node, 5, &attribute);
        }
        field(&mut self.graph, 1, &node);
    }

    /// The file.
    pub(super) fn finish(self, output: &str) -> Vec<u8> {
        self.finish_version(output, 13)
    }

    pub(super) fn finish_version(mut self, output: &str, version: u64) -> Vec<u8> {
        field(&mut self.graph, 12, &value_info(output, &[None, Some(5)]));
        let (mut model, mut operators) = (Vec::new(), Vec::new());
        field_number(&mut model, 1, 8);
        field(&mut operators, 1, b"");
        field_number(&mut operators, 2, version);
        field(&mut model, 8, &operators);
        field(&mut model, 7, &self.graph);
        model
    }
}

/// A network that is written and computed at once.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) model: Model,
    pub(super) value: Value,
    seed: u64,
}

/// A value of the network: its name, and its numbers, plane by plane.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) numbers: Vec<f64>,
}

/// A convolution to be drafted; pads are top, left, bottom, right.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub(super) outputs: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    pub(super) pads: [usize; 4],
    pub(super) depthwise: bool,
    /// Weights as codes of eight bits.
    pub(super) codes: bool,
}

impl Draft {
    /// A picture of random numbers.
    pub(super) fn new(channels: usize, height: usize, width: usize, seed: u64) -> Self {
        let model = Model::new(&[channels, height, width]);
        let value = Value { name: "input".to_owned(), channels, height, width, numbers: Vec::new() };
        let mut draft = Self { model, value, seed };
        draft.value.numbers = (0..channels * height * width).map(|_| f64::from(draft.random())).collect();
        draft
    }

    /// From -1 to 1.
    pub(super) fn random(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Weights about as large as keeps the values where they are.
    fn weights(&mut self, shape: &[usize], fan: usize, codes: bool) -> (String, Vec<f32>) {
        let length = shape.iter().product();
        let size = (3.0 / fan as f32).sqrt();
        if !codes {
            let numbers: Vec<f32> = (0..length).map(|_| self.random() * size).collect();
            return (self.model.floats(shape, &numbers), numbers);
        }
        let bytes: Vec<u8> = (0..length).map(|_| ((self.random() + 1.0) * 127.0) as u8).collect();
        let scales: Vec<f32> = (0..shape[0]).map(|_| (self.random() + 2.0) * size / 256.0).collect();
        let zeros: Vec<u8> = (0..shape[0]).map(|_| 120 + (self.random() * 8.0) as u8).collect();
        let run = length / shape[0];
        let number = |(index, byte): (usize, &u8)| (i32::from(*byte) - i32::from(zeros[index / run])) as f32 * scales[index / run];
        let numbers = bytes.iter().enumerate().map(number).collect();
        let inputs =
            [self.model.bytes(shape, false, &bytes), self.model.floats(&[shape[0]], &scales), self.model.bytes(&[shape[0]], false, &zeros)];
        let inputs = inputs.each_ref().map(String::as_str);
        (self.model.node("DequantizeLinear", &inputs, &[("axis", Attribute::Int(0))]), numbers)
    }

    pub(super) fn conv(&mut self, conv: Conv) {
        let from = self.value.clone();
        let Conv { outputs, kernel: [kh, kw], stride, pads: [top, left, bottom, right], depthwise, codes } = conv;
        let read = if depthwise { 1 } else { from.channels };
        let (weights, numbers) = self.weights(&[outputs, read, kh, kw], read * kh * kw, codes);
        let bias: Vec<f32> = (0..outputs).map(|_| self.random()).collect();
        let bias_name = self.model.floats(&[outputs], &bias);
        let ints = |list: &[usize]| list.iter().map(|n| *n as i64).collect::<Vec<_>>();
        let groups = if depthwise { from.channels as i64 } else { 1 };
        let (kernel, strides, pads) = (ints(&conv.kernel), ints(&[stride, stride]), ints(&conv.pads));
        let attributes = [
            ("kernel_shape", Attribute::Ints(&kernel)),
            ("strides", Attribute::Ints(&strides)),
            ("pads", Attribute::Ints(&pads)),
            ("group", Attribute::Int(groups)),
        ];
        let name = self.model.node("Conv", &[&from.name, &weights, &bias_name], &attributes);
        let (height, width) = ((from.height + top + bottom - kh) / stride + 1, (from.width + left + right - kw) / stride + 1);
        let mut made = Vec::with_capacity(outputs * height * width);
        for index in 0..outputs * height * width {
            let (output, y, x) = (index / (height * width), index / width % height, index % width);
            let mut sum = f64::from(bias[output]);
            for tap in 0..read * kh * kw {
                let (channel, ky, kx) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                let plane = if depthwise { output } else { channel };
                let (y, x) = ((y * stride + ky).wrapping_sub(top), (x * stride + kx).wrapping_sub(left));
                if y < from.height && x < from.width {
                    sum += f64::from(numbers[output * read * kh * kw + tap]) * from.numbers[(plane * from.height + y) * from.width + x];
                }
            }
            made.push(sum);
        }
        self.value = Value { name, channels: outputs, height, width, numbers: made };
    }

    pub(super) fn clip(&mut self, low: f32, high: f32) {
        let (low_name, high_name) = (self.model.floats(&[], &[low]), self.model.floats(&[1], &[high]));
        self.value.name = self.model.node("Clip", &[&self.value.name, &low_name, &high_name], &[]);
        self.value.numbers.iter_mut().for_each(|number| *number = number.clamp(f64::from(low), f64::from(high)));
    }

    pub(super) fn relu(&mut self) {
        self.value.name = self.model.node("Relu", &[&self.value.name], &[]);
        self.value.numbers.iter_mut().for_each(|number| *number = number.max(0.0));
    }

    pub(super) fn normalise(&mut self, operator: &str, number: f32) {
        let name = self.model.node("Constant", &[], &[("value", Attribute::Number(number))]);
        self.value.name = self.model.node(operator, &[&self.value.name, &name], &[]);
        let number = f64::from(number);
        for value in &mut self.value.numbers {
            *value = match operator {
                "Mul" => *value * number,
                "Div" => *value / number,
                "Sub" => *value - number,
                _ => *value + number,
            };
        }
    }

    pub(super) fn add(&mut self, other: &Value, swapped: bool) {
        let names = if swapped { [&other.name, &self.value.name] } else { [&self.value.name, &other.name] };
        self.value.name = self.model.node("Add", &names.map(String::as_str), &[]);
        for (number, added) in self.value.numbers.iter_mut().zip(&other.numbers) {
            *number += added;
        }
    }

    pub(super) fn mean(&mut self) {
        let pixels = self.value.height * self.value.width;
        self.value.numbers = self.value.numbers.chunks_exact(pixels).map(|plane| plane.iter().sum::<f64>() / pixels as f64).collect();
        let pooled = self.model.node("GlobalAveragePool", &[&self.value.name], &[]);
        self.value.name = self.model.node("Flatten", &[&pooled], &[("axis", Attribute::Int(1))]);
        (self.value.height, self.value.width) = (1, 1);
    }

    pub(super) fn dense(&mut self, outputs: usize, transposed: bool) {
        let from = self.value.clone();
        let inputs = from.channels;
        let shape = if transposed { [outputs, inputs] } else { [inputs, outputs] };
        let (weights, numbers) = self.weights(&shape, inputs, false);
        let bias: Vec<f32> = (0..outputs).map(|_| self.random()).collect();
        let bias_name = self.model.floats(&[outputs], &bias);
        let name = self.model.node("Gemm", &[&from.name, &weights, &bias_name], &[("transB", Attribute::Int(i64::from(transposed)))]);
        let made = (0..outputs).map(|output| {
            let weight = |input: usize| f64::from(numbers[if transposed { output * inputs + input } else { input * outputs + output }]);
            f64::from(bias[output]) + (0..inputs).map(|input| weight(input) * from.numbers[input]).sum::<f64>()
        });
        self.value = Value { name, channels: outputs, numbers: made.collect(), ..from };
    }

    pub(super) fn softmax(&mut self) {
        self.value.name = self.model.node("Softmax", &[&self.value.name], &[("axis", Attribute::Int(-1))]);
        let sum: f64 = self.value.numbers.iter().map(|number| number.exp()).sum();
        self.value.numbers.iter_mut().for_each(|number| *number = number.exp() / sum);
    }

    /// The file, and what it should make of the picture it was drafted with.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<f64>) {
        (self.model.finish(&self.value.name), self.value.numbers)
    }
}
