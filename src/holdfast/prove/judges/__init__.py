"""What a measurement says about a promise. Pure: the same figures always get the same verdict."""
