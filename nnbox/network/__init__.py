"""From a planned topology to a torch module."""
