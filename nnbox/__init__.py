"""nnbox: a labelled medical-image data set in, a cross-validated segmentation model and a checked submission out."""

__version__ = "0.1.0"
