"""Train, evaluate, apply and export classifiers, and measure them under shift."""
