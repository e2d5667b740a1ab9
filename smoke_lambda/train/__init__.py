"""What makes models and their answers with TensorFlow: runs in the environment of train.txt."""
