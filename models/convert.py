#!/usr/bin/env python3
"""Writes a model of nsfwjs as ONNX.

usage: convert.py UNPACKED OUT.onnx MODEL      (UNPACKED: what unpack.cjs wrote of this model)

Input  `input`  float32 [N, 3, S, S]: red, green, blue planes, value / 255; S is 224, or 299 for inception_v3.
Output `probs`  float32 [N, 5]: Drawing, Hentai, Neutral, Porn, Sexy.

The weights stay the eight-bit codes that nsfwjs ships, each behind a DequantizeLinear. A BatchNormalization that follows a
convolution is folded into it: its factor into the scale of that output channel, which leaves the codes as they are, the rest
into a bias. So the file is small, and it loses nothing against nsfwjs.
"""

import base64
import json
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ["Drawing", "Hentai", "Neutral", "Porn", "Sexy"]
# A tensor of fewer values is written as floats: scales and zero points would outweigh what the codes save.
SMALLEST_QUANTISED = 512


class Weight:
    """One tensor of nsfwjs: `values = codes * scale + least`."""

    def __init__(self, codes, quantisation):
        assert quantisation["dtype"] == "uint8"
        self.codes = codes
        self.scale = quantisation["scale"]
        self.least = quantisation["min"]

    def values(self):
        # TensorFlow.js computes in doubles and stores floats; so must we, or the last bits differ.
        return (self.codes.astype(np.float64) * self.scale + self.least).astype(np.float32)

    def zero_point(self):
        """The code that stands for zero, or None where zero has none."""
        exact = -self.least / self.scale
        nearest = round(exact)
        return nearest if abs(exact - nearest) < 1e-3 and 0 <= nearest <= 255 else None


def read(folder):
    with open(f"{folder}/model.json", encoding="utf-8") as file:
        model = json.load(file)
    with open(f"{folder}/weights.bin", "rb") as file:
        data = file.read()
    weights, offset = {}, 0
    for entry in (entry for group in model["weightsManifest"] for entry in group["weights"]):
        count = int(np.prod(entry["shape"])) if entry["shape"] else 1
        codes = np.frombuffer(data, np.uint8, count, offset).reshape(entry["shape"])
        weights[entry["name"]] = Weight(codes, entry["quantization"])
        offset += count
    assert offset == len(data), "the list of weights and their bytes differ in length"
    return model, weights


class Graph:
    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def name(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def constant(self, array, prefix="c"):
        name = self.name(prefix)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator, inputs, **attributes):
        output = self.name(operator.lower())
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def weight(self, weight, arrange, axis, factor=None):
        """`arrange` turns the layout into that of ONNX, where `axis` is the output channel, which `factor` multiplies."""
        codes, zero_point = arrange(weight.codes), weight.zero_point()
        if zero_point is None or codes.size < SMALLEST_QUANTISED:
            values = arrange(weight.values()).astype(np.float64)
            if factor is not None:
                shape = [1] * values.ndim
                shape[axis] = -1
                values = values * factor.reshape(shape)
            return self.constant(values.astype(np.float32), "w")
        if factor is None:
            scale = self.constant(np.float32(weight.scale).reshape(()), "s")
            zero = self.constant(np.uint8(zero_point).reshape(()), "z")
            return self.node("DequantizeLinear", [self.constant(codes, "q"), scale, zero])
        scale = self.constant((weight.scale * factor).astype(np.float32), "s")
        zero = self.constant(np.full(codes.shape[axis], zero_point, np.uint8), "z")
        return self.node("DequantizeLinear", [self.constant(codes, "q"), scale, zero], axis=axis)


def full(kernel):
    """Height, width, in, out -> out, in, height, width."""
    return kernel.transpose(3, 2, 0, 1)


def depthwise(kernel):
    """Height, width, channel, 1 -> channel, 1, height, width."""
    return kernel.reshape(*kernel.shape[:2], -1)[None].transpose(3, 0, 1, 2)


def same_padding(length, kernel, stride):
    """What TensorFlow's `same` adds before and after: the odd one goes after."""
    missing = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return missing // 2, missing - missing // 2


def fold(weights, layer):
    """The factor and the bias that a BatchNormalization comes to."""
    part = lambda part: weights[f"{layer['name']}/{part}"].values().astype(np.float64)
    beta, mean, variance = (part(name) for name in ("beta", "moving_mean", "moving_variance"))
    gamma = part("gamma") if f"{layer['name']}/gamma" in weights else 1.0
    factor = gamma / np.sqrt(variance + layer["config"]["epsilon"])
    return factor, beta - mean * factor


class Conversion:
    """Walks the layers in order; `values` and `sizes` have what each one puts out, `paddings` what is still to be padded."""

    def __init__(self, layers, weights):
        self.layers, self.weights, self.graph = layers, weights, Graph()
        self.values, self.sizes, self.paddings, self.folded = {}, {}, {}, set()

    def run(self):
        for layer in self.layers:
            name, sources = layer["name"], [source[0] for source in layer["inbound_nodes"][0]] if layer["inbound_nodes"] else []
            if layer["class_name"] == "InputLayer":
                side = layer["config"]["batch_input_shape"][1]
                self.values[name], self.sizes[name] = "input", (side, side)
                continue
            self.sizes[name] = self.sizes[sources[0]]
            self.values[name] = getattr(self, layer["class_name"])(layer, sources)
        return self.graph, side

    def ZeroPadding2D(self, layer, sources):
        (top, bottom), (left, right) = layer["config"]["padding"]
        self.paddings[layer["name"]] = (top, left, bottom, right)
        return self.values[sources[0]]

    def Conv2D(self, layer, sources):
        return self.convolution(layer, sources, "kernel", full)

    def DepthwiseConv2D(self, layer, sources):
        return self.convolution(layer, sources, "depthwise_kernel", depthwise)

    def convolution(self, layer, sources, kernel_name, arrange):
        config, name = layer["config"], layer["name"]
        kernel, stride = config["kernel_size"], config["strides"]
        assert config["activation"] == "linear" and not config["use_bias"]
        height, width = self.sizes[sources[0]]
        top, left, bottom, right = self.paddings.get(sources[0], (0, 0, 0, 0))
        if config["padding"] == "same":
            assert sources[0] not in self.paddings
            (top, bottom), (left, right) = same_padding(height, kernel[0], stride[0]), same_padding(width, kernel[1], stride[1])
        (norm,) = [other for other in self.layers if other["inbound_nodes"] and name in (source[0] for source in other["inbound_nodes"][0])]
        assert norm["class_name"] == "BatchNormalization"
        factor, bias = fold(self.weights, norm)
        self.folded.add(norm["name"])
        weight = self.weights[f"{name}/{kernel_name}"]
        group = weight.codes.shape[2] if arrange is depthwise else 1
        weight = self.graph.weight(weight, arrange, 0, factor)
        self.sizes[name] = ((height + top + bottom - kernel[0]) // stride[0] + 1, (width + left + right - kernel[1]) // stride[1] + 1)
        inputs = [self.values[sources[0]], weight, self.graph.constant(bias.astype(np.float32), "b")]
        return self.graph.node("Conv", inputs, kernel_shape=list(kernel), strides=list(stride), pads=[top, left, bottom, right], group=group)

    def BatchNormalization(self, layer, sources):
        assert layer["name"] in self.folded
        return self.values[sources[0]]

    def Activation(self, layer, sources):
        assert layer["config"]["activation"] == "relu"
        return self.graph.node("Relu", [self.values[sources[0]]])

    def ReLU(self, layer, sources):
        assert layer["config"]["max_value"] in (6, None)
        if layer["config"]["max_value"] is None:
            return self.graph.node("Relu", [self.values[sources[0]]])
        least, most = (self.graph.constant(np.float32(value).reshape(())) for value in (0, 6))
        return self.graph.node("Clip", [self.values[sources[0]], least, most])

    def Add(self, _layer, sources):
        return self.graph.node("Add", [self.values[source] for source in sources])

    def Concatenate(self, _layer, sources):
        return self.graph.node("Concat", [self.values[source] for source in sources], axis=1)

    def AveragePooling2D(self, layer, sources):
        if tuple(layer["config"]["pool_size"]) == self.sizes[sources[0]]:
            self.sizes[layer["name"]] = (1, 1)
            return self.graph.node("GlobalAveragePool", [self.values[sources[0]]])
        return self.pooling(layer, sources, "AveragePool", count_include_pad=0)

    def MaxPooling2D(self, layer, sources):
        return self.pooling(layer, sources, "MaxPool")

    def pooling(self, layer, sources, operator, **attributes):
        config, (height, width) = layer["config"], self.sizes[sources[0]]
        kernel, stride = config["pool_size"], config["strides"]
        same = config["padding"] == "same"
        top, bottom = same_padding(height, kernel[0], stride[0]) if same else (0, 0)
        left, right = same_padding(width, kernel[1], stride[1]) if same else (0, 0)
        self.sizes[layer["name"]] = ((height + top + bottom - kernel[0]) // stride[0] + 1, (width + left + right - kernel[1]) // stride[1] + 1)
        pads = [top, left, bottom, right]
        return self.graph.node(operator, [self.values[sources[0]]], kernel_shape=list(kernel), strides=list(stride), pads=pads, **attributes)

    def Flatten(self, _layer, sources):
        assert self.sizes[sources[0]] == (1, 1)
        return self.graph.node("Flatten", [self.values[sources[0]]], axis=1)

    def Dropout(self, _layer, sources):
        return self.values[sources[0]]

    def Dense(self, layer, sources):
        name, activation = layer["name"], layer["config"]["activation"]
        kernel = self.graph.weight(self.weights[f"{name}/kernel"], lambda kernel: kernel, 1)
        bias = self.graph.constant(self.weights[f"{name}/bias"].values(), "b")
        value = self.graph.node("Gemm", [self.values[sources[0]], kernel, bias])
        return self.graph.node("Relu", [value]) if activation == "relu" else self.graph.node("Softmax", [value], axis=1)


class GraphConversion:
    """The same for a model that nsfwjs keeps as a graph of TensorFlow, whose convolutions have their normalisation folded already."""

    SIDE = 224

    def __init__(self, nodes, weights):
        self.nodes, self.weights, self.graph = nodes, weights, Graph()
        self.values, self.sizes = {}, {}

    def run(self):
        for node in self.nodes:
            name, operator = node["name"], node["op"]
            inputs = [source.split(":")[0] for source in node.get("input", []) if not source.startswith("^")]
            if operator == "Const":
                continue
            if operator == "Placeholder":
                self.values[name], self.sizes[name] = "input", (self.SIDE, self.SIDE)
                continue
            self.sizes[name] = next(self.sizes[source] for source in inputs if source in self.sizes)
            self.values[name] = getattr(self, operator.lstrip("_"))(node, inputs)
        return self.graph, self.SIDE

    def arithmetic(self, operator, inputs):
        operands = [self.values[source] if source in self.values else self.graph.constant(self.weights[source].values()) for source in inputs]
        return self.graph.node(operator, operands)

    def Mul(self, _node, inputs):
        return self.arithmetic("Mul", inputs)

    def Sub(self, _node, inputs):
        return self.arithmetic("Sub", inputs)

    def AddV2(self, _node, inputs):
        return self.arithmetic("Add", inputs)

    def FusedConv2D(self, node, inputs):
        return self.convolution(node, inputs, full)

    def FusedDepthwiseConv2dNative(self, node, inputs):
        return self.convolution(node, inputs, depthwise)

    def convolution(self, node, inputs, arrange):
        stride = [int(number) for number in node["attr"]["strides"]["list"]["i"]][1:3]
        weight = self.weights[inputs[1]]
        kernel, (height, width) = weight.codes.shape[:2], self.sizes[inputs[0]]
        same = self.text(node["attr"]["padding"]["s"]) == "SAME"
        top, bottom = same_padding(height, kernel[0], stride[0]) if same else (0, 0)
        left, right = same_padding(width, kernel[1], stride[1]) if same else (0, 0)
        group = weight.codes.shape[2] if arrange is depthwise else 1
        values = [self.values[inputs[0]], self.graph.weight(weight, arrange, 0), self.graph.constant(self.weights[inputs[2]].values(), "b")]
        value = self.graph.node("Conv", values, kernel_shape=list(kernel), strides=stride, pads=[top, left, bottom, right], group=group)
        self.sizes[node["name"]] = ((height + top + bottom - kernel[0]) // stride[0] + 1, (width + left + right - kernel[1]) // stride[1] + 1)
        first, *rest = [self.text(fused) for fused in node["attr"]["fused_ops"]["list"]["s"]]
        assert first == "BiasAdd" and rest in ([], ["Relu6"])
        if not rest:
            return value
        least, most = (self.graph.constant(np.float32(value).reshape(())) for value in (0, 6))
        return self.graph.node("Clip", [value, least, most])

    def AvgPool(self, node, inputs):
        assert [int(number) for number in node["attr"]["ksize"]["list"]["i"]] == [1, *self.sizes[inputs[0]], 1]
        self.sizes[node["name"]] = (1, 1)
        return self.graph.node("GlobalAveragePool", [self.values[inputs[0]]])

    def Squeeze(self, _node, inputs):
        return self.graph.node("Flatten", [self.values[inputs[0]]], axis=1)

    def FusedMatMul(self, node, inputs):
        assert [self.text(fused) for fused in node["attr"]["fused_ops"]["list"]["s"]] == ["BiasAdd"]
        kernel = self.graph.weight(self.weights[inputs[1]], lambda kernel: kernel, 1)
        return self.graph.node("Gemm", [self.values[inputs[0]], kernel, self.graph.constant(self.weights[inputs[2]].values(), "b")])

    def Softmax(self, _node, inputs):
        return self.graph.node("Softmax", [self.values[inputs[0]]], axis=1)

    def Identity(self, _node, inputs):
        return self.values[inputs[0]]

    @staticmethod
    def text(value):
        return base64.b64decode(value).decode()


def convert(model, weights):
    topology = model["modelTopology"]
    if model.get("format") == "graph-model":
        return GraphConversion(topology["node"], weights).run()
    return Conversion(topology["model_config"]["config"]["layers"], weights).run()


def write(graph, side, path, name):
    graph.nodes[-1].output[0] = "probs"
    body = helper.make_graph(
        graph.nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, side, side])],
        [helper.make_tensor_value_info("probs", TensorProto.FLOAT, ["N", 5])],
        graph.constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], producer_name="nsfwjs-tfjs2onnx")
    model.ir_version = 8
    facts = {
        "model": name,
        "classes": ",".join(CLASSES),
        "preprocess": f"RGB/255, bilinear align_corners=true to {side}x{side}, NCHW",
        "source": "nsfwjs 4.3.0 (MIT, Infinite Red; GantMan/nsfw_model)",
    }
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    write(*convert(*read(sys.argv[1])), sys.argv[2], sys.argv[3])
