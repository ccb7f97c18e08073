"""What lies under the input folder: one module per layout, read in place."""
