"""Bias correction: removal of the mean output error of rounded weights (Nagel et al. 2019)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vrec.compression.export import PICTURES
from vrec.core.types import Frames

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Floats = npt.NDArray[np.float64]


def correct_biases(rounded: "ModelProto", exact: "ModelProto", pictures: Frames) -> None:
    """Shift the biases of convolutions in a QDQ graph, in place.

    The rounding errors of a channel's few weights do not cancel out: on average they shift its output. The
    bias of each channel is lowered by this shift, the mean over all pictures and positions, where the input
    of each layer is that of the exact graph. A convolution without a bias is not changed.

    Args:
        rounded: QDQ graph, which is changed.
        exact: Graph with the same nodes in float32.
        pictures: (N, S, S, 3) uint8.
    """
    from onnx import numpy_helper

    stored = {part.name: part for part in rounded.graph.initializer}
    dequantized = {node.output[0]: node for node in rounded.graph.node if node.op_type == "DequantizeLinear"}
    layers = {
        node.name: (dequantized[node.input[1]], dequantized[node.input[2]])
        for node in rounded.graph.node
        if node.op_type == "Conv" and len(node.input) == 3 and {*node.input[1:]} <= dequantized.keys()
    }
    weights = {name: _dequantize(weight, stored) for name, (weight, _) in layers.items()}
    for name, shift in _mean_shifts(exact, weights, pictures).items():
        bias = layers[name][1]
        part, scale = stored[bias.input[0]], numpy_helper.to_array(stored[bias.input[1]])
        corrected = numpy_helper.to_array(part) - np.rint(shift / scale)
        part.CopyFrom(numpy_helper.from_array(corrected.astype(np.int32), part.name))


def _dequantize(node: "NodeProto", stored: dict[str, "TensorProto"]) -> Floats:
    """Return the float64 output of a DequantizeLinear node of stored weights, (channels, ...)."""
    from onnx import numpy_helper

    integers, scale, zero = (numpy_helper.to_array(stored[name]).astype(np.float64) for name in node.input)
    shape = (-1, *[1] * (integers.ndim - 1))  # one scale per channel, or one for all
    return (integers - zero.reshape(shape)) * scale.reshape(shape)


def _mean_shifts(exact: "ModelProto", weights: dict[str, Floats], pictures: Frames) -> dict[str, Floats]:
    """Return the mean output error, (channels,), of each convolution with `weights` for the exact ones."""
    import onnxruntime
    from onnx import ModelProto, helper, numpy_helper

    # Each convolution gets a twin whose weights are the errors; padding, strides and groups are the same.
    model = ModelProto()
    model.CopyFrom(exact)
    known = {part.name: numpy_helper.to_array(part) for part in exact.graph.initializer}
    del model.graph.output[:]
    names: list[str] = []
    for node in exact.graph.node:
        if node.name not in weights or node.input[1] not in known:
            continue
        names.append(node.name)
        error, shift, mean = (f"{node.name} {part}" for part in ("error", "shift", "mean"))
        difference = (weights[node.name] - known[node.input[1]]).astype(np.float32)
        twin = helper.make_node("Conv", [node.input[0], error], [shift])
        twin.attribute.extend(node.attribute)
        model.graph.node.extend([twin, helper.make_node("GlobalAveragePool", [shift], [mean])])
        model.graph.initializer.append(numpy_helper.from_array(difference, error))
        model.graph.output.append(helper.make_empty_tensor_value_info(mean))
    if not names:
        return {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session: Any = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    sums = {name: np.zeros(len(weights[name])) for name in names}
    for picture in pictures:
        for name, mean in zip(names, session.run(None, {PICTURES: picture[None]}), strict=True):
            sums[name] += mean.reshape(-1)
    return {name: total / len(pictures) for name, total in sums.items()}
