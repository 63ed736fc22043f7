"""The nets: the only room with TensorFlow and Keras."""
