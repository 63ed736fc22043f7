"""What is known of the chest in a radiograph: lungs and regions."""
