"""Networks: the only room that uses TensorFlow and Keras."""
