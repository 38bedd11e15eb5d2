"""NVIDIA's own Python bindings of every supported TensorRT, imported without its library."""
