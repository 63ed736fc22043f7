"""Training: the loop, the objective, augmentation, devices."""
