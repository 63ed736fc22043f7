"""Jobs of the classifier: train, evaluate, predict, export, and the shift bench."""
