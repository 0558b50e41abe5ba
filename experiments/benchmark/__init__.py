"""The shared benchmark: families of architectures compared by one protocol."""
