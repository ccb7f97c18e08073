"""From a folder to a checked data set: detection, every check, every problem at once."""
