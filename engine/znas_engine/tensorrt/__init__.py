"""TensorRT and TensorRT-RTX: which is installed, one interface to both, and plans that are built once.

Only `flavours` may be imported where neither is installed; `library` loads the one that is.
"""
