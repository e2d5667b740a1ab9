"""What TensorFlow is started with where it makes models and answers."""

TENSORFLOW_VARIABLES = {
    # oneDNN's kernels differ from one CPU to the next.
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}
"""Environment variables, which it reads when it is imported."""

REFUSED = "refused: "
"""Begins the line in which a process with TensorFlow says what is wrong with what it was given."""
