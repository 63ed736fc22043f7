"""Train networks: the loop, the objective, augmentation, devices."""
