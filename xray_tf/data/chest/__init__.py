"""Find the lungs and other regions of a chest radiograph, and describe them."""
