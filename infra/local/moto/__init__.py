"""What is read of moto's own models: the places that are touched, its state, its large objects."""
