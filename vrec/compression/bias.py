"""Biases that take back what rounded weights add to a layer's output on average (Nagel et al. 2019)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vrec.compression.export import PICTURES
from vrec.core.types import Frames

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Floats = npt.NDArray[np.float64]


def correct_biases(rounded: "ModelProto", exact: "ModelProto", pictures: Frames) -> None:
    """Shifts the biases of convolutions in a QDQ graph, in place.

    The errors of a channel's few weights do not cancel out: on average they add something to what it gives,
    and the most where weights are large. Each channel's bias loses what the rounded
    weights add over the `exact` graph's, in the mean over (N, S, S, 3) uint8 `pictures` and all places, each
    layer seeing what the exact one sees. A convolution without a bias is left as it is.
    """
    from onnx import numpy_helper

    stored = {part.name: part for part in rounded.graph.initializer}
    made = {node.output[0]: node for node in rounded.graph.node if node.op_type == "DequantizeLinear"}
    layers = {
        node.name: (made[node.input[1]], made[node.input[2]])
        for node in rounded.graph.node
        if node.op_type == "Conv" and len(node.input) == 3 and {*node.input[1:]} <= made.keys()
    }
    weights = {name: _float(weight, stored) for name, (weight, _) in layers.items()}
    for name, shift in _mean_shifts(exact, weights, pictures).items():
        bias = layers[name][1]
        part, scale = stored[bias.input[0]], numpy_helper.to_array(stored[bias.input[1]])
        kept = numpy_helper.to_array(part) - np.rint(shift / scale)
        part.CopyFrom(numpy_helper.from_array(kept.astype(np.int32), part.name))


def _float(node: "NodeProto", stored: dict[str, "TensorProto"]) -> Floats:
    """The float64 numbers that a DequantizeLinear node makes of stored weights, (channels, ...)."""
    from onnx import numpy_helper

    whole, scale, zero = (numpy_helper.to_array(stored[name]).astype(np.float64) for name in node.input)
    wide = (-1, *[1] * (whole.ndim - 1))  # one scale a channel, or one for all
    return (whole - zero.reshape(wide)) * scale.reshape(wide)


def _mean_shifts(exact: "ModelProto", weights: dict[str, Floats], pictures: Frames) -> dict[str, Floats]:
    """What `weights` instead of the exact ones add to each channel of each named convolution, (channels,)."""
    import onnxruntime
    from onnx import ModelProto, helper, numpy_helper

    # Beside each convolution a twin with the weights' errors: padding, strides and groups are its own.
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
        wrong = (weights[node.name] - known[node.input[1]]).astype(np.float32)
        twin = helper.make_node("Conv", [node.input[0], error], [shift])
        twin.attribute.extend(node.attribute)
        model.graph.node.extend([twin, helper.make_node("GlobalAveragePool", [shift], [mean])])
        model.graph.initializer.append(numpy_helper.from_array(wrong, error))
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
