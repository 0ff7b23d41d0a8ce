"""ONNX files: what is computed in which order, and with which numbers, read without onnx or onnxruntime.

Numbers of fields are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from collapsecheck.checkpoints.onnx.reader import read_onnx
from collapsecheck.checkpoints.onnx.recognition import is_onnx
from collapsecheck.checkpoints.onnx.records import Node, OnnxModel, Port

__all__ = ["Node", "OnnxModel", "Port", "is_onnx", "read_onnx"]
