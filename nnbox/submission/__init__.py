"""Model bundles and result archives: written, packed and checked."""
