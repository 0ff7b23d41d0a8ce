"""Models of ONNX: run by onnxruntime, and seen as modules whose layers are the steps of the graph."""
