"""The environment in which TensorFlow makes models and answers."""

TENSORFLOW_VARIABLES = {
    # oneDNN's kernels differ from one CPU to the next.
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}
"""The environment variables, which TensorFlow reads when it is imported."""

REFUSED = "refused: "
"""The prefix of the line in which a process with TensorFlow says what is wrong with its input."""

BEGUN = "begun: "
"""The prefix of the line in which such a process names what it makes next."""
